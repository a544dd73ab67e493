"""A server that can write to the gateway's memory puts large results there; all others send them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace

import aiohttp
import numpy as np
import pytest
from support.fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine, nearest
from support.model_servers import running
from support.pictures import noise
from support.remote_tiles import TILE, client_of, request

from enlarger.engine import Engine
from enlarger.errors import Busy, EngineLost
from enlarger.geometry.rect import Pixels, Rect
from enlarger.large_arrays import LEAST_BYTES
from enlarger.pool.health import State
from enlarger.pool.remote import RemoteEngine
from enlarger.shared_blocks import can_share, write_to
from enlarger.wire import MEMORY_HEADER, WRITTEN

pytestmark = pytest.mark.skipif(not can_share(), reason="only Linux has such memory")

LARGE = replace(NEAREST, max_tile_px=1 << 16)
TILE_16_BIT = noise(120, 130, 3).astype(np.uint16) * np.uint16(257)
"""A tile whose result is worth it: 480x520 in 16 bits."""

assert nearest(TILE_16_BIT, 4).nbytes >= LEAST_BYTES


class Calls:
    """What a session sent and received for tiles."""

    def __init__(self) -> None:
        self.offered: list[str | None] = []
        """Value of the header in each request."""

        self.received: list[tuple[int, str | None]] = []
        """Size of each response's body, and value of its header."""

        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_end.append(self._ended)

    async def _ended(
        self, _session: object, _context: object, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        if ended.method == "POST":
            self.offered.append(ended.response.request_info.headers.get(MEMORY_HEADER))
            length = ended.response.content_length
            assert length is not None
            self.received.append((length, ended.response.headers.get(MEMORY_HEADER)))


@pytest.fixture
def calls() -> Calls:
    """What the session of the test did."""
    return Calls()


@pytest.fixture
async def session(calls: Calls) -> AsyncIterator[aiohttp.ClientSession]:
    """What the clients share."""
    async with aiohttp.ClientSession(trace_configs=[calls.trace]) as session:
        yield session


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("keep", [None, Rect(3, 5, 190, 200)])
async def test_large_result_comes_through_memory(
    session: aiohttp.ClientSession,
    calls: Calls,
    dtype: type[np.unsignedinteger],
    keep: Rect | None,
) -> None:
    """The response has no body, and the samples are those of the engine, whatever their depth and part."""
    pixels = noise(200, 200, 3).astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    asked = request(pixels, keep=keep)
    async with client_of(NearestEngine([LARGE]), session) as (client, _):
        result = await client.enlarge(asked)
    assert calls.received == [(0, WRITTEN)]
    assert result.pixels.dtype == dtype
    assert np.array_equal(result.pixels, nearest(asked.core, 4))
    assert (result.engine, result.infer_s) == ("nearest", 0.001)


async def test_small_result_comes_in_the_response(
    session: aiohttp.ClientSession, calls: Calls
) -> None:
    """Nothing is offered for it."""
    async with client_of(NearestEngine(), session) as (client, _):
        assert np.array_equal((await client.enlarge(request())).pixels, nearest(TILE, 4))
    assert calls.offered == [None]
    assert calls.received == [(nearest(TILE, 4).nbytes, None)]


async def test_results_that_are_held_are_not_written_over(session: aiohttp.ClientSession) -> None:
    """Tile after tile, one at a time and several: each result keeps its own samples as long as it is needed."""
    async with client_of(NearestEngine([LARGE]), session) as (client, _):
        sent = [np.roll(TILE_16_BIT, turn, axis=1) for turn in range(12)]
        held: list[Pixels] = []
        for start in range(0, len(sent), 3):
            some = await asyncio.gather(
                *(client.enlarge(request(pixels)) for pixels in sent[start : start + 3])
            )
            held += [result.pixels for result in some]
            if start == 6:
                del held[:4]
                del some
        for pixels, result in zip(sent[4:], held, strict=True):
            assert np.array_equal(result, nearest(pixels, 4))


class Between:
    """Stands between client and server, on this machine.

    Attributes:
        strips: hides what is offered from the server, which then is like one that cannot reach it.
        drops: reads a tile and closes the connection, so that the client gives it up.
        references: what was offered.
    """

    def __init__(self, port: int) -> None:
        self.strips = self.drops = False
        self.references: list[str] = []
        self._port = port

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yield the address."""
        async with await asyncio.start_server(self._connected, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            yield f"{host}:{port}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(_copied(there_reader, writer))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.split(b"\r\n")
                size = sum(int(line[15:]) for line in lines if line.startswith(b"Content-Length:"))
                body = await reader.readexactly(size)
                offers = [line for line in lines if line.startswith(b"Tile-Memory: ")]
                self.references += [offer[13:].decode() for offer in offers]
                if self.drops and offers:
                    break
                kept = [line for line in lines if not (self.strips and line in offers)]
                there_writer.write(b"\r\n".join(kept) + body)
                await there_writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            there_writer.close()
            writer.close()
            await back


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def between(
    engine: Engine, session: aiohttp.ClientSession, *, gateways: int = 8
) -> AsyncIterator[tuple[RemoteEngine, Between]]:
    """A client that has probed a server, and what stands between them."""
    async with running(engine, gateways=gateways) as server:
        middle = Between(server.port)
        async with middle.listening() as address:
            client = RemoteEngine(address, session)
            assert (await client.probe()).state is State.READY
            yield client, middle
            await session.close()


async def test_server_that_cannot_write_sends_the_result(
    session: aiohttp.ClientSession, calls: Calls
) -> None:
    """One of another container or user, for example. It is not asked again until it is another process."""
    wanted = nearest(TILE_16_BIT, 4)
    async with between(NearestEngine([LARGE]), session) as (client, middle):
        middle.strips = True
        for _ in range(2):
            result = await client.enlarge(request(TILE_16_BIT))
            assert np.array_equal(result.pixels, wanted)
        await client.probe()
        await client.enlarge(request(TILE_16_BIT))
        assert calls.received == [(wanted.nbytes, None)] * 3
        assert [offer is not None for offer in calls.offered] == [True, False, False]


async def test_another_process_is_asked_again(session: aiohttp.ClientSession, calls: Calls) -> None:
    """A new server under the same address may be able to write."""
    async with running(NearestEngine([LARGE])) as first, running(NearestEngine([LARGE])) as second:
        middle = Between(first.port)
        async with middle.listening() as address:
            client = RemoteEngine(address, session)
            await client.probe()
            middle.strips = True
            await client.enlarge(request(TILE_16_BIT))
        middle = Between(second.port)
        async with middle.listening() as client.address:
            await client.probe()
            result = await client.enlarge(request(TILE_16_BIT))
            assert np.array_equal(result.pixels, nearest(TILE_16_BIT, 4))
            assert [header for _, header in calls.received] == [None, WRITTEN]
            await session.close()


async def test_server_that_was_given_up_writes_nowhere(session: aiohttp.ClientSession) -> None:
    """Not even if it wakes up much later: the memory of the next tile is other memory."""
    async with between(NearestEngine([LARGE]), session) as (client, middle):
        middle.drops = True
        with pytest.raises(EngineLost):
            await client.enlarge(request(TILE_16_BIT))
        middle.drops = False
        result = await client.enlarge(request(TILE_16_BIT))
        lost, used = middle.references
        assert lost != used
        assert not write_to(lost, np.zeros(LEAST_BYTES, np.uint8))
        assert np.array_equal(result.pixels, nearest(TILE_16_BIT, 4))


async def test_memory_of_a_cancelled_tile_is_not_used_again(
    session: aiohttp.ClientSession,
) -> None:
    """The server may still be at work on the tile."""
    engine = HeldEngine([LARGE])
    async with between(engine, session) as (client, middle):
        task = asyncio.create_task(client.enlarge(request(TILE_16_BIT)))
        await engine.holds(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (lost,) = middle.references
        assert not write_to(lost, np.zeros(LEAST_BYTES, np.uint8))
        engine.let_go()
        for _ in range(3):
            await client.enlarge(request(TILE_16_BIT))
        lost, first, *rest = middle.references
        assert lost != first
        assert set(rest) == {first}


async def test_refusal_is_read_as_ever(session: aiohttp.ClientSession, calls: Calls) -> None:
    """It has a body, whatever was offered, and the next tile comes through memory again."""
    engine = FailsFirst(NearestEngine([LARGE]), failures=1, error=Busy("e", retry_after_s=1))
    async with client_of(engine, session) as (client, _):
        with pytest.raises(Busy, match=r"^e$"):
            await client.enlarge(request(TILE_16_BIT))
        await client.enlarge(request(TILE_16_BIT))
    assert [header for _, header in calls.received] == [None, WRITTEN]


async def test_server_on_another_machine_is_offered_nothing(
    calls: Calls, session: aiohttp.ClientSession
) -> None:
    """The number of a process means nothing there."""
    # An address of this machine that is not its loopback stands for another machine.
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(probe):
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but its loopback")
        host = probe.getsockname()[0]
    async with running(NearestEngine([LARGE]), host=host) as server:
        client = RemoteEngine(f"{host}:{server.port}", session)
        assert (await client.probe()).state is State.READY
        result = await client.enlarge(request(TILE_16_BIT))
        assert np.array_equal(result.pixels, nearest(TILE_16_BIT, 4))
        await session.close()
    assert calls.offered == [None]
