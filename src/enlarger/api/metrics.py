"""The metrics of the gateway: counted when requests end, or read from its parts at each scrape."""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Response

from enlarger.asgi.metrics import BUCKETS_S, exposition, new_registry
from enlarger.engine.status import EngineStatus
from enlarger.jobs.job import State as JobState
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline


class Metrics:
    """The metrics of ``GET /metrics``, in a registry of their own. Labels come from small sets: no ids, no URLs.

    Args:
        engines: the model servers.
        pipeline: the queue.
        folders: the folders of results and of jobs, by these words. Those in buckets are left out.
    """

    def __init__(
        self, engines: EngineStatus, pipeline: Pipeline, folders: Mapping[str, Path]
    ) -> None:
        self._folders = folders
        self._registry = new_registry()
        self._requests = Counter(
            "enlarger_requests",
            "Requests for a picture, by how they ended: miss, hit, coalesced, or the code of their error.",
            ["end"],
            registry=self._registry,
        )
        self._stages = Histogram(
            "enlarger_stage_seconds",
            "Seconds of finished requests in each stage, and in all.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._tiles = Counter(
            "enlarger_tiles",
            "Tiles of finished requests: computed, sent again, computed again, or found equal to another.",
            ["kind"],
            registry=self._registry,
        )
        self._jobs = Gauge(
            "enlarger_jobs",
            "Jobs that have not ended, by state.",
            ["state"],
            registry=self._registry,
        )
        self._disk = Gauge(
            "enlarger_disk_free_bytes",
            "Free space of the disk that each folder is on.",
            ["folder"],
            registry=self._registry,
        )
        self._registry.register(_Now(engines, pipeline))

    def done(self, outcome: Outcome) -> None:
        """Count a request that has its picture."""
        self._requests.labels(outcome.found).inc()
        for stage, took_s in outcome.stages_s.items():
            self._stages.labels(stage).observe(took_s)
        self._stages.labels("total").observe(outcome.took_s)
        if outcome.found == "miss":
            ran = outcome.ran
            self._tiles.labels("computed").inc(ran.tiles - ran.reused)
            self._tiles.labels("retried").inc(ran.retried)
            self._tiles.labels("repeated").inc(ran.repeated.total())
            self._tiles.labels("reused").inc(ran.reused)

    def failed(self, code: str) -> None:
        """Count a request that ended with an error."""
        self._requests.labels(code).inc()

    async def look_at_disks(self) -> None:
        """Measure the free space. A folder that is away keeps its last value: other alerts tell that."""
        for name, folder in self._folders.items():
            with contextlib.suppress(OSError):
                # In a thread, because a network folder may hang.
                usage = await asyncio.to_thread(shutil.disk_usage, folder)
                self._disk.labels(name).set(usage.free)

    def answer(self, jobs: Mapping[JobState, int]) -> Response:
        """The answer to Prometheus, with the number of jobs in each state."""
        unfinished: tuple[JobState, ...] = ("queued", "running")
        for state in unfinished:
            self._jobs.labels(state).set(jobs.get(state, math.nan))
        return exposition(self._registry)


class _Now(Collector):
    """The state of model servers and queue at the time of a scrape."""

    def __init__(self, engines: EngineStatus, pipeline: Pipeline) -> None:
        self._engines = engines
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        """Gauges and counts of the model servers and of the queue."""
        states, members = self._engines.states, self._engines.servers
        tally = Tally(member.state for member in members)
        numbered = [(str(number), member) for number, member in enumerate(members)]
        yield _gauge(
            ("servers", "Model servers, by state.", "state"),
            {(state,): tally[state] for state in states},
        )
        yield _gauge(
            (
                "server_state",
                "Of each model server 1 for the state that it is in, 0 for the others.",
                "server",
                "state",
            ),
            {(number, state): one.state == state for number, one in numbered for state in states},
        )
        yield _gauge(
            (
                "server_info",
                "Always 1: the name that each model server has in logs.",
                "server",
                "name",
            ),
            {(number, one.name): 1 for number, one in numbered},
        )
        yield _gauge(
            (
                "server_rss_bytes",
                "Memory that each model server holds, where it says so.",
                "server",
            ),
            {(number,): one.rss_bytes for number, one in numbered if one.rss_bytes is not None},
        )
        pipeline, load = self._pipeline, self._pipeline.load
        tiles_in_flight = sum(one.tiles_in_flight for one in members)
        for name, text, value in (
            ("tiles_in_flight", "Tiles at model servers.", tiles_in_flight),
            ("tiles_waiting", "Tiles that wait for a model server.", self._engines.waiting),
            ("queue_requests", "Requests admitted and unfinished.", load.requests),
            ("queue_pixels", "Pixels of their pictures.", pipeline.queued_px),
            ("queue_wait_seconds", "Estimated seconds until all of them are done.", load.wait_s),
            (
                "queue_held_bytes",
                "Memory counted for pixels of the pictures here.",
                pipeline.held_bytes,
            ),
        ):
            yield GaugeMetricFamily(f"enlarger_{name}", text, value)
        for name, text, attribute in (
            ("server_tiles", "Tiles that model servers made.", "tiles_done"),
            ("server_strikes", "Tiles that model servers failed.", "strikes"),
            (
                "server_ejections",
                "Times that a model server was left out for failing.",
                "ejections",
            ),
            (
                "server_restarts",
                "Times that a model server's process ended and another was started.",
                "restarts",
            ),
            (
                "server_switches",
                "Networks that model servers released to load others.",
                "switches",
            ),
        ):
            total = sum(getattr(one, attribute) for one in members)
            yield CounterMetricFamily(f"enlarger_{name}", text, total)


def _gauge(about: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    """A gauge with labels.

    Args:
        about: name, help text, and the names of the labels.
        values: by the values of the labels.
    """
    name, text, *labels = about
    gauge = GaugeMetricFamily(f"enlarger_{name}", text, labels=labels)
    for at, value in values.items():
        gauge.add_metric(at, value)
    return gauge
