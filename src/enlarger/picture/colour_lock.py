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
Drift = npt.NDArray[np.int32]

_RADIUS_PX = 8
_BAND_PX = 8

_BLURS = 3
"""Box blurs of 17 px in a row: nearly a Gaussian with a deviation of 8.5 px."""

MARGIN_PX = _RADIUS_PX * _BLURS + 1
"""LR pixels around a pixel that its correction depends on: those of the blurs, and one to interpolate."""


class ColourLock:
    """Takes the drift off a result whose rows come from the top down, and measures what is left of it.

    Args:
        result: (H * scale, W * scale, C), uint16; is changed in place.
        source: (H, W, C), uint16: what was enlarged.
        scale: HR pixels per LR pixel along an edge.
        locked: False to measure alone.
    """

    def __init__(
        self, result: Samples, source: Samples, *, scale: int, locked: bool = True
    ) -> None:
        self._result = result
        self._source = source
        self._scale = scale
        self._locked = locked
        self._settled = 0
        self._drift = np.empty((0, *source.shape[1:]), np.int32)
        """Of the result as it came, in the rows that corrections are still to be made from."""

        self._drift_top = 0
        self._left = 0

    def settle(self, complete: int) -> int:
        """Go as far as the result is complete.

        Args:
            complete: LR rows from the top whose enlargement is there; no fewer than the last time.

        Returns:
            LR rows whose enlargement is final.
        """
        height = len(self._source)
        top, bottom = self._settled, complete
        if self._locked:
            known = self._drift_top + len(self._drift)
            fresh = self._drift_of(known, complete)
            self._drift = np.concatenate([self._drift, fresh])
            if complete < height:
                bottom = max(top, complete - MARGIN_PX)
            self._lock(top, bottom)
            keep_from = max(self._drift_top, bottom - MARGIN_PX)
            self._drift = self._drift[keep_from - self._drift_top :].copy()
            self._drift_top = keep_from
        self._left += int(np.abs(self._drift_of(top, bottom)).sum(dtype=np.int64))
        self._settled = bottom
        return bottom

    @property
    def color_delta(self) -> float:
        """Mean absolute difference of the result, averaged to the source's size, from the source, in 8-bit steps.

        Of all of it, when all of it is settled.
        """
        return self._left / self._source.size / self._scale**2 / 257

    def _drift_of(self, top: int, bottom: int) -> Drift:
        result = self._result[top * self._scale : bottom * self._scale]
        return _drift(result, self._source[top:bottom], self._scale)

    def _lock(self, top: int, bottom: int) -> None:
        """Take it off the enlargement of rows whose neighbours' drift is known."""
        if top == bottom:
            return
        drift = self._drift
        weight = _blurred(np.ones(drift.shape[:2], np.int64)) * self._scale**2
        smooth = np.empty(drift.shape, np.float32)
        for channel in range(drift.shape[2]):
            smooth[:, :, channel] = _blurred(drift[:, :, channel].astype(np.int64)) / weight
        _subtract(
            self._result[top * self._scale : bottom * self._scale],
            smooth,
            self._scale,
            first=top - self._drift_top,
        )


def _drift(result: Samples, source: Samples, scale: int) -> Drift:
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


def _subtract(result: Samples, smooth: Floats, scale: int, *, first: int) -> None:
    """``result``, which begins at row ``first`` of ``smooth``, less that enlarged by linear interpolation."""
    width, channels = smooth.shape[1:]
    most = np.iinfo(result.dtype).max
    height = len(result) // scale
    for top in range(0, height, _BAND_PX):
        bottom = min(top + _BAND_PX, height)
        for row_phase in range(scale):
            band = _between(
                smooth, row_phase, scale, axis=0, start=first + top, stop=first + bottom
            )
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
