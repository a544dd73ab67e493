"""What the metrics of gateway and model server have in common."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from quart import Response

BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
"""From a small tile, or a picture that is found again, to the largest picture on a slow machine."""

_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def new_registry() -> CollectorRegistry:
    """Metrics of one server, those of its process among them: memory, processor time and descriptors."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> Response:
    """All of them as Prometheus reads them."""
    return Response(generate_latest(registry), content_type=_MEDIA_TYPE)
