"""From samples to what a network sees and back, and the proof that what it made is a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.errors import WrongOutput
from enlarger.wire import Pixels

Floats = npt.NDArray[np.float32]

_VISIBLE_SPAN = 16 / 255
"""An input that spans more than this is not constant."""

_FAR = 32 / 255
"""A channel's mean that moves further asks for a second look. Right results may: x4plus moves that of noise and
checkers by more than 100/255."""

_SAME = 4 / 255
"""Mean difference up to which two precisions agree."""

Infer = Callable[[str], Floats]
"""Computes the tile in a precision."""


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


def enlarge_surely(pixels: Pixels, precision: str, infer: Infer) -> tuple[Floats, str, str | None]:
    """A network's output that is a picture of ``pixels``, or an error.

    Args:
        pixels: what the network sees, (H, W, 3).
        precision: what to compute in.
        infer: computes the tile in a precision.

    Returns:
        Output (1, H * scale, W * scale, 3); the precision it was computed in; and why it was computed again in
        f32, if it was: ``not_finite``, ``constant`` or ``mean_moved``. An output that f32 agrees with stands.

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
    agrees = doubt == "mean_moved" and float(np.abs(output - again).mean()) <= _SAME
    return (output, precision, doubt) if agrees else (again, "f32", doubt)


_WRONG = {
    "not_finite": "the network's output has values that are not numbers",
    "constant": "the network's output is constant although its input is not",
}


def _doubt(pixels: Pixels, output: Floats) -> str | None:
    """What speaks against ``output`` being a picture of ``pixels``, or None."""
    low, high = float(output.min()), float(output.max())  # NaN in, NaN out
    if not np.isfinite(low) or not np.isfinite(high):
        return "not_finite"
    most = np.iinfo(pixels.dtype).max
    if low == high and (int(pixels.max()) - int(pixels.min())) / most > _VISIBLE_SPAN:
        return "constant"
    moved = np.abs(output.mean(axis=(0, 1, 2)) - pixels.mean(axis=(0, 1)) / most)
    return "mean_moved" if float(moved.max()) > _FAR else None
