"""Colour under transparency: what is seen stays, what is hidden takes the colour beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import noise

from enlarger.picture.bleed import bleed_colour
from enlarger.picture.values import Samples

Depth = type[np.unsignedinteger[Any]]

SIZES = [(1, 2), (2, 1), (1, 9), (9, 1), (1, 64), (64, 1), (2, 2), (3, 5), (8, 8), (17, 31)]
"""Height and width: rows and columns of one pixel, odd sides, powers of two and others."""

DEPTHS: list[Depth] = [np.uint8, np.uint16]

depths = pytest.mark.parametrize("depth", DEPTHS)


@st.composite
def covered(draw: st.DrawFn) -> tuple[Samples, Samples]:
    """Colour with 1 or 3 channels, of few values or of all, and an alpha that hides some of it."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    depth = draw(st.sampled_from(DEPTHS))
    most = int(np.iinfo(depth).max)
    low, high = sorted(draw(st.tuples(st.integers(0, most), st.integers(0, most))))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    colour = random.integers(low, high + 1, (height, width, draw(st.sampled_from([1, 3]))))
    hidden = random.random((height, width)) < draw(st.sampled_from([0.05, 0.5, 0.95, 1]))
    hidden.flat[random.integers(height * width)] = False
    alpha = np.where(hidden, 0, random.integers(1, most + 1, (height, width)))
    # What is hidden may be anything, black and white above all.
    colour[hidden] = random.choice([0, most])
    return colour.astype(depth), alpha.astype(depth)


def one_pixel(size: tuple[int, int], at: tuple[int, int], depth: Depth) -> Samples:
    """An alpha that shows one pixel."""
    alpha = np.zeros(size, depth)
    alpha[at] = 1
    return alpha


def box_mean(samples: Samples, side: int) -> np.ndarray[Any, Any]:
    """Means over all squares of ``side`` pixels."""
    squares = np.lib.stride_tricks.sliding_window_view(samples, (side, side), axis=(0, 1))
    return np.asarray(squares.mean(axis=(-2, -1)))


@given(picture=covered())
def test_visible_pixels_stay_as_they_are(picture: tuple[Samples, Samples]) -> None:
    """Bit for bit, however faint they are."""
    colour, alpha = picture
    before = colour.copy()
    filled = bleed_colour(colour, alpha)
    assert filled.dtype == colour.dtype
    assert filled.shape == colour.shape
    assert np.array_equal(filled[alpha > 0], before[alpha > 0])
    assert np.array_equal(colour, before)


@given(picture=covered())
def test_hidden_pixels_take_nothing_but_visible_colours(picture: tuple[Samples, Samples]) -> None:
    """Each channel stays between the least and the most that is seen of it: no black, no white comes in."""
    colour, alpha = picture
    filled = bleed_colour(colour, alpha).reshape(-1, colour.shape[2])
    seen = colour[alpha > 0]
    assert (filled >= seen.min(axis=0)).all()
    assert (filled <= seen.max(axis=0)).all()


@given(picture=covered(), seed=st.integers(0, 99))
def test_what_was_hidden_does_not_matter(picture: tuple[Samples, Samples], seed: int) -> None:
    """Two pictures that look alike become the same."""
    colour, alpha = picture
    other = np.where(alpha[:, :, np.newaxis] > 0, colour, noise(*colour.shape, seed=seed))
    assert np.array_equal(
        bleed_colour(colour, alpha), bleed_colour(other.astype(colour.dtype), alpha)
    )


@depths
def test_picture_without_hidden_pixels_is_not_touched(depth: Depth) -> None:
    """The array itself comes back: there is nothing to do, also where all is nearly transparent."""
    colour = noise(7, 5, 3).astype(depth)
    assert bleed_colour(colour, np.ones((7, 5), depth)) is colour


@depths
def test_picture_of_hidden_pixels_alone_is_not_touched(depth: Depth) -> None:
    """There is no colour to spread."""
    colour = noise(7, 5, 3).astype(depth)
    before = colour.copy()
    assert np.array_equal(bleed_colour(colour, np.zeros((7, 5), depth)), before)


@depths
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corner", [(0, 0), (-1, -1)], ids=["first", "last"])
def test_single_visible_pixel_gives_its_colour_to_all(
    size: tuple[int, int], corner: tuple[int, int], depth: Depth
) -> None:
    """However far the others are, in pictures of any shape."""
    most = int(np.iinfo(depth).max)
    seen = np.array([1, most // 3, most], depth)
    colour = np.zeros((*size, 3), depth)
    colour[corner] = seen
    filled = bleed_colour(colour, one_pixel(size, corner, depth))
    assert np.array_equal(filled, np.broadcast_to(seen, (*size, 3)))


def test_fill_is_rounded_to_nearest() -> None:
    """Three visible pixels of a square of four give the last one their mean: 32 / 3 is nearly 11."""
    colour = np.array([[10, 11], [11, 200]], np.uint8)[:, :, np.newaxis]
    filled = bleed_colour(colour, np.array([[255, 255], [255, 0]], np.uint8))
    assert filled[:, :, 0].tolist() == [[10, 11], [11, 11]]


@given(
    left=st.integers(1, 40), gap=st.integers(8, 60), right=st.integers(1, 40), upright=st.booleans()
)
def test_fill_beside_an_edge_is_closer_to_that_edge_than_to_the_other(
    left: int, gap: int, right: int, upright: bool
) -> None:
    """Between a red and a blue stripe, hidden pixels at the red one are more red than blue."""
    length = left + gap + right
    colour = np.zeros((6, length, 3), np.uint8)
    colour[:, :left, 0] = 255
    colour[:, length - right :, 2] = 255
    alpha = np.full((6, length), 255, np.uint8)
    alpha[:, left : left + gap] = 0
    axes = (1, 0) if upright else (0, 1)
    filled = bleed_colour(colour.transpose(*axes, 2), alpha.transpose(axes)).transpose(*axes, 2)
    red, blue = filled[:, :, 0].astype(int), filled[:, :, 2].astype(int)
    assert (red[:, left] > blue[:, left]).all()
    assert (red[:, left + gap - 1] < blue[:, left + gap - 1]).all()


def disc(colour: int, hidden: int) -> tuple[Samples, Samples]:
    """A disc of 60 pixels across in a square of 99, and its alpha."""
    y, x = np.mgrid[0:99, 0:99]
    inside = (x - 45) ** 2 + (y - 52) ** 2 < 30**2
    samples = np.where(inside, colour, hidden).astype(np.uint8)[:, :, np.newaxis]
    return samples.repeat(3, axis=2), np.where(inside, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("hidden", [0, 255])
def test_disc_has_no_fringe_where_a_filter_mixes_it_with_its_surroundings(hidden: int) -> None:
    """Its edge keeps its colour, neither darkened by hidden black nor lightened by hidden white."""
    colour, alpha = disc(180, hidden)
    seen = box_mean(alpha, 5) > 0
    assert np.abs(box_mean(colour, 5)[seen] - 180).max() > 70
    assert np.array_equal(box_mean(bleed_colour(colour, alpha), 5), np.full((95, 95, 3), 180.0))


def test_shaded_disc_keeps_its_shades_to_the_edge() -> None:
    """Hidden pixels next to it go on in the colour that it has a few pixels from there, not in its mean."""
    _, alpha = disc(0, 0)
    shade = np.broadcast_to(np.arange(99, dtype=np.uint8) * 2, (99, 99))[:, :, np.newaxis]
    filled = bleed_colour(np.where(alpha[:, :, np.newaxis] > 0, shade, 0).astype(np.uint8), alpha)
    near = (alpha == 0) & (np.pad(box_mean(alpha, 3), 1) > 0)
    difference = filled[near].astype(int) - shade[near].astype(int)
    assert np.abs(difference).max() <= 12  # six pixels of the shade
