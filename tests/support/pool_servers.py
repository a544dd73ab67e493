"""Members of a pool whose probes answer what a test says, and tiles for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import (
    EnlargerError,
)
from enlarger.pool.health import State
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness
from support.fakes import NEAREST, FailsFirst, NearestEngine
from support.pictures import noise

LONG_S = 100
"""A deadline that is never reached."""


class Server(Member):
    """A member whose probe answers what a test says."""

    def __init__(
        self,
        name: str,
        engine: Engine | None = None,
        *,
        state: State = State.READY,
        supervised: bool = False,
    ) -> None:
        self.probes = 0
        self.restarted = asyncio.Event()
        engine = engine or NearestEngine()
        super().__init__(
            name,
            engine,
            probe=self._answer,
            restart=self.restarted.set if supervised else None,
        )
        self.says(state)
        self.learn(self._readiness)

    def says(self, state: State, *, instance: str = "1") -> None:
        """Set the result of the next probes. The first of them follows soon."""
        ready = state is State.READY
        self._readiness = Readiness(
            state, self.engine.facts() if ready else None, None if state is State.GONE else instance
        )
        self.changed.set()

    def uses(self, *, rss_bytes: int | None = None, tiles_done: int | None = None) -> None:
        """Set what the next probes report of its process."""
        self._readiness = replace(self._readiness, rss_bytes=rss_bytes, tiles_done=tiles_done)

    def explains(self, reason: str) -> None:
        """Set the reason that the next probes report."""
        self._readiness = replace(self._readiness, reason=reason)

    async def probed(self, times: int = 1) -> None:
        """Wait for this many more probes, without pauses between them."""
        for _ in range(times):
            before = self.probes
            self.changed.set()
            await until(partial(self._probed_since, before))
            await settled()

    def _probed_since(self, before: int) -> bool:
        return self.probes > before

    async def _answer(self) -> Readiness:
        self.probes += 1
        return self._readiness


def request(
    *,
    size: tuple[int, int] = (4, 4),
    request_id: str = "r-1",
    owner: str | None = None,
    index: int = 0,
    left_s: float = LONG_S,
    admitted_at: float = 0.0,
) -> TileRequest:
    """A tile for ``NEAREST``; of the request with that id, unless its owner is said."""
    return TileRequest(
        pixels=noise(*size, 3, seed=index),
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id=request_id,
        owner=request_id if owner is None else owner,
        index=index,
        admitted_at=admitted_at,
    )


def sent(
    pool: Pool,
    tiles: int,
    *,
    request_id: str = "r-1",
    owner: str | None = None,
    admitted_at: float = 0.0,
) -> list[asyncio.Task[TileResult]]:
    """Tiles of one request, all at once."""
    return [
        asyncio.create_task(
            pool.enlarge(
                request(request_id=request_id, owner=owner, index=index, admitted_at=admitted_at)
            )
        )
        for index in range(tiles)
    ]


def counts(pool: Pool) -> str:
    """Return the state of the pool, without that of each member."""
    return " | ".join(repr(pool).strip("<>").split(" | ")[:2])


async def settled() -> None:
    """Let all tasks run as far as they can. Nothing here waits for another process."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that sends no event."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


def failing(name: str, error: EnlargerError, *, failures: int = 1) -> Server:
    """Return a server that fails at first and then works."""
    return Server(name, FailsFirst(NearestEngine(), failures=failures, error=error))
