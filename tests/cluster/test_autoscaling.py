"""The number of replicas follows the tiles in progress, however many of them travel in one call. It needs Ray."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.cluster,
    # Ray's own schemas have such fields.
    pytest.mark.filterwarnings(
        "ignore:Using extra keyword arguments on .Field.:DeprecationWarning"
    ),
]


def wanted(tiles: dict[str, float], *, calls: float, queued: float = 0) -> float:
    """Replicas that are wanted, with two tiles for each as the aim."""
    pytest.importorskip("ray")
    from ray.serve._private.common import DeploymentID, ReplicaID
    from ray.serve.config import AutoscalingConfig, AutoscalingContext

    from enlarger.cluster.autoscaling import METRIC, replicas_for_tiles

    deployment = DeploymentID(name="models", app_name="enlarger-cpu")
    recorded = {ReplicaID(name, deployment_id=deployment): many for name, many in tiles.items()}
    context = AutoscalingContext(
        deployment_id=deployment,
        deployment_name="models",
        app_name="enlarger-cpu",
        current_num_replicas=len(tiles),
        target_num_replicas=len(tiles),
        running_replicas=list(recorded),
        total_num_requests=calls + queued,
        total_queued_requests=queued,
        aggregated_metrics={METRIC: recorded} if recorded else {},
        raw_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=8,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=AutoscalingConfig(min_replicas=1, max_replicas=8, target_ongoing_requests=2),
    )
    many, state = replicas_for_tiles(context)
    assert state == {}
    return many


def test_full_replica_calls_for_another_also_where_its_tiles_came_in_one_call() -> None:
    """Four tiles are twice the aim, in four calls or in one."""
    assert wanted({"a": 4}, calls=4) == wanted({"a": 4}, calls=1) == 2


def test_idle_replicas_are_given_back() -> None:
    """Two tiles on three replicas need one; none need none, and the bounds of the config hold then."""
    assert wanted({"a": 2, "b": 0, "c": 0}, calls=2) == 1
    assert wanted({"a": 0, "b": 0}, calls=0) == 0


def test_calls_that_wait_in_the_gateways_count() -> None:
    """They have a tile at least, also before any replica has recorded something."""
    assert wanted({"a": 4}, calls=1, queued=2) == 3
    assert wanted({}, calls=0, queued=2) == 1
