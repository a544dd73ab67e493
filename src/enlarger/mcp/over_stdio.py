"""The transport over stdin and stdout, which can be ended while it waits for a message."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_STDIN = 0
_READ_BYTES = 1 << 16


async def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve until the client closes stdin. If this is cancelled, it ends at once."""
    with _stdin_that_ends() as end_stdin:
        serving = asyncio.create_task(server.run_stdio_async())
        try:
            await asyncio.shield(serving)
        finally:
            end_stdin()
            serving.cancel()
            await asyncio.wait([serving])


@contextmanager
def _stdin_that_ends() -> Iterator[Callable[[], None]]:
    """Put a socket in the place of stdin, and yield a function that ends this stdin for its reader.

    The transport waits for its thread that reads stdin, and no signal interrupts that thread. Here another thread
    reads the real stdin, for which nothing waits.
    """
    real = os.dup(_STDIN)
    ours, theirs = socket.socketpair()
    with theirs:
        os.dup2(theirs.fileno(), _STDIN)

    def copy() -> None:
        with suppress(OSError), ours:
            while part := os.read(real, _READ_BYTES):
                ours.sendall(part)

    def end() -> None:
        with suppress(OSError):  # the copying thread has closed it
            ours.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=copy, name="stdin", daemon=True).start()
    try:
        yield end
    finally:
        os.dup2(real, _STDIN)
