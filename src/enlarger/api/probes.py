"""The routes of those who run the service: ``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

from quart import Response
from typing_extensions import TypedDict

from enlarger.api.metrics import Metrics
from enlarger.asgi.server import Lifecycle
from enlarger.engine.status import EngineStatus, ready_count
from enlarger.errors import EnlargerError
from enlarger.jobs import Jobs
from enlarger.jobs.job import State

Reason = Literal["starting", "no_engine_ready", "draining"]
"""Why no picture can be enlarged now."""


class Alive(TypedDict):
    """The process answers."""

    alive: Literal[True]


class Ready(TypedDict):
    """Whether the gateway accepts work."""

    ready: bool
    reason: Reason | None
    servers_ready: int
    servers: int


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Tells orchestrators and Prometheus how the gateway is."""

    engines: EngineStatus
    service: Lifecycle
    jobs: Jobs
    shown: Metrics

    def reason(self) -> Reason | None:
        """Why the gateway takes no work now, or None."""
        if self.service.draining:
            return "draining"
        servers = self.engines.servers
        if any(server.is_ready for server in servers):
            return None
        return "starting" if any(server.may_return for server in servers) else "no_engine_ready"

    async def livez(self) -> Alive:
        """``GET /livez``: 200 while the event loop turns; if not, start it again."""
        return {"alive": True}

    async def readyz(self) -> tuple[Ready, int]:
        """``GET /readyz``: 200 while it takes work; if not, send it none."""
        reason = self.reason()
        return {
            "ready": reason is None,
            "reason": reason,
            "servers_ready": ready_count(self.engines),
            "servers": len(self.engines.servers),
        }, 503 if reason else 200

    async def metrics(self) -> Response:
        """``GET /metrics``, for Prometheus."""
        jobs: dict[State, int] = {}
        with contextlib.suppress(EnlargerError):  # the database is away; all else can be told
            jobs = await self.jobs.counts()
        await self.shown.look_at_disks()
        return self.shown.answer(jobs)
