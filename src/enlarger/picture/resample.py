"""Changing the size of a finished picture by arithmetic alone: the step after the network.

One filter, kept for good, so that results never change: Lanczos with three lobes (Turkowski, Filters for
Common Resampling Tasks, 1990), stretched so that it does not alias, on each channel by itself, in floating
point, rounded once at the end. At a factor of two it keeps edges that a box would soften, and rings no more
than a bicubic does.

A sample of the result is one sum in one order, whatever is computed beside it: so a part of a result has
exactly the samples of the whole. Libraries sum in another order for another window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enlarger.picture.values import Samples

LOBES = 3

_BAND_PX = 64
"""Rows of the result that are computed at once: what is summed stays in the processor's cache."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a reduction."""

    length_px: int
    """Samples of the whole."""

    wanted_px: int
    """Samples of its whole result; no more than ``length_px``."""

    start: int
    stop: int
    """The part of the result that is wanted."""

    held_from: int = 0
    """Where in the whole the samples begin that there are. All that the filter sees must be among them."""

    @property
    def is_cut(self) -> bool:
        """Whether there is nothing to filter."""
        return self.length_px == self.wanted_px

    @property
    def reach_px(self) -> int:
        """How far around its place a sample of the result looks."""
        return 0 if self.is_cut else math.ceil(LOBES * self.length_px / self.wanted_px) + 1

    @property
    def seen(self) -> tuple[int, int]:
        """The part of the whole that the filter sees: first, and last behind it."""
        first = self.start * self.length_px // self.wanted_px - self.reach_px
        last = -(-self.stop * self.length_px // self.wanted_px) + self.reach_px
        return max(0, first), min(self.length_px, last)

    def stop_within(self, held_to: int) -> int:
        """How far the result can be made of the whole's samples before ``held_to``, unless that is their end."""
        return (held_to - self.reach_px) * self.wanted_px // self.length_px

    def taps(self) -> tuple[npt.NDArray[np.int64], Floats]:
        """For each sample wanted, (count, taps): which samples there are it looks at, and with what weights."""
        ratio = self.length_px / self.wanted_px
        centres = (np.arange(self.start, self.stop) + 0.5) * self.length_px / self.wanted_px
        first = np.floor(centres - LOBES * ratio).astype(np.int64)
        places = first[:, np.newaxis] + np.arange(math.ceil(2 * LOBES * ratio) + 1)
        distance = (places + 0.5 - centres[:, np.newaxis]) / ratio
        weights = np.where(
            np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0
        )
        # Beyond the border there is nothing: the other weights are scaled to a sum of 1.
        weights[(places < 0) | (places >= self.length_px)] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        return places.clip(0, self.length_px - 1) - self.held_from, weights.astype(np.float32)


def whole(length_px: int, wanted_px: int) -> Axis:
    """The axis of a reduction of all there is to all of its result."""
    return Axis(length_px, wanted_px, 0, wanted_px)


def reduce(samples: Samples, *, rows: Axis, columns: Axis) -> Samples:
    """(H, W, C), uint8 or uint16, to (rows, columns, C) of the same type."""
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
    """Rows of ``plane`` to weighted sums of rows."""
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
