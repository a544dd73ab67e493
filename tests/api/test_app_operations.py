"""What operators see of a gateway: health, metrics, status, cleanup and traces."""

from __future__ import annotations

import asyncio
import base64
import os
import platform
import re
import time
from collections import Counter

import numpy as np
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client.parser import text_string_to_metric_families
from support.app_calls import fault, fields_of, send, until
from support.fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine
from support.gateways import B64, PNG, Json, Reply, Running, Start
from support.pictures import encoded, noise

from enlarger import __version__
from enlarger.engine.tile import ModelFacts
from enlarger.errors import EngineFailed
from enlarger.pool.health import Health, State
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness

pytestmark = pytest.mark.asyncio(loop_scope="module")


# Traces


async def test_request_is_traced_with_its_stages(
    start: Start, models: list[ModelFacts], spans: InMemorySpanExporter
) -> None:
    """A span for the request, and below it one for each stage and for each tile that was sent."""
    engine = NearestEngine(models)
    gateway = await start(FailsFirst(engine, failures=1, error=EngineFailed("e")))
    reply = await gateway.call(
        "POST", "/upscale", json={"image_b64": B64}, headers={"X-Request-Id": "mine"}
    )
    *steps, edge = spans.get_finished_spans()
    assert Counter(span.name for span in steps) == Counter(
        ["fetch", "queue", "decode", "infer", "encode", *["tile"] * reply.body["tiles"]["total"]]
    )
    assert all(span.parent == edge.context for span in steps)
    assert (edge.name, edge.parent) == ("POST /upscale", None)
    assert edge.attributes == {
        "enlarger.request_id": "mine",
        "enlarger.model": reply.body["model"],
        "enlarger.found": "miss",
        "enlarger.tiles": reply.body["tiles"]["total"],
    }
    tiles: list[Json] = [dict(span.attributes or {}) for span in steps if span.name == "tile"]
    assert sum(tile["enlarger.attempts"] for tile in tiles) == len(tiles) + 1
    assert {tile["enlarger.server"] for tile in tiles} == {"one"}
    assert {tile["enlarger.precision"] for tile in tiles} == {reply.body["precision"]}
    assert {tile["enlarger.index"] for tile in tiles} == set(range(len(tiles)))


async def test_result_that_is_found_again_is_traced_as_such(
    start: Start, spans: InMemorySpanExporter
) -> None:
    """Nothing was computed for it."""
    gateway = await start()
    await gateway.upscale(image_b64=B64)
    spans.clear()
    await gateway.upscale(image_b64=B64)
    fetch, edge = spans.get_finished_spans()
    assert (fetch.name, edge.name) == ("fetch", "POST /upscale")
    assert edge.attributes is not None
    assert edge.attributes["enlarger.found"] == "hit"


async def test_failed_request_is_traced_with_its_code(
    start: Start, models: list[ModelFacts], spans: InMemorySpanExporter
) -> None:
    """A fault of the sender is none of ours; of the tiles, one failed and took the others along."""
    engine = NearestEngine(models)
    gateway = await start(FailsFirst(engine, failures=3, error=EngineFailed("e")))
    await gateway.upscale(image_b64=B64, scale=3)
    await gateway.upscale(image_b64=base64.b64encode(encoded(noise(4, 4, 3))).decode())
    await gateway.call("GET", "/status")
    await gateway.call("GET", "/health")
    ends = [
        (span.name, (span.attributes or {}).get("error.type"), span.status.status_code)
        for span in spans.get_finished_spans()
        if span.name in {"POST /upscale", "tile"}
    ]
    assert ends == [
        ("POST /upscale", "invalid_option", StatusCode.UNSET),
        ("tile", "engine_failed", StatusCode.ERROR),
        ("POST /upscale", "engine_failed", StatusCode.ERROR),
    ]


# Operations


async def test_health_of_a_ready_gateway(start: Start) -> None:
    """All fields of the contract, with live values."""
    gateway = await start(
        max_file_size_bytes=3 << 19,
        max_image_dimension_px=77,
        cleanup_interval_s=90,
        file_max_age_s=30,
    )
    reply = await gateway.call("GET", "/health")
    assert reply.status == 200
    assert abs(reply.body.pop("timestamp") - time.time()) < 10
    assert reply.body == {
        "status": "healthy",
        "max_file_size_mb": 1.5,
        "max_dimension": 77,
        "supported_scales": [2, 4],
        "cleanup_interval_minutes": 1.5,
        "file_max_age_minutes": 0.5,
        "model_servers": 1,
        "model_servers_ready": 1,
        "reason": None,
        "version": __version__,
    }


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.STARTING, "starting"),
        (State.GONE, "no_engine_ready"),
        (State.FAILED, "no_engine_ready"),
    ],
)
async def test_health_without_a_ready_server(
    start: Start, models: list[ModelFacts], state: State, reason: str
) -> None:
    """503 with the same fields, and why."""

    async def never() -> Readiness:
        await asyncio.Event().wait()
        raise AssertionError

    members = [Member(str(number), NearestEngine(models), probe=never) for number in range(2)]
    for member in members:
        member.health = Health(state=state)
    gateway = await start(pool=Pool(members))
    reply = await gateway.call("GET", "/health")
    assert reply.status == 503
    assert (reply.body["status"], reply.body["reason"]) == ("unhealthy", reason)
    assert (reply.body["model_servers"], reply.body["model_servers_ready"]) == (2, 0)
    assert reply.body["supported_scales"] == [2, 4]


async def test_probes_of_an_orchestrator(start: Start, models: list[ModelFacts]) -> None:
    """Live as long as it answers; ready while a model server is."""
    gateway = await start()
    assert (await gateway.call("GET", "/livez")).body == {"alive": True}
    ready = await gateway.call("GET", "/readyz")
    assert (ready.status, ready.body) == (
        200,
        {"ready": True, "reason": None, "servers_ready": 1, "servers": 1},
    )

    async def never() -> Readiness:
        await asyncio.Event().wait()
        raise AssertionError

    down = Member("down", NearestEngine(models), probe=never)
    down.health = Health(state=State.FAILED)
    gateway = await start(pool=Pool([down]))
    assert (await gateway.call("GET", "/livez")).status == 200
    unready = await gateway.call("GET", "/readyz")
    assert (unready.status, unready.body) == (
        503,
        {"ready": False, "reason": "no_engine_ready", "servers_ready": 0, "servers": 1},
    )


async def test_answers_say_where_the_time_went(start: Start) -> None:
    """In milliseconds by stage; a result that was found again has no stages of computing."""
    gateway = await start()
    first, again = [await gateway.upscale(image_b64=B64) for _ in range(2)]
    stages = ["fetch", "queue", "decode", "infer", "encode", "total"]
    named, total_ms = timing(first)
    assert named == stages
    assert total_ms == pytest.approx(1000 * first.body["processing_time"], abs=10)
    assert timing(again)[0] == ["fetch", "total"]


def timing(reply: Reply) -> tuple[list[str], float]:
    """Names of the stages, and milliseconds in all."""
    entries = [entry.split(";dur=") for entry in reply.headers["Server-Timing"].split(", ")]
    return [name for name, _ in entries], float(entries[-1][1])


SERVER_STATE = "enlarger_server_state"
SERVER_RSS = "enlarger_server_rss_bytes"


async def metrics(gateway: Running) -> dict[tuple[str, ...], float]:
    """Values by name and labels, in the form that Prometheus reads."""
    async with gateway.http.get("/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        families = list(text_string_to_metric_families(await response.text()))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


async def test_metrics_count_what_was_done(start: Start, models: list[ModelFacts]) -> None:
    """By how requests ended; stages, tiles, servers and queue."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    for _ in range(2):
        await gateway.upscale(image_b64=B64)
    await gateway.upscale(image_b64=B64, scale=3)
    await send(gateway.port, f"Content-Length: {99 << 20}\r\n")
    found = await metrics(gateway)
    assert found["enlarger_requests_total", "miss"] == 1
    assert found["enlarger_requests_total", "hit"] == 1
    assert found["enlarger_requests_total", "invalid_option"] == 1
    assert found["enlarger_requests_total", "file_too_large"] == 1
    assert found["enlarger_stage_seconds_count", "infer"] == 1
    assert found["enlarger_stage_seconds_count", "total"] == 2
    assert found["enlarger_tiles_total", "computed"] == len(engine.requests)
    assert found["enlarger_server_tiles_total",] == len(engine.requests)
    assert found["enlarger_servers", "ready"] == 1
    assert found["enlarger_servers", "gone"] == 0
    assert found["enlarger_queue_requests",] == 0
    assert found["enlarger_tiles_in_flight",] == 0
    assert found["process_resident_memory_bytes",] > 1e6


async def test_metrics_count_jobs_like_requests(start: Start, models: list[ModelFacts]) -> None:
    """By how they ended; those that have not ended by state."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    made = await gateway.call("POST", "/v1/jobs", data=PNG)
    await engine.holds(1)
    found = await metrics(gateway)
    assert (found["enlarger_jobs", "running"], found["enlarger_jobs", "queued"]) == (1, 0)
    assert found["enlarger_queue_held_bytes",] > 0
    assert found["enlarger_tiles_waiting",] == 0
    engine.let_go()
    await gateway.call("GET", f"/v1/jobs/{made.body['id']}?wait=30")
    found = await metrics(gateway)
    assert found["enlarger_requests_total", "miss"] == 1
    assert found["enlarger_stage_seconds_count", "infer"] == 1
    assert (found["enlarger_jobs", "running"], found["enlarger_jobs", "queued"]) == (0, 0)


async def test_metrics_tell_servers_apart(start: Start, models: list[ModelFacts]) -> None:
    """Each is in one state: one here is ready, and one is still being started."""

    async def never() -> Readiness:
        raise AssertionError("nobody probes a pool that was not entered")

    engine = NearestEngine(models)
    gateway = await start(pool=Pool([Member("one", engine), Member("two", engine, probe=never)]))
    found = await metrics(gateway)
    states = {labels[1:]: value for labels, value in found.items() if labels[0] == SERVER_STATE}
    assert len(states) == 2 * len(State)
    assert {labels for labels, value in states.items() if value} == {
        ("0", "ready"),
        ("1", "starting"),
    }


async def test_server_has_one_name_in_status_and_metrics(
    start: Start, models: list[ModelFacts]
) -> None:
    """That of the log, beside the number that it has had."""
    members = [Member(name, NearestEngine(models)) for name in ("server-0", "server-1")]
    gateway = await start(pool=Pool(members))
    async with gateway.http.get("/metrics") as response:
        text = await response.text()
    assert 'enlarger_server_info{name="server-1",server="1"} 1.0' in text
    status = (await gateway.call("GET", "/status")).body
    named = [(server["id"], server["name"]) for server in status["servers"]]
    assert named == [(0, "server-0"), (1, "server-1")]


async def test_metrics_tell_the_version(start: Start) -> None:
    """The versions of Python and OpenVINO are shown as well."""
    gateway = await start()
    async with gateway.http.get("/metrics") as response:
        (line,) = re.findall(
            r"^enlarger_build_info\{(.+)\} 1\.0$", await response.text(), re.MULTILINE
        )
    labels = dict(re.findall(r'(\w+)="([^"]+)"', line))
    assert labels["version"] == __version__
    assert labels["python"] == platform.python_version()
    assert labels.keys() == {"version", "python", "openvino"}


async def test_memory_of_model_servers_is_shown(start: Start, models: list[ModelFacts]) -> None:
    """Model servers report it themselves. Those that do not have no value."""
    engine = NearestEngine(models)

    async def probe() -> Readiness:
        return Readiness(State.READY, engine.facts(), "b1946ac9", rss_bytes=700 << 20)

    async with Pool([Member("one", engine, probe=probe), Member("two", engine)]) as pool:
        gateway = await start(pool=pool)
        await asyncio.wait_for(pool.started(patience_s=5), 10)
        found = await metrics(gateway)
        status = (await gateway.call("GET", "/status")).body
    memory = {labels[1:]: value for labels, value in found.items() if labels[0] == SERVER_RSS}
    assert memory == {("0",): 700 << 20}
    assert [server["rss_mb"] for server in status["servers"]] == [700.0, None]


async def test_metrics_count_ejections_and_restarts(start: Start, models: list[ModelFacts]) -> None:
    """Over all servers: here one of two is ejected for its third failure in a row, and then its process ends."""
    engine = NearestEngine(models)

    async def probe() -> Readiness:
        return Readiness(State.READY, engine.facts(), "b1946ac9")

    failing = Member("one", engine, probe=probe)
    async with Pool([failing, Member("two", engine)]) as pool:
        gateway = await start(pool=pool)
        await asyncio.wait_for(pool.started(patience_s=5), 10)
        for _ in range(3):
            failing.strike(may_eject=True)
        ejected = await metrics(gateway)
        failing.lose()
        found = await metrics(gateway)
    assert ejected[SERVER_STATE, "0", "ejected"] == 1
    assert found["enlarger_server_ejections_total",] == 1
    assert (
        ejected["enlarger_server_restarts_total",],
        found["enlarger_server_restarts_total",],
    ) == (0, 1)


async def test_status_shows_what_is_here(start: Start) -> None:
    """All fields of the contract; files of others are not counted."""
    gateway = await start(max_file_size_bytes=1 << 20)
    body = (await gateway.upscale(image_b64=B64, scale=4)).body
    path = gateway.store.folder.parent / body["file_path"]
    os.truncate(path, 3 << 19)
    fields_of(gateway.store.folder, "theirs.png")
    reply = await gateway.call("GET", "/status")
    assert reply.status == 200
    assert reply.body == {
        "status": "running",
        "model_servers": 1,
        "thread_pool_workers": 4,
        "supported_formats": ["png", "jpg", "jpeg", "webp", "bmp", "tiff", "gif", "avif"],
        "cleanup_task_running": True,
        "upload_folder_stats": {"total_files": 1, "total_size_mb": 1.5},
        "limits": {
            "max_file_size_mb": 1.0,
            "max_dimension": 2048,
            "cleanup_interval_minutes": 5.0,
            "file_max_age_minutes": 5.0,
        },
        "model_servers_ready": 1,
        "queue": {"requests": 0, "megapixels": 0.0},
        "version": __version__,
        "servers": [
            {
                "id": 0,
                "name": "one",
                "state": "ready",
                "tiles_in_flight": 0,
                "tiles_done": body["tiles"]["total"],
                "strikes": 0,
                "device": "cpu",
                "device_class": "cpu",
                "rss_mb": None,
            }
        ],
    }


async def test_status_counts_the_work_under_way(start: Start, models: list[ModelFacts]) -> None:
    """Requests, their LR megapixels, and tiles at each server."""
    stuck = StuckEngine(models)
    gateway = await start(stuck)
    pixels = np.zeros((300, 400, 3), np.uint8)
    fields = {"image_b64": base64.b64encode(encoded(pixels)).decode()}
    work = asyncio.create_task(gateway.upscale(**fields))
    await asyncio.wait_for(stuck.started.wait(), 10)
    body = (await gateway.call("GET", "/status")).body
    assert body["queue"] == {"requests": 1, "megapixels": 0.12}
    assert body["servers"][0]["tiles_in_flight"] == stuck.in_flight > 0
    assert body["servers"][0]["tiles_done"] == 0
    work.cancel()
    await until(lambda: gateway.load() == 0)


async def test_status_says_when_nobody_sweeps(start: Start) -> None:
    """A cleanup task that ended is not running."""
    gateway = await start()
    gateway.gateway.sweeper.cancel()
    await asyncio.wait([gateway.gateway.sweeper])
    assert (await gateway.call("GET", "/status")).body["cleanup_task_running"] is False


async def test_cleanup_deletes_old_results_and_nothing_else(start: Start) -> None:
    """A younger result stays, and so does any file of another name, however old."""
    gateway = await start()
    bodies = [(await gateway.upscale(image_b64=B64)).body for _ in range(3)]
    paths = [gateway.store.folder.parent / body["file_path"] for body in bodies]
    planted = [
        fields_of(gateway.store.folder, name)
        for name in ("theirs.png", "upscaled_notes.png", "upscaled_" + "0" * 32 + ".txt")
    ]
    for path in [*paths[:2], *planted]:
        os.utime(path, (0, 0))
    reply = await gateway.call("POST", "/cleanup", data=b"ignored")
    assert reply.status == 200
    assert reply.body == {"success": True, "deleted_files": 2, "errors": []}
    assert set(gateway.store.folder.iterdir()) == {paths[2], *planted}
    again = await gateway.call("POST", "/cleanup")
    assert again.body["deleted_files"] == 0


async def test_cleanup_that_cannot_run_is_500(start: Start) -> None:
    """The text has our reason and no path."""
    gateway = await start()
    gateway.store.folder.rmdir()
    reply = await gateway.call("POST", "/cleanup")
    status, code, text = fault(reply)
    assert (status, code) == (500, "internal_error")
    assert text.startswith("Manual cleanup failed: ")
    assert str(gateway.store.folder) not in text
