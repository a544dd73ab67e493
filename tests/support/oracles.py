"""Results worked out in another way than the code does, for tests to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.geometry.rect import Pixels

Doubles = npt.NDArray[Any]


def lanczos_matrix(length: int, wanted: int) -> Doubles:
    """Weights (out, in) of Lanczos with three lobes, stretched so that it does not alias.

    Turkowski, Filters for Common Resampling Tasks (1990); at the border the weights that are left
    are scaled to a sum of 1.
    """
    ratio = length / wanted
    centres = (np.arange(wanted) + 0.5) * ratio
    distance = (np.arange(length) + 0.5 - centres[:, np.newaxis]) / ratio
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def lanczos_to(samples: Pixels, width_px: int, height_px: int) -> Doubles:
    """A picture (H, W, C) reduced to a size: two matrix products in double precision, not rounded."""
    height, width, _ = samples.shape
    rows, columns = lanczos_matrix(height, height_px), lanczos_matrix(width, width_px)
    made = np.einsum("yh,xw,hwc->yxc", rows, columns, samples.astype(float), optimize=True)
    return np.asarray(np.clip(made, 0, np.iinfo(samples.dtype).max))


def lanczos(samples: Pixels, factor: int) -> Doubles:
    """The same by a whole factor."""
    height, width, _ = samples.shape
    return lanczos_to(samples, width // factor, height // factor)
