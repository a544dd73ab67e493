"""The budget of memory for pixels: large pictures wait for it, and small ones seldom do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

_Queue = deque[tuple[int, asyncio.Future[None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Memory for pixels, in two lanes: small pictures do not wait behind large ones.

    A part is reserved for small pictures, so that they can always pass a large one that waits or runs. While a large
    picture waits, small ones get only that part, so that they cannot make it wait for ever.
    """

    limit_bytes: int
    small_bytes: int = 0
    """Bytes that small pictures hold."""

    large_bytes: int = 0
    """Bytes that large pictures hold, as ``counted``."""

    @property
    def reserve_bytes(self) -> int:
        """The part that is reserved for small pictures."""
        return self.limit_bytes // 8

    def is_small(self, size_bytes: int) -> bool:
        """Return whether a picture is small: up to a sixteenth of all memory, so that at least two fit into the reserve."""
        return 16 * size_bytes <= self.limit_bytes

    def counted(self, size_bytes: int) -> int:
        """Return how many bytes a picture counts as.

        A picture that is larger than everything except the reserve counts as just that. So it can run when no other
        large one does, and leaves small ones their reserve. Only then is more memory in use than the limit.
        """
        return min(size_bytes, self.limit_bytes - self.reserve_bytes)

    def takes(self, size_bytes: int, *, large_waits: bool) -> bool:
        """Return whether the next picture of its lane may have its memory now."""
        counted = self.counted(size_bytes)
        fits = self.small_bytes + self.large_bytes + counted <= self.limit_bytes
        if self.is_small(size_bytes):
            return self.small_bytes + counted <= self.reserve_bytes or (fits and not large_waits)
        return fits and self.large_bytes + counted <= self.limit_bytes - self.reserve_bytes


class MemoryBudget:
    """Gives out memory for pixels; a picture that does not fit waits. ``Room`` decides; each lane is first come, first served."""

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self._room = Room(limit_bytes=limit_bytes)
        self._small: _Queue = deque()
        self._large: _Queue = deque()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for memory, and hold it for as long as the context lasts."""
        lane = self._small if self._room.is_small(size_bytes) else self._large
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.append((size_bytes, place))
        self._grant()
        try:
            await place
            yield
        finally:
            if place.done() and not place.cancelled():
                self._count(size_bytes, leaves=True)
            else:
                # Another one that left in the same turn of the loop may have removed it already.
                with contextlib.suppress(ValueError):
                    lane.remove((size_bytes, place))
            self._grant()

    def _grant(self) -> None:
        for lane in (self._large, self._small):
            while lane:
                size_bytes, place = lane[0]
                if not place.cancelled():
                    if not self._room.takes(size_bytes, large_waits=bool(self._large)):
                        break
                    self._count(size_bytes)
                    place.set_result(None)
                lane.popleft()

    def _count(self, size_bytes: int, *, leaves: bool = False) -> None:
        sign = -1 if leaves else 1
        self.held_bytes += sign * size_bytes
        room, counted = self._room, sign * self._room.counted(size_bytes)
        if room.is_small(size_bytes):
            self._room = replace(room, small_bytes=room.small_bytes + counted)
        else:
            self._room = replace(room, large_bytes=room.large_bytes + counted)
