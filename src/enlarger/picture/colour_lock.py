"""Keeping the colours: the networks drift, so the low frequencies of a result are set back to the input's.

The result is averaged to the input's size, and what differs there is smoothed until no detail is left in
it, enlarged, and taken off (the idea: github.com/Tencent/Real-SR, issue 6). What differs is worked out in
whole numbers, and a pixel depends on its ``MARGIN_PX`` neighbours alone: so a part of a picture
comes out exactly as it does in the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.picture.values import Samples

Integers = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.float32]
Drift = npt.NDArray[np.int32]

_RADIUS_PX = 8
_BAND = 1 << 16
"""Samples of the result that are worked on at once: with what is made of them, they stay in the processor's cache."""

_PART_PX = 128
"""Columns, or rows, of the drift that are blurred at once, for the same reason. What is larger goes back to the system
when it is freed, and allocating it again costs as much as working on it."""

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
        """Drift of the uncorrected result, in the rows that later corrections are made from."""

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
            next_top = max(self._drift_top, bottom - MARGIN_PX)
            self._drift = self._drift[next_top - self._drift_top :].copy()
            self._drift_top = next_top
        self._left += int(np.abs(self._drift_of(top, bottom)).sum(dtype=np.int64))
        self._settled = bottom
        return bottom

    @property
    def color_delta(self) -> float:
        """Mean absolute difference of the result, averaged to the source's size, from the source, in 8-bit steps.

        It covers the whole result once all rows are settled.
        """
        return self._left / self._source.size / self._scale**2 / 257

    def _drift_of(self, top: int, bottom: int) -> Drift:
        result = self._result[top * self._scale : bottom * self._scale]
        return _drift(result, self._source[top:bottom], self._scale)

    def _lock(self, top: int, bottom: int) -> None:
        """Take it off the enlargement of rows whose neighbours' drift is known."""
        if top == bottom:
            return
        # One row more on either side, to interpolate.
        first = max(0, top - self._drift_top - 1)
        stop = min(len(self._drift), bottom - self._drift_top + 1)
        _subtract(
            self._result[top * self._scale : bottom * self._scale],
            _smoothed(self._drift, self._scale, first=first, stop=stop),
            self._scale,
            first=top - self._drift_top - first,
        )


def _bands(height: int, row_samples: int) -> Iterator[slice]:
    """A few rows at a time, which take no memory to speak of."""
    band_px = max(1, _BAND // row_samples)
    return (slice(top, min(top + band_px, height)) for top in range(0, height, band_px))


def _drift(result: Samples, source: Samples, scale: int) -> Drift:
    """(H, W, C): how much more a pixel's block sums up to than it would if each sample were the pixel."""
    height, width, channels = source.shape
    row = width * scale * channels
    drift = np.empty(source.shape, np.int32)
    for band in _bands(height, row):
        low = source[band]
        high = result[band.start * scale : band.stop * scale].reshape(len(low), scale, row)
        rows = high[:, 0].astype(np.int32)
        for phase in range(1, scale):
            rows += high[:, phase]
        blocks = _runs(rows, scale, channels).reshape(len(low), width, scale * channels)
        np.subtract(blocks[:, :, :channels], low.astype(np.int32) * scale**2, out=drift[band])
    return drift


def _runs(rows: Drift, scale: int, channels: int) -> Drift:
    """For each sample the sum over ``scale`` pixels from its own on. The last of a row, which lack pixels, are undefined.

    Whole rows are added, each moved on by some pixels, which is many times as fast as adding the pixels of a block.
    """
    runs, count = rows, 1
    while 2 * count <= scale:
        runs = runs[:, : -count * channels] + runs[:, count * channels :]
        count *= 2
    sums = np.empty_like(rows)
    whole = sums[:, : rows.shape[1] - (scale - 1) * channels]
    whole[:] = runs[:, : whole.shape[1]]
    for phase in range(count, scale):
        whole += rows[:, phase * channels : phase * channels + whole.shape[1]]
    return sums


def _smoothed(drift: Drift, scale: int, *, first: int, stop: int) -> Floats:
    """Rows ``first`` to ``stop`` of the drift of a sample, averaged over what lies within the plane: (rows, W, C)."""
    height, width, channels = drift.shape
    smooth = np.empty((stop - first, width, channels), np.float32)
    # How often each pixel counts: of a box that is the same in both directions, the product.
    down, across = (_box_sums_of_ones(length) for length in (height, width))
    weight = down[first:stop, np.newaxis] * across * scale**2
    for channel in range(channels):
        plane = np.empty((stop - first, width), np.int64)
        for part in _parts(width):
            plane[:, part] = _blurred_down(drift[:, part, channel], scale)[first:stop]
        for part in _parts(stop - first):
            smooth[part, :, channel] = _blurred_across(plane[part]) / weight[part]
    return smooth


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, start + _PART_PX) for start in range(0, length, _PART_PX))


def _blurred_down(plane: Drift, scale: int) -> Integers:
    """All blurs of columns."""
    # A drift is less than 65536 * scale ** 2, so that of two blurs of 17 rows fits 32 bits up to a scale of 10.
    sums: Integers = plane if scale <= 10 else plane.astype(np.int64)
    for number in range(_BLURS):
        sums = _box_sums_down(sums if number < 2 else sums.astype(np.int64))
    return sums


def _blurred_across(plane: Integers) -> Integers:
    """All blurs of rows."""
    for _ in range(_BLURS):
        plane = _box_sums_across(plane)
    return plane


def _box_sums_of_ones(length: int) -> Integers:
    sums: Integers = _blurred_across(np.ones((1, length), np.int64))[0]
    return sums


def _box_sums_across(plane: Integers) -> Integers:
    """Return the sum over each pixel and the eight on either side, as far as there are any."""
    height, length = plane.shape
    sums = np.zeros((height, length + 2 * _RADIUS_PX + 1), np.int64)
    inner = sums[:, _RADIUS_PX + 1 :]
    np.cumsum(plane, axis=1, out=inner[:, :length])
    inner[:, length:] = inner[:, length - 1 : length]
    reach = 2 * _RADIUS_PX + 1
    boxes: Integers = sums[:, reach : reach + length] - sums[:, :length]
    return boxes


def _box_sums_down(plane: Integers) -> Integers:
    """The same of rows. Sums of 2, 4, 8 and 16 of them: whole rows are added many times as fast as one by one."""
    height, width = plane.shape
    padded = np.zeros((height + 2 * _RADIUS_PX, width), plane.dtype)
    padded[_RADIUS_PX : _RADIUS_PX + height] = plane
    sums, rows = padded, 1
    while rows < 2 * _RADIUS_PX:
        sums = sums[:-rows] + sums[rows:]
        rows *= 2
    boxes: Integers = sums[:height]
    boxes += padded[2 * _RADIUS_PX :]
    return boxes


def _subtract(result: Samples, smooth: Floats, scale: int, *, first: int) -> None:
    """``result``, which begins at row ``first`` of ``smooth``, less that enlarged by linear interpolation."""
    most = np.iinfo(result.dtype).max
    height, width, channels = smooth.shape
    rows, across = smooth.reshape(height, -1), _Across(width, channels, scale)
    for band in _bands(len(result) // scale, rows.shape[1] * scale):
        # With the rows before and behind, where there are any.
        order = np.arange(first + band.start - 1, first + band.stop + 1).clip(0, height - 1)
        wide = across.enlarge(rows[order])
        before, at, behind = wide[:-2], wide[1:-1], wide[2:]
        for phase in range(scale):
            offset = _offset(phase, scale)
            share = np.float32(abs(offset))
            correction = at * (1 - share)
            correction += (before if offset < 0 else behind) * share
            np.rint(correction, out=correction)
            target = result[band.start * scale + phase : band.stop * scale : scale]
            # Floats hold whole numbers of this size exactly.
            np.subtract(target.reshape(correction.shape), correction, out=correction)
            np.clip(correction, 0, most, out=correction)
            target[:] = correction.reshape(target.shape)


class _Across:
    """Linear interpolation along rows: between which two samples each one of the result lies."""

    def __init__(self, width: int, channels: int, scale: int) -> None:
        pixel, phase, channel = (axis.ravel() for axis in np.indices((width, scale, channels)))
        offset = np.array([_offset(number, scale) for number in range(scale)], np.float32)[phase]
        beside = (pixel + np.where(offset < 0, -1, 1)).clip(0, width - 1)
        self._nearer, self._further = pixel * channels + channel, beside * channels + channel
        self._share = np.abs(offset)
        """What the further one counts."""

    def enlarge(self, rows: Floats) -> Floats:
        """(H, W * C) to (H, W * scale * C)."""
        wide: Floats = rows.take(self._nearer, axis=1)
        wide *= 1 - self._share
        other: Floats = rows.take(self._further, axis=1)
        other *= self._share
        wide += other
        return wide


def _offset(phase: int, scale: int) -> float:
    """Return where a sample of a pixel lies, from the pixel's centre: the same in every window."""
    return (phase + 0.5) / scale - 0.5
