"""What was asked for twice is done once: identical requests share the work, and find what it made again."""

from __future__ import annotations

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Literal, TypeVar

from enlarger.pipeline.progress import OnTile

Found = Literal["miss", "hit", "coalesced"]
"""Whether a request was worked for, found a finished result, or shared the work of another one."""

_MOST_KEPT = 1000
"""Facts of finished results; the pictures themselves are files."""

T = TypeVar("T")


class Results(Generic[T]):
    """Finished and running work, by what it is made from.

    Args:
        copy: gives a finished result to one more request, with a file and a life of its own; None if its
            own file is gone.
    """

    def __init__(self, copy: Callable[[T], Awaitable[T | None]]) -> None:
        self._copy = copy
        self._finished: OrderedDict[str, T] = OrderedDict()
        self._running: dict[str, _Shared[T]] = {}

    async def get(
        self,
        key: str,
        make: Callable[[OnTile], Awaitable[T]],
        *,
        skip_cache: bool = False,
        on_tile: OnTile | None = None,
    ) -> tuple[T, Found]:
        """The result for ``key``, made now if nobody has it; and how it was found.

        Args:
            key: equal for equal results.
            make: makes one, and tells of each finished tile. It is cancelled when nobody waits for it any more.
            skip_cache: make one in any case, for those to come as well.
            on_tile: told of each finished tile.
        """
        if not skip_cache:
            running = self._running.get(key)
            if running is not None and running.is_wanted:
                shared = await self._copy(await running.join(on_tile))
                if shared is not None:
                    return shared, "coalesced"
            kept = self._finished.get(key)
            found = await self._copy(kept) if kept is not None else None
            if found is not None:
                self._remember(key, found)
                return found, "hit"
        running = self._running[key] = _Shared(make)
        running.task.add_done_callback(partial(self._end, key, running))
        return await running.join(on_tile), "miss"

    def _end(self, key: str, running: _Shared[T], task: asyncio.Future[T]) -> None:
        if self._running.get(key) is running:
            del self._running[key]
        try:
            self._remember(key, task.result())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the task has it
            # The task holds its error, and this one the frames that hold the task, with a picture in one of them.
            traceback.clear_frames(error.__traceback__)

    def _remember(self, key: str, result: T) -> None:
        self._finished[key] = result
        self._finished.move_to_end(key)
        if len(self._finished) > _MOST_KEPT:
            self._finished.popitem(last=False)


class _Shared(Generic[T]):
    """Work that several wait for."""

    def __init__(self, make: Callable[[OnTile], Awaitable[T]]) -> None:
        self._listeners: list[OnTile] = []
        self._waiting = 0
        self.task = asyncio.ensure_future(make(self._tell))

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it; if not, it is being cancelled."""
        return self._waiting > 0

    def _tell(self, done: int, total: int) -> None:
        for listener in self._listeners:
            listener(done, total)

    async def join(self, on_tile: OnTile | None) -> T:
        """Wait for it. The last one who leaves before its end takes it along."""
        listeners = [on_tile] if on_tile is not None else []
        self._listeners += listeners
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1
            for listener in listeners:
                self._listeners.remove(listener)
            if not self._waiting and not self.task.done():
                self.task.cancel()
                await asyncio.wait([self.task])
