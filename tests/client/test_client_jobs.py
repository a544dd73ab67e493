"""What the Python clients offer for watching jobs: one stream for several, finished tiles, and previews."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from support.clients import BOTH, Ask
from support.fakes import HeldEngine
from support.gateways import PNG, Running, Start
from support.pictures import encoded, noise

from enlarger import errors
from enlarger.client import AsyncClient, Client, JobStatus
from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDE = encoded(noise(40, 900, 3))
"""A picture of several tiles."""


@pytest.fixture(params=BOTH)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each test is run with both clients."""
    return BOTH[request.param]


def url_of(gateway: Running) -> str:
    """Its address."""
    return f"http://127.0.0.1:{gateway.port}"


def all_events(client: Client | AsyncClient, ids: list[str]) -> Any:
    """Return all events of several jobs, with either client."""

    async def awaited() -> list[JobStatus]:
        assert isinstance(client, AsyncClient)
        return [status async for status in client.jobs.events(*ids)]

    return list(client.jobs.events(*ids)) if isinstance(client, Client) else awaited()


def size(file: bytes) -> tuple[int, int]:
    """Width and height of a JPEG file."""
    with Image.open(BytesIO(file)) as image:
        assert image.format == "JPEG"
        return image.size


async def test_events_of_several_jobs_come_until_all_have_ended(start: Start, ask: Ask) -> None:
    """Each is told of, also one that has ended before."""
    url = url_of(await start())
    ids = [
        (await ask(url, lambda one, scale=scale: one.submit(PNG, scale=scale))).id
        for scale in (2, 3, 4)
    ]
    await ask(url, lambda one: one.jobs.get(ids[0]).wait())
    told = await ask(url, lambda one: all_events(one, [*ids, ids[0]]))
    last = {job.id: job.state for job in told}
    assert last == dict.fromkeys(ids, "succeeded")
    assert [job.state for job in told if job.id == ids[0]] == ["succeeded"]


async def test_job_that_is_unknown_is_not_found(start: Start, ask: Ask) -> None:
    """Whichever of them it is."""
    url = url_of(await start())
    known = (await ask(url, lambda one: one.submit(PNG, scale=4))).id
    with pytest.raises(errors.NotFound):
        await ask(url, lambda one: all_events(one, [known, f"job_{'0' * 32}"]))
    assert await ask(url, lambda one: all_events(one, [])) == []


async def test_finished_tiles_of_a_running_job(
    start: Start, ask: Ask, models: list[ModelFacts]
) -> None:
    """Their places lie in the result, and each is a picture; 410 once the job has ended."""
    engine = HeldEngine(models)
    url = url_of(await start(engine))
    job = await ask(url, lambda one: one.submit(WIDE, scale=4))
    await engine.holds(2)
    assert await ask(url, lambda one: one.jobs.get(job.id).tiles()) == ()
    engine.let_go(1)
    async with asyncio.timeout(20):
        while not (tiles := await ask(url, lambda one: one.jobs.get(job.id).tiles())):
            pass
    (tile,) = tiles
    assert tile.y_px == 0
    assert (0 <= tile.x_px < tile.x_px + tile.width_px <= 3600, tile.height_px) == (True, 160)
    shown = await ask(url, lambda one: one.jobs.get(job.id).tile(tile.index))
    width, height = size(shown)
    assert abs(width / height - tile.width_px / tile.height_px) < 0.1
    engine.let_go()
    await ask(url, lambda one: one.jobs.get(job.id).wait())
    with pytest.raises(errors.TilesGone):
        await ask(url, lambda one: one.jobs.get(job.id).tiles())


async def test_previews_are_as_small_as_they_are_wanted(start: Start, ask: Ask) -> None:
    """Previews of the input and of the result have at most the requested size, whatever the format. An invalid size is refused."""
    url = url_of(await start())
    job = await ask(url, lambda one: one.submit(WIDE, scale=2, format="tiff"))
    await ask(url, lambda one: one.jobs.get(job.id).wait())
    assert size(await ask(url, lambda one: one.jobs.get(job.id).input_preview())) == (900, 40)
    small = await ask(url, lambda one: one.jobs.get(job.id).input_preview(max_side=90))
    assert size(small) == (90, 4)
    after = await ask(url, lambda one: one.jobs.get(job.id).result_preview(max_side=180))
    assert size(after) == (180, 8)
    with pytest.raises(errors.InvalidOption, match="from 16 to 2048"):
        await ask(url, lambda one: one.jobs.get(job.id).result_preview(max_side=5))
