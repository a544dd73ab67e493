"""Keys of idempotency, links that show a picture, and callers' own jobs."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.fakes import HeldEngine, NearestEngine, nearest
from support.gateways import B64, PNG, RED, Start, samples
from support.sites import Site, page
from support.v1_jobs import (
    LONG_S,
    ended,
    failing,
    picture,
    problem_of,
    queued,
    shown,
    until,
)

from enlarger.config import ApiKey
from enlarger.engine.tile import ModelFacts
from enlarger.geometry.rect import Pixels
from enlarger.jobs import Rows

pytestmark = pytest.mark.asyncio(loop_scope="module")


def plain(pixels: Pixels, size_px: tuple[int, int]) -> Any:
    """A picture on white, enlarged plainly."""
    image = Image.fromarray(pixels).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    on_white = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(on_white.resize(size_px, Image.Resampling.BICUBIC)).astype(int)


# Idempotency


async def test_key_makes_one_job(start: Start, models: list[ModelFacts]) -> None:
    """Repeated and simultaneous requests get the same job, even if a form has other boundaries."""
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
    """A request that waits for its picture overtakes queued jobs. It is computed at once, as without a key."""
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
    """A key is kept until its job expires. The next request with it makes a new job instead of returning a deleted result."""
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
    """A gateway may end after it has stored a job's row and before it has stored the picture. The client's next request brings it."""
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
