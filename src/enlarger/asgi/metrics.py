"""What the metrics of gateway and model server have in common."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Response

from enlarger import __version__

BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
"""From a small tile, or a picture that is found again, to the largest picture on a slow machine."""

_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def new_registry() -> CollectorRegistry:
    """Metrics of one server, those of its process among them: memory, processor time and descriptors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Build())
    return registry


class _Build(Collector):
    """Which program this is."""

    def collect(self) -> Iterator[Metric]:
        """One gauge, whose labels say it."""
        labels = _versions()
        build = GaugeMetricFamily(
            "enlarger_build_info",
            "Always 1: the versions of enlarger, and of what it runs on.",
            labels=list(labels),
        )
        build.add_metric(list(labels.values()), 1)
        yield build

    def describe(self) -> list[Metric]:
        """Nothing, so that a server looks for its versions when it is asked, and not when it starts."""
        return []


@cache
def _versions() -> dict[str, str]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "openvino": version("openvino"),
    }


def exposition(registry: CollectorRegistry) -> Response:
    """All of them as Prometheus reads them."""
    return Response(generate_latest(registry), content_type=_MEDIA_TYPE)
