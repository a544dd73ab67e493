"""Deployments of replicas as one ``Engines``: a pool computes over them, and each replica is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from enlarger.cluster.batching import tiles_per_call
from enlarger.cluster.calls import NO_FACTS, Calls
from enlarger.cluster.reports import ReplicaReport, ReportsReader, facts_together
from enlarger.engine.status import ServerStatus
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.pool.health import State
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness

_FRESH_S = 0.5
"""Deployments that are probed at the same time share one reading of the reports."""

_UNREAD_S = 15.0
"""While reports cannot be read, replicas are taken to be as they were, for so long."""

_MISSING_S = 2.0
"""A replica whose report is missing for so long is gone. Reports are gone for a moment when their actor starts again."""


@dataclass(eq=False, slots=True)
class Deployment:
    """Replicas of one kind."""

    name: str
    calls: Calls
    reports: Sequence[ReplicaReport] = ()
    """What its replicas last said."""

    _missing: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict)
    """Since when the report of a replica is missing, and the calls that it held, by its id."""

    def learn(self, reports: Sequence[ReplicaReport], now: float) -> None:
        """Take note of new reports, and give up the calls of replicas that are gone."""
        here = {report.replica for report in reports}
        for before in self.reports:
            if before.replica not in here:
                self._missing.setdefault(before.replica, (now, before.calls))
        for replica, (since, calls) in list(self._missing.items()):
            if replica in here:
                del self._missing[replica]
            elif now - since >= _MISSING_S:
                del self._missing[replica]
                self.calls.lose(calls)
        self.reports = reports


@dataclass(eq=False)
class Cluster:
    """Deployments as one engine; see ``Engines``.

    Args:
        deployments: replicas of each kind.
        read: reads the reports of all replicas.
    """

    deployments: Sequence[Deployment]
    read: ReportsReader
    _read_at: float = -float("inf")
    _known_at: float = -float("inf")
    _reports: Sequence[ReplicaReport] = ()
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self._members = [
            Member(one.name, one.calls, probe=_Probe(self, one)) for one in self.deployments
        ]
        self._pool = Pool(self._members)

    async def __aenter__(self) -> Cluster:
        await self._stack.enter_async_context(self._pool)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def __repr__(self) -> str:
        return f"<Cluster of {len(self.servers)} replicas over {self._pool!r}>"

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Have a replica upscale a tile, and another one if that is lost; see ``Pool.enlarge``."""
        return await self._pool.enlarge(request)

    def facts(self) -> EngineFacts:
        """Return what all replicas can do together; see ``Engine``."""
        return self._pool.facts()

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait until a replica has the model ready; see ``Engine``."""
        return await self._pool.ready_for(need)

    @property
    def states(self) -> Sequence[str]:
        """All states of a replica; see ``EngineStatus``."""
        return self._pool.states

    @property
    def servers(self) -> Sequence[ServerStatus]:
        """The replicas that live, and each deployment that has none; see ``EngineStatus``."""
        shown: list[ServerStatus] = []
        for member, deployment in zip(self._pool.servers, self.deployments, strict=True):
            if not deployment.reports:
                shown.append(member)
            for report in deployment.reports:
                facts = report.facts
                is_full = facts.in_flight >= facts.capacity
                shown.append(
                    replace(
                        member,
                        name=report.name,
                        shown_state="busy" if member.is_ready and is_full else member.shown_state,
                        tiles_in_flight=facts.in_flight,
                        tiles_done=report.tiles_done,
                        rss_bytes=report.rss_bytes,
                        facts=facts,
                    )
                )
        return shown

    @property
    def waiting(self) -> int:
        """Tiles that wait for a replica."""
        return self._pool.waiting

    async def started(self, *, patience_s: float) -> None:
        """Wait until a replica is ready, and ``patience_s`` at most for the other deployments."""
        await self._pool.started(patience_s=patience_s)

    async def reports(self) -> Sequence[ReplicaReport]:
        """Return the reports of all replicas, which are read again if they are not fresh."""
        async with self._reading:
            if time.monotonic() - self._read_at >= _FRESH_S:
                reports = await self.read()
                self._read_at = time.monotonic()
                if reports is not None:
                    self._reports, self._known_at = reports, self._read_at
                elif self._read_at - self._known_at >= _UNREAD_S:
                    self._reports = ()
            return self._reports


@dataclass(eq=False, slots=True)
class _Probe:
    """Asks how one deployment is."""

    cluster: Cluster
    deployment: Deployment

    async def __call__(self) -> Readiness:
        """Read the reports of its replicas. One without any is starting: Ray starts replicas again by itself."""
        deployment = self.deployment
        reports = [one for one in await self.cluster.reports() if one.deployment == deployment.name]
        deployment.learn(reports, time.monotonic())
        if not reports:
            deployment.calls.known = NO_FACTS
            return Readiness(State.STARTING, reason="it has no replica")
        facts = facts_together(reports)
        deployment.calls.at_once = facts.capacity
        facts = replace(facts, capacity=facts.capacity * most_tiles_per_call(facts))
        deployment.calls.known = facts
        return Readiness(
            State.READY,
            facts,
            rss_bytes=sum(one.rss_bytes for one in reports),
            tiles_done=sum(one.tiles_done for one in reports),
        )


def most_tiles_per_call(facts: EngineFacts) -> int:
    """Return how many of the largest tiles of the cheapest model travel in one call."""
    if not facts.mflop_per_s or not facts.models:
        return 1
    mflop = min(model.mflop_per_px * model.max_tile_px for model in facts.models)
    return tiles_per_call(mflop / facts.mflop_per_s)
