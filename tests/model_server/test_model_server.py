"""The tile contract of a model server, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from support.model_servers import RunningServer, running
from support.pictures import noise
from support.posted_tiles import (
    HEADERS,
    LIMIT_BYTES,
    TILE,
    TOKEN,
    above_debug,
    assert_works,
    posted,
)

from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import (
    DeadlineExceeded,
    EngineFailed,
    EnlargerError,
    ModelNotHere,
    OutOfMemory,
    WrongOutput,
)
from enlarger.shared_blocks import SharedBlock, can_share


@pytest.fixture
def engine() -> NearestEngine:
    """What computes the tiles."""
    return NearestEngine()


@pytest.fixture
async def server(engine: NearestEngine) -> AsyncIterator[RunningServer]:
    """A model server that is ready."""
    async with running(engine) as server:
        yield server


# Access


@pytest.mark.parametrize("shown", [None, "", TOKEN, "Bearer", "Bearer another", f"Basic {TOKEN}"])
async def test_tiles_are_for_those_who_know_the_token(shown: str | None) -> None:
    """401 for all but the question whether the process lives, and nothing is computed."""
    engine = NearestEngine()
    async with running(engine, token=TOKEN) as server:
        answer = await posted(server, authorization=shown)
        assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
        assert TOKEN not in answer.body.decode()
        headers = {} if shown is None else {"Authorization": shown}
        assert (await server.ask("GET", "/ready", headers)).status == 401
        assert (await server.ask("GET", "/livez", headers)).status == 200
        assert engine.requests == []
        assert (await posted(server, authorization=f"Bearer {TOKEN}")).status == 200


@pytest.mark.parametrize("shown", ["Bearer another", None])
async def test_wrong_token_is_logged_once_and_not_at_each_probe(shown: str | None) -> None:
    """A gateway asks four times a second: the first refusal is logged, and then fewer and fewer."""
    with capture_logs() as entries:
        async with running(NearestEngine(), token=TOKEN) as server:
            for _ in range(20):
                await server.ask("GET", "/ready", {} if shown is None else {"Authorization": shown})
    assert [
        (entry["event"], entry["log_level"], entry["address"], entry["left_out"])
        for entry in above_debug(entries)
    ] == [("token_refused", "warning", "127.0.0.1", 0)]


async def test_tiles_refused_for_one_reason_are_logged_once() -> None:
    """A server that starts is asked again and again; each reason has its own line."""
    with capture_logs() as entries:
        async with running(NearestEngine(), ready=False) as server:
            for _ in range(5):
                await posted(server)
                await posted(server, np.zeros(LIMIT_BYTES + 1, np.uint8))
    assert [(entry["event"], entry["code"]) for entry in above_debug(entries)] == [
        ("tile_refused", "starting"),
        ("tile_refused", "tile_too_large"),
    ]


# A tile


async def test_one_tile_by_hand() -> None:
    """Example E8 of the HTTP contract, with nothing but the headers it has: 196608 bytes in, 3145728 out."""
    large = replace(NEAREST, id="realesrgan-x4plus", max_tile_px=100_000)
    tile = noise(256, 256, 3)
    assert tile.nbytes == 196_608
    async with running(NearestEngine([large])) as server:
        answer = await posted(server, tile, tile_shape="256,256,3", tile_model="realesrgan-x4plus")
    assert answer.status == 200
    assert answer.headers["content-length"] == "3145728"
    assert answer.headers["tile-shape"] == "1024,1024,3"
    assert answer.headers["tile-dtype"] == "uint8"
    assert answer.body == nearest(tile, 4).tobytes()


async def test_answer_says_what_it_is_and_what_ran(server: RunningServer) -> None:
    """All headers of an answer: the fake engine takes a millisecond and is called nearest."""
    answer = await posted(server, x_request_id="r-42", tile_precision="bf16")
    expected = {
        "content-type": "application/octet-stream",
        "content-length": str(8 * 4 * 10 * 4 * 3),
        "tile-shape": "32,40,3",
        "tile-dtype": "uint8",
        "tile-infer-ms": "1.0",
        "tile-engine": "nearest",
        "tile-precision": "bf16",
        "x-request-id": "r-42",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert answer.body == nearest(TILE, 4).tobytes()


@pytest.mark.skipif(not can_share(), reason="only Linux has such memory")
async def test_samples_are_written_to_memory_that_is_offered(server: RunningServer) -> None:
    """The headers are those of every answer, with one more, and there is no body."""
    block = SharedBlock(8192)
    answer = await posted(server, tile_memory=block.reference)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["tile-memory"] == "written"
    assert answer.headers["tile-shape"] == "32,40,3"
    assert answer.headers["tile-engine"] == "nearest"
    expected = nearest(TILE, 4).tobytes()
    assert block[:] == expected + bytes(8192 - len(expected))


@pytest.mark.parametrize(
    "memory",
    ["", "1,1,enlarger-" + "0" * 32, "/etc/passwd", "0,0,../../dev/shm/x", "-1,9,x", "," * 4000],
)
async def test_memory_that_cannot_be_reached_is_not_written(
    server: RunningServer, memory: str
) -> None:
    """The answer is the one without it."""
    answer = await posted(server, tile_memory=memory)
    assert "tile-memory" not in answer.headers
    assert answer.body == nearest(TILE, 4).tobytes()


async def test_samples_of_two_bytes_are_little_endian(server: RunningServer) -> None:
    """There and back."""
    tile = (np.arange(8 * 10 * 3).reshape(8, 10, 3) * 257).astype("<u2")
    answer = await posted(server, tile, tile_dtype="uint16")
    assert answer.headers["tile-dtype"] == "uint16"
    assert answer.body == nearest(tile, 4).tobytes()


async def test_engine_sees_what_the_headers_say(
    server: RunningServer, engine: NearestEngine
) -> None:
    """Model, weights, precision, number in the picture, request id, pixels."""
    await posted(
        server,
        tile_precision="bf16",
        tile_weights_sha256=NEAREST.sha256,
        tile_index="7/40",
        x_request_id="r-7",
    )
    (seen,) = engine.requests
    assert (seen.model, seen.weights_sha256) == ("nearest", NEAREST.sha256)
    assert (seen.precision, seen.request_id) == ("bf16", "r-7")
    assert (seen.index, seen.total) == (6, 40)
    assert np.array_equal(seen.pixels, TILE)


async def test_absent_precision_is_the_servers_default(
    server: RunningServer, engine: NearestEngine
) -> None:
    """The first that it has; and its own weights where none are named."""
    answer = await posted(server)
    assert answer.headers["tile-precision"] == NEAREST.precisions[0] == "f32"
    assert engine.requests[0].weights_sha256 == NEAREST.sha256


async def test_deadline_is_relative(server: RunningServer, engine: NearestEngine) -> None:
    """Milliseconds left, so that clocks need not agree."""
    clock = asyncio.get_running_loop()
    before = clock.time()
    await posted(server, tile_deadline_ms="1500")
    assert before + 1.5 <= engine.requests[0].deadline <= clock.time() + 1.5


@pytest.mark.parametrize("given", [None, "with space", "a" * 65, "ä"])
async def test_request_id_that_cannot_be_used_is_replaced(
    server: RunningServer, given: str | None
) -> None:
    """Every answer has one, of at most 64 letters, digits, dots, dashes and underscores, and of its own."""
    answers = [await posted(server, x_request_id=given) for _ in range(2)]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert given not in {first, second}
    assert first != second


async def test_answer_says_how_long_the_tile_waited() -> None:
    """From its arrival to the start of its computing, which here takes the millisecond that the fake says."""
    engine = HeldEngine()
    async with running(engine) as server:
        held = asyncio.create_task(posted(server))
        await engine.holds(1)
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        held_ms = 1000 * (asyncio.get_running_loop().time() - started)
        engine.let_go()
        answer = await held
    assert float(answer.headers["tile-queue-ms"]) >= held_ms - 1.1
    assert answer.headers["tile-infer-ms"] == "1.0"


async def test_refusal_has_the_request_id(server: RunningServer) -> None:
    """Every answer has it."""
    answer = await posted(server, tile_shape="1,1,3", x_request_id="r-42")
    assert answer.status == 400
    assert answer.headers["x-request-id"] == "r-42"


# Tiles that are refused


@pytest.mark.parametrize(
    "headers",
    [
        {"tile_shape": None},
        {"tile_shape": "8,10"},
        {"tile_shape": "8,10,3,1"},
        {"tile_shape": "8,ten,3"},
        {"tile_shape": "-8,-10,3"},
        {"tile_shape": "0,10,3"},
        {"tile_shape": "8,30,1"},
        {"tile_shape": "8,11,3"},
        {"tile_shape": "8,9,3"},
        {"tile_dtype": None},
        {"tile_dtype": "float32"},
        {"tile_dtype": "uint16"},
        {"tile_model": None},
        {"tile_deadline_ms": None},
        {"tile_deadline_ms": "0"},
        {"tile_deadline_ms": "-5"},
        {"tile_deadline_ms": "soon"},
        {"tile_deadline_ms": "1.5"},
        {"tile_deadline_ms": "9" * 400},
        {"tile_index": "x/y"},
    ],
    ids=lambda headers: ",".join(f"{name}={value}"[:30] for name, value in headers.items()),
)
async def test_bad_tile_is_the_senders_fault(
    server: RunningServer, engine: NearestEngine, headers: dict[str, Any]
) -> None:
    """400 ``bad_tile``, not retryable; nothing is computed, and the server works on."""
    answer = await posted(server, **headers)
    assert answer.status == 400
    body = answer.json()
    assert (body["code"], body["retryable"]) == ("bad_tile", False)
    assert body["error"]
    assert engine.requests == []
    await assert_works(server)


@pytest.mark.parametrize("size", [0, 1, 239, 241])
async def test_body_of_the_wrong_length_is_a_bad_tile(server: RunningServer, size: int) -> None:
    """8 x 10 pixels of three bytes are 240. The connection stays usable: the body was read to its end."""
    async with server.connected() as connection:
        await connection.send("POST", "/tiles", HEADERS, bytes(size))
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (400, "bad_tile")
        await connection.send("POST", "/tiles", HEADERS, TILE.tobytes())
        assert (await connection.answer()).body == nearest(TILE, 4).tobytes()


async def test_tile_of_the_largest_size_is_taken(server: RunningServer) -> None:
    """1024 LR pixels in any shape; one row more is 413 with the longest side of a square: 32."""
    answer = await posted(server, noise(16, 64, 3), tile_shape="16,64,3")
    assert answer.status == 200
    answer = await posted(server, noise(17, 64, 3), tile_shape="17,64,3")
    assert answer.status == 413
    body = answer.json()
    assert (body["code"], body["retryable"], body["max_side"]) == ("tile_too_large", False, 32)
    await assert_works(server)


async def test_too_many_bytes_are_refused_before_they_come(server: RunningServer) -> None:
    """A declared length is enough: 413, and the connection is closed."""
    async with server.connected() as connection:
        length = {"Content-Length": str(LIMIT_BYTES + 1)}
        await connection.send("POST", "/tiles", HEADERS | length)
        answer = await connection.answer()
        assert answer.status == 413
        body = answer.json()
        assert (body["code"], body["retryable"], body["max_side"]) == ("tile_too_large", False, 32)
        assert await connection.reader.read() == b""
    await assert_works(server)


async def test_too_many_bytes_in_chunks_are_refused_as_they_come(server: RunningServer) -> None:
    """A body that declares nothing is counted; it never ends, and yet it is answered."""
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    async with server.connected() as connection:
        await connection.send(
            "POST", "/tiles", HEADERS | {"Transfer-Encoding": "chunked"}, chunk + chunk
        )
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (413, "tile_too_large")
        assert await connection.reader.read() == b""
    await assert_works(server)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /ti",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /tiles HTTP/1.1\r\nHost: test\r\nContent-Length: 240\r\n\r\n" + bytes(100),
        b"POST /tiles HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nab",
        b"POST /tiles HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["nothing", "half-a-line", "tls", "half-a-body", "half-a-chunk", "negative-length"],
)
async def test_client_that_breaks_off_is_survived(
    server: RunningServer, engine: NearestEngine, sent: bytes
) -> None:
    """Whatever it sent until then: nothing is computed for it."""
    async with server.connected() as connection:
        await connection.write(sent)
    await assert_works(server)
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (ModelNotHere("e"), 404, True),
        (EngineFailed("e"), 500, True),
        (WrongOutput("e"), 500, True),
        (DeadlineExceeded("e"), 504, False),
        (OutOfMemory("e"), 507, True),
    ],
    ids=lambda value: value.code if isinstance(value, EnlargerError) else None,
)
async def test_engines_error_is_answered_by_the_contracts_table(
    error: EnlargerError, status: int, *, retryable: bool
) -> None:
    """Status, code, whether another server may do better, and our own words; then the server works on."""
    async with running(FailsFirst(NearestEngine(), failures=1, error=error)) as server:
        answer = await posted(server)
        assert answer.status == status
        body = answer.json()
        assert (body["code"], body["retryable"], body["error"]) == (error.code, retryable, "e")
        await assert_works(server)


async def test_fault_in_the_engines_code_is_survived() -> None:
    """500 without a word about it, and the seat is free again."""

    class Broken(NearestEngine):
        """Fails on its first tile."""

        async def enlarge(self, request: TileRequest) -> TileResult:
            if not self.requests:
                self.requests.append(request)
                raise ZeroDivisionError("a secret")
            return await super().enlarge(request)

    async with running(Broken()) as server:
        answer = await posted(server)
        assert answer.status == 500
        assert b"secret" not in answer.body
        await assert_works(server)


# Seats


async def test_one_tile_more_than_its_gateways_may_hold_is_busy() -> None:
    """503 with both ways to say when to come back; those that have a seat are not disturbed."""
    engine = HeldEngine(capacity=2)
    async with running(engine, gateways=3) as server:
        taken = [asyncio.create_task(posted(server)) for _ in range(6)]
        await engine.holds(6)
        answer = await posted(server)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {
            "code": "busy",
            "retryable": True,
            "error": "6 of 6 seats taken",
            "retry_after_ms": 50,
        }
        assert (await server.ask("GET", "/ready")).json()["in_flight"] == 6
        engine.let_go()
        assert [(await task).status for task in taken] == [200] * 6
        await assert_works(server)


async def test_client_that_goes_away_frees_its_seat() -> None:
    """Its tile is dropped in the engine."""
    engine = StuckEngine()
    async with running(engine) as server:
        async with server.connected() as connection:
            await connection.send("POST", "/tiles", HEADERS, TILE.tobytes())
            await engine.started.wait()
            assert (await server.ask("GET", "/ready")).json()["in_flight"] == 1
        async with asyncio.timeout(5):
            while (await server.ask("GET", "/ready")).json()["in_flight"]:
                pass
        assert engine.cancelled == 1
