"""How a picture is cut: properties that hold for every size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import nearest

from enlarger.geometry.tiles import (
    MAX_WORK_FACTOR,
    MAX_WORK_FACTOR_OF_TWO,
    SERVERS,
    Span,
    TileBox,
    plan,
)


@dataclass(frozen=True)
class Case:
    """Arguments of a plan."""

    width_px: int
    height_px: int
    halo_px: int
    max_tile_px: int

    def plan(self, *, blend_px: int = 0) -> list[TileBox]:
        return plan(
            self.width_px,
            self.height_px,
            halo_px=self.halo_px,
            max_tile_px=self.max_tile_px,
            blend_px=blend_px,
        )


@st.composite
def cases(draw: st.DrawFn, *, longest_px: int = 300) -> Case:
    """Sizes from one pixel up; tiles from the smallest allowed to larger than the picture."""
    halo_px = draw(st.integers(0, 12))
    smallest_px = (2 * halo_px + 1) ** 2
    return Case(
        width_px=draw(st.integers(1, longest_px)),
        height_px=draw(st.integers(1, longest_px)),
        halo_px=halo_px,
        max_tile_px=smallest_px + draw(st.integers(0, 10_000)),
    )


def axes(boxes: list[TileBox]) -> tuple[list[Span], list[Span]]:
    """The spans of the rows and of the columns of a grid, in order."""
    by_start = {box.rows.start: box.rows for box in boxes}
    rows = [by_start[start] for start in sorted(by_start)]
    by_start = {box.columns.start: box.columns for box in boxes}
    return rows, [by_start[start] for start in sorted(by_start)]


def work_factor(case: Case, rows: int, columns: int) -> float:
    """How many times the picture a grid computes, by its inner edges."""
    computed = (case.width_px + 2 * case.halo_px * (columns - 1)) * (
        case.height_px + 2 * case.halo_px * (rows - 1)
    )
    return computed / (case.width_px * case.height_px)


def read_px(case: Case, rows: int, columns: int) -> tuple[int, int]:
    """Height and width of the tiles of a grid, if all read the same and the halo at inner edges."""

    def read(length_px: int, parts: int) -> int:
        return math.ceil((length_px + 2 * case.halo_px * (parts - 1)) / parts)

    return read(case.height_px, rows), read(case.width_px, columns)


def busy(case: Case, rows: int, columns: int) -> float:
    """Time of servers for a grid, in times that of the picture, summed over usual numbers of servers."""
    rounds = sum(servers * math.ceil(rows * columns / servers) for servers in SERVERS)
    return rounds * work_factor(case, rows, columns) / (rows * columns)


@given(case=cases())
def test_cores_partition_the_picture(case: Case) -> None:
    """Every pixel of the picture belongs to exactly one core."""
    owners = np.zeros((case.height_px, case.width_px), np.uint16)
    for box in case.plan():
        owners[box.rows.start : box.rows.stop, box.columns.start : box.columns.stop] += 1
    assert (owners == 1).all()


@given(case=cases())
def test_halo_is_read_at_inner_edges_and_only_there(case: Case) -> None:
    """A tile reads its whole halo towards its neighbours and nothing beyond the picture's border."""
    rows, columns = axes(case.plan())
    for spans, length_px in ((rows, case.height_px), (columns, case.width_px)):
        for span in spans:
            assert 0 <= span.first <= span.start < span.stop <= span.last <= length_px
            assert span.start == 0 or span.start - span.first >= case.halo_px
            assert span.stop == length_px or span.last - span.stop >= case.halo_px


@given(case=cases())
def test_no_tile_is_larger_than_allowed(case: Case) -> None:
    """An engine's memory bounds the tile, halo included."""
    assert max(box.lr_px for box in case.plan()) <= case.max_tile_px


@given(case=cases())
def test_tiles_have_one_shape(case: Case) -> None:
    """They take equally long, so no server gets a scrap; and a runtime prepares itself for each new shape."""
    assert len({(box.rows.read_px, box.columns.read_px) for box in case.plan()}) == 1


@given(case=cases())
def test_nothing_is_read_in_vain(case: Case) -> None:
    """A tile is no larger than its share of the picture and of the halos, rounded up to whole pixels."""
    rows, columns = axes(case.plan())
    assert (rows[0].read_px, columns[0].read_px) == read_px(case, len(rows), len(columns))


@settings(max_examples=20)  # each is planned twice
@given(case=cases())
def test_plan_is_deterministic_and_in_row_order(case: Case) -> None:
    """The same arguments give the same tiles, rows from the top and columns from the left."""
    boxes = case.plan()
    assert boxes == case.plan()
    order = [(box.rows.start, box.columns.start) for box in boxes]
    assert order == sorted(order)


@given(case=cases(longest_px=60))
def test_no_grid_is_better(case: Case) -> None:
    """No other grid keeps the servers better occupied, or needs less work if all are expensive.

    A grid qualifies if it computes little more than the picture. If any does, the plan has a tile for each server, and
    keeps them busy for the shortest time. If none does, the plan is the grid with the least work.
    """
    grids = [
        (rows, columns)
        for rows in range(1, case.height_px + 1)
        for columns in range(1, case.width_px + 1)
        if math.prod(read_px(case, rows, columns)) <= case.max_tile_px
    ]
    most_work = MAX_WORK_FACTOR
    if [grid for grid in grids if work_factor(case, *grid) <= most_work] == [(1, 1)]:
        most_work = MAX_WORK_FACTOR_OF_TWO
    cheap = [grid for grid in grids if work_factor(case, *grid) <= most_work]
    rows, columns = (len(spans) for spans in axes(case.plan()))
    if cheap:
        assert work_factor(case, rows, columns) <= most_work
        most = min(SERVERS[-1], max(math.prod(grid) for grid in cheap))
        assert rows * columns >= most
        least = min(busy(case, *grid) for grid in cheap if math.prod(grid) >= most)
        assert busy(case, rows, columns) == pytest.approx(least)
    else:
        least = min(work_factor(case, *grid) for grid in grids)
        assert work_factor(case, rows, columns) == pytest.approx(least)


@pytest.mark.parametrize(
    ("width_px", "height_px", "tiles", "tile_px"),
    [(512, 512, 4, (284, 284)), (1024, 1024, 9, (379, 379)), (100, 100, 1, (100, 100))],
)
def test_plans_of_usual_pictures(
    width_px: int, height_px: int, tiles: int, tile_px: tuple[int, int]
) -> None:
    """With x4plus's halo and memory."""
    boxes = plan(width_px, height_px, halo_px=28, max_tile_px=379 * 379)
    assert len(boxes) == tiles
    assert (boxes[0].rows.read_px, boxes[0].columns.read_px) == tile_px


@given(
    case=cases(longest_px=80),
    scale=st.sampled_from([1, 2, 4]),
    blend_px=st.integers(0, 6),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    order=st.randoms(use_true_random=False),
)
def test_pasted_tiles_make_the_picture(
    case: Case, scale: int, blend_px: int, dtype: type[np.unsignedinteger], order: Random
) -> None:
    """Reading, enlarging and pasting each tile, in any order, is enlarging the whole, to the last bit."""
    most = np.iinfo(dtype).max
    shape = (case.height_px, case.width_px, 3)
    picture = np.random.default_rng(0).integers(0, most + 1, shape).astype(dtype)
    picture[::3] = most  # white stays white
    canvas = np.zeros((case.height_px * scale, case.width_px * scale, 3), dtype)
    boxes = case.plan(blend_px=blend_px)
    order.shuffle(boxes)
    for box in boxes:
        tile = box.read(picture)
        assert tile.shape == (box.rows.read_px, box.columns.read_px, 3)
        kept = tile[box.kept_in_tile.slices]
        assert kept.shape == (box.kept.height_px, box.kept.width_px, 3)
        box.paste(canvas, nearest(kept, scale), scale)
    assert np.array_equal(canvas, nearest(picture, scale))


@given(case=cases(longest_px=80), seed=st.integers(0, 99))
def test_tiles_that_disagree_fade_into_one_another(case: Case, seed: int) -> None:
    """Black and white tiles: what is kept of one alone is as it was, and nothing overflows between."""
    canvas = np.zeros((case.height_px * 2, case.width_px * 2, 1), np.uint8)
    boxes = case.plan(blend_px=4)
    random = np.random.default_rng(seed)
    values = {box: int(random.choice([0, 255])) for box in boxes}
    kept_by = np.zeros(canvas.shape[:2], int)
    expected = np.zeros(canvas.shape[:2])
    for box, value in values.items():
        place = box.kept.times(2)
        share = np.full((place.height_px, place.width_px, 1), value, np.uint8)
        box.paste(canvas, share, 2)
        kept_by[place.slices] += 1
        weight = np.outer(fade(box.rows, 2), fade(box.columns, 2))
        expected[place.slices] += weight * value
    assert set(np.unique(kept_by)) <= {1, 2, 4}
    assert np.abs(canvas[:, :, 0] - expected).max() <= 2  # each of two fades rounds once


@given(
    case=cases(longest_px=200),
    multiple_px=st.sampled_from([2, 3, 4, 8]),
    blend_px=st.integers(0, 9),
)
def test_tiles_begin_at_multiples(case: Case, multiple_px: int, blend_px: int) -> None:
    """They still partition the picture, read their halos at inner edges, and are no larger than allowed."""
    most_px = max(case.max_tile_px, (2 * case.halo_px + 5 * multiple_px - 4) ** 2)
    boxes = plan(
        case.width_px,
        case.height_px,
        halo_px=case.halo_px,
        max_tile_px=most_px,
        blend_px=blend_px,
        multiple_px=multiple_px,
    )
    assert max(box.lr_px for box in boxes) <= most_px
    for spans, length_px in zip(axes(boxes), (case.height_px, case.width_px), strict=True):
        assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
        assert spans[-1].stop == length_px
        for span in spans:
            assert span.start < span.stop
            assert span.first % multiple_px == 0
            assert span.first == 0 or span.start - span.first >= case.halo_px
            assert span.last == length_px or span.last - span.stop >= case.halo_px


def fade(span: Span, scale: int) -> npt.NDArray[np.float64]:
    """The weight of each sample along an axis: 0 to 1 and back in a straight line around the core's inner ends."""
    first, last = span.kept
    places = (np.arange(first * scale, last * scale) + 0.5) / scale
    weight = np.ones(len(places))
    if span.before_px:
        weight *= np.clip((places - first) / (2 * span.before_px), 0, 1)
    if span.after_px:
        weight *= np.clip((last - places) / (2 * span.after_px), 0, 1)
    return weight


@pytest.mark.parametrize(
    ("width_px", "height_px", "halo_px", "max_tile_px"),
    [(0, 10, 2, 100), (10, 0, 2, 100), (-1, 10, 2, 100), (10, 10, 2, 24), (10, 10, 0, 0)],
)
def test_senseless_arguments_are_refused(
    width_px: int, height_px: int, halo_px: int, max_tile_px: int
) -> None:
    """No pixels, or a tile too small for its own halo: a mistake of the caller."""
    with pytest.raises(ValueError, match="cannot cut"):
        plan(width_px, height_px, halo_px=halo_px, max_tile_px=max_tile_px)


@pytest.mark.parametrize("halo_px", [0, 3])
def test_smallest_tile_that_is_not_refused_works(halo_px: int) -> None:
    """The bound on ``max_tile_px`` is the true one."""
    boxes = plan(9, 9, halo_px=halo_px, max_tile_px=(2 * halo_px + 1) ** 2)
    assert len(boxes) > 1


@pytest.mark.parametrize(
    ("width", "height", "tiles"), [(64, 64, 1), (100, 100, 1), (160, 140, 2), (320, 240, 2)]
)
def test_small_picture_is_shared_where_that_pays(width: int, height: int, tiles: int) -> None:
    """Two servers are done earlier than one, unless the halos make each compute nearly all of it."""
    boxes = plan(width, height, halo_px=28, max_tile_px=379 * 379)
    assert len(boxes) == tiles
    longest = max(box.lr_px for box in boxes)
    assert tiles == 1 or longest < 0.7 * width * height
