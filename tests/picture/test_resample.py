"""The step after the network: one filter, held against an independent one and against its own past."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.oracles import Doubles, lanczos, lanczos_to
from support.pictures import noise

from enlarger.geometry.axis import Axis, whole
from enlarger.geometry.rect import Pixels
from enlarger.picture.resample import reduce

DIGESTS = {
    "wide": "4d11cbd0c07a801359c0f2d52780560193def603c210edfb8fba48d14be00b56",
    "tall": "cae649be605d8ea183e9f67dd6a03eead153627700f89aea016e69ec65d2ebef",
}
"""SHA-256 of what becomes of ``rings()``, 96 x 64, and of its left 24 columns at half their size."""


def reduced_to(samples: Pixels, width_px: int, height_px: int) -> Pixels:
    """The whole, to a size."""
    height, width, _ = samples.shape
    return reduce(samples, rows=whole(height, height_px), columns=whole(width, width_px))


def reduced_by(samples: Pixels, factor: int) -> Pixels:
    """The whole, to a size that divides."""
    height, width, _ = samples.shape
    return reduced_to(samples, width // factor, height // factor)


def difference(made: Pixels | Doubles, samples: Pixels, factor: int) -> float:
    """The largest from the oracle, in code values."""
    return float(np.abs(made - lanczos(samples, factor)).max())


def rings() -> Pixels:
    """A picture made of whole numbers alone: rings that grow finer, in three colours, 96 x 64."""
    y, x = np.mgrid[0:64, 0:96]
    square = (x - 40) ** 2 + (y - 30) ** 2
    values = np.stack([square // 8, square // 3, x * y // 5], axis=2)
    return (values % 256).astype(np.uint8)


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.integers(1, 4),
    factor=st.sampled_from([2, 4]),
    depth=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 99),
)
def test_reduction_is_lanczos_rounded_once(
    height: int, width: int, channels: int, factor: int, depth: type[np.unsignedinteger], seed: int
) -> None:
    """Each sample is within half a code value of the filter's, for any picture, however small or harsh."""
    most = np.iinfo(depth).max
    samples = (noise(height * factor, width * factor, channels, seed=seed) / 255 * most).astype(
        depth
    )
    reduced = reduced_by(samples, factor)
    assert reduced.shape == (height, width, channels)
    assert reduced.dtype == depth
    assert difference(reduced, samples, factor) <= 0.5 + most * 1e-6


def test_photograph_is_reduced_as_the_filter_says(photo: Pixels) -> None:
    """Within half a code value."""
    assert difference(reduced_by(photo, 2), photo, 2) <= 0.501


def test_tall_picture_is_reduced_as_the_filter_says() -> None:
    """Also one that is taken in several bands of rows."""
    samples = noise(2500, 6, 1)
    assert difference(reduced_by(samples, 2), samples, 2) <= 0.501


@pytest.mark.parametrize("other", ["box", "nearest"])
def test_another_filter_would_be_noticed(photo: Pixels, other: str) -> None:
    """The comparison above tells Lanczos from what is near."""
    wide = photo.astype(float)
    made = wide[::2, ::2]
    if other == "box":
        made = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]) / 4
    assert difference(made, photo, 2) > 20


@given(
    value=st.integers(0, 255),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    factor=st.sampled_from([2, 4]),
)
def test_flat_stays_flat(value: int, height: int, width: int, factor: int) -> None:
    """An even area keeps its value to the last bit, at the border too."""
    samples = np.full((height * factor, width * factor, 1), value, np.uint8)
    assert (reduced_by(samples, factor) == value).all()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_do_not_touch_one_another(channels: int) -> None:
    """Each is reduced as if it were alone: transparency does not darken colour, nor the reverse."""
    samples = noise(20, 28, channels)
    reduced = reduced_by(samples, 2)
    for channel in range(channels):
        alone = reduced_by(samples[:, :, channel : channel + 1], 2)
        assert np.array_equal(reduced[:, :, channel : channel + 1], alone)


def test_colour_under_full_transparency_stays() -> None:
    """Alpha is not multiplied in: who makes the pixels opaque again finds what was there."""
    samples = np.full((8, 8, 4), 200, np.uint8)
    samples[:, :, 3] = 0
    reduced = reduced_by(samples, 2)
    assert (reduced[:, :, :3] == 200).all()
    assert (reduced[:, :, 3] == 0).all()


@pytest.mark.parametrize(("shape", "width"), [("wide", 96), ("tall", 24)])
def test_results_do_not_change_from_version_to_version(shape: str, width: int) -> None:
    """The same input gives the same bytes, this year and next; a new digest is a change that users see."""
    reduced = reduced_by(rings()[:, :width], 2)
    assert reduced.shape == (32, width // 2, 3)
    assert hashlib.sha256(reduced.tobytes()).hexdigest() == DIGESTS[shape]


def test_picture_that_is_a_view_is_reduced_as_its_copy() -> None:
    """Memory order plays no part, and the input is left as it was."""
    samples = noise(24, 16, 3)
    before = samples.copy()
    turned = samples.swapaxes(0, 1)[:, ::-1]
    assert np.array_equal(reduced_by(turned, 2), reduced_by(np.ascontiguousarray(turned), 2))
    assert np.array_equal(samples, before)


def test_factor_of_one_changes_nothing() -> None:
    """At whole numbers the filter is 1 in the middle and 0 elsewhere."""
    samples = noise(9, 7, 3)
    assert np.array_equal(reduced_by(samples, 1), samples)


SIZES = [(17, 11), (23, 29), (1, 1), (24, 30), (23, 30)]


@pytest.mark.parametrize(("width_px", "height_px"), SIZES)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_any_size_is_lanczos(
    width_px: int, height_px: int, depth: type[np.unsignedinteger]
) -> None:
    """Also where the sides do not divide, and where only one of them changes."""
    samples = noise(30, 24, 3).astype(depth) * depth(np.iinfo(depth).max // 255)
    reduced = reduced_to(samples, width_px, height_px)
    assert reduced.shape == (height_px, width_px, 3)
    assert reduced.dtype == depth
    expected = lanczos_to(samples, width_px, height_px)
    assert np.abs(reduced - expected).max() <= 0.5 + np.iinfo(depth).max * 1e-6


@st.composite
def parts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Length of an axis, of its result, and a part of that."""
    length = draw(st.integers(1, 90))
    wanted = draw(st.integers(-(-length // 6), length))
    start = draw(st.integers(0, wanted - 1))
    return length, wanted, start, draw(st.integers(start + 1, wanted))


@given(down=parts(), across=parts(), depth=st.sampled_from([np.uint8, np.uint16]))
def test_part_has_exactly_the_pixels_of_the_whole(
    down: tuple[int, int, int, int],
    across: tuple[int, int, int, int],
    depth: type[np.unsignedinteger],
) -> None:
    """From no more of the picture than the filter sees, and with whatever lies beside it left out."""
    random = np.random.default_rng(down[0] * 91 + across[0])
    samples = random.integers(0, np.iinfo(depth).max + 1, (down[0], across[0], 2)).astype(depth)
    everything = reduced_to(samples, across[1], down[1])
    axes, cuts = [], []
    for length, wanted, start, stop in (down, across):
        axis = Axis(length, wanted, start, stop)
        first = max(0, start * length // wanted - axis.reach_px)
        cuts.append(slice(first, min(length, -(-stop * length // wanted) + axis.reach_px)))
        axes.append(Axis(length, wanted, start, stop, held_from=first))
    part = reduce(samples[tuple(cuts)], rows=axes[0], columns=axes[1])
    assert np.array_equal(part, everything[down[2] : down[3], across[2] : across[3]])
