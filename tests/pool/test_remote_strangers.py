"""How the client of a model server treats responses that no model server of ours sends."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.fakes import (
    NearestEngine,
    nearest,
)
from support.remote_tiles import TILE, request

from enlarger.asgi.server import bind
from enlarger.errors import (
    Busy,
    EngineFailed,
    EngineLost,
)
from enlarger.geometry.rect import Pixels
from enlarger.pool.health import State
from enlarger.pool.remote import Readiness, RemoteEngine
from enlarger.wire import facts_to_json


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """What the clients share."""
    async with aiohttp.ClientSession() as session:
        yield session


READY = facts_to_json(NearestEngine().facts()) | {
    "state": "ready",
    "reason": None,
    "protocol": 1,
    "instance": "b1946ac9",
    "version": "0.1.0",
}
"""The response of a server that is ready."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(talk: Talk, *, probes: bool = False) -> AsyncIterator[str]:
    """Yield the address of a server that reads a tile, or a probe if ``probes`` is set, and then calls ``talk``.

    If ``talk`` handles tiles, probes get a good response.
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
    """Return a ``talk`` that writes these bytes; the server then closes the connection."""

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
    """Return an HTTP response. ``length`` replaces the true Content-Length."""
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
    """Return the headers of a response without this one."""
    return {key: value for key, value in TILE_HEADERS.items() if key != name}


async def sent_to(talk: Talk, session: aiohttp.ClientSession) -> Pixels:
    """The answer to a tile from a server that is well when it is probed and then does what ``talk`` does."""
    async with answering(talk) as address:
        client = RemoteEngine(address, session)
        assert (await client.probe()).state is State.READY
        return (await client.enlarge(request())).pixels


async def test_answer_by_hand_is_taken(session: aiohttp.ClientSession) -> None:
    """Each response in the tests below differs from this one in one detail."""
    pixels = await sent_to(saying(answer(ENLARGED, TILE_HEADERS)), session)
    assert pixels.tobytes() == ENLARGED


def compressed(data: bytes) -> bytes:
    """Return a response with ``data`` in gzip, whose stated size is nevertheless that of the tile."""
    packed = gzip.compress(data, mtime=0)
    # A comment in the head of gzip (RFC 1952, flag 16) makes up for the difference.
    comment = b"-" * (len(ENLARGED) - len(packed) - 1) + b"\0"
    body = packed[:3] + b"\x10" + packed[4:10] + comment + packed[10:]
    assert len(body) == len(ENLARGED)
    return answer(body, TILE_HEADERS | {"Content-Encoding": "gzip"})


LOST = [
    pytest.param(saying(b""), id="closed"),
    pytest.param(reset, id="reset"),
    pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Le"), id="half-a-head"),
    pytest.param(saying(b"SSH-2.0-OpenSSH_9.9\r\n"), id="not-http"),
    pytest.param(saying(answer(ENLARGED[:99], TILE_HEADERS, length=len(ENLARGED))), id="half"),
    pytest.param(saying(answer(ENLARGED[:-1], TILE_HEADERS)), id="byte-short"),
    pytest.param(saying(answer(ENLARGED + b"\0", TILE_HEADERS)), id="byte-long"),
    pytest.param(saying(answer(b"", TILE_HEADERS)), id="empty"),
    pytest.param(saying(compressed(bytes(99))), id="compressed-and-short"),
    pytest.param(saying(compressed(bytes(len(ENLARGED) + 1))), id="compressed-and-long"),
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
    """The tile may be sent elsewhere, and this server is probed."""
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
    """This holds whether or not it reports that it is ready."""
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
    """Leaving does not wait for a server that never answers."""
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
