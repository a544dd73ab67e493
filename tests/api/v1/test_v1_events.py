"""The events of several jobs in one stream, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from hashlib import sha256
from typing import Any

import pytest
from support.fakes import HeldEngine
from support.gateways import Running, Start
from support.v1_jobs import ended, picture, problem_of, queued, running_elsewhere, until

from enlarger.api.v1.shared_events import MOST_JOBS
from enlarger.config import ApiKey
from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

Told = tuple[str, str, dict[str, Any]]
"""The id of an event, its kind, and its data."""

WIDE = (300, 20)
"""The size of a picture of several tiles."""


def path_of(jobs: Sequence[dict[str, Any]]) -> str:
    """Where their events are."""
    return f"/v1/events?jobs={','.join(job['id'] for job in jobs)}"


async def events(
    gateway: Running, jobs: Sequence[dict[str, Any]], after: str | None = None, **headers: str
) -> AsyncGenerator[Told]:
    """The events of several jobs, to the end of the stream."""
    if after is not None:
        headers["Last-Event-ID"] = after
    async with gateway.http.get(path_of(jobs), headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        block: dict[str, str] = {}
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                block[name] = value
            else:
                if "data" in block:
                    yield block["id"], block["event"], json.loads(block["data"])
                block = {}


async def all_events(
    gateway: Running, jobs: Sequence[dict[str, Any]], after: str | None = None
) -> list[Told]:
    """All of them, of jobs that end."""
    async with asyncio.timeout(30):
        return [event async for event in events(gateway, jobs, after)]


def states(told: Sequence[Told], job: dict[str, Any]) -> list[str]:
    """The states of one job, in their order."""
    return [data["state"] for _, kind, data in told if kind == "state" and data["job"] == job["id"]]


async def test_one_stream_tells_all_of_several_jobs(start: Start, models: list[ModelFacts]) -> None:
    """The state of each first and last, and its tiles; the data are those of its own stream. Then the stream ends."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed, WIDE)) for seed in range(3)]
    following = asyncio.ensure_future(all_events(gateway, jobs))
    await engine.holds(4)
    await asyncio.sleep(0.3)
    engine.let_go()
    told = await following
    for job in jobs:
        own = [(kind, data) for _, kind, data in told if data["job"] == job["id"]]
        assert own[0][0] == own[-1][0] == "state"
        assert own[-1][1]["state"] == "succeeded"
        assert {kind for kind, _ in own} == {"state", "progress", "tile"}
        async with gateway.http.get(job["links"]["self"]) as response:
            assert {**(await response.json()), "job": job["id"]} == own[-1][1]
        urls = [data["url"] for kind, data in own if kind == "tile"]
        assert all(url.startswith(f"{job['links']['self']}/tiles/") for url in urls)
    assert all(len(id_) < 1024 for id_, _, _ in told)


def of_job(told: Sequence[Told], job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events of one job, without the estimate, which changes with the time at which an event is sent."""
    return [
        (kind, {name: value for name, value in data.items() if name != "eta_s"})
        for _, kind, data in told
        if data["job"] == job["id"]
    ]


async def test_stream_continues_where_each_job_was(start: Start, models: list[ModelFacts]) -> None:
    """After any event: nothing is lost and nothing repeated. 204 after the last one."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed, WIDE)) for seed in range(2)]
    following = asyncio.ensure_future(all_events(gateway, jobs))
    await engine.holds(4)
    await asyncio.sleep(0.3)
    engine.let_go()
    told = await following
    for at in range(len(told) - 1):
        if {data["job"] for _, _, data in told[: at + 1]} < {job["id"] for job in jobs}:
            continue  # a job of which nothing was told begins with its state now
        rest = await all_events(gateway, jobs, after=told[at][0])
        for job in jobs:
            assert of_job(rest, job) == of_job(told[at + 1 :], job)
    async with gateway.http.get(path_of(jobs), headers={"Last-Event-ID": told[-1][0]}) as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_jobs_are_added_by_reconnecting(start: Start, models: list[ModelFacts]) -> None:
    """The stream of the first goes on; that of the new one begins with its state; one that ended meanwhile is told to its end."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    first = await queued(gateway, picture(1))
    async with aclosing(events(gateway, [first])) as stream:
        last, _, data = await anext(stream)
    assert data["job"] == first["id"]
    await engine.holds(1)
    engine.let_go()
    await ended(gateway, first)
    second = await queued(gateway, picture(2))
    told = await all_events(gateway, [first, second], after=last)
    assert states(told, first)[-1] == states(told, second)[-1] == "succeeded"


async def test_ended_and_unknown_jobs_are_named(start: Start, models: list[ModelFacts]) -> None:
    """Each in an entry of its own, unless the client has followed it before."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    done = await queued(gateway, picture(1))
    engine.let_go()
    await ended(gateway, done)
    gateway = await start(HeldEngine(models))
    runs = await queued(gateway, picture(2))
    unknown = {"id": f"job_{'0' * 32}"}
    async with gateway.http.get(path_of([runs, done, unknown])) as response:
        body = await problem_of(response, 422, "invalid_option")
    assert [fault["option"] for fault in body["errors"]] == ["jobs", "jobs"]
    assert done["id"] in body["errors"][0]["detail"]
    assert "ended" in body["errors"][0]["detail"]
    assert unknown["id"] in body["errors"][1]["detail"]
    many = [{"id": f"job_{number:032x}"} for number in range(MOST_JOBS + 1)]
    for path in ("/v1/events", "/v1/events?jobs=", "/v1/events?jobs=,", path_of(many)):
        async with gateway.http.get(path) as response:
            body = await problem_of(response, 422, "invalid_option")
            assert str(MOST_JOBS) in body["detail"]


async def test_jobs_that_run_elsewhere_are_followed(start: Start, models: list[ModelFacts]) -> None:
    """Their states are told by a gateway that does not run them."""
    engine = HeldEngine(models)
    _, other, job = await running_elsewhere(start, engine)
    async with aclosing(events(other, [job])) as stream:
        _, kind, data = await anext(stream)
        assert (kind, data["state"]) == ("state", "running")
        engine.let_go()
        rest = [event async for event in stream]
    assert rest[-1][2]["state"] == "succeeded"


async def test_queued_jobs_are_told_their_places(start: Start, models: list[ModelFacts]) -> None:
    """Each in its own event of progress, as the queue moves."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    jobs = [await queued(gateway, picture(seed, (8, 8))) for seed in range(6)]
    await until(lambda: gateway.load() == 3)
    async with aclosing(events(gateway, jobs[3:])) as stream:
        first = [await anext(stream) for _ in range(3)]
        assert sorted(data["queue"]["position"] for _, _, data in first) == [1, 2, 3]
        engine.let_go(1)
        async for _, kind, data in stream:
            if kind == "progress" and data["job"] == jobs[5]["id"]:
                assert data["queue"] == {"position": 2, "length": 2}
                break
        engine.let_go()


async def test_events_belong_to_the_key_of_their_job(
    start: Start, models: list[ModelFacts]
) -> None:
    """The job of another key is unknown, and named as such."""
    keys = [ApiKey(name, sha256(name.encode()).hexdigest()) for name in ("alice", "bob")]
    engine = HeldEngine(models)
    gateway = await start(engine, api_keys=tuple(keys))
    job = await queued(gateway, headers={"X-API-Key": "alice"})
    async with gateway.http.get(path_of([job]), headers={"X-API-Key": "bob"}) as response:
        body = await problem_of(response, 422, "invalid_option")
        assert job["id"] in body["errors"][0]["detail"]
    async with gateway.http.get(path_of([job])) as response:
        await problem_of(response, 401, "unauthorized")
    async with aclosing(events(gateway, [job], **{"X-API-Key": "alice"})) as stream:
        assert (await anext(stream))[2]["job"] == job["id"]
    engine.let_go()


async def test_stopping_gateway_ends_the_stream(start: Start, models: list[ModelFacts]) -> None:
    """It ends the streams of single jobs in the same way."""
    gateway = await start(HeldEngine(models))
    jobs = [await queued(gateway, picture(seed)) for seed in range(2)]
    following = asyncio.ensure_future(all_events(gateway, jobs))
    await asyncio.sleep(0.3)
    gateway.gateway.service.drain()
    told = await asyncio.wait_for(following, 5)
    assert {data["job"] for _, _, data in told} == {job["id"] for job in jobs}


async def test_client_that_leaves_is_forgotten(start: Start, models: list[ModelFacts]) -> None:
    """Nothing is left that follows the jobs, but the runner."""
    gateway = await start(HeldEngine(models))
    jobs = [await queued(gateway, picture(seed)) for seed in range(2)]
    await until(lambda: gateway.load() == 2)
    before = len(asyncio.all_tasks())
    async with aclosing(events(gateway, jobs)) as stream:
        await anext(stream)
        assert len(asyncio.all_tasks()) > before
    await until(lambda: len(asyncio.all_tasks()) <= before)
