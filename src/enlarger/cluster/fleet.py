"""The replicas of a Ray cluster as one engine for a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from functools import partial

import ray
import structlog
from ray import serve
from ray.serve.exceptions import BackPressureError, RayServeException

from enlarger.cluster.answers import TileAnswer
from enlarger.cluster.calls import Calls
from enlarger.cluster.connection import connected
from enlarger.cluster.deployment import PREFIX, local_config, run
from enlarger.cluster.replicas import Cluster, Deployment
from enlarger.cluster.reports import ReplicaReport
from enlarger.cluster.shared import shared_reports
from enlarger.config import Settings
from enlarger.engine.tile import TileRequest
from enlarger.errors import BackendAway, Busy, EngineLost
from enlarger.reasons import reason_of

log = structlog.get_logger()

_REPORTS_TIMEOUT_S = 5
"""Seconds in which the reports must be there; the actor that has them may just be starting on another node."""

_BUSY_S = 0.1


class RayFleet:
    """Connects to a Ray cluster when it is entered, or starts one on this machine, and leaves it at the end.

    Args:
        settings: all of them; the cluster's address, and replicas and threads where one is started.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Cluster:
        async with AsyncExitStack() as stack:
            # Ray's own connection belongs to one thread from its begin to its end.
            thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
            stack.callback(thread.shutdown, wait=False)
            loop = asyncio.get_running_loop()
            connection = self._connection()
            names = await loop.run_in_executor(thread, connection.__enter__)
            stack.push_async_callback(
                partial(loop.run_in_executor, thread, connection.__exit__, None, None, None)
            )
            deployments = [
                Deployment(name.removeprefix(PREFIX), Calls(partial(_send, name))) for name in names
            ]
            cluster = await stack.enter_async_context(Cluster(deployments, read=_read_reports))
            self._stack = stack.pop_all()
        return cluster

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @contextmanager
    def _connection(self):  # type: ignore[no-untyped-def]
        """Be connected as long as this lasts; yields the names of the applications."""
        pool = self._settings.pool
        address = pool.ray_address
        with connected(address, cpus=pool.server_count * pool.threads_per_server):
            if address is None:
                run(local_config(self._settings))
            names = [name for name in serve.status().applications if name.startswith(PREFIX)]
            if not names:
                raise BackendAway(
                    f"ENLARGER_RAY_ADDRESS: the Ray cluster at {address} has no models deployed; "
                    "run `enlarger ray deploy` first"
                )
            log.info("ray_connected", address=address or "started here", applications=names)
            yield sorted(names)


async def _send(
    application: str, requests: Sequence[TileRequest], call_id: str
) -> Sequence[TileAnswer]:
    """Send tiles to one replica of an application; see ``calls.Send``."""
    try:
        response = serve.get_app_handle(application).enlarge.remote(list(requests), call_id)
    except RayServeException as error:
        raise EngineLost(f"the Ray cluster takes no tiles: {reason_of(error)}") from error
    try:
        answers: Sequence[TileAnswer] = await response
    except asyncio.CancelledError:
        response.cancel()
        raise
    except BackPressureError as error:
        raise Busy("all replicas are busy", retry_after_s=_BUSY_S) from error
    except (ray.exceptions.RayError, RayServeException) as error:
        raise EngineLost("a replica went away under a tile") from error
    return answers


async def _read_reports() -> Sequence[ReplicaReport] | None:
    """Return the reports of all replicas; None while the actor that has them cannot be reached."""
    try:
        async with asyncio.timeout(_REPORTS_TIMEOUT_S):
            reports: Sequence[ReplicaReport] = await shared_reports().all.remote()
    except (ray.exceptions.RayError, TimeoutError):
        return None
    return reports
