"""Prometheus metrics that gateway and model server have in common: a registry, its buckets, and its text."""

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
"""Bounds of histograms in seconds, from a small tile or a cached picture to the largest picture on a slow machine."""

_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def new_registry() -> CollectorRegistry:
    """The registry of one server, with the metrics of its process: memory, processor time and descriptors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Build())
    return registry


class _Build(Collector):
    """The versions of this program and of its parts."""

    def collect(self) -> Iterator[Metric]:
        """One gauge, whose labels are the versions."""
        labels = _versions()
        build = GaugeMetricFamily(
            "enlarger_build_info",
            "Always 1: the versions of enlarger, and of what it runs on.",
            labels=list(labels),
        )
        build.add_metric(list(labels.values()), 1)
        yield build

    def describe(self) -> list[Metric]:
        """Nothing, so that versions are looked up for the first scrape, and not at the start."""
        return []


@cache
def _versions() -> dict[str, str]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "openvino": version("openvino"),
    }


def exposition(registry: CollectorRegistry) -> Response:
    """The answer with all metrics of a registry, in the text format of Prometheus."""
    return Response(generate_latest(registry), content_type=_MEDIA_TYPE)
