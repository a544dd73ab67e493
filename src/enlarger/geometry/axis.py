"""One axis of a reduction: which samples contribute to each sample of the result, and with what weights.

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
    """Number of samples of the whole source."""

    wanted_px: int
    """Number of samples of the whole result, at most ``length_px``."""

    start: int
    stop: int
    """The part of the result that is wanted is [``start``, ``stop``)."""

    held_from: int = 0
    """Index in the whole source of the first sample held. All samples that the filter reads must be held."""

    @property
    def is_cut(self) -> bool:
        """Whether the axis keeps its length, so that there is nothing to filter."""
        return self.length_px == self.wanted_px

    @property
    def reach_px(self) -> int:
        """How far from its centre a sample of the result reads the source."""
        return 0 if self.is_cut else math.ceil(LOBES * self.length_px / self.wanted_px) + 1

    @property
    def seen(self) -> tuple[int, int]:
        """The part of the source that the filter reads, as [first, last)."""
        first = self.start * self.length_px // self.wanted_px - self.reach_px
        last = -(-self.stop * self.length_px // self.wanted_px) + self.reach_px
        return max(0, first), min(self.length_px, last)

    def stop_within(self, held_to: int) -> int:
        """Return where the part of the result ends that the source samples before ``held_to`` suffice for.

        This does not apply if ``held_to`` is the end of the source, which suffices for all of the result.
        """
        return (held_to - self.reach_px) * self.wanted_px // self.length_px

    def taps(self) -> tuple[npt.NDArray[np.int64], Floats]:
        """Return which held samples each wanted sample reads, and their weights, both (count, taps)."""
        ratio = self.length_px / self.wanted_px
        centres = (np.arange(self.start, self.stop) + 0.5) * self.length_px / self.wanted_px
        first = np.floor(centres - LOBES * ratio).astype(np.int64)
        places = first[:, np.newaxis] + np.arange(math.ceil(2 * LOBES * ratio) + 1)
        distance = (places + 0.5 - centres[:, np.newaxis]) / ratio
        weights = np.where(
            np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0
        )
        # There are no samples beyond the border. The remaining weights are scaled to a sum of 1.
        weights[(places < 0) | (places >= self.length_px)] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        return places.clip(0, self.length_px - 1) - self.held_from, weights.astype(np.float32)


def whole(length_px: int, wanted_px: int) -> Axis:
    """Return the axis of a reduction of the whole source to the whole result."""
    return Axis(length_px, wanted_px, 0, wanted_px)
