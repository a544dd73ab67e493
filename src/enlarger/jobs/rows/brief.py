"""Calls to a database that a request can do without: it does not wait for one that does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from enlarger.errors import EnlargerError
from enlarger.jobs.rows.failures import away

PATIENCE_S = 5.0
"""A call is given up after this time."""

PAUSE_S = 10.0
"""After a call that failed, none is tried for this time."""

T = TypeVar("T")


class BriefCalls:
    """Gives up calls that take too long, and tries none for a while after one that failed.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._not_before = 0.0

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what a call returns.

        Raises:
            StorageUnavailable, StorageFull: the database is away, or was a moment ago.
        """
        if self._clock() < self._not_before:
            raise away()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await make()
        except TimeoutError as error:
            self._not_before = self._clock() + PAUSE_S
            raise away() from error
        except EnlargerError:
            self._not_before = self._clock() + PAUSE_S
            raise
