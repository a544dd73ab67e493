"""How jobs of ``/v1`` end: cancellation, and results until they expire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.fakes import HeldEngine
from support.gateways import PNG, Running, Start
from support.v1_jobs import (
    ended,
    picture,
    problem_of,
    queued,
    until,
)

from enlarger.engine.tile import ModelFacts
from enlarger.storage import storage_at

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_cancelled_job_ends_at_once(start: Start, models: list[ModelFacts]) -> None:
    """A running or a queued job can be cancelled, also repeatedly. It has no result, and its files are deleted."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed)) for seed in range(4)]
    blobs = Path(gateway.gateway.settings.blobs_place)
    await until(lambda: gateway.load() == 3)
    for job in (jobs[0], jobs[3], jobs[0]):
        async with gateway.http.delete(job["links"]["self"]) as response:
            assert (response.status, (await response.json())["state"]) == (200, "canceled")
        async with gateway.http.get(job["links"]["result"]) as response:
            await problem_of(response, 409, "job_without_result")
    await until(lambda: gateway.load() == 2)
    # A preview that was being written is deleted once its job has stopped.
    await until(lambda: not any((blobs / job["id"]).exists() for job in (jobs[0], jobs[3])))
    engine.let_go()
    for job in jobs[1:3]:
        await ended(gateway, job)
    assert not any((blobs / job["id"]).exists() for job in (jobs[0], jobs[3]))


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
    """Both of its addresses say so in every form of request, and so does a repeat with its idempotency key."""
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
    """Yield the names of all results, in the form that URLs have."""
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
    """The response is 409 and says when to ask again."""
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
