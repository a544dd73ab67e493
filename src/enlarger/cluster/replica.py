"""One replica: the engine of its node behind a Ray Serve deployment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ray
import structlog
from ray import serve

from enlarger.asgi import logs
from enlarger.cluster.answers import TileAnswer, TileFault
from enlarger.cluster.autoscaling import METRIC
from enlarger.cluster.reports import INTERVAL_S, ReplicaReport
from enlarger.cluster.shared import shared_reports
from enlarger.config.observability import LogFormat, LogLevel
from enlarger.engine.factory import make_engine
from enlarger.engine.shelf import models_in, offer_those_in
from enlarger.engine.tile import TileRequest
from enlarger.errors import EngineFailed, EnlargerError
from enlarger.memory import rss_bytes
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

QUIET_S = 10.0
"""A replica that has computed a tile within this time has shown that it works, so its health check computes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """What a replica needs to know. Paths are those of its node."""

    deployment: str
    """Name of the application."""

    device: str
    """What computes, as ``ENLARGER_DEVICE`` names it."""

    threads: int
    """Compute threads."""

    calls_at_once: int
    """Calls that each gateway sends to the replica at once."""

    model_dir: str
    """Folder with models of your own."""

    cache_folder: str
    """Folder of compiled networks, and of copies of these models."""

    model_memory_mib: int
    """MiB that the networks in memory may take."""

    precision: str
    """The precision that ``auto`` stands for."""

    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"


class ModelReplica:
    """A replica. Ray Serve makes it, asks ``check_health``, and calls ``enlarge``.

    Args:
        settings: what it needs to know.

    Raises:
        EnlargerError: a model cannot be used, or does not make its golden picture.
    """

    # Ray Serve awaits the constructor, which mypy does not expect of one.
    async def __init__(self, settings: ReplicaSettings) -> None:  # type: ignore[misc]
        context = serve.get_replica_context()
        self._id = context.replica_id.unique_id
        self._settings = settings
        logs.configure(f"replica-{self._id}", level=settings.log_level, form=settings.log_format)
        cache_folder = Path(settings.cache_folder)
        # A model of one node that is broken must not take the node's replicas away.
        self._models = models_in(
            Path(settings.model_dir), copies_in=cache_folder / "models", is_checked=True
        )
        self._engine = make_engine(
            self._models.catalogue,
            device=settings.device,
            threads=settings.threads,
            precision=settings.precision,
            cache_folder=cache_folder,
            budget_bytes=settings.model_memory_mib << 20,
        )
        self._usual = self._models.catalogue.choose("auto", scale=4).id
        await self._engine.load(self._usual)
        self._following = asyncio.create_task(offer_those_in(self._models, self._engine.offer))
        self._checked_at = time.monotonic()
        self._in_flight = self._tiles_done = 0
        self._calls: set[str] = set()
        self._unreported = Repeated()
        self._reporting = asyncio.create_task(self._report_regularly())

    async def enlarge(self, requests: Sequence[TileRequest], call_id: str) -> list[TileAnswer]:
        """Upscale the tiles of one call. Each has an answer of its own, so that one fault does not cost the others."""
        self._in_flight += len(requests)
        self._calls.add(call_id)
        try:
            return await asyncio.gather(*map(self._answer, requests))
        finally:
            self._in_flight -= len(requests)
            self._calls.discard(call_id)

    async def _answer(self, request: TileRequest) -> TileAnswer:
        arrived = time.perf_counter()
        with structlog.contextvars.bound_contextvars(
            request_id=request.request_id,
            tile=f"{request.index + 1}/{request.total}",
            model=request.model,
        ):
            try:
                result = await self._engine.enlarge(request)
            except EnlargerError as error:
                return TileFault.of(error)
            except Exception as error:  # a fault of ours: the gateway must hear of it all the same
                log.exception("internal_error")
                return TileFault.of(EngineFailed(f"a replica failed: {reason_of(error)}"))
        self._tiles_done += 1
        self._checked_at = time.monotonic()
        queue_s = max(0.0, time.perf_counter() - arrived - result.infer_s)
        return replace(result, queue_s=queue_s, server=self._id)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the number of replicas follows; see ``autoscaling``. Ray Serve asks for it regularly."""
        return {METRIC: float(self._in_flight)}

    async def check_health(self) -> None:
        """Make the golden picture again, unless tiles have shown lately that the replica works.

        Raises:
            EnlargerError: it does not make its golden picture any more. Ray Serve then replaces it.
        """
        if self._in_flight or time.monotonic() - self._checked_at < QUIET_S:
            return
        await self._engine.check(self._usual)
        self._checked_at = time.monotonic()

    async def _report_regularly(self) -> None:
        """Report for ever. The reports' own node may be lost, and is then another one a moment later."""
        while True:
            try:
                await shared_reports().put.remote(self._report())
                self._unreported.over()
            except ray.exceptions.RayError as error:
                if (left_out := self._unreported.occurred()) is not None:
                    log.warning("report_failed", reason=reason_of(error), left_out=left_out)
            await asyncio.sleep(INTERVAL_S)

    def _report(self) -> ReplicaReport:
        facts = self._engine.facts()
        return ReplicaReport(
            replica=self._id,
            deployment=self._settings.deployment,
            node=f"{ray.get_runtime_context().get_node_id()[:8]}@{ray.util.get_node_ip_address()}",
            facts=replace(facts, capacity=self._settings.calls_at_once, in_flight=self._in_flight),
            calls=frozenset(self._calls),
            tiles_done=self._tiles_done,
            rss_bytes=rss_bytes(),
        )
