"""Events through a real nginx that knows nothing of them: ``proxy_pass``, and nothing else."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from support.fakes import HeldEngine
from support.gateways import B64, PNG, Start
from support.pictures import encoded, noise
from support.proxies import documented_location, free_port, nginx

from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON_S = 2
"""The ping that fills no buffer comes after 15 s; what is held back comes at the end."""


@pytest_asyncio.fixture(loop_scope="module")
async def proxied(
    start: Start, models: list[ModelFacts], tmp_path: Path
) -> AsyncIterator[tuple[HeldEngine, aiohttp.ClientSession]]:
    """A gateway whose tiles wait to be let go, and a client that sees nginx alone."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    location = f"location / {{ proxy_pass http://127.0.0.1:{gateway.port}; }}"
    with ExitStack() as stack:
        stack.enter_context(nginx(folder, port=port, location=location))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            yield engine, http


@pytest.mark.alone
@pytest.mark.parametrize(
    ("path", "request_"),
    [("/v1/jobs", {"data": PNG}), ("/v1/batches", {"json": {"items": [{"image_b64": B64}]}})],
    ids=["job", "batch"],
)
async def test_first_event_arrives_before_the_work_ends(
    proxied: tuple[HeldEngine, aiohttp.ClientSession], path: str, request_: dict[str, Any]
) -> None:
    """At once, although nothing follows it for now; and the stream ends with the work."""
    engine, http = proxied
    async with http.post(path, **request_) as response:
        assert response.status == 202
        url = (await response.json())["links"]["events"]
    began = time.monotonic()
    async with http.get(url) as events:
        async with asyncio.timeout(SOON_S):
            head = b""
            while b"event: state\n" not in head:
                head += await events.content.readany()
        assert time.monotonic() - began < SOON_S
        assert events.headers["Cache-Control"] == "no-cache, no-transform"
        engine.let_go()
        async with asyncio.timeout(30):
            rest = await events.content.read()
    assert b'"state": "succeeded"' in rest or b'"state": "finished"' in rest


async def test_events_say_that_they_are_not_to_be_held_back(
    proxied: tuple[HeldEngine, aiohttp.ClientSession], start: Start
) -> None:
    """To nginx in its own header, to every other proxy in ``Cache-Control``: neither kept nor packed."""
    gateway = await start()
    async with gateway.http.post("/v1/jobs", data=PNG) as response:
        url = (await response.json())["links"]["events"]
    async with gateway.http.get(url) as events:
        assert events.headers["X-Accel-Buffering"] == "no"
        assert events.headers["Cache-Control"] == "no-cache, no-transform"
        assert events.headers["Content-Type"] == "text/event-stream"
        await events.read()


@pytest.mark.parametrize("place", ["folder", "bucket"])
async def test_tiles_events_and_previews_come_below_a_path(
    start: Start,
    models: list[ModelFacts],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    place: str,
) -> None:
    """Through nginx as http-api.md has it, from a folder and from a bucket alike."""
    settings: dict[str, Any] = {}
    if place == "bucket":
        bucket = request.getfixturevalue("bucket")
        settings = {"upload_folder": bucket, "blobs": f"{bucket}/jobs", "file_max_age_s": 300}
    engine = HeldEngine(models)
    gateway = await start(engine, **settings)
    port, folder = free_port(), tmp_path / "nginx"
    folder.mkdir()
    root = f"http://127.0.0.1:{port}/enlarger/v1"
    location = documented_location(gateway.port)
    with nginx(folder, port=port, location=location):
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{root}/jobs", data=encoded(noise(40, 900, 3))) as response:
                job_id = (await response.json())["id"]
            await engine.holds(2)
            async with http.get(f"{root}/events?jobs={job_id}") as events:
                engine.let_go(1)
                head = b""
                async with asyncio.timeout(30):
                    while b"event: tile\n" not in head:
                        head += await events.content.readany()
            async with http.get(f"{root}/jobs/{job_id}/tiles") as response:
                (tile,) = (await response.json())["tiles"]
            for path in (f"tiles/{tile['index']}", "input"):
                async with http.get(f"{root}/jobs/{job_id}/{path}") as response:
                    assert (response.status, response.content_type) == (200, "image/jpeg")
                    assert (await response.read())[:2] == b"\xff\xd8"
            last = re.findall(rb"^id: (.+)$", head, re.MULTILINE)[-1].decode().strip()
            engine.let_go()
            headers = {"Last-Event-ID": last}
            async with http.get(f"{root}/events?jobs={job_id}", headers=headers) as events:
                async with asyncio.timeout(30):
                    rest = await events.content.read()
            assert b'"state": "succeeded"' in rest
            async with http.get(f"{root}/jobs/{job_id}/result?max_side=90") as response:
                assert (response.status, response.content_type) == (200, "image/jpeg")
