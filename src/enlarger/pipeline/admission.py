"""Who may come in: decided from the work already here and the measured speed."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from enlarger.errors import QueueFull

MIN_DEADLINE_S = 600
_DEADLINE_FACTOR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The work that a gateway holds."""

    requests: int
    """Admitted and unfinished."""

    mflop: float
    """Their computing that is not done yet."""

    mflop_per_s: float | None
    """Measured speed of all ready servers together; None before the first measurement."""

    @property
    def wait_s(self) -> float:
        """Estimated seconds until all of it is done; 0 while the speed is not known."""
        return self.mflop / self.mflop_per_s if self.mflop_per_s else 0.0


def admit(load: Load, *, queue_limit: int, max_wait_s: float) -> None:
    """Let one more request in, or say when to come back. An idle gateway admits any one request.

    Raises:
        QueueFull: as many requests as allowed are here, or a new one would wait too long.
    """
    if load.requests == 0:
        return
    if load.requests >= queue_limit:
        retry_after_s = load.wait_s / load.requests
        raise QueueFull(
            f"{load.requests} requests are waiting or running, the limit is {queue_limit}",
            retry_after_s=retry_after_s,
        )
    if load.wait_s > max_wait_s:
        raise QueueFull(
            f"the work here takes about {load.wait_s:.0f} s, the limit is {max_wait_s:.0f} s",
            retry_after_s=load.wait_s - max_wait_s,
        )


def time_limit_s(load: Load, mflop: float, *, setting: float | None) -> float:
    """Seconds a request may take once admitted: four times its estimate, at least ten minutes, or the setting."""
    if setting is not None:
        return setting
    estimate_s = (load.mflop + mflop) / load.mflop_per_s if load.mflop_per_s else 0.0
    return max(MIN_DEADLINE_S, _DEADLINE_FACTOR * estimate_s)


def retry_after(seconds: float | None) -> int:
    """Whole seconds of a ``Retry-After`` header: 1 to 120."""
    return min(120, max(1, math.ceil(seconds or 1)))


class Ledger:
    """What is admitted now: counts that ``with`` gives back whichever way a request ends."""

    def __init__(self) -> None:
        self.requests = 0
        self.mflop = 0.0
        self.lr_px = 0

    @contextmanager
    def entry(self, *, mflop: float, lr_px: int) -> Iterator[Entry]:
        """One admitted request."""
        entry = Entry(self, mflop)
        self.requests += 1
        self.mflop += mflop
        self.lr_px += lr_px
        try:
            yield entry
        finally:
            self.requests -= 1
            self.mflop -= entry.left_mflop
            self.lr_px -= lr_px


class Entry:
    """The part of the ledger that one request owns."""

    def __init__(self, ledger: Ledger, mflop: float) -> None:
        self._ledger = ledger
        self._mflop = mflop
        self.left_mflop = mflop

    def progress(self, done: int, total: int) -> None:
        """So many of its tiles are done."""
        left = self._mflop * (1 - done / total)
        self._ledger.mflop -= self.left_mflop - left
        self.left_mflop = left


class MemoryBudget:
    """Bytes of pixels held at once; who does not fit waits, in order of arrival. One always fits alone."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for room, and give it back in the end."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, place))
        self._grant()
        try:
            await place
            yield
        finally:
            if place.done() and not place.cancelled():
                self.held_bytes -= size_bytes
            else:
                # Whoever left in the same turn of the loop may have taken it out already.
                with contextlib.suppress(ValueError):
                    self._waiting.remove((size_bytes, place))
            self._grant()

    def _grant(self) -> None:
        while self._waiting:
            size_bytes, place = self._waiting[0]
            if self.held_bytes and self.held_bytes + size_bytes > self._limit_bytes:
                return
            self._waiting.popleft()
            if not place.cancelled():
                self.held_bytes += size_bytes
                place.set_result(None)
