"""Batches over a real socket: B.6, and the webhooks of B.8."""

from __future__ import annotations

import asyncio
import base64
import json
import zipfile
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from support.fakes import HeldEngine, nearest
from support.gateways import B64, PNG, RED, Running, Start, samples
from support.receivers import NEW_SECRET, SECRET, Receiver
from support.sites import Site, page
from support.v1_jobs import ASYNC, LONG_S, picture, problem_of, queued, until

from enlarger.config import ApiKey, RateLimit
from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE: dict[str, Any] = {"image_b64": B64, "scale": 4}


def item(seed: int, **fields: Any) -> dict[str, Any]:
    """A picture of its own."""
    return {"image_b64": base64.b64encode(picture(seed)).decode(), "scale": 4, **fields}


async def taken(
    gateway: Running, items: list[Any], headers: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """A new batch."""
    response = await gateway.http.post(
        "/v1/batches", json={"items": items, **fields}, headers=headers
    )
    body: dict[str, Any] = await response.json()
    assert response.status == 202, body
    assert response.headers["Location"] == body["links"]["self"] == f"/v1/batches/{body['id']}"
    return body


async def shown(gateway: Running, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch as it is now."""
    async with gateway.http.get(batch["links"]["self"]) as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body


async def ended(gateway: Running, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch when it has ended."""
    async with asyncio.timeout(LONG_S):
        while (body := await shown(gateway, batch))["state"] == "running":  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)
    return body


async def archive(gateway: Running, batch: dict[str, Any]) -> dict[str, bytes]:
    """The files of its results."""
    async with gateway.http.get(batch["links"]["results"]) as response:
        assert (response.status, response.content_type) == (200, "application/zip")
        with zipfile.ZipFile(BytesIO(await response.read())) as opened:
            assert opened.testzip() is None
            return {name: opened.read(name) for name in opened.namelist()}


async def test_batch_is_taken_done_and_fetched(start: Start) -> None:
    """Good items become pictures, bad ones say what is wrong with each; order and ids stay."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        items = [
            {**PICTURE, "id": "../first"},
            {"image_b64": base64.b64encode(b"no picture").decode()},
            {"img_url": site.url("/cat.png"), "id": "third", "format": "webp"},
            {"img_url": site.url("/none.png")},
            {**PICTURE, "scale": 9},
        ]
        batch = await ended(gateway, await taken(gateway, items, options={"scale": 2}))
    assert batch["state"] == "finished"
    assert batch["counts"] == {
        **dict.fromkeys(("queued", "running", "canceled", "expired"), 0),
        "succeeded": 2,
        "failed": 3,
    }
    found = batch["items"]
    assert [one["index"] for one in found] == list(range(5))
    assert [one["id"] for one in found] == ["../first", None, "third", None, None]
    codes = [one["error"] and one["error"]["code"] for one in found]
    assert codes == [None, "unsupported_format", None, "source_refused", "invalid_option"]
    assert [one["result"] and one["result"]["width"] for one in found] == [
        120,
        None,
        60,
        None,
        None,
    ]
    async with gateway.http.get(f"/v1/jobs/{found[4]['job']}") as response:
        assert (await response.json())["error"] == found[4]["error"]
    files = await archive(gateway, batch)
    assert list(files) == ["000-first.png", "002-third.webp", "manifest.json"]
    assert np.array_equal(samples(files["000-first.png"]), nearest(RED, 4))
    manifest = json.loads(files["manifest.json"])
    assert [one["file"] for one in manifest["items"]] == [
        *("000-first.png", None, "002-third.webp", None, None)
    ]
    assert sha256(files["000-first.png"]).hexdigest() == manifest["items"][0]["result"]["sha256"]


async def test_broken_envelope_is_refused(start: Start) -> None:
    """With a problem, and nothing is kept of it."""
    gateway = await start()
    async with gateway.http.post("/v1/batches", data=PNG) as response:
        await problem_of(response, 400, "malformed_json")
    async with gateway.http.post("/v1/batches", json={"items": []}) as response:
        await problem_of(response, 422, "invalid_option")


async def test_batches_may_be_larger_than_pictures(start: Start) -> None:
    """64 MiB on this path alone."""
    gateway = await start(max_file_size_bytes=1000)
    large = json.dumps({"items": [PICTURE, {"image_b64": "A" * 3_000_000}]}).encode()
    as_json = {"Content-Type": "application/json"}
    async with gateway.http.post("/v1/jobs", data=BytesIO(large), headers=as_json) as response:
        await problem_of(response, 413, "file_too_large")
    async with gateway.http.post("/v1/batches", data=BytesIO(large)) as response:
        assert response.status == 202
        batch = await ended(gateway, await response.json())
    assert batch["counts"]["failed"] == 2  # the first has more than 1000 bytes as well
    assert {one["error"]["code"] for one in batch["items"]} == {"file_too_large"}
    too_large = BytesIO(bytes((64 << 20) + 1))
    async with gateway.http.post("/v1/batches", data=too_large) as response:
        body = await problem_of(response, 413, "file_too_large")
        assert body["limit"] == 64 << 20


async def test_batch_is_cancelled(start: Start, models: list[ModelFacts]) -> None:
    """Unfinished items end, finished ones keep their results, and cancelling can be repeated."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    batch = await taken(gateway, [item(seed) for seed in range(5)])
    async with gateway.http.get(batch["links"]["results"]) as response:
        await problem_of(response, 409, "job_not_finished")
    await until(lambda: gateway.load() == 3)
    engine.let_go(4)  # of six tiles that three jobs have: one at least has both of its own
    async with asyncio.timeout(LONG_S):
        while not (await shown(gateway, batch))["counts"]["succeeded"]:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)
    bodies = []
    for _ in range(2):
        async with gateway.http.delete(batch["links"]["self"]) as response:
            assert response.status == 200
            bodies.append(await response.json())
    body = bodies[0]
    assert body == bodies[1]
    assert body["state"] == "canceled"
    assert body["counts"]["succeeded"] >= 1
    assert body["counts"]["succeeded"] + body["counts"]["canceled"] == 5
    files = await archive(gateway, batch)
    assert len(files) == body["counts"]["succeeded"] + 1
    engine.let_go()


async def test_result_whose_file_was_deleted_is_left_out(start: Start) -> None:
    """When none is left, the archive is refused before it begins."""
    gateway = await start()
    batch = await ended(gateway, await taken(gateway, [item(10), item(11)]))
    files = await archive(gateway, batch)
    assert len(files) == 3
    urls = [each["result"]["url"] for each in batch["items"]]
    for url in urls:
        assert len(await archive(gateway, batch)) == len(files)
        await gateway.store.delete(url.rpartition("/")[2])
        files.popitem()
    for method in ("HEAD", "GET"):
        async with gateway.http.request(method, batch["links"]["results"]) as response:
            assert response.status == 410
    async with gateway.http.get(batch["links"]["results"]) as response:
        await problem_of(response, 410, "result_expired")


async def test_results_expire(start: Start) -> None:
    """After ``FILE_MAX_AGE``: 410, and the batch says so."""
    gateway = await start(file_max_age_s=1)
    batch = await ended(gateway, await taken(gateway, [PICTURE]))
    await asyncio.sleep(1.1)
    async with gateway.http.get(batch["links"]["results"]) as response:
        await problem_of(response, 410, "result_expired")


async def test_events_tell_of_each_item(start: Start, models: list[ModelFacts]) -> None:
    """The state of the whole batch comes first and last. A client that reconnects after the end is told to stop."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    batch = await taken(gateway, [item(10), {}])
    seen: list[tuple[str, dict[str, Any]]] = []
    async with gateway.http.get(batch["links"]["events"]) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        fields: dict[str, str] = {}
        async for line in response.content:
            name, _, value = line.decode().strip().partition(": ")
            fields[name] = value
            if name == "data":
                seen.append((fields["event"], json.loads(value)))
                engine.let_go()
    assert (seen[0][0], seen[-1][0]) == ("state", "state")
    assert seen[0][1]["counts"]["failed"] == 1
    changes = [(data["index"], data["state"]) for kind, data in seen if kind == "item"]
    assert changes[-1] == (0, "succeeded")
    assert seen[-1][1]["state"] == "finished"
    headers = {"Last-Event-ID": fields["id"]}
    async with gateway.http.get(batch["links"]["events"], headers=headers) as response:
        assert response.status == 204


async def test_stopping_gateway_ends_the_stream(start: Start, models: list[ModelFacts]) -> None:
    """A drain need not wait for it."""
    gateway = await start(HeldEngine(models))
    batch = await taken(gateway, [item(11)])
    async with gateway.http.get(batch["links"]["events"]) as response:
        await response.content.readuntil(b"data: ")
        gateway.gateway.service.drain()
        await asyncio.wait_for(response.read(), 5)


async def test_key_makes_one_batch(start: Start) -> None:
    """Repeating the request returns the same batch. Another batch with the same key is refused."""
    gateway = await start()
    headers = {"Idempotency-Key": "order-1"}
    batches = await asyncio.gather(*(taken(gateway, [item(1)], headers=headers) for _ in range(4)))
    assert len({batch["id"] for batch in batches}) == 1
    body = {"items": [item(2)]}
    async with gateway.http.post("/v1/batches", json=body, headers=headers) as response:
        await problem_of(response, 422, "idempotency_key_reused")
    async with gateway.http.post("/v1/batches", json={"items": [item(1)]}, headers=headers) as one:
        assert one.headers["Idempotency-Replayed"] == "true"


async def test_items_wait_for_the_rate(start: Start) -> None:
    """They wait instead of failing."""
    gateway = await start(rate_limit=RateLimit(0.009, 2))
    batch = await ended(gateway, await taken(gateway, [item(20), item(21), item(22)]))
    assert batch["counts"]["succeeded"] == 3


async def test_who_has_nothing_left_is_refused(start: Start) -> None:
    """The whole batch is refused before any of it is stored."""
    gateway = await start(rate_limit=RateLimit(0.005, 3600))
    await ended(gateway, await taken(gateway, [item(24)]))
    async with gateway.http.post("/v1/batches", json={"items": [item(23)]}) as response:
        await problem_of(response, 429, "rate_limited")


async def test_queue_has_room_for_all_or_none(start: Start, models: list[ModelFacts]) -> None:
    """503, and nothing of the batch is taken."""
    gateway = await start(HeldEngine(models), jobs_limit=2)
    async with gateway.http.post("/v1/batches", json={"items": [PICTURE] * 3}) as response:
        await problem_of(response, 503, "queue_full")
    assert gateway.load() == 0


async def test_batches_belong_to_their_key(start: Start) -> None:
    """Another key's batch is not found, on any route."""
    keys = [ApiKey(name, sha256(name.encode()).hexdigest()) for name in ("alice", "bob")]
    gateway = await start(api_keys=tuple(keys))
    batch = await taken(gateway, [PICTURE], headers={"X-API-Key": "alice"})
    for method, url in (
        ("GET", batch["links"]["self"]),
        ("DELETE", batch["links"]["self"]),
        ("GET", batch["links"]["events"]),
        ("GET", batch["links"]["results"]),
    ):
        async with gateway.http.request(method, url, headers={"X-API-Key": "bob"}) as response:
            await problem_of(response, 404, "not_found")
    async with gateway.http.get(batch["links"]["self"], headers={"X-API-Key": "alice"}) as response:
        assert response.status == 200


# Webhooks


async def test_webhooks_tell_of_jobs_and_batches(start: Start) -> None:
    """In both forms of a job, signed for both secrets; with the object that the API shows."""
    async with Receiver([500, 204]) as receiver:
        gateway = await start(fetch=receiver.address, webhook_secrets=f"{NEW_SECRET},{SECRET}")
        job = await queued(gateway, params={"scale": 4, "webhook": receiver.url})
        first = await receiver.came(2)  # the second attempt after 5 s
        response = await gateway.http.post(
            "/v1/upscale", json={**item(30), "webhook": receiver.url}, headers=ASYNC
        )
        assert response.status == 202
        await receiver.came(3)
        batch = await taken(gateway, [item(31), {}], webhook=receiver.url)
        messages = await receiver.came(4)
        for message in messages:
            assert message.verified(SECRET) == message.verified(NEW_SECRET)
        assert first[0].id == first[1].id
        told = messages[0].verified()
        async with gateway.http.get(job["links"]["self"]) as response:
            assert told["data"] == await response.json()
        assert told["type"] == "job.succeeded"
        told = messages[3].verified()
        assert (told["type"], told["data"]["id"]) == ("batch.finished", batch["id"])
        assert told["data"]["counts"]["failed"] == 1


async def test_webhook_of_a_cancelled_job(start: Start, models: list[ModelFacts]) -> None:
    """It is sent, as is the webhook of a batch whose items all failed at once."""
    async with Receiver() as receiver:
        engine = HeldEngine(models)
        gateway = await start(engine, fetch=receiver.address, webhook_secrets=SECRET)
        job = await queued(gateway, params={"webhook": receiver.url})
        await gateway.http.delete(job["links"]["self"])
        (message,) = await receiver.came(1)
        assert message.verified()["type"] == "job.canceled"
        await taken(gateway, [{}], webhook=receiver.url)
        assert (await receiver.came(2))[1].verified()["type"] == "batch.finished"


async def test_webhook_has_its_conditions(start: Start) -> None:
    """A request that waits for its picture has no webhook, and neither has any request if no secrets are set."""
    gateway = await start(webhook_secrets=SECRET)
    asked = {**PICTURE, "webhook": "https://a.example/hook"}
    async with gateway.http.post("/v1/upscale", json=asked) as response:
        body = await problem_of(response, 422, "invalid_option")
        assert (body["errors"][0]["option"], body["errors"][0]["reason"]) == ("webhook", "conflict")
        assert "respond-async" in body["detail"]
    for bad in ("ftp://a.example/", "https://u:p@a.example/", "nowhere", 5):
        async with gateway.http.post("/v1/jobs", json={**PICTURE, "webhook": bad}) as response:
            body = await problem_of(response, 422, "invalid_option")
            assert body["errors"][0]["reason"] == "type"
    without: list[dict[str, Any]] = [{}, {"webhook_secrets": SECRET, "fetch": "off"}]
    for settings in without:
        gateway = await start(**settings)
        async with gateway.http.post("/v1/jobs", json=asked) as response:
            body = await problem_of(response, 422, "invalid_option")
            assert body["errors"][0]["reason"] == "unsupported"
