"""The ground that a shape was cut from is taken out of its edges; colours of a shape's own stay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import noise

from enlarger.picture.rim import without_ground
from enlarger.picture.values import Samples

SIDE = 64
COLOUR = (150, 40, 60)


Floats = npt.NDArray[np.float64]


def disc(radius_px: float = 20, softness_px: float = 1) -> Floats:
    """Coverage of an anti-aliased disc, 0 to 1, to half a step of 8 bits."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    distance = np.hypot(y - 31.3, x - 30.8)
    cover = np.rint(((radius_px - distance) / softness_px + 0.5).clip(0, 1) * 255) / 255
    return np.asarray(cover)


def shaded(depth: type = np.uint8) -> Floats:
    """Colours that change slowly over the picture, in steps of the depth."""
    ramp = np.linspace(0, 60, SIDE)[:, np.newaxis, np.newaxis]
    most = np.iinfo(depth).max
    return np.asarray((np.array(COLOUR) + np.broadcast_to(ramp, (SIDE, SIDE, 3))) * (most / 255))


def mixed(colour: Floats, cover: Floats, ground: Floats | int, depth: type) -> Samples:
    """The shape on a ground, as a picture shows it before anything is cut out (Porter and Duff's "over")."""
    share = cover[:, :, np.newaxis]
    return np.rint(colour * share + ground * (1 - share)).astype(depth)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("softness_px", [1, 3])
@pytest.mark.parametrize(
    "ground", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (20, 220, 60)], ids=str
)
def test_ground_is_taken_out(ground: tuple[int, int, int], softness_px: float, depth: type) -> None:
    """Sharp edges and soft ones, 8 and 16 bits: where half is to be seen, within 3 steps of the shape's own colour."""
    cover, colour = disc(softness_px=softness_px), shaded(depth)
    most = np.iinfo(depth).max
    alpha: Samples = np.rint(cover * most).astype(depth)
    given = mixed(colour, cover, np.array(ground) * (most / 255), depth)
    edge = (cover > 0) & (cover < 1)
    before = np.abs(given - colour)[edge] * 255 / most
    after = np.abs(without_ground(given, alpha) - colour) * 255 / most
    assert before.mean() > 20
    assert after[edge & (cover > 0.5)].max() <= 3
    assert after[edge].max() <= 12


def test_ground_may_change_along_the_edge() -> None:
    """It is estimated from place to place."""
    cover, colour = disc(), shaded()
    ground = np.linspace(0, 255, SIDE)[np.newaxis, :, np.newaxis] * np.array([1, 0.5, 1])
    given = mixed(colour, cover, ground, np.uint8)
    cleaned = without_ground(given, np.rint(cover * 255).astype(np.uint8))
    edge = (cover > 0) & (cover < 1)
    before, after = (((one - colour)[edge] ** 2).mean() for one in (given.astype(float), cleaned))
    assert after < before / 2


def test_ground_is_taken_out_of_gray_and_of_half_transparent_shapes() -> None:
    """One channel; and a shape that is nowhere opaque has the colour at its edge that it has inside."""
    cover = disc()
    colour = np.full((SIDE, SIDE, 1), 70.0)
    given = mixed(colour, cover, 255, np.uint8)
    for most in (255, 128):
        cleaned = without_ground(given, np.rint(cover * most).astype(np.uint8))
        assert np.abs(cleaned[cover > 0.1].astype(int) - 70).max() <= 5


@given(seed=st.integers(0, 999), softness_px=st.sampled_from([1, 2, 5]))
def test_clean_edges_are_not_touched(seed: int, softness_px: float) -> None:
    """Whatever texture the shape has: the array itself comes back."""
    alpha = np.rint(disc(softness_px=softness_px) * 255).astype(np.uint8)
    colour = noise(SIDE, SIDE, 3, seed=seed)
    assert without_ground(colour, alpha) is colour


@pytest.mark.parametrize("outline", [(0, 0, 0), (255, 255, 255), (20, 20, 20)], ids=str)
@pytest.mark.parametrize("softness_px", [1, 3])
def test_outline_is_not_a_ground(outline: tuple[int, int, int], softness_px: float) -> None:
    """A sticker has a line of one colour around it, which is its own."""
    alpha = np.rint(disc(softness_px=softness_px) * 255).astype(np.uint8)
    inner = disc(radius_px=18)[:, :, np.newaxis]
    colour = np.rint(np.array([250, 190, 40]) * inner + np.array(outline) * (1 - inner))
    samples = colour.astype(np.uint8)
    assert without_ground(samples, alpha) is samples


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_alpha_without_an_edge_needs_nothing(value: int) -> None:
    """It is the same everywhere; also in a single pixel."""
    for size in ((1, 1), (1, 9), (30, 20)):
        colour = noise(*size, 3)
        assert without_ground(colour, np.full(size, value, np.uint8)) is colour


@given(seed=st.integers(0, 99), height=st.integers(1, 30), width=st.integers(1, 30))
def test_only_edges_change(seed: int, height: int, width: int) -> None:
    """What is opaque or hidden keeps its samples, in pictures of any size; the argument is left as it was."""
    random = np.random.default_rng(seed)
    cover = random.choice([0, 0.25, 0.5, 1], (height, width))
    given = np.rint(
        np.array(COLOUR) * cover[..., np.newaxis] + 255 * (1 - cover[..., np.newaxis])
    ).astype(np.uint8)
    alpha = np.rint(cover * 255).astype(np.uint8)
    before = given.copy()
    cleaned = without_ground(given, alpha)
    still = (alpha == 0) | (alpha == 255)
    assert np.array_equal(cleaned[still], before[still])
    assert np.array_equal(given, before)
