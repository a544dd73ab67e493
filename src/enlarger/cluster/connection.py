"""The connection of this process to a Ray cluster, which it may start itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from enlarger.cluster.shared import NAMESPACE
from enlarger.errors import BackendAway, ConfigError
from enlarger.reasons import reason_of


@contextmanager
def connected(address: str | None, *, cpus: float | None = None) -> Iterator[None]:
    """Be connected to a cluster as long as this lasts. It blocks for seconds.

    ``prepare`` must have set its variables before.

    Args:
        address: ``host:port`` of the cluster's head, or ``auto`` for the one that runs on this machine; None starts
            one, which ends with this.
        cpus: logical CPUs of a cluster that is started.

    Raises:
        BackendAway: there is no cluster at the address.
        ConfigError: the cluster refuses this process.
    """
    # Ray and Ray Serve would write lines of their own among ours.
    for logger in ("ray", "ray.serve"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    options: dict[str, Any] = (
        {"num_cpus": cpus, "include_dashboard": False} if address is None else {}
    )
    try:
        ray.init(
            address="local" if address is None else address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
            **options,
        )
    except (ConnectionError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        if _is_of_the_token(error):
            raise ConfigError(
                f"RAY_AUTH_TOKEN: the Ray cluster at {address} refuses it; set the token of the cluster, which `ray "
                "get-auth-token` prints on its head"
            ) from error
        raise BackendAway(
            f"ENLARGER_RAY_ADDRESS: no Ray cluster answers at {address}: {reason_of(error)}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _is_of_the_token(error: BaseException | None) -> bool:
    """Whether the cluster refused the token. Ray has that in a cause, or in the text of one."""
    while error is not None:
        if isinstance(error, ray.exceptions.AuthenticationError) or "InvalidAuthToken" in str(
            error
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
