"""The tiles that one member of a pool holds: which have begun, and how one is called back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import EngineLost
from enlarger.pool.policy import NeverBegun, Recalled

_AT_ONCE_S = 0.02
"""Tiles that are lost within this time are lost together."""


@dataclass(eq=False, slots=True)
class _Attempt:
    """A tile that the engine has."""

    request: TileRequest
    timeout: asyncio.Timeout
    begun_at: float | None
    """When the engine can have begun the tile; None while the tile waits behind others."""

    is_recalled: bool = False


class Attempts:
    """Sends tiles to one engine, and knows their order: an engine computes the oldest ones first.

    Args:
        engine: computes the tiles.
    """

    def __init__(self, engine: Engine) -> None:
        self.parallel = 1
        """Tiles that the engine computes at the same time, as it last said."""

        self._engine = engine
        self._oldest_first: list[_Attempt] = []

    async def enlarge(self, request: TileRequest, *, limit_s: float) -> TileResult:
        """Have the engine enlarge a tile.

        Args:
            request: the tile.
            limit_s: seconds that the attempt may take.

        Raises:
            TimeoutError: ``limit_s`` or the tile's deadline passed, or ``lose_all`` was called.
            Recalled: ``recall`` was called while the tile waited behind others.
            EngineLost: the engine went away.
            NeverBegun: the engine went away while it computed other tiles.
        """
        limit = asyncio.timeout_at(
            min(request.deadline, asyncio.get_running_loop().time() + limit_s)
        )
        attempt = _Attempt(request, limit, self._begins_at_once())
        try:
            async with limit:
                with self._holding(attempt):
                    try:
                        return await self._engine.enlarge(request)
                    except EngineLost as error:
                        if self._has_begun(attempt):
                            raise
                        raise NeverBegun(str(error)) from error
        except TimeoutError as error:
            if attempt.is_recalled:
                raise Recalled from error
            raise

    @property
    def requests(self) -> list[TileRequest]:
        """The tiles that the engine has."""
        return [attempt.request for attempt in self._oldest_first]

    def holds_back(self, request: TileRequest) -> bool:
        """Return whether the engine has the tile, and computes others before it."""
        return any(one.request is request and one.begun_at is None for one in self._oldest_first)

    def recall(self, request: TileRequest) -> None:
        """End the attempt of a tile that is wanted elsewhere."""
        for attempt in self._oldest_first:
            if attempt.request is request and not attempt.timeout.expired():
                attempt.is_recalled = True
                attempt.timeout.reschedule(asyncio.get_running_loop().time())

    def lose_all(self) -> None:
        """End all attempts: the engine does not answer any more."""
        now = asyncio.get_running_loop().time()
        for attempt in self._oldest_first:
            if not attempt.timeout.expired():
                attempt.timeout.reschedule(now)

    @contextmanager
    def _holding(self, attempt: _Attempt) -> Iterator[None]:
        self._oldest_first.append(attempt)
        try:
            yield
        finally:
            self._oldest_first.remove(attempt)
            now = asyncio.get_running_loop().time()
            for oldest in self._oldest_first[: self.parallel]:
                if oldest.begun_at is None:
                    oldest.begun_at = now

    def _begins_at_once(self) -> float | None:
        return -math.inf if len(self._oldest_first) < self.parallel else None

    def _has_begun(self, attempt: _Attempt) -> bool:
        """Return whether the engine can have begun the tile."""
        # When a process ends, all its tiles are lost one after the other: a tile that became the oldest by that has
        # not begun.
        since = attempt.begun_at
        return since is not None and asyncio.get_running_loop().time() - since > _AT_ONCE_S
