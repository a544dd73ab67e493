"""The picture that a job enlarges, as a small JPEG file, over a real socket."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.fakes import HeldEngine
from support.gateways import PNG, RED, Running, Start
from support.sites import Site, page
from support.v1_jobs import ended, picture, problem_of, queued, until

from enlarger.config import ApiKey
from enlarger.engine.tile import ModelFacts
from enlarger.geometry.rect import Pixels

pytestmark = pytest.mark.asyncio(loop_scope="module")


def smooth(width: int, height: int) -> Pixels:
    """A picture of which a JPEG file is nearly exact, and no two sides of which look the same."""
    rows, columns = np.mgrid[0:height, 0:width]
    parts = (columns * 255 / width, rows * 255 / height, np.full((height, width), 90))
    return np.stack(parts, axis=2).astype(np.uint8)


def as_file(samples: Pixels, format_: str = "PNG", **options: Any) -> bytes:
    """A file of it."""
    file = BytesIO()
    Image.fromarray(samples).save(file, format_, **options)
    return file.getvalue()


async def preview(gateway: Running, job: dict[str, Any], query: str = "") -> tuple[Pixels, Any]:
    """The preview of a job's picture, which must be there, and its headers."""
    async with gateway.http.get(f"{job['links']['self']}/input{query}") as response:
        data = await response.read()
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg"), data[:99]
        assert response.headers["ETag"] == f'"sha256-{sha256(data).hexdigest()}"'
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image), response.headers


def assert_like(found: Pixels, expected: Pixels) -> None:
    """The same picture, as JPEG keeps it."""
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).mean() < 4


async def test_preview_outlives_the_picture(start: Start, models: list[ModelFacts]) -> None:
    """It is there while the job waits and runs, and as long as the result; the picture goes when the job ends."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    samples = smooth(60, 40)
    waits = [await queued(gateway, picture(seed)) for seed in range(3)]
    job = await queued(gateway, as_file(samples))
    await until(lambda: gateway.load() == 3)
    assert_like((await preview(gateway, job))[0], samples)
    engine.let_go()
    await ended(gateway, job)
    found, headers = await preview(gateway, job)
    assert_like(found, samples)
    assert "Expires" in headers
    for one in waits:
        await ended(gateway, one)
    assert not (Path(gateway.gateway.settings.blobs_place) / job["id"]).exists()
    async with gateway.http.delete(job["links"]["self"]) as response:
        assert (await response.json())["state"] == "expired"
    async with gateway.http.get(f"{job['links']['self']}/input") as response:
        await problem_of(response, 410, "result_expired")
    folders = [gateway.store.folder, Path(gateway.gateway.settings.blobs_place)]
    assert not [
        path
        for folder in folders
        for path in folder.rglob(f"*{'input'}*")
        if job["id"] in str(path)
    ]


async def test_picture_of_a_url_has_a_preview(start: Start, models: list[ModelFacts]) -> None:
    """It has one although the picture is not stored. Until the picture is fetched, the response is 409."""
    engine = HeldEngine(models)
    samples = smooth(50, 30)
    async with Site({"/cat.png": page(as_file(samples))}) as site:
        gateway = await start(engine, fetch=site.address)
        full = [await queued(gateway, picture(seed)) for seed in range(3)]
        await until(lambda: gateway.load() == 3)
        job = await queued(gateway, None, json={"img_url": site.url("/cat.png"), "scale": 4})
        async with gateway.http.get(f"{job['links']['self']}/input") as response:
            await problem_of(response, 409, "job_not_finished")
            assert int(response.headers["Retry-After"]) >= 1
        engine.let_go()
        await ended(gateway, job)
        assert_like((await preview(gateway, job))[0], samples)
        again = await queued(gateway, None, json={"img_url": site.url("/cat.png"), "scale": 4})
        done = await ended(gateway, again)
        assert done["result"]["cache"] == "hit"
        assert_like((await preview(gateway, again))[0], samples)
        assert len(full) == 3


async def test_preview_is_upright_in_srgb_and_small(start: Start) -> None:
    """Whatever the picture says of its orientation and colours; at most 2048 pixels a side, or as many as asked for."""
    gateway = await start(max_image_dimension_px=4096)
    samples = smooth(2400, 60)
    turned = Image.Exif()
    turned[0x0112] = 6
    job = await queued(gateway, as_file(samples, exif=turned), params={"scale": 2})
    await ended(gateway, job)
    found, _ = await preview(gateway, job)
    assert found.shape == (2048, 51, 3)
    upright = Image.fromarray(np.rot90(samples, -1))
    assert_like(found, np.asarray(upright.resize((51, 2048), Image.Resampling.BOX)))
    assert (await preview(gateway, job, "?max_side=200"))[0].shape == (200, 5, 3)
    async with gateway.http.get(f"{job['links']['self']}/input?max_side=3000") as response:
        await problem_of(response, 422, "invalid_option")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    small = Image.fromarray(smooth(64, 48))
    as_lab = ImageCms.profileToProfile(small, srgb, lab, outputMode="LAB")
    assert as_lab is not None
    file = BytesIO()
    as_lab.save(file, "TIFF")
    job = await queued(gateway, file.getvalue())
    await ended(gateway, job)
    assert_like((await preview(gateway, job))[0], np.asarray(small))


async def test_preview_is_fetched_at_another_gateway(
    start: Start, models: list[ModelFacts]
) -> None:
    """This works while the job runs elsewhere, and afterwards."""
    engine = HeldEngine(models)
    runs, other = await start(engine), await start()
    job = await queued(runs, as_file(smooth(60, 40)))
    await engine.holds(1)
    assert_like((await preview(other, job))[0], smooth(60, 40))
    engine.let_go()
    await ended(runs, job)
    assert_like((await preview(other, job))[0], smooth(60, 40))


async def test_request_that_became_a_job_has_a_preview(
    start: Start, models: list[ModelFacts]
) -> None:
    """Its picture was read before it was a job."""
    engine = HeldEngine(models)
    gateway = await start(engine, sync_limit_s=0.2)
    async with gateway.http.post("/v1/upscale", params={"scale": 4}, data=PNG) as response:
        assert response.status == 202
        job = await response.json()
    engine.let_go()
    await ended(gateway, job)
    assert (await preview(gateway, job))[0].shape == RED.shape


async def test_job_without_result_has_no_preview(start: Start, models: list[ModelFacts]) -> None:
    """It is deleted with the picture; and another key's job is not found."""
    keys = [ApiKey(name, sha256(name.encode()).hexdigest()) for name in ("alice", "bob")]
    gateway = await start(HeldEngine(models), api_keys=tuple(keys))
    alice, bob = {"X-API-Key": "alice"}, {"X-API-Key": "bob"}
    job = await queued(gateway, headers=alice)
    url = f"{job['links']['self']}/input"
    async with gateway.http.get(url, headers=bob) as response:
        await problem_of(response, 404, "not_found")
    async with gateway.http.get(url, headers=alice) as response:
        assert response.status == 200
    async with gateway.http.delete(job["links"]["self"], headers=alice) as response:
        assert (await response.json())["state"] == "canceled"
    async with gateway.http.get(url, headers=alice) as response:
        await problem_of(response, 409, "job_without_result")
