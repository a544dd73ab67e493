"""Jobs as clients of ``/v1`` make, follow and fetch them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from io import BytesIO
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from enlarger import errors
from enlarger.engine import Engine
from enlarger.engine.tile import ModelFacts
from support.fakes import FailsFirst, NearestEngine
from support.gateways import PNG, Running, Start

ASYNC = {"Prefer": "respond-async"}
PROBLEM = "application/problem+json"
LONG_S = 30


def picture(seed: int = 0, size: tuple[int, int] = (30, 20)) -> bytes:
    """A file of its own."""
    file = BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


async def queued(gateway: Running, data: bytes | None = PNG, **options: Any) -> dict[str, Any]:
    """Submit a job and return it."""
    query = options.pop("params", {})
    if data is not None:  # other forms of a request have their options in the body
        query = {"scale": 4, **query}
    response = await gateway.http.post("/v1/jobs", data=data, params=query, **options)
    body: dict[str, Any] = await response.json()
    assert response.status == 202, body
    assert response.headers["Location"] == body["links"]["self"] == f"/v1/jobs/{body['id']}"
    return body


async def until(holds: Callable[[], bool]) -> None:
    """Wait until this is true."""
    async with asyncio.timeout(LONG_S):
        while not holds():  # noqa: ASYNC110 - what a gateway holds tells nobody
            await asyncio.sleep(0.02)


async def shown(gateway: Running, job: dict[str, Any], wait: int = 0) -> dict[str, Any]:
    """Return a job as it is now or, with ``wait``, once it has ended."""
    async with gateway.http.get(job["links"]["self"], params={"wait": wait}) as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body


async def ended(gateway: Running, job: dict[str, Any], state: str = "succeeded") -> dict[str, Any]:
    """Return a job once it has ended."""
    body = await shown(gateway, job, wait=LONG_S)
    assert body["state"] == state, body
    return body


async def problem_of(response: aiohttp.ClientResponse, status: int, code: str) -> dict[str, Any]:
    """Check that a response is this problem, and return it."""
    body: dict[str, Any] = await response.json(content_type=PROBLEM)
    assert (response.status, body["code"], body["status"]) == (status, code, status)
    return body


async def events(
    gateway: Running, job: dict[str, Any], after: int | None = None
) -> AsyncGenerator[tuple[int, str, dict[str, Any]]]:
    """Yield the events of a job, to the end of the stream."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with gateway.http.get(job["links"]["events"], headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        text = ""
        async for piece in response.content.iter_any():
            text += piece.decode()
            while "\n\n" in text:
                block, text = text.split("\n\n", 1)
                fields = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
                if "data" in fields:
                    yield int(fields["id"]), fields["event"], json.loads(fields["data"])


async def all_events(gateway: Running, job: dict[str, Any]) -> list[tuple[int, str, Any]]:
    """All events of a job."""
    return [event async for event in events(gateway, job)]


async def running_elsewhere(
    start: Start, engine: Engine
) -> tuple[Running, Running, dict[str, Any]]:
    """Return two gateways on one database, and a job that runs at the first one.

    The second one starts only when the job runs. Otherwise it could have taken the job from the queue.
    """
    runs = await start(engine)
    job = await queued(runs)
    await until(lambda: runs.load() == 1)
    return runs, await start(), job


def failing(models: list[ModelFacts], failures: int) -> FailsFirst:
    """An engine whose first tiles fail."""
    error = errors.EngineFailed("the runtime gave up")
    return FailsFirst(NearestEngine(models), failures=failures, error=error)
