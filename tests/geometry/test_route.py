"""What is computed for a result of any size, or for a part of it: properties of the geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import nearest

from enlarger.geometry.axis import Axis
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import Pass, Route, pass_count, result_window, route
from enlarger.geometry.tiles import TileBox, plan

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class Facts:
    """A model, as far as planning goes."""

    scale: int
    halo_px: int
    max_tile_px: int
    blend_px: int = 0
    multiple_px: int = 1

    def plan(self, width_px: int, height_px: int) -> list[TileBox]:
        return plan(width_px, height_px, halo_px=self.halo_px, max_tile_px=self.max_tile_px)


X4PLUS = Facts(scale=4, halo_px=28, max_tile_px=300 * 300)


@dataclass(frozen=True)
class Case:
    """Arguments of a route."""

    picture_px: Size
    size_px: Size
    model: Facts
    region: Rect | None
    margin_px: int

    def route(self) -> Route:
        return route(
            *self.picture_px,
            model=self.model,
            size_px=self.size_px,
            region=self.region,
            margin_px=self.margin_px,
        )

    def bounds(self, number: int) -> Rect:
        """All that pass ``number`` could read; that of the pass after the last is the final canvas."""
        return Rect(0, 0, *self.picture_px).times(self.model.scale**number)


@st.composite
def windows(draw: st.DrawFn, width_px: int = 9, height_px: int = 9) -> Rect:
    """Parts of a picture, of one pixel at least."""
    left = draw(st.integers(0, width_px - 1))
    top = draw(st.integers(0, height_px - 1))
    right, bottom = (
        draw(st.integers(left + 1, width_px)),
        draw(st.integers(top + 1, height_px)),
    )
    return Rect(left, top, right, bottom)


@st.composite
def sizes(draw: st.DrawFn, picture_px: Size) -> Size:
    """Results from once to eight times a picture, each side by itself; whole factors among them."""
    width, height = picture_px
    factor = draw(st.integers(1, 8))
    return draw(
        st.just((width * factor, height * factor))
        | st.tuples(st.integers(width, 8 * width), st.integers(height, 8 * height))
    )


@st.composite
def cases(draw: st.DrawFn, *, whole: bool = False) -> Case:
    """Small pictures, cut often enough; regions from one pixel to all."""
    picture_px = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    halo_px = draw(st.integers(0, 8))
    model = Facts(
        scale=draw(st.sampled_from([2, 4])),
        halo_px=halo_px,
        max_tile_px=(2 * halo_px + 1) ** 2 + draw(st.integers(200, 3000)),
    )
    return Case(
        picture_px=picture_px,
        size_px=draw(sizes(picture_px)),
        model=model,
        region=None if whole else draw(windows(*picture_px)),
        margin_px=draw(st.sampled_from([0, 1, 5, 25])),
    )


@st.composite
def middles(draw: st.DrawFn) -> Case:
    """A few pixels far from every border, and a network that is run for one side more than for the other."""
    left, top = draw(st.integers(12, 25)), draw(st.integers(12, 25))
    size_px = draw(st.tuples(st.integers(40, 80), st.integers(40, 320)))
    return Case(
        picture_px=(40, 40),
        size_px=draw(st.sampled_from([size_px, size_px[::-1]])),
        model=Facts(scale=draw(st.sampled_from([2, 4])), halo_px=0, max_tile_px=200),
        region=Rect(left, top, left + draw(st.integers(1, 3)), top + 1),
        margin_px=0,
    )


def points(window: Rect) -> set[tuple[int, int]]:
    """Its pixels."""
    return set(
        product(range(window.left, window.right), range(window.top, window.bottom)),
    )


def holds(outer: Rect, inner: Rect) -> bool:
    """Whether every pixel of one is in the other."""
    return (
        outer.left <= inner.left
        and outer.top <= inner.top
        and outer.right >= inner.right
        and outer.bottom >= inner.bottom
    )


def core(box: TileBox) -> Rect:
    """What a tile makes."""
    return Rect(box.columns.start, box.rows.start, box.columns.stop, box.rows.stop)


def seen(box: TileBox) -> Rect:
    """What a tile reads."""
    return Rect(box.columns.first, box.rows.first, box.columns.last, box.rows.last)


def looked_at(case: Case, way: Route) -> Rect:
    """Pixels of the final canvas within three lobes of a pixel of the result, in exact numbers.

    A canvas that has the length of the result along an axis is copied there.
    """
    canvas = case.bounds(len(way.passes))

    def axis(first: int, last: int, final: int, wanted: int) -> tuple[int, int]:
        ratio = Fraction(final, wanted)
        if ratio == 1:
            return first, last
        half = Fraction(1, 2)
        lowest = (first + half) * ratio - 3 * ratio - half
        highest = (last - half) * ratio + 3 * ratio - half
        return max(0, math.floor(lowest) + 1), min(final, math.ceil(highest))

    left, right = axis(way.out.left, way.out.right, canvas.right, case.size_px[0])
    top, bottom = axis(way.out.top, way.out.bottom, canvas.bottom, case.size_px[1])
    return Rect(left, top, right, bottom)


PICTURE = np.arange(81).reshape(9, 9)


@given(window=windows())
def test_window_cuts_its_columns_and_rows(window: Rect) -> None:
    """Its width and height are those of what it cuts out."""
    rows, columns = np.divmod(PICTURE[window.slices].ravel(), 9)
    assert set(zip(columns.tolist(), rows.tolist(), strict=True)) == points(window)
    assert PICTURE[window.slices].shape == (window.height_px, window.width_px)


@given(outer=windows(), data=st.data())
def test_window_within_another_cuts_the_same_pixels(outer: Rect, data: st.DataObject) -> None:
    """Cutting from the outer window returns the same pixels as cutting from the whole picture."""
    inner = data.draw(windows()).common(outer)
    if points(inner):
        found = PICTURE[outer.slices][inner.within(outer).slices]
        assert np.array_equal(found, PICTURE[inner.slices])


@given(window=windows(), other=windows(), margin_px=st.integers(0, 10))
def test_expanded_window_has_what_is_near_as_far_as_the_bounds_go(
    window: Rect, other: Rect, margin_px: int
) -> None:
    """Pixels of the bounds whose column and row are at most the margin away."""
    bounds = window.hull(other)
    near = {
        (x, y)
        for x, y in points(bounds)
        if window.left - margin_px <= x < window.right + margin_px
        and window.top - margin_px <= y < window.bottom + margin_px
    }
    assert points(window.expanded(margin_px, bounds)) == near


@given(first=windows(), second=windows())
def test_common_part_has_the_pixels_of_both(first: Rect, second: Rect) -> None:
    """No pixels where they do not meet."""
    common = first.common(second)
    assert points(common) == points(first) & points(second)
    assert common == second.common(first)


@given(first=windows(), second=windows())
def test_hull_is_the_smallest_that_holds_both(first: Rect, second: Rect) -> None:
    """Each of its four sides is a side of one of them."""
    hull = first.hull(second)
    columns, rows = zip(*(points(first) | points(second)), strict=True)
    assert hull == Rect(min(columns), min(rows), max(columns) + 1, max(rows) + 1)


@given(window=windows(), factor=st.integers(1, 4))
def test_window_times_a_factor_is_its_part_of_the_enlarged_picture(
    window: Rect, factor: int
) -> None:
    """Every pixel becomes a square."""
    enlarged = nearest(PICTURE, factor)[window.times(factor).slices]
    assert np.array_equal(enlarged, nearest(PICTURE[window.slices], factor))


@given(window=windows(40, 40), factor=st.integers(1, 5))
def test_divided_window_is_the_smallest_whose_enlargement_holds_it(
    window: Rect, factor: int
) -> None:
    """The pixels that its pixels come from, no more."""
    sources = {(x // factor, y // factor) for x, y in points(window)}
    assert points(window.divided(factor)) == sources


@pytest.mark.parametrize(
    ("picture_px", "size_px", "scale", "count"),
    [
        ((10, 10), (10, 10), 4, 1),
        ((10, 10), (40, 40), 4, 1),
        ((10, 10), (41, 40), 4, 2),
        ((10, 10), (40, 41), 4, 2),
        ((10, 10), (80, 80), 4, 2),
        ((10, 10), (20, 20), 2, 1),
        ((10, 10), (21, 20), 2, 2),
        ((10, 10), (80, 80), 2, 3),
        ((1, 100), (8, 100), 2, 3),
    ],
)
def test_network_runs_until_no_side_is_too_short(
    picture_px: Size, size_px: Size, scale: int, count: int
) -> None:
    """Once at least, and no more often than that."""
    assert pass_count(picture_px, size_px, scale=scale) == count


@given(case=cases())
def test_pass_count_is_the_smallest_that_is_enough(case: Case) -> None:
    """The result of the last pass is reduced, never enlarged; that of the pass before would be too small."""
    count = pass_count(case.picture_px, case.size_px, scale=case.model.scale)
    sides = list(zip(case.picture_px, case.size_px, strict=True))
    assert all(side * case.model.scale**count >= wanted for side, wanted in sides)
    assert count == 1 or any(
        side * case.model.scale ** (count - 1) < wanted for side, wanted in sides
    )


@given(data=st.data(), picture_px=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_adjacent_regions_tile_the_result(data: st.DataObject, picture_px: Size) -> None:
    """Without a gap and without overlap, and none is empty."""
    size_px = data.draw(sizes(picture_px))
    columns, rows = (
        sorted({0, length, *data.draw(st.lists(st.integers(0, length), max_size=4))})
        for length in picture_px
    )
    owners = np.zeros((size_px[1], size_px[0]), np.uint8)
    for (left, right), (top, bottom) in product(pairwise(columns), pairwise(rows)):
        window = result_window(Rect(left, top, right, bottom), picture_px, size_px)
        assert window.width_px >= 1
        assert window.height_px >= 1
        assert holds(Rect(0, 0, *size_px), window)
        owners[window.slices] += 1
    assert (owners == 1).all()


@given(data=st.data(), picture_px=st.tuples(st.integers(1, 9000), st.integers(1, 9000)))
def test_region_lies_in_the_result_where_it_lies_in_the_picture(
    data: st.DataObject, picture_px: Size
) -> None:
    """Its sides times the factor of that axis, rounded half up."""
    size_px = data.draw(sizes(picture_px))
    region = data.draw(windows(*picture_px))
    found = result_window(region, picture_px, size_px)
    across = Fraction(size_px[0], picture_px[0])
    down = Fraction(size_px[1], picture_px[1])
    exact = (region.left * across, region.top * down, region.right * across, region.bottom * down)
    assert found == Rect(*(math.floor(side + Fraction(1, 2)) for side in exact))


@given(case=cases(whole=True))
def test_whole_picture_is_made_of_all_tiles_of_the_plan(case: Case) -> None:
    """In each pass: those of the picture, then those of what the pass before made of it."""
    way = case.route()
    assert len(way.passes) == pass_count(case.picture_px, case.size_px, scale=case.model.scale)
    assert way.out == Rect(0, 0, *case.size_px)
    for number, step in enumerate(way.passes):
        bounds = case.bounds(number)
        tiles = tuple(case.model.plan(bounds.width_px, bounds.height_px))
        assert step == Pass(tiles, read=bounds, made=bounds)


@given(case=cases())
def test_tiles_of_a_region_are_tiles_of_the_whole(case: Case) -> None:
    """In their order: so each makes the same pixels, and the region has those of the whole result."""
    way = case.route()
    assert len(way.passes) == pass_count(case.picture_px, case.size_px, scale=case.model.scale)
    for number, step in enumerate(way.passes):
        bounds = case.bounds(number)
        left = iter(case.model.plan(bounds.width_px, bounds.height_px))
        assert all(box in left for box in step.boxes)


@given(case=cases())
def test_region_computes_no_tile_in_vain(case: Case) -> None:
    """The result keeps at least one pixel of every tile."""
    for step in case.route().passes:
        assert all(points(core(box).common(step.made)) for box in step.boxes)


@given(case=cases())
def test_tiles_make_all_that_a_pass_keeps(case: Case) -> None:
    """Every pixel of ``made`` is in exactly one core."""
    for number, step in enumerate(case.route().passes):
        bounds = case.bounds(number)
        assert holds(bounds, step.made)
        owners = np.zeros((bounds.height_px, bounds.width_px), np.uint8)
        for box in step.boxes:
            owners[core(box).slices] += 1
        assert (owners[step.made.slices] == 1).all()


@given(case=cases() | middles())
def test_last_pass_makes_all_that_the_reduction_looks_at(case: Case) -> None:
    """Three lobes around each pixel of the result, and what the step after the network needs around those."""
    way = case.route()
    last = way.passes[-1]
    needed = looked_at(case, way)
    assert holds(last.made.times(case.model.scale), needed)
    around = needed.divided(case.model.scale).expanded(
        case.margin_px, case.bounds(len(way.passes) - 1)
    )
    assert holds(last.made, around)


@given(case=cases())
def test_each_pass_reads_what_its_tiles_read_and_what_it_keeps(case: Case) -> None:
    """The least that holds all, so that no more has to be made for it."""
    for number, step in enumerate(case.route().passes):
        windows = [step.made, *(seen(box) for box in step.boxes)]
        assert all(holds(step.read, window) for window in windows)
        assert holds(case.bounds(number), step.read)
        assert step.read.left == min(window.left for window in windows)
        assert step.read.top == min(window.top for window in windows)
        assert step.read.right == max(window.right for window in windows)
        assert step.read.bottom == max(window.bottom for window in windows)


@given(case=cases())
def test_each_pass_makes_what_the_next_one_reads(case: Case) -> None:
    """With the margin that the step between them needs around it."""
    for number, (step, following) in enumerate(pairwise(case.route().passes)):
        assert holds(step.made.times(case.model.scale), following.read)
        read = following.read.divided(case.model.scale)
        assert holds(step.made, read.expanded(case.margin_px, case.bounds(number)))


@given(case=cases())
def test_rest_of_the_way_is_from_what_was_made_to_the_part_that_is_wanted(case: Case) -> None:
    """From all of the canvas to all of the result, of which the last pass made and the caller wants a part."""
    way = case.route()
    canvas = case.bounds(len(way.passes))
    made = way.passes[-1].made.times(case.model.scale)
    assert way.columns == Axis(
        canvas.right, case.size_px[0], way.out.left, way.out.right, held_from=made.left
    )
    assert way.rows == Axis(
        canvas.bottom, case.size_px[1], way.out.top, way.out.bottom, held_from=made.top
    )


@given(case=cases() | middles())
def test_filter_finds_all_its_samples_in_what_was_made(case: Case) -> None:
    """Those that it gives no weight included: it reads them all the same."""
    way = case.route()
    made = way.passes[-1].made.times(case.model.scale)
    for axis, held_px in ((way.columns, made.width_px), (way.rows, made.height_px)):
        places, _ = axis.taps()
        if not axis.is_cut:
            assert places.min() >= 0
            assert places.max() < held_px


@given(case=cases(whole=True))
def test_region_of_the_whole_picture_is_the_whole_picture(case: Case) -> None:
    """No other way leads there."""
    everything = Case(
        picture_px=case.picture_px,
        size_px=case.size_px,
        model=case.model,
        region=Rect(0, 0, *case.picture_px),
        margin_px=case.margin_px,
    )
    assert everything.route() == case.route()


@given(case=cases())
def test_work_is_the_pixels_of_all_tiles(case: Case) -> None:
    """Halos included, in all passes."""
    way = case.route()
    pixels = [
        (box.rows.last - box.rows.first) * (box.columns.last - box.columns.first)
        for step in way.passes
        for box in step.boxes
    ]
    assert way.lr_px == sum(pixels)
    assert way.lr_px == sum(step.lr_px for step in way.passes)


@pytest.mark.parametrize(("factor", "tiles"), [(4, [1]), (8, [1, 4])])
def test_small_region_costs_little(factor: int, tiles: list[int]) -> None:
    """20 pixels inside a core of a large picture need that tile, and a few of the pass after it."""
    first = X4PLUS.plan(1500, 1500)[0]
    left, top = first.columns.stop // 2, first.rows.stop // 2
    way = route(
        1500,
        1500,
        model=X4PLUS,
        size_px=(1500 * factor, 1500 * factor),
        region=Rect(left, top, left + 20, top + 20),
    )
    assert way.passes[0].boxes == (first,)
    assert all(len(step.boxes) <= most for step, most in zip(way.passes, tiles, strict=True))
    assert way.out == Rect(left, top, left + 20, top + 20).times(factor)
