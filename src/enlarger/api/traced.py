"""A span around a request, for routes that do work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from quart import Response, g, request

from enlarger import tracing


def traced(view: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """``view``, with a span around it that takes up the caller's trace."""

    @wraps(view)
    async def with_span(**parts: str) -> Response:
        name = f"{request.method} {request.url_rule or request.path}"
        with tracing.span(name, caller=request.headers, request_id=g.request_id):
            return await view(**parts)

    return with_span
