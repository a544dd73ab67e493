"""Changing the size of a finished picture by arithmetic alone: the step from 4x to 2x.

One filter, kept for good, so that results never change: Lanczos with three lobes (Turkowski, Filters for
Common Resampling Tasks, 1990), stretched so that it does not alias, on each channel by itself, rows first
and then columns, in floating point, rounded once at the end. At a factor of two it keeps edges that a box
would soften, and rings no more than a bicubic does.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from enlarger.picture.values import Samples

_BAND_PX = 1024
"""Rows that are floating point at once before they are narrowed."""


def reduce(samples: Samples, *, factor: int) -> Samples:
    """(H, W, C), uint8 or uint16, to (H / factor, W / factor, C); both sides must divide."""
    height, width, channels = samples.shape
    if height % factor or width % factor:
        raise ValueError(f"{width}x{height} does not divide by {factor}")
    most = np.iinfo(samples.dtype).max
    reduced = np.empty((height // factor, width // factor, channels), samples.dtype)
    narrow = np.empty((height, width // factor), np.float32)
    for channel in range(channels):
        for top in range(0, height, _BAND_PX):
            band = samples[top : top + _BAND_PX, :, channel].astype(np.float32)
            narrow[top : top + _BAND_PX] = _lanczos(band, width // factor, len(band))
        low = _lanczos(narrow, width // factor, height // factor)
        reduced[:, :, channel] = np.clip(np.rint(low), 0, most)
    return reduced


def _lanczos(plane: Samples, width: int, height: int) -> Samples:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS))
