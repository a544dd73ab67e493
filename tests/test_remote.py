"""The client of one model server: that it speaks the tile contract, and what it makes of every other answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest
from fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest, need_of
from model_servers import RunningServer, running
from pictures import noise

from enlarger.asgi.server import bind
from enlarger.engine import Engine
from enlarger.engine.tile import Need, TileRequest
from enlarger.errors import (
    BadTile,
    Busy,
    DeadlineExceeded,
    Draining,
    EngineFailed,
    EngineLost,
    EnlargerError,
    ModelNotHere,
    NoEngineReady,
    OutOfMemory,
    Starting,
    TileTooLarge,
    Unauthorized,
    WrongOutput,
)
from enlarger.geometry.rect import Pixels
from enlarger.memory import rss_bytes
from enlarger.pool.health import State
from enlarger.pool.remote import Readiness, RemoteEngine
from enlarger.wire import facts_to_json

LONG_S = 100
"""A deadline that plays no part."""

TILE = noise(8, 10, 3)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """What the clients share."""
    async with aiohttp.ClientSession() as session:
        yield session


def request(pixels: Pixels = TILE, *, left_s: float = LONG_S, **fields: Any) -> TileRequest:
    """A tile for ``NEAREST``."""
    tile = TileRequest(
        pixels=pixels,
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id="r-1",
    )
    return replace(tile, **fields)


@asynccontextmanager
async def client_of(
    engine: Engine, session: aiohttp.ClientSession
) -> AsyncIterator[tuple[RemoteEngine, RunningServer]]:
    """A client that has probed its server, and the server, which runs ``engine``."""
    async with running(engine) as server:
        client = RemoteEngine(server.address, session)
        assert (await client.probe()).state is State.READY
        yield client, server
        await session.close()  # so that the server need not wait for its connections


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
    """It is of no use to us until somebody mends the setting; the pool is told so."""
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
    """The milliseconds of its answer."""
    engine = HeldEngine(capacity=1)
    async with client_of(engine, session) as (client, _):
        first = asyncio.create_task(client.enlarge(request()))
        await engine.holds(1)
        with pytest.raises(Busy, match="1 of 1 seats taken") as refusal:
            await client.enlarge(request())
        assert refusal.value.retry_after_s == 0.05
        engine.let_go()
        await first


async def test_stopping_server_is_draining(session: aiohttp.ClientSession) -> None:
    """For tiles and for probes."""
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
    """A tile sent before the next probe is told that the server cannot."""
    async with client_of(NearestEngine(), session) as (client, server):
        server.server.fail("golden tile")
        with pytest.raises(Starting):
            await client.enlarge(request())
        assert (await client.probe()).state is State.FAILED


async def test_tile_too_large_for_the_server_is_said_so(session: aiohttp.ClientSession) -> None:
    """1088 LR pixels where 1024 fit."""
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
    """A restarted server says another word; the same one says the same."""
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


# Servers that are none of ours


READY = facts_to_json(NearestEngine().facts()) | {
    "state": "ready",
    "reason": None,
    "protocol": 1,
    "instance": "b1946ac9",
    "version": "0.1.0",
}
"""What a server says that is well."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(talk: Talk, *, probes: bool = False) -> AsyncIterator[str]:
    """The address of a server that reads a tile, or a probe if ``probes``, and then does what ``talk`` does.

    Where ``talk`` answers tiles, probes get a good answer.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if head.startswith(b"get /ready") and not probes:
            writer.write(answer(json.dumps(READY).encode()))
        else:
            _, _, rest = head.partition(b"content-length: ")
            await reader.readexactly(int(rest.split(b"\r\n")[0]) if rest else 0)
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


def saying(data: bytes) -> Talk:
    """Writes these bytes and closes the connection."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return talk


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Breaks the connection without an end."""
    writer.transport.abort()


def answer(
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    status: int = 200,
    length: int | None = None,
) -> bytes:
    """An HTTP answer; ``length`` is what it says of its body, if that is not true."""
    lines = {
        "Content-Length": str(len(body) if length is None else length),
        "Connection": "close",
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body


ENLARGED = nearest(TILE, 4).tobytes()
TILE_HEADERS = {
    "Tile-Shape": "32,40,3",
    "Tile-Dtype": "uint8",
    "Tile-Infer-Ms": "1.0",
    "Tile-Engine": "nearest",
    "Tile-Precision": "f32",
}


def without(name: str) -> dict[str, str]:
    """An answer's headers but one."""
    return {key: value for key, value in TILE_HEADERS.items() if key != name}


async def sent_to(talk: Talk, session: aiohttp.ClientSession) -> Pixels:
    """The answer to a tile from a server that is well when it is probed and then does what ``talk`` does."""
    async with answering(talk) as address:
        client = RemoteEngine(address, session)
        assert (await client.probe()).state is State.READY
        return (await client.enlarge(request())).pixels


async def test_answer_by_hand_is_taken(session: aiohttp.ClientSession) -> None:
    """What follows differs from this one in one point each."""
    pixels = await sent_to(saying(answer(ENLARGED, TILE_HEADERS)), session)
    assert pixels.tobytes() == ENLARGED


LOST = [
    pytest.param(saying(b""), id="closed"),
    pytest.param(reset, id="reset"),
    pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Le"), id="half-a-head"),
    pytest.param(saying(b"SSH-2.0-OpenSSH_9.9\r\n"), id="not-http"),
    pytest.param(saying(answer(ENLARGED[:99], TILE_HEADERS, length=len(ENLARGED))), id="half"),
    pytest.param(saying(answer(ENLARGED[:-1], TILE_HEADERS)), id="byte-short"),
    pytest.param(saying(answer(ENLARGED + b"\0", TILE_HEADERS)), id="byte-long"),
    pytest.param(saying(answer(b"", TILE_HEADERS)), id="empty"),
    pytest.param(saying(answer(ENLARGED)), id="no-headers"),
    *(
        pytest.param(saying(answer(ENLARGED, without(name))), id=f"no-{name}")
        for name in TILE_HEADERS
    ),
    pytest.param(saying(answer(ENLARGED, TILE_HEADERS | {"Tile-Shape": "40,32,3"})), id="turned"),
    pytest.param(
        saying(answer(TILE.tobytes(), TILE_HEADERS | {"Tile-Shape": "8,10,3"})), id="not-enlarged"
    ),
    pytest.param(
        saying(answer(ENLARGED * 2, TILE_HEADERS | {"Tile-Dtype": "uint16"})), id="deeper"
    ),
    pytest.param(
        saying(answer(ENLARGED, TILE_HEADERS | {"Tile-Infer-Ms": "soon"})), id="no-number"
    ),
    pytest.param(saying(answer(b"<h1>Bad Gateway</h1>", status=502)), id="a-proxys-page"),
    pytest.param(saying(answer(b"", status=500)), id="error-without-words"),
    pytest.param(saying(answer(b"[]", status=500)), id="error-in-a-list"),
    pytest.param(saying(answer(b'{"code": "busy"}', status=503)), id="error-without-text"),
    pytest.param(saying(answer(b'{"code": "\xff"}', status=500)), id="error-not-utf8"),
    pytest.param(
        saying(answer(b'{"code": "request_timeout", "error": "too slow"}', status=408)), id="frozen"
    ),
]


@pytest.mark.parametrize("talk", LOST)
async def test_whatever_is_no_answer_is_a_lost_server(
    session: aiohttp.ClientSession, talk: Talk
) -> None:
    """The tile may go elsewhere, and this server is probed."""
    with pytest.raises(EngineLost):
        await sent_to(talk, session)


async def test_refused_connection_is_a_lost_server(session: aiohttp.ClientSession) -> None:
    """Nobody listens there any more."""
    async with answering(reset) as address:
        client = RemoteEngine(address, session)
        assert (await client.probe()).state is State.READY
    with pytest.raises(EngineLost):
        await client.enlarge(request())


@pytest.mark.parametrize("code", ["no_such_code", "output_too_large"])
async def test_error_of_an_unknown_kind_is_a_failure(
    session: aiohttp.ClientSession, code: str
) -> None:
    """A newer server may have codes that we do not know; the tile may go elsewhere."""
    body = json.dumps({"code": code, "error": "e", "retryable": True}).encode()
    with pytest.raises(EngineFailed):
        await sent_to(saying(answer(body, status=500)), session)


@pytest.mark.parametrize(
    ("retry_after_ms", "retry_after_s"), [(40, 0.04), (None, None), ("soon", None), ([], None)]
)
async def test_busy_answer_by_hand(
    session: aiohttp.ClientSession, retry_after_ms: object, retry_after_s: float | None
) -> None:
    """The contract's example; a time that is no number is no time."""
    body = {"code": "busy", "retryable": True, "error": "2 of 2 seats taken"}
    body |= {"retry_after_ms": retry_after_ms} if retry_after_ms is not None else {}
    with pytest.raises(Busy, match="2 of 2 seats taken") as refusal:
        await sent_to(saying(answer(json.dumps(body).encode(), status=503)), session)
    assert refusal.value.retry_after_s == retry_after_s


async def probed(body: object, session: aiohttp.ClientSession, *, status: int = 200) -> Readiness:
    """What a client makes of this answer to ``GET /ready``."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with answering(saying(answer(data, status=status)), probes=True) as address:
        client = RemoteEngine(address, session)
        readiness = await client.probe()
        assert client.facts().ready is (readiness.state is State.READY)
        return readiness


async def test_ready_answer_by_hand(session: aiohttp.ClientSession) -> None:
    """With a field that we do not know: clients ignore those."""
    readiness = await probed(READY | {"moon": "full"}, session)
    expected = NearestEngine().facts()
    assert readiness == Readiness(State.READY, expected, "b1946ac9")


@pytest.mark.parametrize("ready", [True, False])
async def test_server_says_what_it_holds_and_made(
    session: aiohttp.ClientSession, *, ready: bool
) -> None:
    """Ready or not."""
    body = READY | {"ready": ready, "state": "draining", "rss_bytes": 1 << 30, "tiles_done": 7}
    readiness = await probed(body, session)
    assert (readiness.rss_bytes, readiness.tiles_done) == (1 << 30, 7)


@pytest.mark.parametrize("value", [None, "much", 1.5, True, [], {}])
async def test_what_is_no_count_is_not_known(session: aiohttp.ClientSession, value: object) -> None:
    """The server is ready all the same."""
    readiness = await probed(READY | {"rss_bytes": value, "tiles_done": value}, session)
    assert readiness == Readiness(State.READY, NearestEngine().facts(), "b1946ac9")


@pytest.mark.parametrize("protocol", [0, 2, "1", None])
async def test_server_of_another_protocol_is_incompatible(
    session: aiohttp.ClientSession, protocol: object
) -> None:
    """However ready it says it is."""
    readiness = await probed(READY | {"protocol": protocol}, session)
    assert readiness.state is State.INCOMPATIBLE
    assert readiness.reason is not None
    assert f"speaks version {protocol} of the tile contract" in readiness.reason


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("starting", State.STARTING),
        ("draining", State.DRAINING),
        ("failed", State.FAILED),
        ("some-new-state", State.STARTING),
    ],
)
async def test_server_that_is_not_ready_says_its_state(
    session: aiohttp.ClientSession, state: str, expected: State
) -> None:
    """One that we do not know may still become ready."""
    body = READY | {"ready": False, "state": state}
    readiness = await probed(body, session, status=503)
    assert readiness == Readiness(expected, None, "b1946ac9")


NOT_READINESS: dict[str, object] = {
    "nothing": b"",
    "page": b"<h1>It works!</h1>",
    "not-utf8": b"\xff\xfe",
    "empty-object": {},
    "list": [],
    "null": None,
    "number": 1,
    "text": "ready",
    **{
        f"no-{name}": {key: value for key, value in READY.items() if key != name}
        for name in ("protocol", "ready", "instance", "capacity", "models", "parallel")
    },
    "empty-model": READY | {"models": [{}]},
    "models-of-text": READY | {"models": ["nearest"]},
    "models-no-list": READY | {"models": 5},
    "state-no-text": READY | {"ready": False, "state": []},
}


@pytest.mark.parametrize("body", NOT_READINESS.values(), ids=NOT_READINESS)
async def test_whatever_is_no_readiness_is_a_server_that_is_gone(
    session: aiohttp.ClientSession, body: object
) -> None:
    """Something else listens there; a probe never raises."""
    readiness = await probed(body, session)
    assert readiness.state is State.GONE
    assert str(readiness.reason).endswith(" answers, but not as a model server does")


@pytest.mark.parametrize(
    "talk",
    [saying(b""), reset, saying(b"SSH-2.0-OpenSSH_9.9\r\n"), saying(answer(b"{", length=99))],
    ids=["closed", "reset", "not-http", "half"],
)
async def test_server_that_does_not_answer_a_probe_is_gone(
    session: aiohttp.ClientSession, talk: Talk
) -> None:
    """It gets no tiles from then on."""
    async with answering(talk, probes=True) as address:
        client = RemoteEngine(address, session)
        assert await client.probe() == Readiness(State.GONE)
        assert not client.facts().ready


async def test_server_that_is_not_there_is_gone(session: aiohttp.ClientSession) -> None:
    """Its port is free."""
    with bind("127.0.0.1", 0, variable="--port") as listener:
        host, port = listener.getsockname()
    found = await RemoteEngine(f"{host}:{port}", session).probe()
    assert found == Readiness(State.GONE)
    assert found.reason == f"{host}:{port} does not answer: Connection refused"


async def test_cancelled_probe_is_cancelled(session: aiohttp.ClientSession) -> None:
    """A server that never answers does not hold up who leaves."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with answering(silent, probes=True) as address:
        probe = asyncio.create_task(RemoteEngine(address, session).probe())
        await asked.wait()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
