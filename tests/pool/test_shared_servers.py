"""Model servers that several gateways use: each gateway gets its share of them, and its oldest request half of that.

Real model servers listen on real sockets. Their engine computes one tile at a time, in the order in which tiles come.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from support.fakes import HeldEngine, NearestEngine
from support.model_servers import RunningServer, running
from support.pool_servers import request

from enlarger.engine.tile import EngineFacts, TileRequest, TileResult
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import RemoteEngine

TILE_S = 0.02
TILES = 200
"""Tiles that are counted."""


class OneByOne(NearestEngine):
    """Computes one tile at a time, and takes one more."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    def facts(self) -> EngineFacts:
        """As a model server with one thread."""
        return replace(super().facts(), capacity=2)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Take a while."""
        async with self._turn:
            await asyncio.sleep(TILE_S)
        return await super().enlarge(request)


@asynccontextmanager
async def gateways(servers: list[RunningServer], count: int) -> AsyncIterator[list[Pool]]:
    """Pools of as many gateways over the same servers."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        pools = []
        for _ in range(count):
            engines = [RemoteEngine(server.address, session) for server in servers]
            members = [Member(str(one), one, probe=one.probe) for one in engines]
            pools.append(await stack.enter_async_context(Pool(members)))
        for pool in pools:
            await pool.started(patience_s=10)
        yield pools


@pytest.mark.parametrize("count", [2, 3])
async def test_gateways_that_came_later_get_an_equal_share(count: int) -> None:
    """Also if the first one has filled all servers before; its oldest request has half of what it gets."""
    done: Counter[tuple[int, int]] = Counter()
    is_over = asyncio.Event()

    async def send(gateway: int, pool: Pool, client: int) -> None:
        """Send one tile after the other, as a request of its own age."""
        name = f"{gateway}-{client}"
        while True:
            await pool.enlarge(request(request_id=name, admitted_at=float(client)))
            if len(started) == count:
                done[gateway, client] += 1
            if done.total() >= TILES:
                is_over.set()

    started: list[Pool] = []
    async with (
        running(OneByOne()) as one,
        running(OneByOne()) as another,
        gateways([one, another], count) as pools,
        asyncio.TaskGroup() as tasks,
    ):
        sending = []
        for gateway, pool in enumerate(pools):
            # The oldest request has many tiles at once, and four others have two each.
            clients = [0] * 8 + [1, 1, 2, 2, 3, 3, 4, 4]
            sending += [tasks.create_task(send(gateway, pool, client)) for client in clients]
            await asyncio.sleep(5 * TILE_S)
            started.append(pool)
        await is_over.wait()
        for task in sending:
            task.cancel()

    for gateway in range(count):
        all_its_tiles = sum(done[gateway, client] for client in range(5))
        assert 0.8 <= all_its_tiles / (TILES / count) <= 1.2, done
        assert 0.4 <= done[gateway, 0] / all_its_tiles <= 0.6, done


async def test_attempt_has_time_for_the_tiles_of_other_gateways() -> None:
    """A server that computes for others first does not hang."""
    engine = HeldEngine(capacity=6)
    async with running(engine) as server, gateways([server], 2) as (pool, other):
        (member,) = pool.members
        theirs = [asyncio.create_task(other.enlarge(request())) for _ in range(6)]
        await engine.holds(6)
        member.changed.set()
        async with asyncio.timeout(10):
            while member.others != 6:  # noqa: ASYNC110 - probes send no event
                await asyncio.sleep(0.01)
        member.take(request(), 1000.0, turn=1)
        assert member.queued_mflop == 7000.0
        member.give_back(1000.0)
        assert member.queued_mflop == 0.0
        engine.let_go()
        await asyncio.gather(*theirs)
