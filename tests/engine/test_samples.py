"""From samples to what a network sees, back, and the proof that what it made is a picture."""

from __future__ import annotations

import numpy as np
import pytest

from enlarger.engine.samples import Floats, Output, infer_checked, to_floats, to_samples
from enlarger.errors import WrongOutput
from enlarger.geometry.rect import Pixels


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


def row(*values: float) -> Floats:
    """A row of gray values, as a network makes them."""
    return np.array(values, np.float32).reshape(1, 1, -1, 1).repeat(3, axis=3)


def taken(*strips: Floats, dtype: type[np.unsignedinteger] = np.uint8) -> Output:
    """Strips as one output."""
    height = sum(strip.shape[1] for strip in strips)
    taken = Output(height, strips[0].shape[2], np.dtype(dtype))
    for strip in strips:
        taken.take(strip.copy())
    return taken


def output(*values: float) -> Output:
    """A network's output of these values."""
    return taken(row(*values))


@pytest.mark.parametrize("cuts", [[4], [1, 3], [1, 1, 1, 1]], ids=["whole", "two", "rows"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_output_is_the_same_in_strips(cuts: list[int], dtype: type[np.unsignedinteger]) -> None:
    """Samples, extremes and mean are those of all rows, however these come."""
    values = np.random.default_rng(1).normal(0.5, 0.4, (1, 4, 6, 3)).astype(np.float32)
    found = taken(*np.split(values, np.cumsum(cuts)[:-1], axis=1), dtype=dtype)
    assert np.array_equal(found.samples, to_samples(values.copy(), np.dtype(dtype)))
    assert (found.low, found.high) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(axis=(0, 1, 2)), rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_value_that_is_no_number_is_found_in_any_strip(bad: float, place: int) -> None:
    """Among the first, the last or between."""
    strips = [row(0.1, 0.2), row(0.3, 0.4), row(0.5, 0.6)]
    assert taken(*strips).is_finite
    strips[place][0, 0, 1, 2] = bad
    assert not taken(*strips).is_finite


class Runtime:
    """Answers with one output per precision, and notes what it was asked for."""

    def __init__(self, **outputs: Output) -> None:
        self._outputs = outputs
        self.asked: list[str] = []

    def __call__(self, precision: str) -> Output:
        """The output of that precision."""
        self.asked.append(precision)
        return self._outputs[precision]


NOT_FINITE = output(0.1, np.nan, 0.3, 0.3)
INFINITE = output(0.1, 0.2, -np.inf, 0.3)
BLACK = output(0, 0, 0, 0)
GOOD = output(0.1, 0.2, 0.3, 0.4)
SEEN = picture(26, 51, 77, 102)
"""Pixels whose mean is that of ``GOOD``."""


def test_good_output_is_computed_once() -> None:
    """Nothing speaks against it."""
    runtime = Runtime(bf16=GOOD)
    found, precision, repeated = infer_checked(SEEN, "bf16", runtime)
    assert found is GOOD
    assert (precision, repeated, runtime.asked) == ("bf16", None, ["bf16"])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(NOT_FINITE, "not_finite"), (INFINITE, "not_finite"), (BLACK, "constant")],
    ids=["nan", "infinite", "black"],
)
def test_output_that_is_no_picture_is_computed_again_in_f32(bad: Output, reason: str) -> None:
    """The known failures of half precision cost time, not the picture, and are told."""
    runtime = Runtime(bf16=bad, f32=GOOD)
    found, precision, repeated = infer_checked(SEEN, "bf16", runtime)
    assert found is GOOD
    assert (precision, repeated, runtime.asked) == ("f32", reason, ["bf16", "f32"])


@pytest.mark.parametrize("first", ["bf16", "f32"])
@pytest.mark.parametrize(
    ("bad", "text"),
    [(NOT_FINITE, "not numbers"), (INFINITE, "not numbers"), (BLACK, "constant")],
    ids=["nan", "infinite", "black"],
)
def test_output_that_is_no_picture_in_f32_either_is_an_error(
    first: str, bad: Output, text: str
) -> None:
    """Never a black picture that looks like a result."""
    runtime = Runtime(bf16=bad, f32=bad)
    with pytest.raises(WrongOutput, match=text):
        infer_checked(SEEN, first, runtime)


def test_mean_that_moved_far_stands_if_f32_agrees() -> None:
    """Noise and checkers move it by a hundred code values, rightly."""
    bright, nearly = output(0.9, 0.8, 0.9, 0.8), output(0.9, 0.8, 0.9, 0.81)
    found, precision, repeated = infer_checked(SEEN, "bf16", Runtime(bf16=bright, f32=nearly))
    assert found is bright
    assert (precision, repeated) == ("bf16", "mean_moved")


def test_mean_that_moved_far_gives_way_if_f32_differs() -> None:
    """Then half precision was at fault."""
    bright = output(0.9, 0.8, 0.9, 0.8)
    found, precision, repeated = infer_checked(SEEN, "bf16", Runtime(bf16=bright, f32=GOOD))
    assert found is GOOD
    assert (precision, repeated) == ("f32", "mean_moved")


def test_mean_of_one_channel_is_enough() -> None:
    """A colour cast leaves the brightness as it is."""
    cast = row(0.1, 0.2, 0.3, 0.4)
    cast[..., 2] += 0.15
    runtime = Runtime(bf16=taken(cast), f32=taken(cast))
    _, _, repeated = infer_checked(SEEN, "bf16", runtime)
    assert repeated == "mean_moved"


def test_mean_that_moved_in_f32_stands() -> None:
    """There is nothing surer to compare with."""
    bright = output(0.9, 0.8, 0.9, 0.8)
    runtime = Runtime(f32=bright)
    assert infer_checked(SEEN, "f32", runtime) == (bright, "f32", None)
    assert runtime.asked == ["f32"]


@pytest.mark.parametrize("pixels", [picture(100, 116), picture(102, 102)], ids=["faint", "even"])
def test_constant_output_for_a_faint_picture_passes(pixels: Pixels) -> None:
    """An input that spans 16 of 255 or less may well become even."""
    assert infer_checked(pixels, "f32", Runtime(f32=output(0.4, 0.4)))[2] is None


def test_span_of_16_bit_samples_is_measured_against_their_own_white() -> None:
    """17 of 65535 is next to nothing; 17 * 257 is a visible span."""
    faint = picture(0, 17).astype(np.uint16)
    flat = Runtime(f32=output(0.0, 0.0))
    assert infer_checked(faint, "f32", flat)[2] is None
    with pytest.raises(WrongOutput, match="constant"):
        infer_checked(faint * np.uint16(257), "f32", flat)


def test_output_beyond_the_range_passes() -> None:
    """Networks overshoot at edges; that is clamped later, not refused."""
    assert infer_checked(picture(0, 255), "bf16", Runtime(bf16=output(-0.2, 1.3)))[2] is None
