"""Jobs over a real socket: B.3, B.4, B.5 and B.7 of the contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from fakes import FailsFirst, HeldEngine, NearestEngine, nearest
from gateways import B64, PNG, RED, Running, Start, samples
from PIL import Image
from sites import Site, page
from structlog.testing import capture_logs
from v1_jobs import (
    ASYNC,
    LONG_S,
    all_events,
    ended,
    events,
    picture,
    problem_of,
    queued,
    queued_at,
    shown,
    until,
)

from enlarger import errors
from enlarger.config import ApiKey, RateLimit
from enlarger.engine.tile import ModelFacts
from enlarger.geometry.rect import Pixels
from enlarger.jobs import Rows
from enlarger.storage import storage_at

pytestmark = pytest.mark.asyncio(loop_scope="module")


def plain(pixels: Pixels, size_px: tuple[int, int]) -> Any:
    """A picture on white, enlarged plainly."""
    image = Image.fromarray(pixels).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    on_white = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(on_white.resize(size_px, Image.Resampling.BICUBIC)).astype(int)


def failing(models: list[ModelFacts], failures: int) -> FailsFirst:
    """An engine whose first tiles fail."""
    error = errors.EngineFailed("the runtime gave up")
    return FailsFirst(NearestEngine(models), failures=failures, error=error)


# Jobs


async def test_job_is_taken_done_and_fetched(start: Start) -> None:
    """202 at once with where it is; then the picture that the request would have got."""
    gateway = await start()
    job = await queued(gateway, params={"model": "nearest"})
    assert job["state"] in ("queued", "running", "succeeded")
    assert job["input"] == {"width": 30, "height": 20, "bytes": len(PNG), "format": "png"}
    assert job["options"]["scale"] == 4
    done = await ended(gateway, job)
    assert done["progress"] == {"tiles_done": 2, "tiles_total": 2, "fraction": 1.0}
    assert done["error"] is None
    assert done["finished_at"] is not None
    result = done["result"]
    assert (result["width"], result["height"], result["engine"]) == (120, 80, "nearest")
    async with gateway.http.get(job["links"]["result"]) as response:
        assert response.status == 200
        data = await response.read()
        assert response.headers["ETag"] == f'"sha256-{result["sha256"]}"'
        assert response.headers["X-Upscale-Tiles"].startswith("2;servers=1")
        assert response.headers["Content-Type"] == "image/png"
        assert "Expires" in response.headers
    assert np.array_equal(samples(data), nearest(RED, 4))
    async with gateway.http.get(result["url"]) as response:
        assert await response.read() == data
    asked = {"scale": "4", "model": "nearest"}
    direct = await gateway.http.post("/v1/upscale", params=asked, data=PNG)
    assert await direct.read() == data


async def test_preference_makes_a_job(start: Start) -> None:
    """``Prefer: respond-async``, in each form of a request."""
    gateway = await start()
    form = aiohttp.FormData({"scale": "4"})
    form.add_field("image", PNG, filename="cat.png", content_type="image/png")
    forms: list[dict[str, Any]] = [{"data": PNG}, {"data": form}, {"json": {"image_b64": B64}}]
    for given in forms:
        response = await gateway.http.post("/v1/upscale", headers=ASYNC, **given)
        assert response.status == 202
        assert response.headers["Preference-Applied"] == "respond-async"
        assert int(response.headers["Retry-After"]) >= 1
        await ended(gateway, await response.json())


async def test_request_that_lasts_becomes_a_job(start: Start, models: list[ModelFacts]) -> None:
    """After ``ENLARGER_SYNC_LIMIT``: what was done so far is not lost, and nothing is computed twice."""
    engine = HeldEngine(models)
    gateway = await start(engine, sync_limit_s=0.2)
    response = await gateway.http.post(
        "/v1/upscale", params={"scale": 4, "model": "nearest"}, data=PNG
    )
    job = await response.json()
    assert (response.status, job["state"]) == (202, "running")
    # A busy machine may not have read the picture by then.
    assert job["stage"] in {"fetch", "decode", "infer"}
    assert "Preference-Applied" not in response.headers
    await engine.holds(2)
    engine.let_go()
    done = await ended(gateway, job)
    assert done["progress"]["tiles_total"] == 2
    assert len(engine.requests) == 2
    async with gateway.http.get(job["links"]["result"]) as file:
        assert np.array_equal(samples(await file.read()), nearest(RED, 4))


async def test_job_that_computes_knows_how_many_tiles_it_has(
    start: Start, models: list[ModelFacts]
) -> None:
    """``tiles_total`` is there as soon as ``stage`` is ``infer``: in the job, and in each of its events."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    job = await queued(gateway, params={"model": "nearest"})
    seen = events(gateway, job)
    told: list[dict[str, Any]] = []
    await engine.holds(2)
    running = await shown(gateway, job, wait=1)
    assert (running["stage"], running["progress"]["tiles_total"]) == ("infer", 2)
    assert running["progress"]["tiles_done"] == 0
    engine.let_go()
    async for _, _, data in seen:
        told.append(data)
    computing = [data["progress"] for data in told if data.get("stage") == "infer"]
    assert all(progress["tiles_total"] == 2 for progress in computing), told


async def test_request_that_became_a_job_is_like_any_other(
    start: Start, models: list[ModelFacts]
) -> None:
    """What is known of its picture is told at once; its tiles are shown, and kept for who may have to go on."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    headers = {"Prefer": "wait=1"}
    response = await gateway.http.post(
        "/v1/upscale", data=picture(1, (300, 20)), params={"scale": 4}, headers=headers
    )
    job = await response.json()
    assert response.status == 202
    await engine.holds(2)
    running = await shown(gateway, job)
    assert (running["input"]["width"], running["input"]["format"]) == (300, "png")
    assert running["progress"]["fraction"] == 0.0
    seen = events(gateway, job)
    await anext(seen)
    engine.let_go(1)
    kinds = {(await anext(seen))[1] for _ in range(2)}
    assert kinds == {"progress", "tile"}
    kept = Path(gateway.gateway.settings.blobs_place) / job["id"] / "work" / "tiles"
    await until(lambda: kept.exists() and len(list(kept.iterdir())) == 1)
    engine.let_go()
    await ended(gateway, job)
    await seen.aclose()


async def test_wait_is_preferred(start: Start, models: list[ModelFacts]) -> None:
    """``Prefer: wait=N`` makes it a job sooner; a request that is done by then is answered as ever."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    options: dict[str, Any] = {"params": {"scale": 4}, "headers": {"Prefer": "wait=1"}, "data": PNG}
    response = await gateway.http.post("/v1/upscale", **options)
    assert response.status == 202
    assert response.headers["Preference-Applied"] == "wait=1"
    engine.let_go()
    await ended(gateway, await response.json())
    async with gateway.http.post("/v1/upscale", **options) as done:
        assert done.status == 200
        assert "Preference-Applied" not in done.headers


async def test_hanging_up_cancels_what_is_no_job_yet(
    start: Start, models: list[ModelFacts]
) -> None:
    """And a job goes on without anybody."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    with pytest.raises(asyncio.TimeoutError):
        await gateway.http.post("/v1/upscale", data=PNG, timeout=aiohttp.ClientTimeout(total=0.5))
    await until(lambda: gateway.load() == 0)
    engine.let_go()


async def test_faults_of_a_file_are_told_before_it_is_a_job(start: Start) -> None:
    """What came with the request is looked at at once."""
    gateway = await start(max_image_dimension_px=29)
    response = await gateway.http.post("/v1/jobs", data=b"no picture")
    await problem_of(response, 415, "unsupported_format")
    response = await gateway.http.post("/v1/jobs", data=PNG)
    await problem_of(response, 413, "image_too_large")
    response = await gateway.http.post("/v1/jobs", data=PNG, params={"scale": 4, "sized": 2})
    await problem_of(response, 422, "invalid_option")


async def test_faults_of_a_url_are_those_of_the_job(start: Start) -> None:
    """It is fetched when the job runs."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        job = await queued(gateway, data=None, json={"img_url": site.url("/cat.png")})
        assert (await ended(gateway, job))["input"]["width"] == 30
        job = await queued(gateway, data=None, json={"img_url": site.url("/none.png")})
        failed = await ended(gateway, job, "failed")
    assert failed["error"]["code"] == "source_refused"
    assert failed["error"]["request_id"] == failed["request_id"]
    async with gateway.http.get(job["links"]["result"]) as response:
        await problem_of(response, 409, "job_without_result")


async def test_job_that_the_engine_fails_has_its_problem(
    start: Start, models: list[ModelFacts]
) -> None:
    """As the request would have got it."""
    gateway = await start(failing(models, 100))
    failed = await ended(gateway, await queued(gateway), "failed")
    assert (failed["error"]["code"], failed["error"]["status"]) == ("engine_failed", 500)
    assert failed["result"] is None


async def test_unknown_jobs_are_not_found(start: Start) -> None:
    """On every route of a job."""
    gateway = await start()
    path = "/v1/jobs/job_" + "0" * 32
    for method, end in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/result"),
        ("GET", "/events"),
        ("GET", "/tiles/0"),
    ):
        async with gateway.http.request(method, path + end) as response:
            await problem_of(response, 404, "not_found")


async def test_wait_has_its_limits(start: Start) -> None:
    """0 to 30 seconds."""
    gateway = await start()
    job = await queued(gateway)
    for wait in ("31", "-1", "long", "1.5", "9" * 50):
        async with gateway.http.get(job["links"]["self"], params={"wait": wait}) as response:
            body = await problem_of(response, 422, "invalid_option")
            assert body["errors"][0]["option"] == "wait"


# Waiting in the queue


async def test_queue_has_an_order_and_holds_no_place(
    start: Start, models: list[ModelFacts]
) -> None:
    """The place of each is known; while they wait they are not admitted, and take no memory."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed)) for seed in range(6)]
    await until(lambda: gateway.load() == 3)
    views = [await shown(gateway, job) for job in jobs]
    states = [view["state"] for view in views]
    assert states == ["running"] * 3 + ["queued"] * 3  # one server, and two more
    assert [view["queue"] for view in views[3:]] == [
        {"position": position, "length": 3} for position in (1, 2, 3)
    ]
    assert views[0]["queue"] == {"position": None, "length": 0}
    engine.let_go()
    for job in jobs:
        await ended(gateway, job)


async def test_place_in_the_queue_is_told_as_it_changes(
    start: Start, models: list[ModelFacts]
) -> None:
    """Who watches a queued job sees it come nearer."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    before = [await queued(gateway, picture(seed)) for seed in range(4)]
    await until(lambda: gateway.load() == 3)
    job = await queued(gateway, picture(4))
    seen = events(gateway, job)
    _, _, first = await anext(seen)
    assert first["queue"] == {"position": 2, "length": 2}
    async with gateway.http.delete(before[3]["links"]["self"]) as response:
        assert response.status == 200
    _, kind, moved = await asyncio.wait_for(anext(seen), LONG_S)
    assert (kind, moved["queue"]) == ("progress", {"position": 1, "length": 1})
    engine.let_go()
    await ended(gateway, job)
    await seen.aclose()


async def test_queue_has_a_limit(start: Start, models: list[ModelFacts]) -> None:
    """503, and when to come back."""
    engine = HeldEngine(models)
    gateway = await start(engine, jobs_limit=1)
    for seed in range(3):
        await queued(gateway, picture(seed))
    await until(lambda: gateway.load() == 3)
    await queued(gateway, picture(3))
    response = await gateway.http.post("/v1/jobs", data=picture(4))
    await problem_of(response, 503, "queue_full")
    assert int(response.headers["Retry-After"]) >= 1
    engine.let_go()


async def test_jobs_count_against_the_rate(start: Start) -> None:
    """When they are taken."""
    gateway = await start(rate_limit=RateLimit(0.005, 3600))
    await ended(gateway, await queued(gateway))
    response = await gateway.http.post("/v1/jobs", data=picture(1))
    await problem_of(response, 429, "rate_limited")


# The end


async def test_cancelled_job_ends_at_once(start: Start, models: list[ModelFacts]) -> None:
    """Running or queued; again and again; it has no result, and its files are gone."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed)) for seed in range(4)]
    await until(lambda: gateway.load() == 3)
    for job in (jobs[0], jobs[3], jobs[0]):
        async with gateway.http.delete(job["links"]["self"]) as response:
            assert (response.status, (await response.json())["state"]) == (200, "canceled")
        async with gateway.http.get(job["links"]["result"]) as response:
            await problem_of(response, 409, "job_without_result")
        assert not (Path(gateway.gateway.settings.blobs_place) / job["id"]).exists()
    await until(lambda: gateway.load() == 2)
    engine.let_go()
    for job in jobs[1:3]:
        await ended(gateway, job)


async def test_result_is_kept_once(start: Start, tmp_path: Path) -> None:
    """Beside the results of requests; nothing else of its job is left but the preview of its picture."""
    gateway = await start(blobs=None)
    done = await ended(gateway, await queued(gateway))
    name = done["result"]["url"].removeprefix("/files/")
    files = [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]
    preview = f"upscaled_{name.partition('.')[0]}.input.jpg"
    assert sorted(path.name for path in files) == sorted([preview, f"upscaled_{name}"])
    (file,) = [path for path in files if path.name != preview]
    assert sha256(file.read_bytes()).hexdigest() == done["result"]["sha256"]


async def test_result_is_kept_once_where_gateways_share_no_folder(
    start: Start, bucket: str, tmp_path: Path
) -> None:
    """In the bucket alone, so that all serve it; and the same picture is not computed again."""
    one = await start(blobs=bucket, upload_folder=tmp_path / "one")
    other = await start(blobs=bucket, upload_folder=tmp_path / "other")
    job = await queued(one)
    done = await ended(one, job)
    name = done["result"]["url"].removeprefix("/files/")
    preview = f"results/upscaled_{name.partition('.')[0]}.input.jpg"
    assert set(await storage_at(bucket).keys("")) == {preview, f"results/upscaled_{name}"}
    assert not [*(tmp_path / "one").iterdir(), *(tmp_path / "other").iterdir()]
    for gateway in (one, other):
        for url in (done["result"]["url"], job["links"]["result"]):
            async with gateway.http.get(url) as response:
                assert response.status == 200
                assert sha256(await response.read()).hexdigest() == done["result"]["sha256"]
    async with one.http.post("/v1/upscale", params={"scale": 4}, data=PNG) as response:
        assert response.headers["X-Upscale-Cache"] in ("hit", "miss")
        cached = response.headers["X-Upscale-Cache"]
    ran_here = (await one.call("GET", "/status")).body["servers"][0]["tiles_done"] > 0
    assert cached == ("hit" if ran_here else "miss")
    async with other.http.delete(job["links"]["self"]) as response:
        assert response.status == 200
    assert await storage_at(bucket).keys("") == []


async def test_result_of_an_earlier_version_is_served(start: Start) -> None:
    """It lies among the files of its job."""
    gateway = await start()
    job = await queued(gateway)
    done = await ended(gateway, job)
    name = done["result"]["url"].removeprefix("/files/")
    found = await gateway.store.find(name)
    data = b"".join([piece async for piece in await gateway.store.open(found)])
    await gateway.store.delete(name)
    blobs = storage_at(gateway.gateway.settings.blobs_place)
    await blobs.put(f"{job['id']}/result", data)
    for url in (done["result"]["url"], job["links"]["result"]):
        async with gateway.http.get(url) as response:
            assert (response.status, await response.read()) == (200, data)
    async with gateway.http.delete(job["links"]["self"]) as response:
        assert response.status == 200
    assert await blobs.keys("") == []


async def test_result_can_be_deleted(start: Start) -> None:
    """Then it is 410, under both of its addresses."""
    gateway = await start()
    job = await queued(gateway)
    done = await ended(gateway, job)
    async with gateway.http.delete(job["links"]["self"]) as response:
        assert (await response.json())["state"] == "expired"
    async with gateway.http.get(job["links"]["result"]) as response:
        await problem_of(response, 410, "result_expired")
    async with gateway.http.get(done["result"]["url"]) as response:
        assert response.status == 410
    assert not (Path(gateway.gateway.settings.blobs_place) / job["id"]).exists()


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_result_whose_file_was_deleted_has_expired(
    start: Start, kind: str, request: pytest.FixtureRequest
) -> None:
    """However it is asked for, under both of its addresses, and with its idempotency key."""
    place = {"upload_folder": request.getfixturevalue("bucket")} if kind == "bucket" else {}
    gateway = await start(**place)
    key = {"Idempotency-Key": "lost", "Accept": "image/png"}
    async with gateway.http.post("/v1/upscale", data=PNG, headers=key) as response:
        assert response.status == 200
    job = await queued(gateway)
    done = await ended(gateway, job)
    for name in [name async for name in names_of_results(gateway)]:
        await gateway.store.delete(name)
    ways = [
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"Range": "bytes=5-9"}),
        ("GET", {"If-None-Match": "*"}),
    ]
    with capture_logs() as logs:
        for url in (job["links"]["result"], done["result"]["url"]):
            for method, headers in ways:
                async with gateway.http.request(method, url, headers=headers) as response:
                    assert response.status == 410
                    await response.read()
        async with gateway.http.get(job["links"]["result"]) as response:
            await problem_of(response, 410, "result_expired")
        async with gateway.http.post("/v1/upscale", data=PNG, headers=key) as response:
            await problem_of(response, 410, "result_expired")
    assert {entry["log_level"] for entry in logs} == {"info"}


async def names_of_results(gateway: Running) -> AsyncIterator[str]:
    """Those of all results, as URLs have them."""
    places = [(gateway.store.storage, "")]
    if (shared := getattr(gateway.store, "shared", None)) is not None:
        places.append((shared, "results"))
    for storage, prefix in places:
        with suppress(FileNotFoundError):
            for facts in await storage.children(prefix):
                yield facts.key.rpartition("upscaled_")[2]


async def test_result_expires(start: Start) -> None:
    """After ``FILE_MAX_AGE``, swept or not."""
    gateway = await start(file_max_age_s=1)
    job = await queued(gateway)
    await ended(gateway, job)
    await asyncio.sleep(1.1)
    async with gateway.http.get(job["links"]["result"]) as response:
        await problem_of(response, 410, "result_expired")


async def test_unfinished_job_has_no_result_yet(start: Start, models: list[ModelFacts]) -> None:
    """409, and when to ask again."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    job = await queued(gateway)
    async with gateway.http.get(job["links"]["result"]) as response:
        await problem_of(response, 409, "job_not_finished")
        assert int(response.headers["Retry-After"]) >= 1
    engine.let_go()


async def test_result_in_parts(start: Start) -> None:
    """A range, what is known already, and only the headers."""
    gateway = await start()
    job = await queued(gateway)
    done = await ended(gateway, job)
    for url in (job["links"]["result"], done["result"]["url"]):
        async with gateway.http.get(url) as response:
            data, tag = await response.read(), response.headers["ETag"]
        async with gateway.http.get(url, headers={"Range": "bytes=5-9"}) as response:
            assert (response.status, await response.read()) == (206, data[5:10])
            assert response.headers["Content-Range"] == f"bytes 5-9/{len(data)}"
        async with gateway.http.get(url, headers={"Range": "bytes=-7"}) as response:
            assert await response.read() == data[-7:]
        async with gateway.http.get(url, headers={"Range": f"bytes={len(data)}-"}) as response:
            assert response.status == 416
            assert response.headers["Content-Range"] == f"bytes */{len(data)}"
        async with gateway.http.get(url, headers={"If-None-Match": f'"a", {tag}'}) as response:
            assert (response.status, await response.read()) == (304, b"")
        stale = {"Range": "bytes=0-1", "If-Range": '"another"'}
        async with gateway.http.get(url, headers=stale) as response:
            assert (response.status, await response.read()) == (200, data)
        async with gateway.http.head(url) as response:
            assert response.headers["Content-Length"] == str(len(data))


# Events


async def test_events_tell_all_of_a_job(start: Start, models: list[ModelFacts]) -> None:
    """The state first and last; each tile in between; ids that count up."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    job = await queued(gateway)
    seen: list[tuple[int, str, dict[str, Any]]] = []
    async for event in events(gateway, job):
        seen.append(event)
        engine.let_go()
    kinds = [kind for _, kind, _ in seen]
    assert kinds[0] == kinds[-1] == "state"
    assert seen[-1][2]["state"] == "succeeded"
    assert seen[-1][2]["result"]["width"] == 120
    ids = [id_ for id_, _, _ in seen]
    assert ids == sorted(ids)
    fractions = [data["progress"]["fraction"] for _, kind, data in seen if kind != "tile"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    # Who has seen the end is told not to come back; who lacks the last one gets it.
    headers = {"Last-Event-ID": str(ids[-1])}
    async with gateway.http.get(job["links"]["events"], headers=headers) as response:
        assert response.status == 204
    rest = [event async for event in events(gateway, job, after=ids[-2])]
    assert rest == seen[-1:]
    whole = [event async for event in events(gateway, job, after=10_000)]
    assert [kind for _, kind, _ in whole] == ["state"]


async def test_tiles_are_shown_while_the_job_runs(start: Start, models: list[ModelFacts]) -> None:
    """Each with its place in the result and its pixels; gone when the job has ended."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    job = await queued(gateway, picture(1, (300, 20)))
    seen = events(gateway, job)
    await anext(seen)  # who comes later is not told of earlier tiles
    engine.let_go(1)
    kind, data = "", dict[str, Any]()
    while kind != "tile":
        _, kind, data = await anext(seen)
    async with gateway.http.get(data["url"]) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
        with Image.open(BytesIO(await response.read())) as image:
            assert image.size == (data["w"], data["h"])
            found = np.asarray(image).astype(int)
    with Image.open(BytesIO(picture(1, (300, 20)))) as image:
        made = nearest(np.asarray(image), 4).astype(int)
    place = made[data["y"] : data["y"] + data["h"], data["x"] : data["x"] + data["w"]]
    assert place.shape == found.shape
    assert np.abs(place - found).mean() < 20  # noise, as JPEG keeps it; of another place 85
    engine.let_go()
    rest = [event async for event in seen]
    assert [event[1] for event in rest][-1] == "state"
    async with gateway.http.get(data["url"]) as response:
        await problem_of(response, 404, "not_found")


async def test_stopping_gateway_finishes_what_runs(start: Start, models: list[ModelFacts]) -> None:
    """Within the drain time; what is queued stays so, for the next one."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed)) for seed in range(4)]
    await until(lambda: gateway.load() == 3)
    gateway.gateway.service.drain()
    engine.let_go()
    await asyncio.wait_for(gateway.gateway.service.stopped(), 5)
    async with Rows(gateway.gateway.settings.database_url) as rows:
        found = [await rows.jobs.get(job["id"]) for job in jobs]
    assert [one.state for one in found if one is not None] == ["succeeded"] * 3 + ["queued"]


async def test_stopping_gateway_ends_streams(start: Start, models: list[ModelFacts]) -> None:
    """And the waits; the job is there when it is back."""
    gateway = await start(HeldEngine(models))
    job = await queued(gateway)
    stream = asyncio.ensure_future(all_events(gateway, job))
    waiting = asyncio.ensure_future(shown(gateway, job, wait=30))
    await asyncio.sleep(0.3)
    gateway.gateway.service.drain()
    assert (await asyncio.wait_for(stream, 5))[0][1] == "state"
    assert (await asyncio.wait_for(waiting, 5))["state"] == "running"


# Several gateways on one database


async def test_job_that_runs_elsewhere_is_canceled(start: Start, models: list[ModelFacts]) -> None:
    """At the gateway that was asked at once; at the one that runs it with its next sign of life."""
    engine = HeldEngine(models)
    runs, other = await start(engine), await start()
    job = await queued_at(runs, other)
    async with other.http.delete(job["links"]["self"]) as response:
        assert (response.status, (await response.json())["state"]) == (200, "canceled")
    await until(lambda: runs.load() == 0 and engine.in_flight == 0)
    assert (await shown(runs, job))["state"] == "canceled"
    await until(lambda: not (Path(runs.gateway.settings.blobs_place) / job["id"]).exists())


async def test_job_that_runs_elsewhere_is_watched(start: Start, models: list[ModelFacts]) -> None:
    """Its states are told, its end can be waited for, and its result fetched."""
    engine = HeldEngine(models)
    runs, other = await start(engine), await start()
    job = await queued_at(runs, other)
    seen = events(other, job)
    _, kind, data = await anext(seen)
    assert (kind, data["state"]) == ("state", "running")
    waiting = asyncio.ensure_future(ended(other, job))
    engine.let_go()
    rest = [event async for event in seen]
    assert (rest[-1][1], rest[-1][2]["state"]) == ("state", "succeeded")
    assert (await waiting)["progress"]["fraction"] == 1.0
    async with other.http.get(job["links"]["result"]) as response:
        assert np.array_equal(samples(await response.read()), nearest(RED, 4))


# Idempotency


async def test_key_makes_one_job(start: Start, models: list[ModelFacts]) -> None:
    """However often it is asked for, and at the same time; also by a form of other boundaries."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    headers = {"Idempotency-Key": "order-17"}
    first = await asyncio.gather(*(queued(gateway, headers=headers) for _ in range(8)))
    assert len({job["id"] for job in first}) == 1
    await ended(gateway, first[0])
    response = await gateway.http.post("/v1/jobs", data=PNG, params={"scale": 4}, headers=headers)
    assert response.headers["Idempotency-Replayed"] == "true"
    assert (await response.json())["id"] == first[0]["id"]
    assert len(engine.requests) == 1
    response = await gateway.http.post("/v1/jobs", data=picture(1), headers=headers)
    await problem_of(response, 422, "idempotency_key_reused")
    for bad in ("two words", "x" * 256, "ü"):
        response = await gateway.http.post("/v1/jobs", data=PNG, headers={"Idempotency-Key": bad})
        await problem_of(response, 422, "invalid_option")


async def test_key_answers_with_the_same_picture(start: Start, models: list[ModelFacts]) -> None:
    """A request that is sent again gets what the first one made."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    headers = {"Idempotency-Key": "order-18", "Cache-Control": "no-cache"}
    answers = []
    for replayed in (None, "true"):
        response = await gateway.http.post(
            "/v1/upscale", params={"scale": 4}, data=PNG, headers=headers
        )
        assert response.status == 200
        assert response.headers.get("Idempotency-Replayed") == replayed
        assert response.headers["X-Upscale-Engine"] == "nearest"
        answers.append(await response.read())
    assert answers[0] == answers[1]
    assert len(engine.requests) == 1
    response = await gateway.http.post(
        "/v1/upscale",
        json={"image_b64": B64, "scale": 4, "inline": True},
        headers={"Idempotency-Key": "order-19", "Accept": "application/json"},
    )
    body = await response.json()
    assert body["result"]["width"] == 120
    assert len(body["result"]["base64"]) > 100


async def test_failure_that_may_pass_frees_its_key(start: Start, models: list[ModelFacts]) -> None:
    """500: the next one with the key is made anew."""
    gateway = await start(failing(models, 3))
    headers = {"Idempotency-Key": "order-20"}
    one: dict[str, Any] = {"params": {"scale": 4}, "data": picture(3, (8, 8)), "headers": headers}
    response = await gateway.http.post("/v1/upscale", **one)
    await problem_of(response, 500, "engine_failed")
    async with gateway.http.post("/v1/upscale", **one) as again:
        assert again.status == 200


async def test_who_waits_with_a_key_is_not_queued(start: Start, models: list[ModelFacts]) -> None:
    """Behind jobs that nobody waits for: it is worked on at once, as without a key."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed, (8, 8))) for seed in range(5)]
    await engine.holds(3)
    headers = {"Idempotency-Key": "order-23"}
    asked = asyncio.ensure_future(gateway.http.post("/v1/upscale", data=PNG, headers=headers))
    await engine.holds(5)  # of three jobs one each, and both of this one
    states = [(await shown(gateway, job))["state"] for job in jobs]
    assert states == ["running"] * 3 + ["queued"] * 2
    engine.let_go()
    async with await asked as response:
        assert response.status == 200
        assert samples(await response.read()).shape == (40, 60, 3)


async def test_key_is_free_when_the_result_is_gone(start: Start, models: list[ModelFacts]) -> None:
    """It is kept until the job expires; whoever uses it then gets a picture, not a result that is no more."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    headers = {"Idempotency-Key": "order-21"}
    first = await queued(gateway, headers=headers)
    await ended(gateway, first)
    async with gateway.http.delete(first["links"]["self"]) as response:
        assert (await response.json())["state"] == "expired"
    second = await queued(gateway, headers=headers)
    assert second["id"] != first["id"]
    await ended(gateway, second)
    third = await queued(gateway, headers=headers)
    assert third["id"] == second["id"]


async def test_key_brings_a_lost_picture_again(start: Start, models: list[ModelFacts]) -> None:
    """A gateway may end between a job's row and its picture. Whoever asks again sends it."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    for seed in range(3):
        await queued(gateway, picture(seed))
    await until(lambda: gateway.load() == 3)
    headers = {"Idempotency-Key": "order-22"}
    lost = await queued(gateway, picture(3), headers=headers)
    (Path(gateway.gateway.settings.blobs_place) / lost["id"] / "work" / "input").unlink()
    async with Rows(gateway.gateway.settings.database_url) as rows:
        await rows.jobs.update(lost["id"], not_before=time.time() + 300)
    again = await queued(gateway, picture(3), headers=headers)
    assert again["id"] == lost["id"]
    engine.let_go()
    assert (await ended(gateway, again))["progress"]["fraction"] == 1.0


async def test_job_is_made_anew_where_it_is_asked_for(
    start: Start, models: list[ModelFacts]
) -> None:
    """``Cache-Control: no-cache``, as of any other request."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    for headers, tiles in (({}, 1), ({}, 1), ({"Cache-Control": "no-cache"}, 2)):
        await ended(gateway, await queued(gateway, headers=headers))
        assert len(engine.requests) == tiles


# Links


async def test_link_shows_a_placeholder_until_the_picture_is_there(
    start: Start, models: list[ModelFacts]
) -> None:
    """Plainly enlarged, of the result's size, and not to be kept; one job, however many look."""
    engine = HeldEngine(models)
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(engine, fetch=site.address)
        params = {"url": site.url("/cat.png"), "width": "75", "placeholder": "true"}

        async def look() -> tuple[str, bytes]:
            async with gateway.http.get("/v1/upscale", params=params) as response:
                assert response.status == 200
                if response.headers.get("X-Upscale-Placeholder"):
                    assert response.headers["Cache-Control"] == "no-store"
                    assert response.headers["Content-Type"] == "image/jpeg"
                    return "placeholder", await response.read()
                kind, _, left_s = response.headers["Cache-Control"].rpartition("=")
                assert kind == "public, max-age"
                assert 300 - LONG_S <= int(left_s) <= 300
                return "picture", await response.read()

        looks = await asyncio.gather(*(look() for _ in range(3)))
        for what, data in looks:
            assert what == "placeholder"
            with Image.open(BytesIO(data)) as image:
                assert image.size == (75, 50)
                assert (
                    np.abs(np.asarray(image).astype(int) - plain(RED, (75, 50))).mean() < 30
                )  # noise, as JPEG keeps it
        engine.let_go()
        await until(lambda: gateway.load() == 0)
        what, data = await look()
        assert what == "picture"
        assert len(engine.requests) == 1
        params = {"url": site.url("/cat.png"), "placeholder": "perhaps"}
        async with gateway.http.get("/v1/upscale", params=params) as response:
            await problem_of(response, 422, "invalid_option")


async def test_link_that_lasts_is_a_job_that_all_share(
    start: Start, models: list[ModelFacts]
) -> None:
    """202 with its place; who comes later gets the same one, and in the end the picture."""
    engine = HeldEngine(models)
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(engine, fetch=site.address, sync_limit_s=0.3)
        places = []
        for _ in range(2):
            async with gateway.http.get(
                "/v1/upscale", params={"url": site.url("/cat.png"), "scale": 4}
            ) as response:
                assert response.status == 202
                places.append(response.headers["Location"])
        assert places[0] == places[1]
        engine.let_go()
        await ended(gateway, {"links": {"self": places[0]}})
        async with gateway.http.get(
            "/v1/upscale", params={"url": site.url("/cat.png"), "scale": 4}
        ) as response:
            assert np.array_equal(samples(await response.read()), nearest(RED, 4))
        assert len(engine.requests) == 1


# Keys


async def test_jobs_belong_to_their_key(start: Start) -> None:
    """Another key's job is not found."""
    keys = [ApiKey(name, sha256(name.encode()).hexdigest()) for name in ("alice", "bob")]
    gateway = await start(api_keys=tuple(keys))
    job = await queued(gateway, headers={"X-API-Key": "alice"})
    async with gateway.http.get(job["links"]["self"], headers={"X-API-Key": "bob"}) as response:
        await problem_of(response, 404, "not_found")
    async with gateway.http.get(
        job["links"]["self"], headers={"X-API-Key": "alice"}, params={"wait": 20}
    ) as response:
        assert (await response.json())["state"] == "succeeded"
