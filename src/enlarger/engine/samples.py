"""From samples to what a network sees and back, and the check of what it made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.errors import WrongOutput
from enlarger.wire import Pixels

Floats = npt.NDArray[np.float32]

_VISIBLE_SPAN = 16 / 255
"""An input that spans more than this is not constant."""


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


def check(pixels: Pixels, output: Floats) -> None:
    """Whether ``output`` can be a picture of ``pixels``.

    Raises:
        WrongOutput: a sample is NaN or infinite, or all are equal although the input's are not.
    """
    low, high = float(output.min()), float(output.max())  # NaN in, NaN out
    if not np.isfinite(low) or not np.isfinite(high):
        raise WrongOutput("the network's output has values that are not numbers")
    span = (int(pixels.max()) - int(pixels.min())) / np.iinfo(pixels.dtype).max
    if low == high and span > _VISIBLE_SPAN:
        raise WrongOutput("the network's output is constant although its input is not")
