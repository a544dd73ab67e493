"""From samples to what a network sees and back, and the proof that what it made is a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.errors import WrongOutput
from enlarger.geometry.rect import Pixels

Floats = npt.NDArray[np.float32]

_VISIBLE_SPAN = 16 / 255
"""An input that spans more than this is not constant."""

_FAR = 32 / 255
"""A channel's mean that moves further asks for a second look. Right results may: x4plus moves that of noise and
checkers by more than 100/255."""

_SAME = 4 / 255
"""Mean difference up to which two precisions agree."""


def to_floats(pixels: Pixels) -> Floats:
    """RGB uint8 or uint16 (H, W, 3) to [0, 1] as (1, H, W, 3)."""
    return np.divide(pixels[np.newaxis], np.iinfo(pixels.dtype).max, dtype=np.float32)


def to_samples(output: Floats, dtype: np.dtype[Any]) -> Pixels:
    """A network's output (1, H, W, 3) to samples (H, W, 3): rounded to nearest, clamped. Overwrites ``output``."""
    largest = np.iinfo(dtype).max
    np.multiply(output, largest, out=output)
    np.rint(output, out=output)
    np.clip(output, 0, largest, out=output)
    samples: Pixels = output[0].astype(dtype)
    return samples


class Output:
    """What a network makes of a tile: samples, taken as they come, and what the values were before.

    Args:
        height_px: rows of the result.
        width_px: columns of the result.
        dtype: of the samples.
    """

    def __init__(self, height_px: int, width_px: int, dtype: np.dtype[Any]) -> None:
        self.samples: Pixels = np.empty((height_px, width_px, 3), dtype)
        self.low = np.float32(np.inf)
        """Smallest value so far; NaN if there is one."""

        self.high = np.float32(-np.inf)
        """Largest value so far; NaN if there is one."""

        self._sum = np.zeros(3)
        self._rows = 0

    @property
    def is_finite(self) -> bool:
        """Whether all values so far are numbers."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The mean of each channel."""
        mean: npt.NDArray[np.float64] = self._sum / (self._rows * self.samples.shape[1])
        return mean

    @classmethod
    def joined(cls, one: Output, other: Output, *, axis: int) -> Output:
        """Two complete outputs as one: the other one below (axis 0) or beside (axis 1) the first."""
        samples = np.concatenate((one.samples, other.samples), axis=axis)
        whole = cls(0, samples.shape[1], samples.dtype)
        whole.samples = samples
        whole.low, whole.high = np.minimum(one.low, other.low), np.maximum(one.high, other.high)
        whole._sum, whole._rows = one._sum + other._sum, samples.shape[0]
        return whole

    def take(self, strip: Floats) -> None:
        """The next rows from the top, (1, H, W, 3). Overwrites ``strip``."""
        self.low = np.minimum(self.low, strip.min())  # NaN in, NaN out
        self.high = np.maximum(self.high, strip.max())
        if not self.is_finite:
            return  # nobody will want the samples, and a NaN cannot be one
        self._sum += strip.sum(axis=(0, 1, 2), dtype=np.float64)
        rows = strip.shape[1]
        self.samples[self._rows : self._rows + rows] = to_samples(strip, self.samples.dtype)
        self._rows += rows


Infer = Callable[[str], Output]
"""Computes the tile in a precision."""


def infer_checked(pixels: Pixels, precision: str, infer: Infer) -> tuple[Output, str, str | None]:
    """A network's output that is a picture of ``pixels``, or an error.

    Args:
        pixels: what is to be enlarged, (H, W, 3).
        precision: what to compute in.
        infer: computes the tile in a precision.

    Returns:
        The output; the precision it was computed in; and why it was computed again in f32, if it was:
        ``not_finite``, ``constant`` or ``mean_moved``. An output that f32 agrees with stands.

    Raises:
        WrongOutput: also in f32 a sample is NaN or infinite, or all are equal although the input's are not.
    """
    output = infer(precision)
    doubt = _doubt(pixels, output)
    if doubt is None or (doubt == "mean_moved" and precision == "f32"):
        return output, precision, None
    if precision == "f32":
        raise WrongOutput(_WRONG[doubt])
    again = infer("f32")
    doubt_again = _doubt(pixels, again)
    if doubt_again in _WRONG:
        raise WrongOutput(_WRONG[doubt_again])
    agrees = doubt == "mean_moved" and _distance(output.samples, again.samples) <= _SAME
    return (output, precision, doubt) if agrees else (again, "f32", doubt)


_WRONG = {
    "not_finite": "the network's output has values that are not numbers",
    "constant": "the network's output is constant although its input is not",
}


def _doubt(pixels: Pixels, output: Output) -> str | None:
    """What speaks against ``output`` being a picture of ``pixels``, or None."""
    if not output.is_finite:
        return "not_finite"
    most = np.iinfo(pixels.dtype).max
    if output.low == output.high and (int(pixels.max()) - int(pixels.min())) / most > _VISIBLE_SPAN:
        return "constant"
    moved = np.abs(output.mean - pixels.mean(axis=(0, 1)) / most)
    return "mean_moved" if float(moved.max()) > _FAR else None


def _distance(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference, with white as 1."""
    larger, smaller = np.maximum(one, other), np.minimum(one, other)
    return float((larger - smaller).mean() / np.iinfo(one.dtype).max)
