"""Answers that pages of other origins may read: CORS, as the Fetch standard has it.

The layer stands around those that refuse requests, so that refusals carry its headers as well. Without them a page
would see nothing but a network error.
"""

from __future__ import annotations

from collections.abc import Sequence

from enlarger.asgi.messages import AsgiApp, Receive, Scope, Send
from enlarger.asgi.request_ids import HEADER, id_of

ANY = "*"

_METHODS = "GET, HEAD, POST, DELETE"
_MAX_AGE_S = 600
"""Seconds for which browsers remember a preflight."""

Headers = list[tuple[bytes, bytes]]


class Cors:
    """An ASGI application whose answers pages of other origins may read.

    Credentials that a browser adds by itself, such as cookies, are never allowed: a page has a key, or a signed link.

    Args:
        app: the application.
        origins: the origins of these pages, as browsers write them, or ``ANY`` alone.
        sent: headers that pages may send.
        exposed: headers of answers that pages may read, besides those that every page may.
    """

    def __init__(
        self, app: AsgiApp, origins: Sequence[str], *, sent: Sequence[str], exposed: Sequence[str]
    ) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._exposed = [(b"access-control-expose-headers", ", ".join(exposed).encode())]
        self._allowed = [
            (b"access-control-allow-methods", _METHODS.encode()),
            (b"access-control-allow-headers", ", ".join(sent).encode()),
            (b"access-control-max-age", str(_MAX_AGE_S).encode()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Preflights, which browsers send without a key, are answered here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = {name.lower(): value for name, value in scope["headers"]}
        origin = request.get(b"origin")
        if scope["method"] == "OPTIONS" and origin and b"access-control-request-method" in request:
            id_ = (HEADER.lower().encode(), id_of(scope).encode())
            headers = [id_, *self._headers(origin, self._allowed)]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return

        async def with_headers(message: Scope) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *self._headers(origin, self._exposed)]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers)

    def _headers(self, origin: bytes | None, more: Headers) -> Headers:
        """Headers that let a page read an answer. Other origins get ``Vary`` alone, for caches."""
        if ANY.encode() in self._origins:
            return [(b"access-control-allow-origin", b"*"), *more]
        varies = (b"vary", b"Origin")
        if origin is None or origin not in self._origins:
            return [varies]
        return [varies, (b"access-control-allow-origin", origin), *more]
