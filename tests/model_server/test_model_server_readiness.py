"""What a model server says of itself: readiness, metrics, logs and loading."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from support.fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from support.model_servers import RunningServer, running
from support.posted_tiles import (
    HEADERS,
    LIMIT_BYTES,
    TILE,
    TOKEN,
    above_debug,
    assert_works,
    posted,
)

from enlarger import __version__
from enlarger.asgi.server import Lifecycle
from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import (
    ConfigError,
    DeviceLost,
    EnlargerError,
    OutOfMemory,
    WeightsError,
    WrongOutput,
)
from enlarger.memory import rss_bytes
from enlarger.model_server.server import ModelServer, load


@pytest.fixture
def engine() -> NearestEngine:
    """What computes the tiles."""
    return NearestEngine()


@pytest.fixture
async def server(engine: NearestEngine) -> AsyncIterator[RunningServer]:
    """A model server that is ready."""
    async with running(engine) as server:
        yield server


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


async def test_server_whose_device_is_lost_ends_to_be_started_again() -> None:
    """It takes no tile any more, and ends with the status that its supervisor counts."""
    engine = FailsFirst(NearestEngine(), failures=1, error=DeviceLost("the card fell off the bus"))
    async with running(engine) as server:
        answer = await posted(server)
        assert (answer.status, answer.json()["code"]) == (502, "device_lost")
        assert server.server.state == "failed"
        assert server.service.draining
        async with asyncio.timeout(10):
            await server.service.stopped()
        assert server.service.status == DeviceLost.exit_status == 75


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
    async with running(engine, gateways=1) as server:
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
        async with running(engine, gateways=1) as server:
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
    return ModelServer(engine, Lifecycle(drain_s=1))


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
