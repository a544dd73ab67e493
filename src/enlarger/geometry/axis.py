"""One axis of a reduction: which samples each sample of the result looks at, and with what weights.

The filter is Lanczos with three lobes (Turkowski, Filters for Common Resampling Tasks, 1990), stretched so that it
does not alias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LOBES = 3

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
