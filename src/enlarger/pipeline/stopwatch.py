"""Measures how long each stage of a request takes."""

from __future__ import annotations

import time

from enlarger import tracing


class Stopwatch:
    """Measures seconds from one lap to the next."""

    def __init__(self) -> None:
        self._started = self._lapped = time.monotonic()
        self.stages_s: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage, which began at the last lap."""
        now = time.monotonic()
        self.stages_s[stage] = now - self._lapped
        self._lapped = now
        tracing.record(stage, self.stages_s[stage])

    @property
    def total_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started
