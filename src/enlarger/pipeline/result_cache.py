"""The result cache: identical requests share the work while it runs, and reuse its result afterwards.

A request that this process does not know is looked for among those of other gateways, which are ``SharedResults``.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

from enlarger.pipeline.progress import OnTile

Found = Literal["miss", "hit", "coalesced"]
"""Whether a result was computed for the request, was in the cache, or was computed for another request meanwhile."""

_MOST_RESULTS = 1000
"""Results in the cache at most; their pictures are files."""

T = TypeVar("T")


class SharedResults(Protocol[T]):
    """Finished results and running work of all gateways. No method raises while they cannot be reached."""

    async def take(self, key: str, *, lost: T | None = None) -> tuple[T, Found] | None:
        """Return the result for ``key``, as soon as another gateway that makes it has finished.

        Args:
            key: equal for equal results.
            lost: a result that this method returned, and whose file is gone.

        Returns:
            The result, and whether it was waited for; None: the caller makes it, and then calls ``keep`` or ``drop``.
        """

    async def keep(self, key: str, result: T) -> None:
        """Keep a finished result for all gateways."""

    async def drop(self, key: str) -> None:
        """Leave a result to others: it was not made here."""


class Results(Generic[T]):
    """Finished results and running work, by their keys.

    Args:
        copy: copies a finished result for one more request, which gets a file of its own; returns None if the
            first file is gone.
        shared: those of other gateways; None: there are none.
    """

    def __init__(
        self, copy: Callable[[T], Awaitable[T | None]], shared: SharedResults[T] | None = None
    ) -> None:
        self._copy = copy
        self._shared = shared
        self._finished: OrderedDict[str, T] = OrderedDict()
        self._running: dict[str, _Shared[tuple[T, Found]]] = {}

    async def get(
        self,
        key: str,
        make: Callable[[OnTile], Awaitable[T]],
        *,
        skip_cache: bool = False,
        on_tile: OnTile | None = None,
        key_of: Callable[[T], str] | None = None,
    ) -> tuple[T, Found]:
        """Return the result for ``key``, made now unless there is one; and where it came from.

        Args:
            key: equal for equal results.
            make: makes the result, and calls its argument after each finished tile. It is cancelled when no request
                waits for the result any more.
            skip_cache: make the result in any case. Later requests may reuse it.
            on_tile: called after each finished tile.
            key_of: returns the key of a finished result, where that may be another one than was expected.
        """
        if not skip_cache:
            running = self._running.get(key)
            if running is not None and running.is_wanted:
                shared = await self._copy((await running.join(on_tile))[0])
                if shared is not None:
                    return shared, "coalesced"
            cached = self._finished.get(key)
            found = await self._copy(cached) if cached is not None else None
            if found is not None:
                self._remember(key, found)
                return found, "hit"
        work = partial(self._make, key, make, skip_cache, key_of)
        running = self._running[key] = _Shared(work)
        running.task.add_done_callback(partial(self._end, key, running, key_of))
        return await running.join(on_tile)

    async def _make(
        self,
        key: str,
        make: Callable[[OnTile], Awaitable[T]],
        skip_cache: bool,
        key_of: Callable[[T], str] | None,
        on_tile: OnTile,
    ) -> tuple[T, Found]:
        """Return the result of another gateway, or make it."""
        if self._shared is None:
            return await make(on_tile), "miss"
        is_kept = False
        try:
            taken = None if skip_cache else await self._shared.take(key)
            while taken is not None:
                theirs, found = taken
                if (copied := await self._copy(theirs)) is not None:
                    await self._shared.keep(key, copied)  # it lives longer
                    is_kept = True
                    return copied, found
                taken = await self._shared.take(key, lost=theirs)
            made = await make(on_tile)
            made_key = key if key_of is None else key_of(made)
            await self._shared.keep(made_key, made)
            is_kept = made_key == key
        finally:
            if not is_kept and not skip_cache:
                await self._shared.drop(key)
        return made, "miss"

    def _end(
        self,
        key: str,
        running: _Shared[tuple[T, Found]],
        key_of: Callable[[T], str] | None,
        task: asyncio.Future[tuple[T, Found]],
    ) -> None:
        if self._running.get(key) is running:
            del self._running[key]
        try:
            result = task.result()[0]
            self._remember(key if key_of is None else key_of(result), result)
        except BaseException as error:  # noqa: BLE001 - all who wait for the task get it
            # The task holds its error, and the error the frames that hold the task, one of them with a picture.
            traceback.clear_frames(error.__traceback__)

    def _remember(self, key: str, result: T) -> None:
        self._finished[key] = result
        self._finished.move_to_end(key)
        if len(self._finished) > _MOST_RESULTS:
            self._finished.popitem(last=False)


class _Shared(Generic[T]):
    """Work that several requests wait for."""

    def __init__(self, make: Callable[[OnTile], Awaitable[T]]) -> None:
        self._listeners: list[OnTile] = []
        self._waiting = 0
        self.task = asyncio.ensure_future(make(self._tell))

    @property
    def is_wanted(self) -> bool:
        """Whether any request waits for the work; if none does, it is being cancelled."""
        return self._waiting > 0

    def _tell(self, done: int, total: int) -> None:
        for listener in self._listeners:
            listener(done, total)

    async def join(self, on_tile: OnTile | None) -> T:
        """Wait for the result. The work is cancelled when the last request that waits is cancelled."""
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
