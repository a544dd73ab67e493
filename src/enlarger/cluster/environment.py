"""Variables of Ray that have another default here. Ray reads them when it is imported, so this module does not."""

from __future__ import annotations

import secrets

from enlarger.config.environment import set_defaults

DEFAULTS = {
    # A caller without the token may not use the cluster: whoever may can run any code on it.
    "RAY_AUTH_MODE": "token",
    # Nothing phones home.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's own guard ends its largest process when any other program needs memory.
    "RAY_memory_monitor_refresh_ms": "0",
    # Its default, 0.1 s, is a warning for each busy replica: calls compute for seconds.
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "1",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "5",
}
"""A variable that is set already keeps its value."""


def prepare(address: str | None) -> None:
    """Set these variables for this process and those that it starts, before Ray is imported.

    Args:
        address: the cluster to connect to; None for one that is started here, which then has a token of its own.
    """
    set_defaults(DEFAULTS)
    if address is None:
        set_defaults({"RAY_AUTH_TOKEN": secrets.token_hex(32)})
