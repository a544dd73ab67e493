"""Preserves the colours: networks drift, so the low frequencies of a result are set back to those of the input.

The result is averaged to the input's size. What differs there is smoothed until no detail is left in it, enlarged,
and subtracted (the idea: github.com/Tencent/Real-SR, issue 6). The difference is computed in whole numbers, and a
pixel depends on its ``MARGIN_PX`` neighbours alone. Therefore a part of a picture comes out exactly as it does in the
whole.

Most of the time goes into moving samples. A row therefore holds the channels of its pixels side by side, so that whole
rows are added at once, and a few rows stay in the CPU's cache from when they are read until they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.large_arrays import large_array
from enlarger.picture.values import Samples

Integers = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.float32]
Sums = npt.NDArray[np.floating[Any]]
Drift = npt.NDArray[np.int32]

_RADIUS_PX = 8

_BLURS = 3
"""Box blurs of 17 px in a row: nearly a Gaussian with a deviation of 8.5 px."""

MARGIN_PX = _RADIUS_PX * _BLURS + 1
"""LR pixels around a pixel that its correction depends on: those of the blurs, and one to interpolate."""

_BAND = 1 << 19
"""Samples of the result that are corrected together, a row within each LR row after the other. With fewer, threads that work side
by side would spend their time on handing Python's lock to each other; with more, the samples of such rows would leave the cache."""

_MOST = np.float32(65535)

_PART = 1 << 16
"""Samples of the drift that are blurred at once. In 8 bytes each they stay in the cache, and on the heap: a larger block would
be mapped anew for each step, which takes seven times as long as the step."""


class ColourLock:
    """Removes the drift from a result whose rows come from the top down, and measures what is left of it.

    Args:
        result: (H * scale, W * scale, C), uint16; is changed in place.
        source: (H, W, C), uint16: what was upscaled.
        scale: HR pixels per LR pixel along an edge.
        locked: False to measure alone.
    """

    def __init__(
        self, result: Samples, source: Samples, *, scale: int, locked: bool = True
    ) -> None:
        height, width, channels = source.shape
        self._result = result.reshape(height, scale, width * scale * channels, copy=False)
        self._source = source.transpose(2, 0, 1)
        self._scale = scale
        self._locked = locked
        self._settled = 0
        self._drift: Drift = np.empty((channels, 0, width), np.int32)
        """Drift of the uncorrected result, in the rows that later corrections are made from."""

        self._drift_top = 0
        self._left = 0

    def settle(self, complete: int) -> Iterator[int]:
        """Go as far as the result is complete, a few rows at a time. The caller has to take all steps.

        Args:
            complete: LR rows from the top that are upscaled; no fewer than the last time.

        Yields:
            LR rows from the top whose result is final, at least once. The last of them are in the CPU's cache.
        """
        top, bottom = self._settled, complete
        if self._locked:
            if complete < self._source.shape[1]:
                bottom = max(top, complete - MARGIN_PX)
            self._hold_drift(top, complete)
        self._settled = bottom
        if top == bottom:
            yield bottom
            return
        smooth = self._smoothed(top, bottom) if self._locked else None
        for band in self._bands(top, bottom):
            if smooth is None:
                sums = _sums_down(self._result[band])
            else:
                part = smooth[:, band.start - top : band.stop - top + 2]
                sums = _corrected(self._result[band], _enlarged_across(part, self._scale))
            self._left += int(np.abs(self._drift_of(sums, band)).sum(dtype=np.int64))
            yield band.stop

    @property
    def color_delta(self) -> float:
        """Mean absolute difference of the result, averaged to the source's size, from the source, in 8-bit steps.

        It covers the whole result once all rows are settled.
        """
        return self._left / self._source.size / self._scale**2 / 257

    def _bands(self, top: int, bottom: int) -> Iterator[slice]:
        """Yield LR rows, a few at a time."""
        rows = max(1, _BAND // self._result[0].size)
        return (slice(first, min(first + rows, bottom)) for first in range(top, bottom, rows))

    def _drift_of(self, sums: Sums, rows: slice) -> Drift:
        """Return (C, rows, W): how much more a block sums up to than it would if each sample were the pixel."""
        low = np.multiply(self._source[:, rows], self._scale**2, order="C", dtype=np.int32)
        drift = np.empty(low.shape, np.int32)
        for channel, blocks in enumerate(_blocks(sums, self._scale, len(low))):
            drift[channel] = blocks
        drift -= low
        return drift

    def _hold_drift(self, settled: int, complete: int) -> None:
        """Add the drift of rows that are new, and drop that of rows that no later correction depends on."""
        known = self._drift_top + self._drift.shape[1]
        top = max(self._drift_top, settled - MARGIN_PX)
        channels, _, width = self._source.shape
        held = large_array((channels, complete - top, width), np.int32)
        held[:, : known - top] = self._drift[:, top - self._drift_top :]
        for band in self._bands(known, complete):
            drift = self._drift_of(_sums_down(self._result[band]), band)
            held[:, band.start - top : band.stop - top] = drift
        self._drift, self._drift_top = held, top

    def _smoothed(self, top: int, bottom: int) -> Floats:
        """Return the drift of a sample, averaged over what lies within the picture.

        Returns:
            (C, rows + 2, W): LR rows from ``top`` to ``bottom`` and one more on either side, to interpolate. Beyond the
            border lies what lies at the border.
        """
        channels, _, width = self._drift.shape
        first = max(0, top - 1) - self._drift_top
        stop = min(self._source.shape[1], bottom + 1) - self._drift_top
        smooth = large_array((channels, bottom - top + 2, width), np.float32)
        weights = self._weights(slice(first, stop))
        # The rows of ``smooth`` that are not copies of the row at the border.
        made = slice(first - (top - 1 - self._drift_top), stop - (top - 1 - self._drift_top))
        plane = large_array((stop - first, width), np.int64)
        for channel in range(channels):
            for part in _parts(width, self._drift.shape[1]):
                plane[:, part] = _blurred_down(self._drift[channel, :, part], self._scale)[
                    first:stop
                ]
            for part, weight in weights:
                smooth[channel, made][part] = _blurred_across(plane[part]) / weight
        if made.start == 1:
            smooth[:, 0] = smooth[:, 1]
        if made.stop < smooth.shape[1]:
            smooth[:, -1] = smooth[:, -2]
        return smooth

    def _weights(self, rows: slice) -> list[tuple[slice, Integers]]:
        """Return how often each pixel counts in a blur, for a part of the rows after the other, to be broadcast.

        A box is the same in both directions, so this is the product of how often it counts in each.
        """
        _, height, width = self._drift.shape
        down, across = (_box_sums_of_ones(length) for length in (height, width))
        across *= self._scale**2
        weights = []
        for part in _parts(rows.stop - rows.start, width):
            counts = down[rows][part]
            if counts.min() == counts.max():  # no border is near
                counts = counts[:1]
            weights.append((part, counts[:, np.newaxis] * across))
        return weights


def _sums_down(result: Samples) -> Sums:
    """Sum up the rows within each LR row: (rows, scale, N) to (rows, N)."""
    sums = result[:, 0].astype(_sums_type(result.shape[1]))
    samples = np.empty(sums.shape, np.float32)
    for row in range(1, result.shape[1]):
        samples[:] = result[:, row]
        sums += samples
    return sums


def _corrected(result: Samples, wide: Floats) -> Sums:
    """Correct (rows, scale, N) in place, and return its sums as ``_sums_down`` does."""
    rows, scale, length = result.shape
    sums = np.zeros((rows, length), _sums_type(scale))
    samples = np.empty((rows, length), np.float32)
    for row, correction in _corrections(wide, scale):
        # Floats hold whole numbers of this size exactly.
        samples[:] = result[:, row]
        samples -= correction
        np.clip(samples, np.float32(0), _MOST, out=samples)
        result[:, row] = samples
        sums += samples
    return sums


def _sums_type(scale: int) -> type[np.floating[Any]]:
    """Return floats that hold the sum of a block exactly. Those of 4 bytes do so up to a scale of 16."""
    return np.float32 if scale <= 16 else np.float64


def _blocks(sums: Sums, scale: int, channels: int) -> Iterator[Sums]:
    """Yield for each channel the sums over ``scale`` pixels, and then over the next: of (rows, W * scale * C), (rows, W).

    The sums over 2, 4, 8 … pixels from each pixel on are sums of whole rows, each moved on by some pixels. That is many
    times as fast as adding the pixels of each block.
    """
    count = 1
    while scale % (2 * count) == 0:
        moved = count * channels
        sums = sums[:, :-moved] + sums[:, moved:]
        count *= 2
    for channel in range(channels):
        blocks = sums[:, channel :: scale * channels]
        for phase in range(count, scale, count):
            blocks = blocks + sums[:, phase * channels + channel :: scale * channels]
        yield blocks


def _parts(length: int, across: int) -> Iterator[slice]:
    """Yield columns of this many samples, or rows, a few at a time."""
    step = max(1, _PART // across)
    return (slice(start, start + step) for start in range(0, length, step))


def _blurred_down(plane: Drift, scale: int) -> Integers:
    """Blur columns."""
    # A drift is less than 65536 * scale ** 2, so that two blurs of 17 rows fit 32 bits up to a scale of 10.
    sums: Integers = plane if scale <= 10 else plane.astype(np.int64)
    for number in range(_BLURS):
        sums = _box_sums_down(sums if number < 2 else sums.astype(np.int64))
    return sums


def _blurred_across(plane: Integers) -> Integers:
    """Blur rows."""
    for _ in range(_BLURS):
        plane = _box_sums_across(plane)
    return plane


def _box_sums_of_ones(length: int) -> Integers:
    sums: Integers = _blurred_across(np.ones((1, length), np.int64))[0]
    return sums


def _box_sums_across(plane: Integers) -> Integers:
    """Return the sum over each pixel and the eight on either side, as far as there are any."""
    height, length = plane.shape
    reach = 2 * _RADIUS_PX + 1
    sums = np.empty((height, length + reach), np.int64)
    sums[:, : _RADIUS_PX + 1] = 0
    inner = sums[:, _RADIUS_PX + 1 :]
    np.cumsum(plane, axis=1, out=inner[:, :length])
    inner[:, length:] = inner[:, length - 1 : length]
    boxes: Integers = sums[:, reach:] - sums[:, :length]
    return boxes


def _box_sums_down(plane: Integers) -> Integers:
    """Do the same with rows: sums of 2, 4, 8 and 16 of them, since whole rows are added many times as fast as one by one."""
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


def _enlarged_across(smooth: Floats, scale: int) -> Floats:
    """Interpolate linearly along rows: (C, rows, W) to (rows, W * scale * C)."""
    channels, rows, width = smooth.shape
    # Beyond the border lies what lies at the border.
    padded = np.concatenate([smooth[:, :, :1], smooth, smooth[:, :, -1:]], axis=2)
    wide = np.empty((rows, width, scale, channels), np.float32)
    phases = wide.transpose(2, 3, 0, 1)
    for phase in range((scale + 1) // 2):
        # A sample and its mirror image in the pixel are as far from the centre.
        share = np.float32(abs(_offset(phase, scale)))
        near, beside = smooth * (1 - share), padded * share
        np.add(near, beside[:, :, :-2], out=phases[phase])
        np.add(near, beside[:, :, 2:], out=phases[scale - 1 - phase])
    return wide.reshape(rows, -1)


def _corrections(wide: Floats, scale: int) -> Iterator[tuple[int, Floats]]:
    """Interpolate linearly down columns, and round: (rows + 2, N).

    Yields:
        Each row within an LR row, and (rows, N) for all of these. The array is the same each time.
    """
    correction: Floats = np.empty((len(wide) - 2, wide.shape[1]), np.float32)
    for row in range((scale + 1) // 2):
        share = np.float32(abs(_offset(row, scale)))
        near, beside = wide[1:-1] * (1 - share), wide * share
        # The row in the middle of an odd scale is its own mirror image.
        for one, neighbours in {scale - 1 - row: beside[2:], row: beside[:-2]}.items():
            np.add(near, neighbours, out=correction)
            yield one, np.rint(correction, out=correction)


def _offset(phase: int, scale: int) -> float:
    """Return where a sample of a pixel lies, from the pixel's centre: the same in every window."""
    return (phase + 0.5) / scale - 0.5
