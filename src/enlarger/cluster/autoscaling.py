"""How many replicas the tiles in progress call for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

METRIC = "tiles_in_flight"
"""The number that each replica records for this policy."""


def replicas_for_tiles(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return how many replicas would have ``target_ongoing_requests`` tiles each, and no state.

    Ray Serve's own policy counts calls. On a fast device one call has several tiles (``batching``), so a replica that is
    full would count as nearly idle. Ray Serve applies the delays and the bounds of the config to what this returns
    (``policy`` in its ``AutoscalingConfig``).
    """
    tiles = sum((context.aggregated_metrics or {}).get(METRIC, {}).values())
    # Calls that found every replica full wait in the gateways. Each has one tile at least.
    wanted = tiles + context.total_queued_requests
    return wanted / context.config.get_target_ongoing_requests(), {}
