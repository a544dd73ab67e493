"""Colours of large areas go back to those of the picture, and nothing else changes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import nearest

from enlarger.geometry.rect import Pixels
from enlarger.picture.colour_lock import MARGIN_PX, ColourLock

Doubles = npt.NDArray[np.float64]

BOX_PX = 17
BLURS = 3

scales = pytest.mark.parametrize("scale", [2, 4])


def samples(*shape: int, low: int = 0, high: int = 65535, seed: int = 0) -> Pixels:
    """Random samples, uint16."""
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.uint16)


def locked(result: Pixels, source: Pixels, scale: int) -> Pixels:
    """A copy of the result, with its colours locked."""
    copy = result.copy()
    *_, settled = ColourLock(copy, source, scale=scale).settle(len(source))
    assert settled == len(source)
    return copy


def color_delta(result: Pixels, source: Pixels, *, scale: int) -> float:
    """What is measured of a result whose colours are not locked."""
    measured = ColourLock(result, source, scale=scale, locked=False)
    *_, settled = measured.settle(len(source))
    assert settled == len(source)
    return measured.color_delta


def block_means(result: Pixels, scale: int) -> Doubles:
    """What each pixel of the source became, (H, W, C)."""
    height, width, channels = result.shape
    blocks = result.reshape(height // scale, scale, width // scale, scale, channels)
    return np.asarray(blocks.mean(axis=(1, 3)))


def blur_matrix(length: int) -> Doubles:
    """(length, length): three sums over the pixels at most eight away, as far as there are any."""
    place = np.arange(length)
    box = (np.abs(place - place[:, np.newaxis]) <= BOX_PX // 2).astype(float)
    return np.asarray(np.linalg.matrix_power(box, BLURS))


def enlarge_matrix(length: int, scale: int) -> Doubles:
    """(length * scale, length): linear interpolation between the centres of pixels."""
    at = (np.arange(length * scale) + 0.5) / scale - 0.5
    columns = [np.interp(at, np.arange(length), one) for one in np.eye(length)]
    return np.stack(columns, axis=1)


def correction(result: Pixels, source: Pixels, scale: int) -> Doubles:
    """What is to be taken off each sample: the drift, averaged over its surroundings and interpolated."""
    height, width, _ = source.shape
    down, across = blur_matrix(height), blur_matrix(width)
    drift = block_means(result, scale) - source
    share = np.outer(down.sum(axis=1), across.sum(axis=1))[:, :, np.newaxis]
    smooth = np.einsum("yh,xw,hwc->yxc", down, across, drift) / share
    rows, columns = enlarge_matrix(height, scale), enlarge_matrix(width, scale)
    return np.asarray(np.einsum("yh,xw,hwc->yxc", rows, columns, smooth))


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    scale=st.sampled_from([1, 2, 3, 4]),
    seed=st.integers(0, 99),
)
def test_smoothed_drift_is_taken_off(
    height: int, width: int, channels: int, scale: int, seed: int
) -> None:
    """Three box means of 17 pixels of what the block means are off, interpolated, rounded and clamped."""
    source = samples(height, width, channels, seed=seed)
    result = samples(height * scale, width * scale, channels, seed=seed + 1)
    exact = np.clip(result - correction(result, source, scale), 0, 65535)
    found = locked(result, source, scale)
    assert found.dtype == np.uint16
    assert np.abs(found - exact).max() <= 0.5 + 0.01  # of 65535: the correction has 24 bits


@scales
@pytest.mark.parametrize("drift", [-3000, -1, 1, 257, 3000])
def test_even_drift_is_taken_off_exactly(drift: int, scale: int) -> None:
    """A result that is too bright or too dark everywhere comes out as if it were not."""
    source = samples(19, 33, 3, low=5000, high=60_000)
    right = nearest(source, scale)
    drifted = (right.astype(np.int64) + drift).astype(np.uint16)
    assert np.array_equal(locked(drifted, source, scale), right)


def test_each_channel_is_locked_by_itself() -> None:
    """A tint is what differs between them."""
    source = samples(12, 12, 3, low=5000, high=60_000)
    right = nearest(source, 2)
    tinted = (right + np.array([900, 0, -700])).astype(np.uint16)
    assert np.array_equal(locked(tinted, source, 2), right)


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    scale=st.sampled_from([2, 4]),
    seed=st.integers(0, 99),
)
def test_result_without_drift_stays_as_it_is(
    height: int, width: int, scale: int, seed: int
) -> None:
    """Bit for bit, also one with detail that the picture does not have."""
    source = samples(height, width, 3, low=8000, high=57_000, seed=seed)
    ripple = np.where(np.indices((height * scale, width * scale)).sum(axis=0) % 2, 7000, -7000)
    result = (nearest(source, scale) + ripple[:, :, np.newaxis]).astype(np.uint16)
    assert np.array_equal(locked(result, source, scale), result)


@scales
def test_detail_has_no_say_in_the_correction(scale: int) -> None:
    """Two results whose blocks have the same means lose the same, to a rounding."""
    source = samples(40, 30, 1, low=20_000, high=40_000)
    rough = samples(40 * scale, 30 * scale, 1, low=20_000, high=50_000, seed=1)
    blocks = rough.reshape(40, scale, 30, scale).transpose(0, 2, 1, 3)[..., ::-1, ::-1]
    turned = blocks.transpose(0, 2, 1, 3).reshape(rough.shape)
    assert not np.array_equal(turned, rough)
    lost = locked(rough, source, scale).astype(int) - rough
    assert np.abs(locked(turned, source, scale).astype(int) - turned - lost).max() <= 1


@scales
def test_detail_of_noise_is_left(scale: int) -> None:
    """What is taken off is smooth: it changes over a block by no more than the blur's steepest slope."""
    source = samples(80, 80, 1, low=20_000, high=40_000)
    result = samples(80 * scale, 80 * scale, 1, low=20_000, high=50_000, seed=1)
    lost = result.astype(int) - locked(result, source, scale)
    worst_drift = np.abs(block_means(result, scale) - source).max()
    # Three boxes of n make a bump of (3 n^2 + 1) / (4 n^3) in its middle; its slopes add up to twice that.
    steepest = 2 * (3 * BOX_PX**2 + 1) / (4 * BOX_PX**3) * worst_drift / scale
    inside = lost[MARGIN_PX * scale : -MARGIN_PX * scale, MARGIN_PX * scale : -MARGIN_PX * scale]
    assert np.ptp(inside) > 100
    assert np.abs(np.diff(inside, axis=0)).max() <= steepest + 1
    assert np.abs(np.diff(inside, axis=1)).max() <= steepest + 1


@st.composite
def cut(draw: st.DrawFn, longest_px: int) -> tuple[int, int]:
    """A part of an axis: first and last."""
    first = draw(st.integers(0, longest_px - 1))
    return first, draw(st.integers(first + 1, longest_px))


@given(rows=cut(75), columns=cut(90), scale=st.sampled_from([2, 4]), seed=st.integers(0, 9))
def test_part_with_its_margin_comes_out_as_in_the_whole(
    rows: tuple[int, int], columns: tuple[int, int], scale: int, seed: int
) -> None:
    """Bit for bit: what is further away than ``MARGIN_PX`` has no say."""
    source = samples(75, 90, 1, seed=seed)
    result = samples(75 * scale, 90 * scale, 1, seed=seed + 1)
    top, bottom = max(0, rows[0] - MARGIN_PX), min(75, rows[1] + MARGIN_PX)
    left, right = max(0, columns[0] - MARGIN_PX), min(90, columns[1] + MARGIN_PX)
    part = locked(
        result[top * scale : bottom * scale, left * scale : right * scale],
        source[top:bottom, left:right],
        scale,
    )
    y, x = (rows[0] - top) * scale, (columns[0] - left) * scale
    height, width = (rows[1] - rows[0]) * scale, (columns[1] - columns[0]) * scale
    whole = locked(result, source, scale)[rows[0] * scale :, columns[0] * scale :]
    assert np.array_equal(part[y : y + height, x : x + width], whole[:height, :width])


@given(
    height=st.integers(1, 120),
    steps=st.lists(st.integers(0, 120), max_size=5),
    scale=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 9),
)
def test_rows_that_come_one_after_the_other_come_out_as_in_the_whole(
    height: int, steps: list[int], scale: int, seed: int
) -> None:
    """Bit for bit, and so does what is left; what is said to be final is, before the next rows are there."""
    source = samples(height, 9, 2, seed=seed)
    result = samples(height * scale, 9 * scale, 2, seed=seed + 1)
    expected = locked(result, source, scale)
    growing = np.zeros_like(result)
    lock = ColourLock(growing, source, scale=scale)
    known = settled = 0
    for complete in [*sorted(min(step, height) for step in steps), height]:
        growing[known * scale : complete * scale] = result[known * scale : complete * scale]
        known = complete
        for settled in lock.settle(complete):
            assert np.array_equal(growing[: settled * scale], expected[: settled * scale])
        assert settled >= complete - MARGIN_PX
    assert settled == height
    assert lock.color_delta == color_delta(expected, source, scale=scale)


@scales
def test_part_of_a_larger_array_is_changed_in_place(scale: int) -> None:
    """Whatever lies between its rows, and that stays as it is."""
    source = samples(30, 20, 3)
    larger = samples(30 * scale, 25 * scale, 3, seed=1)
    expected = larger.copy()
    expected[:, : 20 * scale] = locked(larger[:, : 20 * scale], source, scale)
    *_, settled = ColourLock(larger[:, : 20 * scale], source, scale=scale).settle(30)
    assert settled == 30
    assert np.array_equal(larger, expected)


def test_margin_is_no_wider_than_it_must_be() -> None:
    """A drift that begins at the end of the margin is just felt."""
    source = np.full((1, 60, 1), 30_000, np.uint16)
    result = nearest(source, 2)
    result[:, 2 * MARGIN_PX :] = 0
    changed = np.flatnonzero(locked(result, source, 2)[0, :, 0] != result[0, :, 0])
    assert changed[0] == 1


@scales
@pytest.mark.parametrize("value", [0, 65535])
@pytest.mark.parametrize("drift", [0, 300, 5000])
def test_black_and_white_pictures_become_black_and_white(
    value: int, drift: int, scale: int
) -> None:
    """Whatever the network made of an even area, it ends at the limit that it began at."""
    source = np.full((20, 20, 3), value, np.uint16)
    result = np.full((20 * scale, 20 * scale, 3), abs(value - drift), np.uint16)
    assert np.array_equal(locked(result, source, scale), nearest(source, scale))


@scales
def test_black_and_white_stay_beside_each_other(scale: int) -> None:
    """A result that has them right keeps them, and one that has white wrong gets it back away from the black."""
    source = np.zeros((60, 80, 1), np.uint16)
    source[:, 40:] = 65535
    right = nearest(source, scale)
    assert np.array_equal(locked(right, source, scale), right)
    found = locked(np.minimum(right, 64_000), source, scale)
    assert (found[:, (40 + MARGIN_PX) * scale :] == 65535).all()
    assert (found[:, : (40 - MARGIN_PX) * scale] == 0).all()


@pytest.mark.parametrize("scale", [1, 4, 10, 11])
@pytest.mark.parametrize("made", [0, 65535])
def test_drift_of_all_there_is_is_taken_off(made: int, scale: int) -> None:
    """The largest sums that there can be, with all pixels of a blur: also at scales that need more bits for them."""
    source = np.full((60, 60, 1), 65535 - made, np.uint16)
    result = np.full((60 * scale, 60 * scale, 1), made, np.uint16)
    assert np.array_equal(np.unique(locked(result, source, scale)), [65535 - made])


def test_drift_beyond_the_limits_is_clamped() -> None:
    """Nothing wraps around: a dark result that has to become darker is black where it was dark."""
    source = np.full((5, 5, 1), 1000, np.uint16)
    result = nearest(source, 2) + np.uint16(4000)
    result[4, 4] = 3000
    found = locked(result, source, 2)
    assert found[4, 4] == 0
    assert found.max() < 1100


@pytest.mark.parametrize("scale", [2, 4])
def test_photograph_with_a_tint_gets_its_colours_back(photo: Pixels, scale: int) -> None:
    """A tint that changes slowly over the picture is gone to less than half a code value of 255."""
    source = photo[:256, 100:356].astype(np.uint16) * np.uint16(257)
    right = nearest(source, scale)
    y, x = np.indices(right.shape[:2]) / (256 * scale)
    tint = np.stack([12 * np.cos(3 * x), 9 * y - 12, 8 * np.sin(3 * (x + y))], axis=2) * 257
    tinted = np.clip(np.rint(right + tint), 0, 65535).astype(np.uint16)
    found = locked(tinted, source, scale)
    assert np.abs(tinted.astype(int) - right).mean() / 257 > 5
    assert np.abs(found.astype(int) - right).mean() / 257 < 0.5


@scales
@pytest.mark.parametrize(
    ("drift", "steps"), [(0, 0), (257, 1), (-257, 1), (771, 3), (-64, 64 / 257)]
)
def test_color_delta_of_an_even_drift_is_the_drift(drift: int, steps: float, scale: int) -> None:
    """In steps of 8 bits, whichever way it goes."""
    source = samples(9, 7, 3, low=5000, high=60_000)
    result = (nearest(source, scale).astype(int) + drift).astype(np.uint16)
    assert color_delta(result, source, scale=scale) == pytest.approx(steps)


def test_color_delta_is_the_mean_over_pixels_and_channels() -> None:
    """Differences of opposite signs do not make up for each other."""
    source = np.full((2, 2, 3), 30_000, np.uint16)
    result = nearest(source, 2)
    result[:2, :2, 0] += 257 * 6
    result[2:, 2:, 1] -= 257 * 18
    assert color_delta(result, source, scale=2) == pytest.approx((6 + 18) / 12)


def test_color_delta_knows_no_detail() -> None:
    """What a block has more in one sample than in another is no drift."""
    source = np.full((3, 4, 1), 30_000, np.uint16)
    result = nearest(source, 2)
    result[::2] += 9000
    result[1::2] -= 9000
    assert color_delta(result, source, scale=2) == 0


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.sampled_from([1, 3]),
    scale=st.sampled_from([1, 2, 3, 4]),
    seed=st.integers(0, 99),
)
def test_color_delta_is_the_mean_difference_of_the_averaged_result(
    height: int, width: int, channels: int, scale: int, seed: int
) -> None:
    """As a plain mean of block means finds it."""
    source = samples(height, width, channels, seed=seed)
    result = samples(height * scale, width * scale, channels, seed=seed + 1)
    expected = float(np.abs(block_means(result, scale) - source).mean()) / 257
    assert color_delta(result, source, scale=scale) == pytest.approx(expected)
