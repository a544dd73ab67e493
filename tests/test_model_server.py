"""The tile contract of a model server, over real sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import structlog
from fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from model_servers import Answer, RunningServer, running
from pictures import noise
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from enlarger import __version__
from enlarger.asgi.server import Lifecycle
from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineFailed,
    EnlargerError,
    ModelNotHere,
    OutOfMemory,
    WeightsError,
    WrongOutput,
)
from enlarger.geometry.rect import Pixels
from enlarger.memory import rss_bytes
from enlarger.model_server.server import ModelServer, load

TILE = noise(8, 10, 3)
HEADERS = {
    "Content-Type": "application/octet-stream",
    "Tile-Shape": "8,10,3",
    "Tile-Dtype": "uint8",
    "Tile-Model": "nearest",
    "Tile-Deadline-Ms": "30000",
}
"""What every tile must say, here for ``TILE``."""


@pytest.fixture
def engine() -> NearestEngine:
    """What computes the tiles."""
    return NearestEngine()


@pytest.fixture
async def server(engine: NearestEngine) -> AsyncIterator[RunningServer]:
    """A model server that is ready."""
    async with running(engine) as server:
        yield server


async def posted(server: RunningServer, pixels: Pixels = TILE, **headers: str | None) -> Answer:
    """A tile sent to ``server``; ``headers`` (``tile_shape="..."``) replace the usual ones, None leaves one out."""
    given = {name.replace("_", "-").title(): value for name, value in headers.items()}
    sent = {name: value for name, value in (HEADERS | given).items() if value is not None}
    return await server.ask("POST", "/tiles", sent, pixels.tobytes())


async def assert_works(server: RunningServer) -> None:
    """The server enlarges a tile, and holds no other."""
    answer = await posted(server)
    assert answer.status == 200
    assert answer.body == nearest(TILE, 4).tobytes()
    assert (await server.ask("GET", "/ready")).json()["in_flight"] == 0


# Who may ask

TOKEN = "a token of a test"


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


LIMIT_BYTES = 1024 * 6
"""A tile of the largest size, in samples of two bytes."""


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


async def test_one_tile_more_than_it_has_seats_is_busy() -> None:
    """503 with both ways to say when to come back; those that have a seat are not disturbed."""
    engine = HeldEngine(capacity=2)
    async with running(engine) as server:
        taken = [asyncio.create_task(posted(server)) for _ in range(2)]
        await engine.holds(2)
        answer = await posted(server)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {
            "code": "busy",
            "retryable": True,
            "error": "2 of 2 seats taken",
            "retry_after_ms": 50,
        }
        assert (await server.ask("GET", "/ready")).json()["in_flight"] == 2
        engine.let_go()
        assert [(await task).status for task in taken] == [200, 200]
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


# Readiness


async def test_server_that_starts_takes_no_tiles(engine: NearestEngine) -> None:
    """503 ``starting`` until it is opened; then it does, and says so."""
    async with running(engine, ready=False) as server:
        ready = await server.ask("GET", "/ready")
        assert ready.status == 503
        body = ready.json()
        assert (body["ready"], body["state"], body["reason"]) == (False, "starting", "starting")
        answer = await posted(server)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert (answer.json()["code"], answer.json()["retryable"]) == ("starting", True)
        server.server.open()
        assert (await server.ask("GET", "/ready")).status == 200
        await assert_works(server)


async def test_ready_server_says_what_it_can_do() -> None:
    """All fields of the HTTP contract, with the facts of its engine."""
    engine = HeldEngine(capacity=3)
    async with running(engine) as server:
        answer = await server.ask("GET", "/ready")
    assert answer.status == 200
    body = answer.json()
    (model,) = body["models"]
    assert {
        "ready": True,
        "state": "ready",
        "reason": None,
        "protocol": 1,
        "version": __version__,
        "capacity": 3,
        "in_flight": 0,
        "device": "cpu",
    }.items() <= body.items()
    assert {
        "id": "nearest",
        "scale": 4,
        "halo": 2,
        "multiple_of": 1,
        "max_side": 32,
        "channels": [3],
        "dtypes": ["uint8", "uint16"],
        "precisions": ["f32", "bf16"],
        "engine": "nearest",
        "sha256": "0" * 64,
    }.items() <= model.items()


async def test_ready_server_says_how_it_fares(server: RunningServer) -> None:
    """Whole seconds since its start, memory as the system counts it, and tiles made; a refused one is none."""
    for _ in range(2):
        await posted(server)
    await posted(server, tile_shape="1,1,3")
    body = (await server.ask("GET", "/ready")).json()
    assert body["tiles_done"] == 2
    assert body["uptime_s"] in range(10)
    assert body["rss_bytes"] == pytest.approx(rss_bytes(), rel=0.1)


async def test_instance_changes_with_each_start(engine: NearestEngine) -> None:
    """And only then, so that a gateway notices a restart."""
    instances = []
    for _ in range(2):
        async with running(engine) as server:
            instances += [(await server.ask("GET", "/ready")).json()["instance"] for _ in "ab"]
    assert instances[0] == instances[1] != instances[2] == instances[3]


async def test_failed_server_takes_no_tiles_and_says_why(server: RunningServer) -> None:
    """For good: opening it changes nothing."""
    server.server.fail("the golden tile differs")
    server.server.open()
    ready = await server.ask("GET", "/ready")
    assert ready.status == 503
    body = ready.json()
    assert (body["ready"], body["state"]) == (False, "failed")
    assert body["reason"] == "the golden tile differs"
    answer = await posted(server)
    assert (answer.status, answer.json()["code"]) == (503, "starting")


async def test_stopping_server_finishes_what_it_holds() -> None:
    """New tiles are refused as ``draining``; the one that runs is answered."""
    engine = HeldEngine()
    async with running(engine) as server:
        running_tile = asyncio.create_task(posted(server))
        await engine.holds(1)
        server.service.drain()
        ready = await server.ask("GET", "/ready")
        assert (ready.status, ready.json()["state"]) == (503, "draining")
        answer = await posted(server)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (answer.json()["code"], answer.json()["retryable"]) == ("draining", True)
        engine.let_go()
        assert (await running_tile).body == nearest(TILE, 4).tobytes()
        assert len(engine.requests) == 1


@pytest.mark.parametrize("ready", [True, False])
async def test_process_that_answers_is_alive(engine: NearestEngine, *, ready: bool) -> None:
    """Ready or not: liveness is not readiness."""
    async with running(engine, ready=ready) as server:
        assert (await server.ask("GET", "/livez")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/tiles", 405), ("POST", "/ready", 405), ("GET", "/no-such", 404)],
)
async def test_other_routes_are_what_http_says(
    server: RunningServer, method: str, path: str, status: int
) -> None:
    """Not found, or not this method."""
    assert (await server.ask(method, path)).status == status


# Metrics

TILES = "enlarger_model_server_tiles_total"


async def metrics(server: RunningServer) -> dict[tuple[str, ...], float]:
    """Values by name and labels, as Prometheus reads them."""
    answer = await server.ask("GET", "/metrics")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def test_metrics_count_tiles_by_their_ends() -> None:
    """Made, failed, refused at each stage; seconds of those that were made."""
    engine = FailsFirst(NearestEngine(), failures=1, error=WrongOutput("e"))
    async with running(engine) as server:
        for _ in range(3):
            await posted(server)
        await posted(server, tile_shape="1,1,3")
        await posted(server, np.zeros(LIMIT_BYTES + 1, np.uint8))
        found = await metrics(server)
    ends = {labels[1]: value for labels, value in found.items() if labels[0] == TILES}
    assert ends == {"done": 2, "wrong_output": 1, "bad_tile": 1, "tile_too_large": 1}
    assert found["enlarger_model_server_infer_seconds_count", "nearest"] == 2
    assert found["enlarger_model_server_infer_seconds_sum", "nearest"] == pytest.approx(0.002)
    assert found["enlarger_model_server_queue_seconds_count",] == 2
    assert found["enlarger_model_server_tiles_in_flight",] == 0
    assert found["process_resident_memory_bytes",] > 1e6


async def test_metrics_show_tiles_under_way_and_those_that_were_dropped() -> None:
    """One is held, one more is busy; the time that a tile was not computed in is that of its waiting."""
    engine = HeldEngine(capacity=1)
    async with running(engine) as server:
        async with server.connected() as connection:
            await connection.send("POST", "/tiles", HEADERS, TILE.tobytes())
            await engine.holds(1)
            await posted(server)
            found = await metrics(server)
            assert found[TILES, "busy"] == found["enlarger_model_server_tiles_in_flight",] == 1
        async with asyncio.timeout(5):
            while (await metrics(server)).get((TILES, "cancelled")) != 1:
                pass
        held = asyncio.create_task(posted(server))
        await engine.holds(2)
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        held_s = asyncio.get_running_loop().time() - started
        engine.let_go()
        await held
        found = await metrics(server)
    assert found["enlarger_model_server_queue_seconds_sum",] >= held_s - 0.001
    assert found["enlarger_model_server_tiles_in_flight",] == 0


async def test_metrics_tell_the_version(server: RunningServer) -> None:
    """As those of the gateway do."""
    text = (await server.ask("GET", "/metrics")).body.decode()
    assert re.search(
        rf'^enlarger_build_info\{{.*version="{__version__}".*\}} 1\.0$', text, re.MULTILINE
    )


# Logs


def above_debug(entries: list[Any]) -> list[Any]:
    """Those that are logged unless a setting says otherwise: without a line for each request."""
    return [entry for entry in entries if entry["log_level"] != "debug"]


def logged(entries: list[Any]) -> list[tuple[str, str | None]]:
    """Events and codes of what was logged for request ``r-42``; there is nothing else."""
    entries = above_debug(entries)
    assert {entry["request_id"] for entry in entries} <= {"r-42"}
    return [(entry["event"], entry.get("code")) for entry in entries]


async def test_every_line_about_a_tile_has_its_request() -> None:
    """Made, failed, refused before and after its body was read."""
    failing = FailsFirst(NearestEngine(), failures=1, error=OutOfMemory("e"))
    with capture_logs([structlog.contextvars.merge_contextvars]) as entries:
        async with running(failing, ready=False) as server:
            await posted(server, x_request_id="r-42")
            server.server.open()
            for _ in range(2):
                await posted(server, x_request_id="r-42", tile_index="7/40")
            await posted(server, x_request_id="r-42", tile_shape="1,1,3")
            await posted(server, np.zeros(LIMIT_BYTES + 1, np.uint8), x_request_id="r-42")
    assert logged(entries) == [
        ("tile_refused", "starting"),
        ("tile_failed", "out_of_memory"),
        ("tile_done", None),
        ("tile_refused", "bad_tile"),
        ("tile_refused", "tile_too_large"),
    ]
    assert [entry.get("tile") for entry in above_debug(entries)] == [
        None,
        "7/40",
        "7/40",
        None,
        None,
    ]


async def test_every_request_has_a_line_at_the_level_debug() -> None:
    """Tiles and probes alike: hundreds of them come for one picture."""
    with capture_logs() as entries:
        async with running(NearestEngine(), token=TOKEN) as server:
            await posted(server, authorization=f"Bearer {TOKEN}", x_request_id="r-42")
            await server.ask("GET", "/ready")
            await server.ask("GET", "/livez")
    lines = [entry for entry in entries if entry["event"] == "request"]
    assert [
        (line["method"], line["path"], line["status"], line["log_level"]) for line in lines
    ] == [
        ("POST", "/tiles", 200, "debug"),
        ("GET", "/ready", 401, "debug"),
        ("GET", "/livez", 200, "debug"),
    ]
    assert (lines[0]["sent_bytes"], lines[0]["request_id"]) == (16 * TILE.nbytes, "r-42")


async def test_busy_and_dropped_tiles_are_logged_with_their_request() -> None:
    """A tile whose client went away, and one that found no seat."""
    engine = StuckEngine(capacity=1)
    with capture_logs([structlog.contextvars.merge_contextvars]) as entries:
        async with running(engine) as server:
            async with server.connected() as connection:
                headers = HEADERS | {"X-Request-Id": "r-42"}
                await connection.send("POST", "/tiles", headers, TILE.tobytes())
                await engine.started.wait()
                await posted(server, x_request_id="r-42")
            async with asyncio.timeout(5):
                while (await server.ask("GET", "/ready")).json()["in_flight"]:
                    pass
    assert logged(entries) == [("tile_refused", "busy"), ("tile_dropped", None)]


async def test_fault_in_the_engines_code_is_logged_with_its_request() -> None:
    """What the answer does not say is in the log."""

    class Broken(NearestEngine):
        """Fails on every tile."""

        async def enlarge(self, request: TileRequest) -> TileResult:
            raise ZeroDivisionError("a secret")

    with capture_logs([structlog.contextvars.merge_contextvars]) as entries:
        async with running(Broken()) as server:
            answer = await posted(server, x_request_id="r-42")
            found = await metrics(server)
    assert (answer.status, answer.json()["code"]) == (500, "engine_failed")
    assert answer.headers["x-request-id"] == "r-42"
    assert logged(entries) == [("internal_error", None), ("tile_failed", "engine_failed")]
    assert str(entries[0]["exc_info"]) == "a secret"
    assert found[TILES, "engine_failed"] == 1


async def test_every_answer_has_a_request_id(server: RunningServer) -> None:
    """Probes, and bodies that are refused before they are read, too."""
    large = np.zeros(LIMIT_BYTES + 1, np.uint8)
    answers = [
        await server.ask("GET", "/ready", {"X-Request-Id": "r-42"}),
        await server.ask("GET", "/no-such", {"X-Request-Id": "r-42"}),
        await posted(server, large, x_request_id="r-42"),
    ]
    assert [answer.headers["x-request-id"] for answer in answers] == 3 * ["r-42"]


# Loading


class Loaded(NearestEngine):
    """An engine whose network loads, or does not."""

    def __init__(self, error: EnlargerError | None = None) -> None:
        super().__init__()
        self._error = error
        self.loaded: list[str] = []

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Note the model, or fail."""
        if self._error is not None:
            raise self._error
        self.loaded.append(model_id)


def made(engine: Engine) -> ModelServer:
    """A server that does not listen."""
    return ModelServer(engine, Lifecycle(drain_s=1), device="cpu")


async def test_server_is_ready_once_its_network_passed() -> None:
    """And not before."""
    engine = Loaded()
    server = made(engine)
    assert server.state == "starting"
    await load(engine, server, "nearest")
    assert engine.loaded == ["nearest"]
    assert server.state == "ready"


async def test_successor_is_ready_at_once() -> None:
    """Nothing is loaded ahead: each model is loaded and checked by its first tile."""
    engine = Loaded()
    server = made(engine)
    await load(engine, server, None)
    assert (engine.loaded, server.state) == ([], "ready")


@pytest.mark.parametrize("error", [WrongOutput("e"), WeightsError("e"), ConfigError("e")])
async def test_server_whose_network_did_not_pass_has_failed(error: EnlargerError) -> None:
    """It lives on to say why."""
    engine = Loaded(error)
    server = made(engine)
    await load(engine, server, "nearest")
    assert server.state == "failed"
