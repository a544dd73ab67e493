"""The one actor of a cluster that has the reports of all replicas."""

from __future__ import annotations

from typing import Any

import ray

from enlarger.cluster.reports import Reports

NAMESPACE = "enlarger"
_NAME = "reports"

_ON_THE_HEAD = {"node:__internal_head__": 0.001}
"""Ray's own mark of the head node. Nothing works without that node, and any other may be lost."""


def shared_reports() -> Any:
    """Return the actor, which the first caller starts. It has the methods of ``Reports``.

    It outlives the gateways. If its process ends, Ray starts it again; the reports are there again a second later.
    """
    return (
        ray.remote(Reports)
        .options(
            name=_NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources=_ON_THE_HEAD,
            max_restarts=-1,
        )
        .remote()
    )
