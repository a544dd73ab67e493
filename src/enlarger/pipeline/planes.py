"""Planes of a result: tiles are added in 16 bits, and complete rows are finished and their memory is freed.

A row is complete when every tile with a share in it has come. Tiles come roughly in the order of their rows, so that
only few rows are held in 16 bits at a time, whatever the size of the result.
"""

from __future__ import annotations

import asyncio
import mmap
import threading
from dataclasses import dataclass, replace

import numpy as np

from enlarger.geometry.axis import Axis
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import Pass
from enlarger.geometry.tiles import TileBox
from enlarger.large_arrays import LARGEST_BYTES, large_array, release_idle
from enlarger.memory import large_block
from enlarger.picture.colour_lock import ColourLock
from enlarger.picture.extremes import Extremes
from enlarger.picture.resample import reduce
from enlarger.picture.values import Samples

_BAND = 1 << 17
"""Samples that are rounded at once, so that they fit into the CPU's cache."""


_GIVEN_BACK_BYTES = 1 << 21
"""Memory of finished rows is given back in multiples of this: the size of large pages, of which no part can be."""


@dataclass(frozen=True, slots=True)
class Source:
    """Samples to enlarge, and the part of the picture that they are."""

    samples: Samples
    """(H, W, 3) or (H, W, 1), uint16."""

    window: Rect


@dataclass(frozen=True, slots=True)
class Goal:
    """The samples that a pass fills, and the reduction to them."""

    samples: Samples
    """(rows, columns, C), uint16 or uint8. The pass fills them."""

    rows: Axis
    columns: Axis
    """The reduction from the network's output."""

    @property
    def is_cut(self) -> bool:
        """Whether samples of the network's output are taken as they are, without a reduction."""
        return self.rows.is_cut and self.columns.is_cut


class Plane:
    """Channels that go through the network together in one pass.

    Args:
        source: the samples to enlarge.
        step: the tiles, and which part of each is kept.
        scale: the network's scale.
        goal: the samples that are filled.
        is_colour: False for alpha, which the colour lock does not apply to.
        locked: whether the colour lock is on.
        extremes: for alpha: where it is certain to be 0 or full.
    """

    def __init__(
        self,
        source: Source,
        step: Pass,
        scale: int,
        goal: Goal,
        *,
        is_colour: bool,
        locked: bool,
        extremes: Extremes | None = None,
    ) -> None:
        self._source = source
        self._step = step
        self._scale = scale
        self._goal = goal
        self._extremes = extremes
        self._channels = source.samples.shape[2]
        made = step.made
        self._canvas = _Canvas((made.height_px * scale, made.width_px * scale, self._channels))
        if not self._canvas.is_zero:
            for part in (part.common(made) for box in step.boxes for part in box.shared):
                if part.width_px > 0 and part.height_px > 0:
                    self._canvas.samples[self._place(part)] = 0
        self._lock: ColourLock | None = None
        if is_colour:
            low = source.samples[made.within(source.window).slices]
            self._lock = ColourLock(self._canvas.samples, low, scale=scale, locked=locked)
        self._missing = set(step.boxes)
        self._written = goal.rows.start
        self._adding = threading.Lock()
        self.finishing = asyncio.Lock()
        """Tasks hold it around ``finish``, so that no thread has to wait for another."""

    @property
    def color_delta(self) -> float:
        """Drift of the colours that is left, once all tiles have come; 0 for alpha. See ``Ran``."""
        return self._lock.color_delta if self._lock else 0.0

    def tile(self, box: TileBox) -> Samples:
        """Return the input of a tile, (H, W, 3): a view, even if one channel stands for three."""
        place = Rect(box.columns.first, box.rows.first, box.columns.last, box.rows.last)
        pixels = self._source.samples[place.within(self._source.window).slices]
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))

    def paste(self, box: TileBox, pixels: Samples) -> None:
        """Add a tile's share; a single channel is the mean of the network's three."""
        if self._channels == 1:
            # (sum + 1) // 3 is sum / 3 rounded to nearest.
            mean = (pixels.sum(axis=2, dtype=np.uint32, keepdims=True) + 1) // 3
            pixels = mean.astype(pixels.dtype)
        made = self._step.made
        for part, share, is_shared in box.shares(pixels, self._scale):
            shown = part.common(made)
            if shown.width_px < 1 or shown.height_px < 1:
                continue
            share = shown.cut(share, part)
            place = self._place(shown)
            if is_shared:
                with self._adding:  # tiles come from several threads
                    self._canvas.samples[place] += share
            else:
                self._canvas.samples[place] = share
        with self._adding:
            self._missing.remove(box)

    def _place(self, part: Rect) -> tuple[slice, slice]:
        """Return where a part of the picture is on the canvas."""
        return part.within(self._step.made).times(self._scale).slices

    def finish(self) -> None:
        """Finish the rows that are complete by now; after the last tile these are all."""
        settled = complete = self._complete_px()
        if self._lock is not None:
            for settled in self._lock.settle(complete):
                if self._goal.is_cut:
                    # While they are in the CPU's cache. A reduction needs many rows at once.
                    self._write_until(settled)
        self._write_until(settled)
        rows = self._goal.rows
        seen_from = replace(rows, start=self._written).seen[0] - rows.held_from
        self._canvas.forget(min(seen_from, settled * self._scale))

    def _write_until(self, settled: int) -> None:
        """Write what the first LR rows suffice for, and is not written yet."""
        rows = self._goal.rows
        held_to = rows.held_from + settled * self._scale
        ended = settled == self._step.made.height_px
        stop = rows.stop if ended else min(rows.stop, rows.stop_within(held_to))
        if stop > self._written:
            self._write(replace(rows, start=self._written, stop=stop))
            self._written = stop

    def _complete_px(self) -> int:
        """Return how many LR rows from the top have all their tiles."""
        made = self._step.made
        with self._adding:
            tops = [box.kept.top for box in self._missing]
        return max(0, min(tops, default=made.bottom) - made.top)

    def _write(self, rows: Axis) -> None:
        """Write rows of the result: reduced, and rounded to nearest in the result's depth."""
        first = rows.start - self._goal.rows.start
        reduced = reduce(self._canvas.samples, rows=rows, columns=self._goal.columns)
        target = self._goal.samples[first : first + len(reduced)]
        band_px = max(1, _BAND // target[0].size)
        for top in range(0, len(reduced), band_px):
            band = reduced[top : top + band_px]
            if target.dtype == np.uint8:
                band = _rounded(band)
            target[top : top + band_px] = band
            if self._extremes is not None:
                self._extremes.settle(target[top : top + band_px], first + top)


def _rounded(samples: Samples) -> Samples:
    """Return samples of 16 bits divided by 257 and rounded to nearest: samples of 8 bits, in 16."""
    # 128 more, to round, must not be more than 16 bits hold; all from here on is white.
    sums = np.clip(samples, np.uint16(0), np.uint16(65535 - 128))
    sums += np.uint16(128)
    sums //= np.uint16(257)
    return sums


class _Canvas:
    """Samples of 16 bits. The first rows of a large canvas can be given back to the system."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        height, width, channels = shape
        self._row_bytes = width * channels * 2
        self._forgotten_bytes = 0
        self._memory: mmap.mmap | None = None
        self.samples: Samples
        if height * self._row_bytes <= LARGEST_BYTES:
            self.samples = large_array(shape, np.uint16)
        else:
            # Pages that were never written take no memory, and pages that were can be given back.
            self._memory = large_block(height * self._row_bytes)
            self.samples = np.frombuffer(self._memory, np.uint16).reshape(shape)

    @property
    def is_zero(self) -> bool:
        """Whether the samples are 0 at first."""
        return self._memory is not None

    def forget(self, rows: int) -> None:
        """Give back the memory of the first rows, which are not read again."""
        if self._memory is None:
            return
        release_idle()  # the memory of its tiles, too: a large picture needs all that there is
        until = rows * self._row_bytes // _GIVEN_BACK_BYTES * _GIVEN_BACK_BYTES
        if until > self._forgotten_bytes:
            self._memory.madvise(
                mmap.MADV_DONTNEED, self._forgotten_bytes, until - self._forgotten_bytes
            )
            self._forgotten_bytes = until
