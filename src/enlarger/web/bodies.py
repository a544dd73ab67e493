"""Request bodies under a limit, counted as they come.

Quart's ``MAX_CONTENT_LENGTH`` does not bound chunked bodies: they are buffered, whole, before it looks. So
this ASGI layer takes the body first, stops at the limit, and hands the application what fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Refusal = Callable[[Scope, int], tuple[int, list[tuple[bytes, bytes]], bytes]]
"""From the scope and 400 or 408 to a whole answer: status, headers, body."""

BODY_TIMEOUT_S = 60

TOO_LARGE = 413
TOO_SLOW = 408


class LimitedBodies:
    """An ASGI application behind a limit on request bodies.

    Args:
        app: what gets the request, with its body already there.
        limit_bytes: longest body.
        refuse: makes the answer to a body that is ``TOO_LARGE`` or ``TOO_SLOW``.
        timeout_s: seconds in which a body must have come.
    """

    def __init__(
        self, app: AsgiApp, *, limit_bytes: int, refuse: Refusal, timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._refuse = refuse
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._declares_too_much(scope):
            await self._answer(scope, send, TOO_LARGE)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return  # the client is gone
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._limit_bytes:
                        break
        except TimeoutError:
            await self._answer(scope, send, TOO_SLOW)
            return
        if len(body) > self._limit_bytes:
            await self._answer(scope, send, TOO_LARGE)
            return
        await self._app(scope, _replay(bytes(body), receive), send)

    def _declares_too_much(self, scope: Scope) -> bool:
        limit = str(self._limit_bytes).encode()
        for name, value in scope["headers"]:
            if name.lower() == b"content-length" and value.isdigit():
                digits = value.lstrip(b"0")
                # As text: Python refuses to read a number of thousands of digits.
                return (len(digits), digits) > (len(limit), limit)
        return False

    async def _answer(self, scope: Scope, send: Send, status: int) -> None:
        status, headers, body = self._refuse(scope, status)
        headers = [
            *headers,
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever else comes: the client going away."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Any:
        return messages.pop() if messages else await receive()

    return replayed
