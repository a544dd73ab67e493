"""One id per request, from the edge to the log of the model server."""

from __future__ import annotations

import re
import secrets

HEADER = "X-Request-Id"
_USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(given: str | None) -> str:
    """The caller's id if it can be used, else a new one."""
    return given if given is not None and _USABLE.fullmatch(given) else f"r-{secrets.token_hex(8)}"
