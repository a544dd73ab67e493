"""Reduces the size of an upscaled picture by arithmetic alone: the step after the network.

There is one filter, which never changes, so that results never change: Lanczos with three lobes (Turkowski, Filters
for Common Resampling Tasks, 1990). It is stretched so that it does not alias, applied to each channel by itself in
floating point, and rounded once at the end. At a factor of two it keeps edges that a box would soften, and rings no
more than a bicubic filter.

Each sample of the result is one sum in a fixed order, whatever is computed beside it. Therefore a part of a result
has exactly the samples of the whole. Libraries change the order of the sum with the window.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from enlarger.geometry.axis import Axis
from enlarger.picture.values import Samples

_BAND_PX = 64
"""Number of result rows that are computed at once, so that the sums stay in the CPU's cache."""

Floats = npt.NDArray[np.float32]


def reduce(samples: Samples, *, rows: Axis, columns: Axis) -> Samples:
    """Reduce (H, W, C), uint8 or uint16, to (rows, columns, C) of the same type."""
    if rows.is_cut and columns.is_cut:
        return samples[
            rows.start - rows.held_from : rows.stop - rows.held_from,
            columns.start - columns.held_from : columns.stop - columns.held_from,
        ]
    most = np.iinfo(samples.dtype).max
    reduced = np.empty(
        (rows.stop - rows.start, columns.stop - columns.start, samples.shape[2]), samples.dtype
    )
    for channel in range(samples.shape[2]):
        low = _summed(samples[:, :, channel], rows)
        narrow = _summed(np.ascontiguousarray(low.T), columns).T
        reduced[:, :, channel] = np.clip(np.rint(narrow), 0, most)
    return reduced


def _summed(plane: Samples, axis: Axis) -> Floats:
    """Return weighted sums of the rows of ``plane``."""
    count = axis.stop - axis.start
    if axis.is_cut:
        first = axis.start - axis.held_from
        return plane[first : first + count].astype(np.float32)
    places, weights = axis.taps()
    sums = np.zeros((count, plane.shape[1]), np.float32)
    for top in range(0, count, _BAND_PX):
        band = slice(top, top + _BAND_PX)
        for tap in range(places.shape[1]):
            sums[band] += weights[band, tap, np.newaxis] * plane[places[band, tap]]
    return sums
