"""Heads of HTTP/1 requests under a limit, and answers to those that cannot be read.

h11 compares with its limit only what is left over when a packet has been read: the same head passes or fails as its
packets fall. And Hypercorn answers what h11 refuses without a body, closes at once, and has no setting for either. So
this module puts a protocol of its own in the place of Hypercorn's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11
import hypercorn.protocol
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol

from enlarger.asgi.messages import LINGER_S, Answer, AsgiApp, Receive, Scope, Send

LIMIT_BYTES = 16_384
"""The longest head: the request line and all headers, the empty line behind them included."""

TOO_LONG = 431

HeadRefusal = Callable[[int], Answer]
"""Makes the answer to a request that could not be read, from 400, 431 or another status."""

_END = re.compile(rb"\n\r?\n")


def plain_refusal(status: int) -> Answer:
    """An answer without a body."""
    return status, [], b""


class HeadConfig(Config):
    """Hypercorn's settings, with the answer to a head that is refused."""

    h11_max_incomplete_size = LIMIT_BYTES
    refuse_head: HeadRefusal = staticmethod(plain_refusal)
    linger_s = LINGER_S


class _LimitedConnection(h11.Connection):
    """The connection of h11, with a limit that holds for whole heads, too."""

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            head, _ = self.trailing_data
            end = _END.search(head)
            if (end.end() if end else len(head)) > LIMIT_BYTES:
                raise h11.RemoteProtocolError("the head is too long", error_status_hint=TOO_LONG)
        return super().next_event()


class LimitedHeads(H11Protocol):
    """Hypercorn's protocol, with refusals that are whole answers and reach the client."""

    config: HeadConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection = _LimitedConnection(h11.SERVER, max_incomplete_event_size=LIMIT_BYTES)
        self._send_now = self.send
        self.send = self._send
        self._has_refused = False
        self._peer_left = asyncio.Event()

    async def handle(self, event: Event) -> None:
        """Handle what arrives on the connection. After a refusal it is dropped."""
        if isinstance(event, Closed):
            self._peer_left.set()
        if not (self._has_refused and isinstance(event, RawData)):
            await super().handle(event)

    async def _send(self, event: Event) -> None:
        if isinstance(event, Closed) and self._has_refused and not self._peer_left.is_set():
            # Closed with bytes unread, the connection would be reset, and the answer lost with it.
            self.task_group.spawn(self._close_later)
        else:
            await self._send_now(event)

    async def _close_later(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.linger_s):
                await self._peer_left.wait()
        await self._send_now(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        self._has_refused = True
        status, headers, body = self.config.refuse_head(status_code)
        length = (b"content-length", str(len(body)).encode())
        fields = [*headers, length, (b"connection", b"close"), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status, headers=fields))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Http2Heads:
    """ASGI middleware: the same limit for requests of HTTP/2, whose heads come unpacked and whole.

    Args:
        app: the application for all other requests.
        refuse: makes the answer to a head that is too long.
    """

    def __init__(self, app: AsgiApp, refuse: HeadRefusal) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if (
            scope["type"] == "http"
            and scope["http_version"] == "2"
            and _bytes_of(scope) > LIMIT_BYTES
        ):
            status, headers, body = self._refuse(TOO_LONG)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await self._app(scope, receive, send)


def _bytes_of(scope: Scope) -> int:
    """The head as HTTP/1 would write it."""
    line = len(f"{scope['method']} ? HTTP/1.1\r\n") + len(scope["query_string"])
    fields = sum(len(name) + len(value) + len(b": \r\n") for name, value in scope["headers"])
    return line + len(scope["raw_path"]) + fields + len(b"\r\n")


def install() -> None:
    """Make Hypercorn use this protocol for each connection. A second call changes nothing."""
    vars(hypercorn.protocol)["H11Protocol"] = LimitedHeads
