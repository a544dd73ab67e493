"""What runs on a cluster, for ``enlarger ray status``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.schema import ApplicationStatus

from enlarger.cluster.deployment import PREFIX
from enlarger.cluster.reports import ReplicaReport
from enlarger.cluster.shared import shared_reports

_POLL_S = 0.5

_REPORT_PATIENCE_S = 20
"""How long a replica that runs may take to report. It does so each second."""


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """One of our applications."""

    name: str
    state: str
    """As Ray Serve says it, in small letters, such as ``running``."""

    message: str
    """Why it does not run; empty if it does."""

    replicas: Sequence[ReplicaReport]


@dataclass(frozen=True, slots=True)
class ClusterState:
    """All of our applications."""

    applications: Sequence[ApplicationState]

    def as_json(self) -> dict[str, Any]:
        """Return the state under the names that ``--json`` documents."""
        return {
            "applications": [
                {
                    "name": application.name,
                    "state": application.state,
                    "message": application.message,
                    "replicas": [
                        {
                            "id": replica.replica,
                            "node": replica.node,
                            "device": replica.facts.device.id,
                            "engine": replica.facts.engine,
                            "tiles_in_flight": replica.facts.in_flight,
                            "capacity": replica.facts.capacity,
                            "tiles_done": replica.tiles_done,
                            "mflop_per_s": replica.facts.mflop_per_s,
                            "rss_bytes": replica.rss_bytes,
                        }
                        for replica in application.replicas
                    ],
                }
                for application in self.applications
            ]
        }


def cluster_state() -> ClusterState:
    """Return what runs on the cluster that this process is connected to."""
    reports = ray.get(shared_reports().all.remote())
    return ClusterState(
        [
            ApplicationState(
                name,
                one.status.value.lower(),
                one.message,
                [report for report in reports if f"{PREFIX}{report.deployment}" == name],
            )
            for name, one in sorted(serve.status().applications.items())
            if name.startswith(PREFIX)
        ]
    )


def wait_until_reported(names: Sequence[str]) -> None:
    """Wait until every replica that runs has reported once, so that ``cluster_state`` shows it, but not for long."""
    until = time.monotonic() + _REPORT_PATIENCE_S
    while time.monotonic() < until:
        applications = serve.status().applications
        running = {
            name: sum(
                count
                for deployment in applications[name].deployments.values()
                for replica_state, count in deployment.replica_states.items()
                if replica_state == "RUNNING"
            )
            for name in names
        }
        shown = {one.name: len(one.replicas) for one in cluster_state().applications}
        if all(shown.get(name, 0) >= count for name, count in running.items()):
            return
        time.sleep(_POLL_S)


def wait_until_running(names: Sequence[str], *, timeout_s: float) -> str | None:
    """Wait until applications run.

    Returns:
        None, or why they do not.
    """
    until = time.monotonic() + timeout_s
    while True:
        applications = serve.status().applications
        waiting = [name for name in names if applications[name].status != ApplicationStatus.RUNNING]
        if not waiting:
            return None
        first = applications[waiting[0]]
        if first.status == ApplicationStatus.DEPLOY_FAILED:
            return f"{waiting[0]} cannot be deployed: {first.message}"
        if time.monotonic() >= until:
            return f"{waiting[0]} does not run after {timeout_s:g} s: {first.message or first.status.value}"
        time.sleep(_POLL_S)
