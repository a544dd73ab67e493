"""Responses of a gateway that cannot do the work, now or at all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.app_calls import fault, until
from support.fakes import FailsFirst, NearestEngine, StuckEngine, nearest
from support.gateways import B64, RED, Start, samples
from support.results import FolderResults

from enlarger.engine.tile import ModelFacts, TileRequest, TileResult
from enlarger.errors import EngineFailed, EngineLost, EnlargerError, OutOfMemory, WrongOutput
from enlarger.pool.health import State
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness
from enlarger.storage import Draft, StoredResult

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_identical_request_finds_the_result(start: Start, models: list[ModelFacts]) -> None:
    """The result has the same bytes under a new name, and the response says that it was cached. ``no-cache`` computes it again."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    first = await gateway.upscale(image_b64=B64)
    tiles = len(engine.requests)
    again = await gateway.upscale(image_b64=B64)
    assert len(engine.requests) == tiles
    assert (first.body["cache"], again.body["cache"]) == ("miss", "hit")
    assert again.body["base64"] == first.body["base64"]
    assert again.body["file_path"] != first.body["file_path"]
    skip_cache = await gateway.call(
        "POST", "/upscale", json={"image_b64": B64}, headers={"Cache-Control": "no-cache"}
    )
    assert (skip_cache.body["cache"], len(engine.requests)) == ("miss", 2 * tiles)
    other = await gateway.upscale(image_b64=B64, scale=4)
    assert other.body["cache"] == "miss"


async def test_identical_requests_in_flight_share_the_work(
    start: Start, models: list[ModelFacts]
) -> None:
    """Only one is computed. Each client gets its own file, and all files are equal."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    replies = await asyncio.gather(*(gateway.upscale(image_b64=B64) for _ in range(5)))
    found = Counter(reply.body["cache"] for reply in replies)
    assert found["miss"] == 1
    assert found["miss"] + found["coalesced"] + found["hit"] == 5
    assert len({reply.body["url"] for reply in replies}) == 5
    assert len({reply.body["base64"] for reply in replies}) == 1
    assert len({reply.body["request_id"] for reply in replies}) == 5


async def test_full_queue_is_503_and_says_when_to_come_back(
    start: Start, models: list[ModelFacts]
) -> None:
    """A request over the limit is refused at once, before its picture is decoded."""
    stuck = StuckEngine(models)
    gateway = await start(stuck, queue_limit=1)
    first = asyncio.create_task(gateway.upscale(image_b64=B64))
    await asyncio.wait_for(stuck.started.wait(), 10)
    reply = await gateway.upscale(image_b64=B64, scale=4)
    status, code, text = fault(reply)
    assert (status, code) == (503, "queue_full")
    assert text.startswith("Upscaling failed: ")
    assert 1 <= int(reply.headers["Retry-After"]) <= 120
    assert reply.body["retryable"] is True
    assert gateway.load() == 1
    first.cancel()
    await until(lambda: gateway.load() == 0)


async def test_refusals_for_lack_of_room_are_not_logged_one_by_one(
    start: Start, models: list[ModelFacts]
) -> None:
    """During a flood, refusals for lack of capacity are logged less and less often. Faults of the sender are always logged."""
    stuck = StuckEngine(models)
    gateway = await start(stuck, queue_limit=1)
    first = asyncio.create_task(gateway.upscale(image_b64=B64))
    await asyncio.wait_for(stuck.started.wait(), 10)
    with capture_logs() as entries:
        for _ in range(5):
            await gateway.upscale(image_b64=B64, scale=4)
            await gateway.upscale(image_b64=B64, scale=5)
    codes = Counter(entry["code"] for entry in entries if entry["event"] == "refused")
    assert codes == {"queue_full": 1, "invalid_option": 5}
    first.cancel()
    await until(lambda: gateway.load() == 0)


async def test_no_engine_is_503_until_one_is_ready(start: Start, models: list[ModelFacts]) -> None:
    """Health and work follow the model servers, without a restart of the gateway."""
    engine = NearestEngine(models)
    readiness = Readiness(State.FAILED)

    async def probe() -> Readiness:
        return readiness

    member = Member("one", engine, probe=probe)
    async with Pool([member]) as pool:
        gateway = await start(pool=pool)
        await until(lambda: member.state is State.FAILED)
        assert (await gateway.call("GET", "/health")).status == 503
        reply = await gateway.upscale(image_b64=B64)
        status, code, text = fault(reply)
        assert (status, code) == (503, "no_engine_ready")
        assert text.startswith("Upscaling failed: ")
        assert 1 <= int(reply.headers["Retry-After"]) <= 120
        readiness = Readiness(State.READY, engine.facts(), "b1946ac9")
        member.changed.set()
        await asyncio.wait_for(pool.started(patience_s=0), 5)
        assert (await gateway.call("GET", "/health")).status == 200
        assert (await gateway.upscale(image_b64=B64)).status == 200


async def test_passed_deadline_is_504(start: Start, models: list[ModelFacts]) -> None:
    """The work is dropped, and the text is always the same."""
    stuck = StuckEngine(models)
    gateway = await start(stuck, deadline_s=0.3)
    reply = await gateway.upscale(image_b64=B64)
    assert fault(reply) == (504, "deadline_exceeded", "Upscaling failed: deadline exceeded")
    assert reply.body["retryable"] is False
    assert stuck.in_flight == 0
    assert gateway.load() == 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineFailed("the runtime failed"), 500, "engine_failed"),
        (WrongOutput("the output is constant"), 500, "wrong_output"),
        (EngineLost("it went away"), 500, "engine_lost"),
        (OutOfMemory("the tile does not fit"), 503, "out_of_memory"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_engine_that_always_fails_is_told(
    start: Start, models: list[ModelFacts], error: EnlargerError, status: int, code: str
) -> None:
    """The engine's own reason, after all attempts; nothing is left of the request."""
    gateway = await start(FailsFirst(NearestEngine(models), failures=1000, error=error))
    reply = await gateway.upscale(image_b64=B64)
    assert fault(reply) == (status, code, f"Upscaling failed: {error}")
    assert ("Retry-After" in reply.headers) is (status == 503)
    assert gateway.load() == 0
    assert list(gateway.store.folder.iterdir()) == []


async def test_engine_that_fails_once_is_not_noticed(
    start: Start, models: list[ModelFacts]
) -> None:
    """The tile is sent again, and the answer counts it."""
    failing = FailsFirst(NearestEngine(models), failures=1, error=EngineFailed("once"))
    gateway = await start(failing)
    reply = await gateway.upscale(image_b64=B64, scale=4)
    assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(RED, 4))
    assert reply.body["tiles"]["retried"] == 1


async def test_no_room_for_the_result_is_500(start: Start) -> None:
    """A file has replaced the folder. The text names no path, the other routes work as usual, and nothing is logged as an unexpected error."""
    gateway = await start()
    made = await gateway.upscale(image_b64=B64)
    shutil.rmtree(gateway.store.folder)
    gateway.store.folder.touch()
    with capture_logs() as logs:
        reply = await gateway.upscale(image_b64=B64)
        status, code, text = fault(reply)
        assert (status, code) == (500, "storage_full")
        assert text.startswith("Upscaling failed: ")
        assert str(gateway.store.folder) not in text
        assert gateway.load() == 0
        assert (await gateway.call("GET", "/health")).status == 200
        shown = await gateway.call("GET", "/status")
        assert shown.body["upload_folder_stats"] == {"total_files": 0, "total_size_mb": 0.0}
        assert (await gateway.call("GET", made.body["url"])).status == 404
        swept = await gateway.call("POST", "/cleanup")
        assert swept.body["error"].startswith("Manual cleanup failed: ")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []
    gateway.store.folder.unlink()
    assert (await gateway.upscale(image_b64=B64)).status == 200


async def test_folder_of_results_that_went_away_is_made_anew(start: Start) -> None:
    """This holds for a new result and for one that was cached."""
    gateway = await start()
    for scale in (2, 2, 4):
        shutil.rmtree(gateway.store.folder)
        reply = await gateway.upscale(image_b64=B64, scale=scale)
        assert reply.status == 200
        assert (gateway.store.folder.parent / reply.body["file_path"]).exists()


class ForgetfulResults(FolderResults):
    """Deletes each file as soon as it is stored."""

    async def publish(self, draft: Draft[object], *, suffix: str) -> StoredResult:
        """Store the file and delete it."""
        stored = await super().publish(draft, suffix=suffix)
        await self.delete(stored.name)
        return stored


async def test_result_that_went_away_before_it_was_sent_is_told(start: Start) -> None:
    """The error has a code and a text of its own."""
    gateway = await start(store=ForgetfulResults)
    status, code, text = fault(await gateway.upscale(image_b64=B64))
    assert (status, code) == (500, "storage_full")
    assert text == "Upscaling failed: the result went away before it could be sent; try again"


class BrokenEngine(NearestEngine):
    """Raises an exception that no engine should raise."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Fail with a text that callers must not see."""
        raise ValueError("/etc/secret is at 10.0.0.7")


async def test_unforeseen_error_is_500_and_says_nothing(
    start: Start, models: list[ModelFacts]
) -> None:
    """The exception's text is in the log and nowhere else."""
    gateway = await start(BrokenEngine(models))
    with capture_logs() as logs:
        reply = await gateway.upscale(image_b64=B64)
    assert [str(entry["exc_info"]) for entry in logs if entry["event"] == "internal_error"] == [
        "/etc/secret is at 10.0.0.7"
    ]
    assert fault(reply) == (500, "internal_error", "Internal server error")
    assert set(reply.body) == {"error", "code", "retryable", "request_id"}
    assert gateway.load() == 0


async def test_stopping_gateway_takes_nothing_new(start: Start) -> None:
    """Health and new work are refused. Existing results can still be fetched."""
    gateway = await start()
    made = await gateway.upscale(image_b64=B64)
    gateway.gateway.service.draining = True
    reply = await gateway.upscale(image_b64=B64)
    assert fault(reply) == (503, "draining", "Upscaling failed: the server is stopping")
    assert 1 <= int(reply.headers["Retry-After"]) <= 120
    health = await gateway.call("GET", "/health")
    assert (health.status, health.body["status"]) == (503, "unhealthy")
    assert health.body["reason"] == "draining"
    assert (await gateway.call("GET", "/status")).status == 200
    async with gateway.http.get(made.body["url"]) as response:
        assert response.status == 200


async def test_client_that_hangs_up_cancels_its_work(
    start: Start, models: list[ModelFacts]
) -> None:
    """Its tiles are dropped and its place is free again."""
    stuck = StuckEngine(models)
    gateway = await start(stuck)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = json.dumps({"image_b64": B64}).encode()
    writer.write(
        b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await asyncio.wait_for(stuck.started.wait(), 10)
    assert gateway.load() == 1
    tiles = len(stuck.requests)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: gateway.load() == 0)
    assert stuck.cancelled == tiles > 0
    assert stuck.in_flight == 0
    assert list(gateway.store.folder.iterdir()) == []
