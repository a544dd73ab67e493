"""The transport over HTTP, for clients on this machine only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from enlarger.asgi.server import bind

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
"""The only address of the transport: whoever reaches it may use the folders."""

_NAMES = ("127.0.0.1", "localhost", "::1")
"""The names by which clients on this machine call it."""

_HTTP_PORT = 80
_CLOSE_S = 2


async def serve_http(server: MCPServer[Any], port: int, announce: Callable[[str], None]) -> None:
    """Serve until this is cancelled. Open connections then have two seconds to close.

    Args:
        server: the tools.
        port: the port, 0 for any free one.
        announce: called with the URL once the transport listens.

    Raises:
        ConfigError: nothing can listen on the port.
    """
    listener = bind(HOST, port, variable="--http")
    port = listener.getsockname()[1]
    settings = uvicorn.Config(
        OnlyFromHere(server.streamable_http_app(host=HOST), port),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=_CLOSE_S,
    )
    http = _Server(settings)
    announce(f"http://{HOST}:{port}/mcp")
    serving = asyncio.create_task(http.serve([listener]))
    try:
        await asyncio.shield(serving)
    finally:
        http.should_exit = True
        # Requests that do not end in time are cancelled, and uvicorn logs a traceback of each.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await asyncio.wait([serving])


class _Server(uvicorn.Server):
    """A server that leaves signals to the command. Uvicorn's own handlers end the process before it can clean up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class OnlyFromHere:
    """Refuses requests of web pages from other sites, and those of names that were made to point to this machine.

    The protocol's package compares the beginnings of both headers only.

    Args:
        app: serves the other requests.
        port: the port of the transport.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._origins = {("http", name, port) for name in _NAMES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it with 421 for its ``Host`` or 403 for its ``Origin``."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if _authority(f"http://{host}")[1] not in _NAMES:
                wrong = PlainTextResponse(
                    f"Invalid Host header: it must be one of {', '.join(_NAMES)}", 421
                )
                await wrong(scope, receive, send)
                return
            if origin is not None and _authority(origin) not in self._origins:
                wrong = PlainTextResponse(
                    "Invalid Origin header: web pages of other sites may not use this server", 403
                )
                await wrong(scope, receive, send)
                return
        with suppress(_ClientGoneError):
            await self._app(scope, _whole(receive), send)


class _ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


def _whole(receive: Receive) -> Receive:
    """Return a function that raises an error where a request ends before it is complete.

    Nothing can be done about that, and it is no fault of ours. The protocol's package would log a traceback.
    """
    is_complete = False

    async def received() -> Message:
        nonlocal is_complete
        message = await receive()
        if message["type"] == "http.request":
            is_complete = not message.get("more_body", False)
        elif message["type"] == "http.disconnect" and not is_complete:
            raise _ClientGoneError
        return message

    return received


def _authority(url: str) -> tuple[str, str | None, int]:
    """Return scheme, host and port of a URL that has nothing else; the host is None if it is not such a URL."""
    try:
        parts = urlsplit(url)
        port = _HTTP_PORT if parts.port is None else parts.port
    except ValueError:
        return "", None, 0
    is_plain = parts == SplitResult(parts.scheme, parts.netloc, "", "", "") and "@" not in url
    return parts.scheme, parts.hostname if is_plain else None, port
