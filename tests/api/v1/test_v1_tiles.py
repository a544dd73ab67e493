"""The finished tiles of a job, as a list, while it runs."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from support.fakes import HeldEngine
from support.gateways import Running, Start
from support.v1_jobs import ended, events, picture, problem_of, queued, shown

from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDE = picture(1, (300, 20))
"""A picture of several tiles."""


async def tiles(gateway: Running, job: dict[str, Any]) -> list[dict[str, Any]]:
    """The finished tiles of an unfinished job."""
    async with gateway.http.get(f"{job['links']['self']}/tiles") as response:
        body = await response.json()
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store"), body
        found: list[dict[str, Any]] = body["tiles"]
        return found


async def finished(gateway: Running, job: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The same, when there are so many."""
    async with asyncio.timeout(30):
        while len(found := await tiles(gateway, job)) < count:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    return found


async def test_late_client_finds_the_tiles_that_it_was_not_told_of(
    start: Start, models: list[ModelFacts]
) -> None:
    """Each is listed as its event had it, and its picture has that size; 410 when the job has ended."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    job = await queued(gateway, WIDE)
    assert await tiles(gateway, job) == []
    seen = events(gateway, job)
    await anext(seen)
    await engine.holds(2)
    engine.let_go(1)
    told = [data async for _, kind, data in first_tile(seen) if kind == "tile"]
    assert await tiles(gateway, job) == told
    async with gateway.http.get(told[0]["url"]) as response:
        with Image.open(BytesIO(await response.read())) as image:
            assert image.size == (told[0]["w"], told[0]["h"])
    assert (await shown(gateway, job))["state"] == "running"
    engine.let_go()
    await ended(gateway, job)
    async with gateway.http.get(f"{job['links']['self']}/tiles") as response:
        body = await problem_of(response, 410, "tiles_gone")
        assert "ended" in body["detail"]


async def first_tile(seen: Any) -> Any:
    """The events up to the first tile."""
    async for event in seen:
        yield event
        if event[1] == "tile":
            return


async def test_tiles_cover_the_part_that_is_done(start: Start, models: list[ModelFacts]) -> None:
    """They are in the order of their indices, whatever came first, and do not lie outside of the result."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    job = await queued(gateway, picture(2, (700, 300)))
    await engine.holds(2)
    total = (await shown(gateway, job, wait=1))["progress"]["tiles_total"]
    engine.let_go(total - 1)
    found = await finished(gateway, job, total - 1)
    indices = [tile["index"] for tile in found]
    assert indices == sorted(set(indices))
    assert set(indices) < set(range(total))
    assert all(tile["x"] + tile["w"] <= 2800 for tile in found)
    assert all(tile["y"] + tile["h"] <= 1200 for tile in found)
    assert 0.4 < sum(tile["w"] * tile["h"] for tile in found) / (2800 * 1200) < 1.3
    engine.let_go()
    await ended(gateway, job)


async def test_tiles_of_a_job_that_runs_elsewhere_are_listed(
    start: Start, models: list[ModelFacts]
) -> None:
    """A gateway that does not run the job lists and returns them, though it sends no events of them."""
    engine = HeldEngine(models)
    runs, other = await start(engine), await start()
    job = await queued(runs, WIDE)
    await engine.holds(2)
    engine.let_go(1)
    (tile,) = await finished(other, job, 1)
    async with other.http.get(tile["url"]) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
    engine.let_go()
    await ended(other, job)


async def test_unknown_job_has_no_tiles(start: Start) -> None:
    """It is not found, as on all routes of a job."""
    gateway = await start()
    async with gateway.http.get(f"/v1/jobs/job_{'0' * 32}/tiles") as response:
        await problem_of(response, 404, "not_found")
