"""Deployments as one engine: what a gateway sees of replicas that come, work and go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from support.fakes import NEAREST, NearestEngine, nearest, need_of
from support.pool_servers import request, until

from enlarger.cluster.answers import TileAnswer
from enlarger.cluster.calls import Calls
from enlarger.cluster.replicas import Cluster, Deployment, most_tiles_per_call
from enlarger.cluster.reports import ReplicaReport
from enlarger.engine.tile import TileRequest
from enlarger.errors import EngineLost


@dataclass
class Ray:
    """Stands in for a cluster: replicas, and how many of the next calls are lost with one of them."""

    replicas: list[ReplicaReport] = field(default_factory=list)
    lost: int = 0
    calls: int = 0

    is_unreadable: bool = False

    async def read(self) -> Sequence[ReplicaReport] | None:
        """The reports."""
        return None if self.is_unreadable else list(self.replicas)

    async def send(self, requests: Sequence[TileRequest], call_id: str) -> Sequence[TileAnswer]:
        """Answer, or be lost."""
        self.calls += 1
        if self.lost:
            self.lost -= 1
            raise EngineLost("gone")
        engine = NearestEngine()
        return [await engine.enlarge(one) for one in requests]

    def add(self, name: str, *, deployment: str = "cpu") -> None:
        """A replica that is ready."""
        facts = replace(NearestEngine().facts(), capacity=4, in_flight=0, parallel=1)
        self.replicas.append(
            ReplicaReport(
                replica=name,
                deployment=deployment,
                node="3f5a81c0@10.0.0.7",
                facts=facts,
                tiles_done=3,
                rss_bytes=5000,
            )
        )


def cluster_of(ray: Ray, *names: str) -> Cluster:
    """The cluster, with deployments of these names."""
    return Cluster([Deployment(name, Calls(ray.send)) for name in names], read=ray.read)


async def test_tiles_wait_for_the_first_replica() -> None:
    """A deployment that is just starting is no fault: Ray brings its replicas."""
    ray = Ray()
    async with cluster_of(ray, "cpu") as cluster:
        task = asyncio.create_task(cluster.enlarge(request()))
        await asyncio.sleep(0.05)
        assert not task.done()
        assert [(one.name, one.state) for one in cluster.servers] == [("cpu", "starting")]
        ray.add("a")
        async with asyncio.timeout(5):
            result = await task
            await cluster.started(patience_s=1)
        assert np.array_equal(result.pixels, nearest(request().pixels, 4))
        assert await cluster.ready_for(need_of()) == NEAREST


async def test_each_replica_is_shown() -> None:
    """With its own name, tiles and memory; all of them add to the capacity."""
    ray = Ray()
    ray.add("a")
    ray.add("b")
    async with cluster_of(ray, "cpu") as cluster:
        await cluster.started(patience_s=1)
        shown = [(one.name, one.state, one.tiles_done, one.rss_bytes) for one in cluster.servers]
        assert shown == [("cpu-a", "ready", 3, 5000), ("cpu-b", "ready", 3, 5000)]
        assert cluster.facts().capacity == 8
        assert "2 replicas" in repr(cluster)


async def test_lost_replica_costs_no_tile() -> None:
    """Its tiles go to another one, and the answer says how often they were sent."""
    ray = Ray(lost=2)
    ray.add("a")
    async with cluster_of(ray, "cpu") as cluster:
        await cluster.started(patience_s=1)
        async with asyncio.timeout(10):
            result = await cluster.enlarge(request())
        assert np.array_equal(result.pixels, nearest(request().pixels, 4))
        assert result.attempts == 3
        assert ray.calls == 3


async def test_replicas_that_go_take_their_seats_with_them() -> None:
    """The deployment is starting again, as Ray starts other replicas."""
    ray = Ray()
    ray.add("a")
    async with cluster_of(ray, "cpu", "gpu") as cluster:
        await cluster.started(patience_s=0.1)
        assert [one.name for one in cluster.servers] == ["cpu-a", "gpu"]
        ray.replicas.clear()
        await until(lambda: cluster.facts().capacity == 0)
        assert {one.state for one in cluster.servers} == {"starting"}


def report_of(replica: str, *calls: str) -> ReplicaReport:
    """A report of a replica that holds these calls."""
    ray = Ray()
    ray.add(replica)
    return replace(ray.replicas[0], calls=frozenset(calls))


async def test_calls_of_a_silent_replica_are_given_up() -> None:
    """Two seconds after its report is gone; a report that was missing for a moment costs nothing."""
    held = asyncio.Event()
    sent: list[str] = []

    async def send(requests: Sequence[TileRequest], call_id: str) -> Sequence[TileAnswer]:
        sent.append(call_id)
        await held.wait()
        raise AssertionError("nobody answers")

    deployment = Deployment("cpu", Calls(send, NearestEngine().facts()))
    task = asyncio.create_task(deployment.calls.enlarge(request()))
    await until(lambda: bool(sent))
    both = [report_of("a", *sent), report_of("b", "another call")]
    for reports, now in ((both, 0.0), (both[1:], 1.0), (both, 2.9), (both[1:], 4.0), ([], 5.9)):
        deployment.learn(reports, now)
    await asyncio.sleep(0)
    assert not task.done()
    deployment.learn([], 6.0)
    with pytest.raises(EngineLost, match="fell silent"):
        await task


async def test_reports_that_cannot_be_read_change_nothing() -> None:
    """Replicas compute on while the head is slow; only much later they count as gone."""
    ray = Ray()
    ray.add("a")
    async with cluster_of(ray, "cpu") as cluster:
        await cluster.started(patience_s=1)
        ray.is_unreadable = True
        await asyncio.sleep(0.6)
        assert [one.replica for one in await cluster.reports()] == ["a"]
        assert cluster.facts().capacity == 4


@pytest.mark.parametrize(("mflop_per_s", "tiles"), [(None, 1), (100.0, 1), (1e5, 5), (1e9, 16)])
def test_seats_grow_with_the_speed(mflop_per_s: float | None, tiles: int) -> None:
    """Where several tiles travel in a call, that many more are on their way."""
    facts = replace(NearestEngine().facts(), mflop_per_s=mflop_per_s)
    assert NEAREST.max_tile_px * NEAREST.mflop_per_px == 1024
    assert most_tiles_per_call(facts) == tiles
