"""The rectangle: its operations agree with those on sets of pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import nearest

from enlarger.geometry.rect import Rect

SIDE = 9
"""Width and height of the picture that all of these lie in."""


@st.composite
def rects(draw: st.DrawFn) -> Rect:
    """Rectangles of at least one pixel."""
    left, top = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    return Rect(left, top, draw(st.integers(left + 1, SIDE)), draw(st.integers(top + 1, SIDE)))


def mask(rect: Rect) -> np.ndarray[tuple[int, ...], np.dtype[np.bool]]:
    """Which pixels of the picture are in it."""
    inside = np.zeros((SIDE, SIDE), bool)
    inside[rect.slices] = True
    return inside


@given(rect=rects())
def test_rectangle_has_as_many_pixels_as_its_sides_say(rect: Rect) -> None:
    """Width times height, from the corner that was given."""
    assert mask(rect).sum() == rect.width_px * rect.height_px
    assert Rect.sized(rect.left, rect.top, rect.width_px, rect.height_px) == rect


@given(one=rects(), other=rects())
def test_hull_of_two_holds_both_and_no_less_would(one: Rect, other: Rect) -> None:
    """Its sides are those of one or the other, and everything of both is in it."""
    hull = one.hull(other)
    for held in (one, other):
        assert hull.holds(held)
        assert held.holds(hull) == (held == hull)
    rows, columns = np.nonzero(mask(one) | mask(other))
    assert hull == Rect(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert one.holds(other) == bool(mask(one)[mask(other)].all())


@given(one=rects(), other=rects())
def test_common_part_is_what_both_hold(one: Rect, other: Rect) -> None:
    """Where they share nothing, a side of it is 0 or less."""
    common = one.common(other)
    shared = mask(one) & mask(other)
    if min(common.width_px, common.height_px) > 0:
        assert np.array_equal(mask(common), shared)
    else:
        assert not shared.any()


@given(rect=rects(), outer=rects())
def test_part_within_another_has_the_same_pixels(rect: Rect, outer: Rect) -> None:
    """Counted from the other's corner, it cuts the same pixels out of what the other cuts out."""
    hull = rect.hull(outer)
    picture = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    assert np.array_equal(picture[hull.slices][rect.within(hull).slices], picture[rect.slices])


@given(rect=rects(), margin=st.integers(0, 4), outer=rects())
def test_expanded_part_stays_inside_its_bounds(rect: Rect, margin: int, outer: Rect) -> None:
    """It reaches so far on each side, and no further than the bounds."""
    bounds = rect.hull(outer)
    expanded = rect.expanded(margin, bounds)
    assert bounds.holds(expanded)
    assert expanded.holds(rect)
    for gap, room in (
        (rect.left - expanded.left, rect.left - bounds.left),
        (rect.top - expanded.top, rect.top - bounds.top),
        (expanded.right - rect.right, bounds.right - rect.right),
        (expanded.bottom - rect.bottom, bounds.bottom - rect.bottom),
    ):
        assert gap == min(margin, room)


@given(rect=rects(), factor=st.integers(1, 5))
def test_dividing_undoes_enlarging_and_loses_no_pixel(rect: Rect, factor: int) -> None:
    """A part that was enlarged comes back; any other is covered by what it comes to."""
    assert rect.times(factor).divided(factor) == rect
    least = rect.divided(factor)
    assert least.times(factor).holds(rect)
    inner = Rect(least.left + 1, least.top, least.right, least.bottom)
    assert not inner.times(factor).holds(rect)


@given(part=rects(), other=rects(), scale=st.integers(1, 4))
def test_part_is_cut_out_of_what_was_made(part: Rect, other: Rect, scale: int) -> None:
    """The enlargement of a hull holds the enlargement of each part, at its place."""
    tile = np.arange(SIDE * SIDE).reshape(SIDE, SIDE, 1)
    hull = part.hull(other)
    made = nearest(tile[hull.slices], scale)
    assert np.array_equal(part.cut(made, hull), nearest(tile[part.slices], scale))
