"""A lasting problem is logged at once and then at growing intervals, not each time that it occurs."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE_S = 1.0
"""The shortest time between the first line about a problem and the second. Each further pause is twice as long."""

LONGEST_PAUSE_S = 3600.0

QUIET_S = 60.0
"""A problem that has not occurred for this long has ended."""


class Repeated:
    """Decides which occurrences of one problem are logged.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        """The pause between the last line and the next one; 0 while there is no problem."""

        self._logged_at = self._met_at = 0.0
        self._left_out = 0

    def occurred(self) -> int | None:
        """Report an occurrence, and return how many were left out since the last line.

        None means that this one is to be left out as well.
        """
        now = self._clock()
        if now - self._met_at >= QUIET_S:
            self._pause_s = 0.0
        self._met_at = now
        if self._pause_s and now - self._logged_at < self._pause_s:
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        self._logged_at = now
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) or FIRST_PAUSE_S
        return left_out

    def over(self) -> None:
        """Report that the problem has ended, so that it is logged at once if it returns."""
        self._pause_s = 0.0
