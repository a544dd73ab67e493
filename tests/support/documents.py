"""The OpenAPI document of a gateway, and what the names in its paths can be replaced with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.fakes import HeldEngine
from support.gateways import B64, PNG, Running
from support.pictures import encoded, noise

Document = dict[str, Any]


async def fetched(gateway: Running) -> Document:
    """The document as a caller gets it."""
    async with gateway.http.get("/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        body: Document = await response.json()
        return body


def each(shown: Document) -> Iterator[tuple[str, str, Document]]:
    """Method, path and operation."""
    for path, methods in shown["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def made_before(gateway: Running) -> dict[str, str]:
    """What examples mean by the names in their paths: a job, its file and a batch, all done."""
    async with gateway.http.post("/v1/jobs", data=PNG, params={"scale": 4}) as response:
        job = await response.json()
    async with gateway.http.get(job["links"]["self"], params={"wait": 30}) as response:
        name = (await response.json())["result"]["url"].rpartition("/")[2]
    items = {"items": [{"image_b64": B64}]}
    async with gateway.http.post("/v1/batches", json=items) as response:
        batch = await response.json()
    async with gateway.http.get(batch["links"]["events"]) as response:
        await response.read()  # wait for its end
    return {"job_id": job["id"], "name": name, "batch_id": batch["id"]}


async def with_a_tile(gateway: Running, engine: HeldEngine) -> str:
    """Id of a running job of which one tile is done."""
    data = encoded(noise(20, 300, 3))
    async with gateway.http.post("/v1/jobs", data=data, params={"scale": 4}) as response:
        job = await response.json()
    async with gateway.http.get(job["links"]["events"]) as response:
        is_held = True
        async for line in response.content:
            # A client that connects later is not told of tiles. The first state may be queued, and a second one follow.
            if line == b"event: state\n" and is_held:
                await engine.holds(2)
                engine.let_go(1)
                is_held = False
            if line == b"event: tile\n":
                break
    return str(job["id"])
