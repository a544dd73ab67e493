"""Keeping the colours: the networks drift, so the low frequencies of a result are set back to the input's.

The result is averaged to the input's size, and what differs there is smoothed until no detail is left in
it, enlarged, and taken off (the idea: github.com/Tencent/Real-SR, issue 6). What differs is worked out in
whole numbers, and a pixel depends on its ``MARGIN_PX`` neighbours alone: so a part of a picture
comes out exactly as it does in the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.picture.values import Samples

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_RADIUS_PX = 8
_BAND_PX = 8

_BLURS = 3
"""Box blurs of 17 px in a row: nearly a Gaussian with a deviation of 8.5 px."""

MARGIN_PX = _RADIUS_PX * _BLURS + 1
"""LR pixels around a pixel that its correction depends on: those of the blurs, and one to interpolate."""


def lock(result: Samples, source: Samples, *, scale: int) -> None:
    """Take the drift off ``result``, in place.

    Args:
        result: (H * scale, W * scale, C), uint16.
        source: (H, W, C), uint16: what was enlarged.
        scale: HR pixels per LR pixel along an edge.
    """
    drift = _drift(result, source, scale)
    weight = _blurred(np.ones(source.shape[:2], np.int64)) * scale**2
    smooth = np.empty(source.shape, np.float32)
    for channel in range(source.shape[2]):
        smooth[:, :, channel] = _blurred(drift[:, :, channel].astype(np.int64)) / weight
    _subtract(result, smooth, scale)


def color_delta(result: Samples, source: Samples, *, scale: int) -> float:
    """Mean absolute difference of the result, averaged to the source's size, from the source, in 8-bit steps."""
    drift = _drift(result, source, scale)
    return float(np.abs(drift).sum()) / source.size / scale**2 / 257


def _drift(result: Samples, source: Samples, scale: int) -> npt.NDArray[np.int32]:
    """(H, W, C): how much more a pixel's block sums up to than it would if each sample were the pixel."""
    height, width, channels = source.shape
    drift = np.empty(source.shape, np.int32)
    # In bands, here and below: what is worked on stays in the processor's cache, and takes no memory to speak of.
    for top in range(0, height, _BAND_PX):
        low = source[top : top + _BAND_PX]
        high = result[top * scale : (top + len(low)) * scale]
        rows = np.asarray(sum(high[phase::scale].astype(np.int32) for phase in range(scale)))
        blocks = rows.reshape(len(low), width, scale, channels)
        sums = np.asarray(sum(blocks[:, :, phase] for phase in range(scale)))
        drift[top : top + len(low)] = sums - low.astype(np.int32) * scale**2
    return drift


def _blurred(plane: Integers) -> Integers:
    """Sums over boxes, ``_BLURS`` times in a row, of what lies within the plane."""
    for _ in range(_BLURS):
        for axis in (0, 1):
            plane = _box_sums(plane, axis)
    return plane


def _box_sums(plane: Integers, axis: int) -> Integers:
    length = plane.shape[axis]
    padded: Any = [(0, 0), (0, 0)]
    padded[axis] = (_RADIUS_PX + 1, _RADIUS_PX)
    sums = np.pad(plane, padded)
    np.cumsum(sums, axis=axis, out=sums)
    reach = 2 * _RADIUS_PX + 1
    if axis == 0:
        return sums[reach : reach + length] - sums[:length]
    return sums[:, reach : reach + length] - sums[:, :length]


def _subtract(result: Samples, smooth: Floats, scale: int) -> None:
    """``result`` less ``smooth`` enlarged by linear interpolation, in whole numbers."""
    height, width, channels = smooth.shape
    most = np.iinfo(result.dtype).max
    for top in range(0, height, _BAND_PX):
        bottom = min(top + _BAND_PX, height)
        for row_phase in range(scale):
            band = _between(smooth, row_phase, scale, axis=0, start=top, stop=bottom)
            correction = np.empty((bottom - top, width, scale, channels), np.int32)
            for column_phase in range(scale):
                correction[:, :, column_phase] = np.rint(
                    _between(band, column_phase, scale, axis=1, start=0, stop=width)
                )
            target = result[top * scale + row_phase : bottom * scale : scale]
            kept = target - correction.reshape(bottom - top, -1, channels)
            target[:] = np.clip(kept, 0, most)


def _between(values: Floats, phase: int, scale: int, *, axis: int, start: int, stop: int) -> Floats:
    """Rows or columns of ``values``, each taken at the place of one of the ``scale`` that it becomes."""
    offset = (phase + 0.5) / scale - 0.5  # from its centre: the same in every window
    share = np.float32(abs(offset))
    order = np.arange(start, stop)
    neighbours = (order + (-1 if offset < 0 else 1)).clip(0, values.shape[axis] - 1)
    return values.take(order, axis) * (1 - share) + values.take(neighbours, axis) * share
