"""The client of one model server: it speaks the tile contract, and turns every other response into an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest
from support.fakes import (
    NEAREST,
    FailsFirst,
    HeldEngine,
    NearestEngine,
    StuckEngine,
    nearest,
    need_of,
)
from support.file_limits import no_more_open_files
from support.model_servers import running
from support.pictures import noise
from support.remote_tiles import TILE, client_of, request

from enlarger.engine.tile import Need
from enlarger.errors import (
    BadTile,
    Busy,
    DeadlineExceeded,
    Draining,
    EngineFailed,
    EnlargerError,
    ModelNotHere,
    NoEngineReady,
    OpenFilesExhausted,
    OutOfMemory,
    Starting,
    TileTooLarge,
    Unauthorized,
    WrongOutput,
)
from enlarger.memory import rss_bytes
from enlarger.pool.health import State
from enlarger.pool.remote import Readiness, RemoteEngine


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """What the clients share."""
    async with aiohttp.ClientSession() as session:
        yield session


# The token


async def test_token_opens_the_server(session: aiohttp.ClientSession) -> None:
    """Both probes and tiles show it."""
    async with running(NearestEngine(), token="a token of a test") as server:
        client = RemoteEngine(server.address, session, token="a token of a test")
        assert (await client.probe()).state is State.READY
        assert np.array_equal((await client.enlarge(request())).pixels, nearest(TILE, 4))
        await session.close()


@pytest.mark.parametrize("token", [None, "another token"])
async def test_server_that_refuses_our_token_gets_no_tiles(
    session: aiohttp.ClientSession, token: str | None
) -> None:
    """The server is unusable until an operator corrects the setting, and the pool reports that."""
    async with running(NearestEngine(), token="a token of a test") as server:
        client = RemoteEngine(server.address, session, token=token)
        found = await client.probe()
        assert found == Readiness(State.INCOMPATIBLE)
        shown = "a gateway without" if token is None else "the ENLARGER_TILE_TOKEN of this gateway"
        assert found.reason == (
            f"{server.address} refuses {shown}: set ENLARGER_TILE_TOKEN to the same value here and there"
        )
        assert not client.facts().ready
        await session.close()


# Tiles


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
async def test_tile_goes_there_and_back(
    session: aiohttp.ClientSession, dtype: type[np.unsignedinteger]
) -> None:
    """The engine behind the server sees the request as it was made; the caller sees its answer."""
    engine = NearestEngine()
    pixels = noise(8, 10, 3).astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    asked = request(pixels, precision="bf16", index=6, total=40, request_id="r-7")
    async with client_of(engine, session) as (client, _):
        result = await client.enlarge(asked)
    (seen,) = engine.requests
    assert np.array_equal(seen.pixels, pixels)
    assert seen.pixels.dtype == result.pixels.dtype == dtype
    assert (seen.model, seen.weights_sha256) == (NEAREST.id, NEAREST.sha256)
    assert (seen.precision, seen.request_id) == ("bf16", "r-7")
    assert (seen.index, seen.total) == (6, 40)
    assert np.array_equal(result.pixels, nearest(pixels, 4))
    assert (result.engine, result.precision, result.infer_s) == ("nearest", "bf16", 0.001)


async def test_time_left_travels_not_the_clock(session: aiohttp.ClientSession) -> None:
    """The server's deadline is never earlier than a millisecond before ours, and later by the way there alone."""
    engine = NearestEngine()
    async with client_of(engine, session) as (client, _):
        asked = request(left_s=3)
        await client.enlarge(asked)
        now = asyncio.get_running_loop().time()
    (seen,) = engine.requests
    assert asked.deadline - 0.0011 <= seen.deadline <= now + 3


async def test_passed_deadline_sends_nothing(session: aiohttp.ClientSession) -> None:
    """The answer would be worthless."""
    engine = NearestEngine()
    async with client_of(engine, session) as (client, _):
        with pytest.raises(DeadlineExceeded):
            await client.enlarge(request(left_s=0))
    assert engine.requests == []


async def test_cancelled_tile_is_dropped_by_the_server(session: aiohttp.ClientSession) -> None:
    """Its seat there is free again."""
    engine = StuckEngine()
    async with client_of(engine, session) as (client, _):
        task = asyncio.create_task(client.enlarge(request()))
        await engine.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while client.facts().in_flight or not engine.cancelled:
                await client.probe()
    assert engine.cancelled == 1


async def test_missing_files_of_this_process_are_no_fault_of_the_server() -> None:
    """Nothing is known about the server then, and the next tile reaches it."""
    new_connections = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=new_connections) as session,
        client_of(NearestEngine(), session) as (client, _),
    ):
        with no_more_open_files():
            with pytest.raises(OpenFilesExhausted):
                await client.probe()
            with pytest.raises(OpenFilesExhausted):
                await client.enlarge(request())
        assert np.array_equal((await client.enlarge(request())).pixels, nearest(TILE, 4))


# The server's errors


@pytest.mark.parametrize(
    "error",
    [
        ModelNotHere("e"),
        EngineFailed("e"),
        WrongOutput("e"),
        DeadlineExceeded("e"),
        OutOfMemory("e"),
        BadTile("e"),
        TileTooLarge("e", limit=32),
        Unauthorized("e"),
    ],
    ids=lambda error: error.code,
)
async def test_servers_error_is_the_same_error_here(
    session: aiohttp.ClientSession, error: EnlargerError
) -> None:
    """Its class and its words."""
    engine = FailsFirst(NearestEngine(), failures=1, error=error)
    async with client_of(engine, session) as (client, _):
        with pytest.raises(type(error), match=r"^e$"):
            await client.enlarge(request())
        assert (await client.enlarge(request())).attempts == 1


async def test_full_server_is_busy_and_says_for_how_long(session: aiohttp.ClientSession) -> None:
    """The error has the milliseconds that the server stated."""
    engine = HeldEngine(capacity=1)
    async with client_of(engine, session, gateways=1) as (client, _):
        first = asyncio.create_task(client.enlarge(request()))
        await engine.holds(1)
        with pytest.raises(Busy, match="1 of 1 seats taken") as refusal:
            await client.enlarge(request())
        assert refusal.value.retry_after_s == 0.05
        engine.let_go()
        await first


async def test_stopping_server_is_draining(session: aiohttp.ClientSession) -> None:
    """Tiles and probes both report it."""
    engine = HeldEngine()
    async with client_of(engine, session) as (client, server):
        first = asyncio.create_task(client.enlarge(request()))
        await engine.holds(1)
        server.service.drain()
        with pytest.raises(Draining):
            await client.enlarge(request())
        assert (await client.probe()).state is State.DRAINING
        engine.let_go()
        await first


async def test_failed_server_is_failed(session: aiohttp.ClientSession) -> None:
    """The server refuses a tile that was sent before the next probe."""
    async with client_of(NearestEngine(), session) as (client, server):
        server.server.fail("golden tile")
        with pytest.raises(Starting):
            await client.enlarge(request())
        assert (await client.probe()).state is State.FAILED


async def test_tile_too_large_for_the_server_is_said_so(session: aiohttp.ClientSession) -> None:
    """The tile has 1088 LR pixels, and the limit is 1024."""
    async with client_of(NearestEngine(), session) as (client, _):
        with pytest.raises(TileTooLarge):
            await client.enlarge(request(noise(17, 64, 3)))


# Probes


async def test_probe_tells_what_the_server_can_do(session: aiohttp.ClientSession) -> None:
    """All facts of the engine behind it."""
    engine = HeldEngine(capacity=3)
    engine.mflop_per_s = 12.5
    async with client_of(engine, session) as (client, _):
        readiness = await client.probe()
        assert readiness.state is State.READY
        assert readiness.facts == client.facts() == engine.facts()
        assert await client.ready_for(need_of()) == NEAREST


async def test_probe_tells_how_the_server_fares(session: aiohttp.ClientSession) -> None:
    """Its memory, which here is our own, and the tiles that it made."""
    async with client_of(NearestEngine(), session) as (client, _):
        await client.enlarge(request())
        readiness = await client.probe()
    assert readiness.tiles_done == 1
    assert readiness.rss_bytes == pytest.approx(rss_bytes(), rel=0.1)


async def test_starting_server_has_no_facts_yet(session: aiohttp.ClientSession) -> None:
    """It gets no tiles."""
    async with running(NearestEngine(), ready=False) as server:
        client = RemoteEngine(server.address, session)
        readiness = await client.probe()
        assert (readiness.state, readiness.facts) == (State.STARTING, None)
        assert not client.facts().ready
        with pytest.raises(ModelNotHere):
            await client.enlarge(request())
        with pytest.raises(NoEngineReady):
            await client.ready_for(need_of())
        await session.close()


async def test_another_instance_is_noticed(session: aiohttp.ClientSession) -> None:
    """Each start of a server has its own id."""
    instances: list[str | None] = []
    for _ in range(2):
        async with running(NearestEngine()) as server, aiohttp.ClientSession() as own:
            client = RemoteEngine(server.address, own)
            instances += [(await client.probe()).instance for _ in range(2)]
    assert instances[0] == instances[1] != instances[2] == instances[3]


async def test_server_without_an_address_is_starting(session: aiohttp.ClientSession) -> None:
    """Its process has not said its port yet."""
    assert await RemoteEngine("", session).probe() == Readiness(State.STARTING)


@pytest.mark.parametrize(("model_id", "sha256"), [("no-such", "0" * 64), ("nearest", "1" * 64)])
async def test_ready_for_another_model_or_weights_is_an_error(
    session: aiohttp.ClientSession, model_id: str, sha256: str
) -> None:
    """Name and hash must both fit."""
    async with client_of(NearestEngine(), session) as (client, _):
        with pytest.raises(NoEngineReady):
            await client.ready_for(Need(model=model_id, weights_sha256=sha256, scale=NEAREST.scale))
