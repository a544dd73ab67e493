"""Events through a real nginx that knows nothing of them: ``proxy_pass``, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from fakes import HeldEngine
from gateways import B64, PNG, Start
from proxies import free_port, nginx

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
