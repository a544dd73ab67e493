"""What ``GET /metrics`` shows: counted as requests end, or read off the parts when somebody looks."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from enlarger.pipeline import Outcome, Pipeline
from enlarger.pool import Pool
from enlarger.pool.health import State

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
"""From a picture that is found again to the largest one on a slow machine."""


class Metrics:
    """The gateway's metrics, in a registry of their own. Labels come from small fixed sets: no ids, no URLs."""

    def __init__(self, pool: Pool, pipeline: Pipeline) -> None:
        self._registry = CollectorRegistry()
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
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._tiles = Counter(
            "enlarger_tiles",
            "Tiles of finished requests: computed, sent again, computed again, or found equal to another.",
            ["kind"],
            registry=self._registry,
        )
        self._registry.register(_Now(pool, pipeline))
        ProcessCollector(registry=self._registry)

    def done(self, outcome: Outcome) -> None:
        """A request has its picture."""
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
        """A request ended with an error."""
        self._requests.labels(code).inc()

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self._registry)


class _Now(Collector):
    """What the pool and the pipeline hold at the moment somebody looks."""

    def __init__(self, pool: Pool, pipeline: Pipeline) -> None:
        self._pool = pool
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        """Gauges and counts of the model servers and of the queue."""
        members = self._pool.members
        states = Tally(member.state for member in members)
        servers = GaugeMetricFamily(
            "enlarger_servers", "Model servers, by state.", labels=["state"]
        )
        for state in State:
            servers.add_metric([state.value], states[state])
        yield servers
        load = self._pipeline.load
        for name, text, value in (
            ("tiles_in_flight", "Tiles at model servers.", sum(one.in_flight for one in members)),
            ("queue_requests", "Requests admitted and unfinished.", load.requests),
            ("queue_pixels", "Pixels of their pictures.", self._pipeline.queued_px),
            ("queue_wait_seconds", "Estimated seconds until all of them are done.", load.wait_s),
        ):
            yield GaugeMetricFamily(f"enlarger_{name}", text, value)
        for name, text, value in (
            (
                "server_tiles",
                "Tiles that model servers made.",
                sum(one.tiles_done for one in members),
            ),
            (
                "server_strikes",
                "Tiles that model servers failed.",
                sum(one.strikes for one in members),
            ),
        ):
            yield CounterMetricFamily(f"enlarger_{name}", text, value)
