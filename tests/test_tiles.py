"""How a picture is cut: properties that hold for every size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from fakes import nearest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.tiles import MAX_WORK_FACTOR, WANTED_TILES, Span, TileBox, plan


@dataclass(frozen=True)
class Case:
    """Arguments of a plan."""

    width_px: int
    height_px: int
    halo_px: int
    max_tile_px: int

    def plan(self) -> list[TileBox]:
        return plan(
            self.width_px, self.height_px, halo_px=self.halo_px, max_tile_px=self.max_tile_px
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


def fits(case: Case, rows: int, columns: int) -> bool:
    """Whether the largest tile of a grid is small enough."""

    def longest(length_px: int, parts: int) -> int:
        edges = min(parts - 1, 2)
        return min(length_px, -(-length_px // parts) + edges * case.halo_px)

    return longest(case.height_px, rows) * longest(case.width_px, columns) <= case.max_tile_px


@given(case=cases())
def test_cores_partition_the_picture(case: Case) -> None:
    """Every pixel of the picture belongs to exactly one core."""
    owners = np.zeros((case.height_px, case.width_px), np.uint16)
    for box in case.plan():
        owners[box.rows.start : box.rows.stop, box.columns.start : box.columns.stop] += 1
    assert (owners == 1).all()


@given(case=cases())
def test_halo_is_read_at_inner_edges_and_only_there(case: Case) -> None:
    """A tile reads its whole halo towards its neighbours and nothing beyond the picture's border.

    Near the border the halo ends with the picture. A core that is one pixel short may read one more.
    """
    rows, columns = axes(case.plan())
    for spans, length_px in ((rows, case.height_px), (columns, case.width_px)):
        for span in spans:
            first = max(0, span.start - case.halo_px)
            last = min(length_px, span.stop + case.halo_px)
            assert span.first in (first, first - 1)
            assert span.last in (last, last + 1)
            assert 0 <= span.first <= span.start < span.stop <= span.last <= length_px


@given(case=cases())
def test_no_tile_is_larger_than_allowed(case: Case) -> None:
    """An engine's memory bounds the tile, halo included."""
    assert max(box.lr_px for box in case.plan()) <= case.max_tile_px


@given(case=cases())
def test_cores_differ_by_one_pixel_at_most(case: Case) -> None:
    """Cores of one axis are equal, as far as the division goes, so that no server gets a scrap."""
    for spans in axes(case.plan()):
        lengths = [span.stop - span.start for span in spans]
        assert max(lengths) - min(lengths) <= 1


@given(case=cases())
def test_tiles_have_few_shapes(case: Case) -> None:
    """Where cores are longer than the halo, an axis has two lengths at most: at the border and inside.

    A runtime prepares itself for each new shape.
    """
    for spans in axes(case.plan()):
        if all(span.stop - span.start > case.halo_px for span in spans):
            assert len({span.read_px for span in spans}) <= 2


@given(case=cases())
def test_plan_is_deterministic_and_in_row_order(case: Case) -> None:
    """The same arguments give the same tiles, rows from the top and columns from the left."""
    boxes = case.plan()
    assert boxes == case.plan()
    order = [(box.rows.start, box.columns.start) for box in boxes]
    assert order == sorted(order)


@given(case=cases(longest_px=60))
def test_there_are_as_many_tiles_as_the_work_allows(case: Case) -> None:
    """At least five tiles, or as many as do not make the halos cost more than a third; else the cheapest grid."""
    grids = [
        (rows, columns)
        for rows in range(1, case.height_px + 1)
        for columns in range(1, case.width_px + 1)
        if fits(case, rows, columns)
    ]
    affordable = [
        rows * columns
        for rows, columns in grids
        if work_factor(case, rows, columns) <= MAX_WORK_FACTOR
    ]
    rows, columns = (len(spans) for spans in axes(case.plan()))
    if affordable:
        assert min(rows * columns, WANTED_TILES) == min(max(affordable), WANTED_TILES)
        assert work_factor(case, rows, columns) <= MAX_WORK_FACTOR
    else:
        assert work_factor(case, rows, columns) == min(work_factor(case, *grid) for grid in grids)


def test_usual_picture_is_cut_for_a_usual_set_of_servers() -> None:
    """512 x 512 with x4plus's halo: work for five servers, at most 1.35 times the computing of one."""
    boxes = plan(512, 512, halo_px=24, max_tile_px=100_000)
    assert len(boxes) >= 5
    assert sum(box.lr_px for box in boxes) <= 1.35 * 512 * 512


@given(case=cases(longest_px=80), scale=st.sampled_from([1, 2, 4]))
def test_pasted_tiles_make_the_picture(case: Case, scale: int) -> None:
    """Reading, enlarging and pasting each tile is enlarging the whole."""
    picture = (
        np.random.default_rng(0)
        .integers(0, 256, (case.height_px, case.width_px, 3))
        .astype(np.uint8)
    )
    canvas = np.zeros((case.height_px * scale, case.width_px * scale, 3), np.uint8)
    for box in case.plan():
        tile = box.read(picture)
        assert tile.shape == (box.rows.read_px, box.columns.read_px, 3)
        box.paste(canvas, nearest(tile, scale), scale)
    assert np.array_equal(canvas, nearest(picture, scale))


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
