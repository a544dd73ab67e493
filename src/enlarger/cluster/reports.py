"""What replicas say of themselves, and where they say it: any gateway of the cluster can read it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Protocol

from enlarger.cluster.calls import NO_FACTS
from enlarger.engine.tile import EngineFacts, ModelFacts, NetworkCounts, NetworkKey

INTERVAL_S = 1.0
"""Seconds between two reports of a replica."""

STALE_S = 5.0
"""A replica that is silent for so long is taken to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """What one replica says of itself."""

    replica: str
    """Its id in Ray Serve."""

    deployment: str
    """Name of the application that it belongs to."""

    node: str
    """Id of its node in Ray, shortened, and the node's address: ``3f5a81c0@10.0.0.7``."""

    facts: EngineFacts
    calls: frozenset[str] = frozenset()
    """Ids of the calls that it holds."""

    tiles_done: int
    rss_bytes: int

    @property
    def name(self) -> str:
        """Its name in logs, ``/status`` and metrics."""
        return f"{self.deployment}-{self.replica}"


@dataclass
class Reports:
    """The newest report of each replica. In a cluster this is an actor, which replicas and gateways share.

    Args:
        clock: seconds that never go backwards.
    """

    clock: Callable[[], float] = time.monotonic
    _newest: dict[str, tuple[float, ReplicaReport]] = field(default_factory=dict)

    def put(self, report: ReplicaReport) -> None:
        """Store a report, in the place of the replica's one before."""
        self._newest[report.replica] = (self.clock(), report)

    def all(self) -> list[ReplicaReport]:
        """Return the reports of the replicas that live, by name."""
        oldest = self.clock() - STALE_S
        self._newest = {key: one for key, one in self._newest.items() if one[0] >= oldest}
        return sorted((report for _, report in self._newest.values()), key=lambda one: one.name)


class ReportsReader(Protocol):
    """Reads the reports of a cluster."""

    async def __call__(self) -> Sequence[ReplicaReport] | None:
        """Return the reports of all replicas that live; None if they cannot be read now."""


def facts_together(reports: Sequence[ReplicaReport]) -> EngineFacts:
    """Return what replicas of one deployment can do together."""
    if not reports:
        return NO_FACTS
    speeds = [one.facts.mflop_per_s for one in reports if one.facts.mflop_per_s is not None]
    return EngineFacts(
        engine=reports[0].facts.engine,
        ready=True,
        models=_models_of(reports),
        capacity=sum(report.facts.capacity for report in reports),
        in_flight=sum(report.facts.in_flight for report in reports),
        mflop_per_s=fmean(speeds) if speeds else None,
        parallel=sum(report.facts.parallel for report in reports),
        devices=reports[0].facts.devices,
        networks=_networks_of(reports),
    )


def _models_of(reports: Sequence[ReplicaReport]) -> tuple[ModelFacts, ...]:
    """Return each model that a replica has. It counts as loaded where all replicas with it have loaded it."""
    having: dict[tuple[NetworkKey, int], list[ModelFacts]] = {}
    for report in reports:
        for model in report.facts.models:
            having.setdefault((model.network, model.scale), []).append(model)
    return tuple(
        replace(
            first,
            loaded=tuple(
                precision
                for precision in first.precisions
                if all(precision in (one.loaded or ()) for one in (first, *others))
            ),
        )
        if first.loaded is not None
        else first
        for first, *others in having.values()
    )


def _networks_of(reports: Sequence[ReplicaReport]) -> NetworkCounts | None:
    """Return the networks of all replicas; None if one of them does not say."""
    counts = [report.facts.networks for report in reports]
    known = [one for one in counts if one is not None]
    if len(known) < len(counts):
        return None
    return NetworkCounts(
        loaded=sum(one.loaded for one in known),
        held_bytes=sum(one.held_bytes for one in known),
        loads=sum(one.loads for one in known),
        switches=sum(one.switches for one in known),
    )
