"""Answers that are streams of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from quart import Response

RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a browser reconnects when a stream breaks; the first lines of each stream."""

PING = b": ping\n\n"
"""A comment, which keeps a connection open."""

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",  # a proxy that packs them would keep them meanwhile
    "X-Accel-Buffering": "no",  # nginx, at its defaults, would keep events until it has 4 KB of them
}


def event(kind: str, data: Mapping[str, Any], id_: object = None) -> bytes:
    """One event as a stream has it, with an id if there is one."""
    named = "" if id_ is None else f"id: {id_}\n"
    return f"{named}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def event_stream(events: AsyncIterator[bytes]) -> Response:
    """The answer with these events, which may take as long as it wants."""
    answer = Response(events, headers=_HEADERS)
    answer.timeout = None
    return answer


def nothing_more() -> Response:
    """The answer to a client that has seen the last event: 204 tells a browser not to reconnect."""
    return Response(b"", status=204)
