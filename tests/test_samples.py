"""From samples to what a network sees, back, and the check of what it made."""

from __future__ import annotations

import numpy as np
import pytest

from enlarger.engine.samples import Floats, check, to_floats, to_samples
from enlarger.errors import WrongOutput
from enlarger.wire import Pixels


def every_value(dtype: type[np.unsignedinteger]) -> Pixels:
    """All values of a sample, as a picture."""
    most = int(np.iinfo(dtype).max)
    return np.arange(most + 1).astype(dtype).reshape(1, -1, 1).repeat(3, axis=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_samples_become_floats_from_0_to_1(dtype: type[np.unsignedinteger]) -> None:
    """Black is 0 and white is 1, as a batch of one."""
    floats = to_floats(every_value(dtype))
    assert floats.shape == (1, 1, np.iinfo(dtype).max + 1, 3)
    assert floats.dtype == np.float32
    assert floats[0, 0, 0, 0] == 0
    assert floats[0, 0, -1, 0] == 1
    assert (np.diff(floats[0, 0, :, 0]) > 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_sample_survives_the_way_there_and_back(dtype: type[np.unsignedinteger]) -> None:
    """A network that changes nothing gives the samples that went in."""
    pixels = every_value(dtype)
    samples = to_samples(to_floats(pixels), pixels.dtype)
    assert samples.dtype == dtype
    assert np.array_equal(samples, pixels)


def test_output_is_rounded_to_nearest_and_clamped() -> None:
    """Neither cut off nor wrapped around."""
    output = np.array([-1, -0.001, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.001, 7], np.float32)
    samples = to_samples(output.reshape(1, 1, 7, 1), np.dtype(np.uint8))
    assert samples.ravel().tolist() == [0, 0, 0, 1, 255, 255, 255]


def picture(*values: int) -> Pixels:
    """A row of gray pixels."""
    return np.array(values, np.uint8).reshape(1, -1, 1).repeat(3, axis=2)


def output(*values: float) -> Floats:
    """A network's output of these values."""
    return np.array(values, np.float32).reshape(1, 1, -1, 1).repeat(3, axis=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_output_with_one_value_that_is_no_number_is_refused(bad: float) -> None:
    """One such sample among many: the picture must not leave the engine."""
    with pytest.raises(WrongOutput, match="not numbers"):
        check(picture(5, 6), output(0.1, 0.2, bad, 0.3))


def test_constant_output_for_a_picture_is_refused() -> None:
    """A black tile is a known failure of half precision."""
    with pytest.raises(WrongOutput, match="constant"):
        check(picture(0, 17), output(0, 0, 0))


def test_constant_output_for_a_faint_picture_passes() -> None:
    """An input that spans 16 of 255 or less may well become even."""
    check(picture(100, 116), output(0.4, 0.4))
    check(picture(9, 9), output(0.4, 0.4))


def test_span_of_16_bit_samples_is_measured_against_their_own_white() -> None:
    """17 of 65535 is next to nothing; 17 * 257 is a visible span."""
    faint = picture(0, 17).astype(np.uint16)
    check(faint, output(0.4, 0.4))
    with pytest.raises(WrongOutput, match="constant"):
        check(faint * np.uint16(257), output(0.4, 0.4))


def test_output_beyond_the_range_passes() -> None:
    """Networks overshoot at edges; that is clamped later, not refused."""
    check(picture(0, 255), output(-0.2, 1.3))
