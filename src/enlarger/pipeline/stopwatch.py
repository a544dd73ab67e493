"""How long each stage of a request took."""

from __future__ import annotations

import time

from enlarger import tracing


class Stopwatch:
    """Seconds from one lap to the next."""

    def __init__(self) -> None:
        self._started = self._lapped = time.monotonic()
        self.stages_s: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """What was done since the last lap was this stage."""
        now = time.monotonic()
        self.stages_s[stage] = now - self._lapped
        self._lapped = now
        tracing.record(stage, self.stages_s[stage])

    @property
    def total_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started
