"""Jobs over a real socket: B.3, B.4, B.5 and B.7 of the contract."""

from __future__ import annotations

import asyncio
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image
from support.fakes import HeldEngine, nearest
from support.gateways import B64, PNG, RED, Running, Start, samples
from support.sites import Site, page
from support.v1_jobs import (
    ASYNC,
    LONG_S,
    all_events,
    ended,
    events,
    failing,
    picture,
    problem_of,
    queued,
    running_elsewhere,
    shown,
    until,
)

from enlarger.config import RateLimit
from enlarger.engine.tile import ModelFacts
from enlarger.jobs import Rows

pytestmark = pytest.mark.asyncio(loop_scope="module")


# Jobs


async def test_job_is_taken_done_and_fetched(start: Start) -> None:
    """202 at once with where it is; then the picture that the request would have got."""
    gateway = await start()
    job = await queued(gateway, params={"model": "nearest"})
    assert job["state"] in ("queued", "running", "succeeded")
    assert job["input"] == {
        "width": 30,
        "height": 20,
        "bytes": len(PNG),
        "format": "png",
        "content": None,
    }
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
    """After ``ENLARGER_SYNC_LIMIT``, the work continues as a job. Nothing is lost, and nothing is computed twice."""
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
    """The facts of its picture are shown at once. Its tiles are shown, and stored for another gateway that may have to resume it."""
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
    """``Prefer: wait=N`` turns a request into a job sooner. A request that is done by then returns its picture as usual."""
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
    """When the client hangs up, a request is cancelled. A job would continue."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    with pytest.raises(asyncio.TimeoutError):
        await gateway.http.post("/v1/upscale", data=PNG, timeout=aiohttp.ClientTimeout(total=0.5))
    await until(lambda: gateway.load() == 0)
    engine.let_go()


async def test_faults_of_a_file_are_told_before_it_is_a_job(start: Start) -> None:
    """A picture that comes with the request is checked at once."""
    gateway = await start(max_image_dimension_px=29)
    response = await gateway.http.post("/v1/jobs", data=b"no picture")
    await problem_of(response, 415, "unsupported_format")
    response = await gateway.http.post("/v1/jobs", data=PNG)
    await problem_of(response, 413, "image_too_large")
    response = await gateway.http.post("/v1/jobs", data=PNG, params={"scale": 4, "sized": 2})
    await problem_of(response, 422, "invalid_option")


async def test_faults_of_a_url_are_those_of_the_job(start: Start) -> None:
    """The picture is fetched when the job runs, so only then can it fail."""
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
    """It is the problem that a direct request would get."""
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
    """Each job knows its place. Waiting jobs are not admitted yet and use no memory."""
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


async def test_small_job_does_not_wait_for_all_of_a_large_one(
    start: Start, models: list[ModelFacts]
) -> None:
    """They take turns, and so do their estimates before their first tiles."""
    engine = HeldEngine(models)
    engine.mflop_per_s = 1000
    gateway = await start(engine)
    small = await queued(gateway, picture(1))
    await until(lambda: gateway.load() == 1)
    alone = await shown(gateway, small)
    large = await queued(gateway, picture(2, (300, 200)))
    await until(lambda: gateway.load() == 2)
    both = [await shown(gateway, job) for job in (small, large)]
    assert [view["state"] for view in both] == ["running"] * 2
    assert alone["eta_s"] <= both[0]["eta_s"] <= 2.1 * alone["eta_s"]
    assert both[1]["eta_s"] > 50 * alone["eta_s"]
    engine.let_go()
    for job in (small, large):
        await ended(gateway, job)


async def test_place_in_the_queue_is_told_as_it_changes(
    start: Start, models: list[ModelFacts]
) -> None:
    """A client that watches a queued job sees it move forward."""
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


def has_begun(gateway: Running, jobs: int) -> bool:
    """Whether so many jobs run."""
    return gateway.load() == jobs


async def test_queue_has_a_limit(start: Start, models: list[ModelFacts]) -> None:
    """503, and when to come back."""
    engine = HeldEngine(models)
    gateway = await start(engine, jobs_limit=1)
    for seed in range(3):
        await queued(gateway, picture(seed))
        # A job waits until the gateway has taken it, and only one may wait.
        await until(partial(has_begun, gateway, seed + 1))
    await queued(gateway, picture(3))
    response = await gateway.http.post("/v1/jobs", data=picture(4))
    await problem_of(response, 503, "queue_full")
    assert int(response.headers["Retry-After"]) >= 1
    engine.let_go()


async def test_jobs_count_against_the_rate(start: Start) -> None:
    """They are counted when they are accepted."""
    gateway = await start(rate_limit=RateLimit(0.005, 3600))
    await ended(gateway, await queued(gateway))
    response = await gateway.http.post("/v1/jobs", data=picture(1))
    await problem_of(response, 429, "rate_limited")


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
    # A client that has seen the last event is told not to reconnect. One that has not receives it.
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
    """The job that runs is finished within the drain time. Queued jobs stay queued for the next gateway."""
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
    """Requests that wait for the end of a job end as well. The job is still there after the restart."""
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
    """The gateway that receives the request shows the new state at once. The gateway that runs the job notices at its next heartbeat."""
    engine = HeldEngine(models)
    runs, other, job = await running_elsewhere(start, engine)
    async with other.http.delete(job["links"]["self"]) as response:
        assert (response.status, (await response.json())["state"]) == (200, "canceled")
    await until(lambda: runs.load() == 0 and engine.in_flight == 0)
    assert (await shown(runs, job))["state"] == "canceled"
    await until(lambda: not (Path(runs.gateway.settings.blobs_place) / job["id"]).exists())


async def test_job_that_runs_elsewhere_is_watched(start: Start, models: list[ModelFacts]) -> None:
    """Its states are told, its end can be waited for, and its result fetched."""
    engine = HeldEngine(models)
    _, other, job = await running_elsewhere(start, engine)
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
