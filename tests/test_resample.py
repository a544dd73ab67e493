"""The step from 4x to 2x: one filter, held against an independent one and against its own past."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import Doubles, lanczos
from pictures import noise

from enlarger.picture.resample import reduce
from enlarger.wire import Pixels

DIGESTS = {
    "wide": "4d11cbd0c07a801359c0f2d52780560193def603c210edfb8fba48d14be00b56",
    "tall": "cae649be605d8ea183e9f67dd6a03eead153627700f89aea016e69ec65d2ebef",
}
"""SHA-256 of what becomes of ``rings()``, 96 x 64, and of its left 24 columns at half their size."""


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
    """Of any picture, however small or harsh, each sample is within half a code value of the filter's."""
    most = np.iinfo(depth).max
    samples = (noise(height * factor, width * factor, channels, seed=seed) / 255 * most).astype(
        depth
    )
    reduced = reduce(samples, factor=factor)
    assert reduced.shape == (height, width, channels)
    assert reduced.dtype == depth
    assert difference(reduced, samples, factor) <= 0.5 + most * 1e-6


def test_photograph_is_reduced_as_the_filter_says(photo: Pixels) -> None:
    """Within half a code value."""
    assert difference(reduce(photo, factor=2), photo, 2) <= 0.501


def test_tall_picture_is_reduced_as_the_filter_says() -> None:
    """Also one that is taken in several bands of rows."""
    samples = noise(2500, 6, 1)
    assert difference(reduce(samples, factor=2), samples, 2) <= 0.501


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
    assert (reduce(samples, factor=factor) == value).all()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_do_not_touch_one_another(channels: int) -> None:
    """Each is reduced as if it were alone: transparency does not darken colour, nor the reverse."""
    samples = noise(20, 28, channels)
    reduced = reduce(samples, factor=2)
    for channel in range(channels):
        alone = reduce(samples[:, :, channel : channel + 1], factor=2)
        assert np.array_equal(reduced[:, :, channel : channel + 1], alone)


def test_colour_under_full_transparency_stays() -> None:
    """Alpha is not multiplied in: who makes the pixels opaque again finds what was there."""
    samples = np.full((8, 8, 4), 200, np.uint8)
    samples[:, :, 3] = 0
    reduced = reduce(samples, factor=2)
    assert (reduced[:, :, :3] == 200).all()
    assert (reduced[:, :, 3] == 0).all()


@pytest.mark.parametrize(("shape", "width"), [("wide", 96), ("tall", 24)])
def test_results_do_not_change_from_version_to_version(shape: str, width: int) -> None:
    """The same input gives the same bytes, this year and next; a new digest is a change that users see."""
    reduced = reduce(rings()[:, :width], factor=2)
    assert reduced.shape == (32, width // 2, 3)
    assert hashlib.sha256(reduced.tobytes()).hexdigest() == DIGESTS[shape]


def test_picture_that_is_a_view_is_reduced_as_its_copy() -> None:
    """Memory order plays no part, and the input is left as it was."""
    samples = noise(24, 16, 3)
    before = samples.copy()
    turned = samples.swapaxes(0, 1)[:, ::-1]
    assert np.array_equal(reduce(turned, factor=2), reduce(np.ascontiguousarray(turned), factor=2))
    assert np.array_equal(samples, before)


def test_factor_of_one_changes_nothing() -> None:
    """At whole numbers the filter is 1 in the middle and 0 elsewhere."""
    samples = noise(9, 7, 3)
    assert np.array_equal(reduce(samples, factor=1), samples)


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(5, 4, 2), (4, 5, 2), (1, 1, 2), (6, 8, 4), (8, 6, 4)]
)
def test_sides_that_do_not_divide_are_refused(height: int, width: int, factor: int) -> None:
    """A mistake of the caller: 4x of anything divides by two."""
    with pytest.raises(ValueError, match=f"{width}x{height} does not divide by {factor}"):
        reduce(noise(height, width, 3), factor=factor)
