"""Connections that end as soon as their client has left, and are no more than this process can have.

Hypercorn keeps the timer of an idle connection when the client closes it, and closes its own side only when that timer
ends. One request per connection, fourteen times a second, then needs a thousand file descriptors. It accepts connections until
the system has no more files, which pictures in work need as well.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import hypercorn.asyncio.run
import structlog
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Event, Updated

from enlarger import open_files
from enlarger.repeated import Repeated

log = structlog.get_logger()

_HEAD_S = 0.1
"""Seconds for the request of a connection that is refused: closed with bytes unread, it would be reset, and the response lost."""

_ERROR = open_files.exhaustion()

_REFUSAL = (
    f"HTTP/1.1 {_ERROR.status} Service Unavailable\r\nconnection: close\r\nretry-after: {_ERROR.retry_after_s:.0f}\r\n"
    f"content-type: text/plain\r\ncontent-length: {len(str(_ERROR))}\r\n\r\n{_ERROR}"
).encode()

_refused = Repeated()


class Connection(TCPServer):
    """Hypercorn's connection, which is not idle but at its end once nothing more can be read from it."""

    _open = 0
    """Connections of all servers of this process, which share its files."""

    _can_read = True

    async def run(self) -> None:
        """Serve the connection to its end, or refuse it."""
        if Connection._open >= open_files.half():
            await self._refuse()
            return
        Connection._open += 1
        try:
            await super().run()
        finally:
            Connection._open -= 1

    async def protocol_send(self, event: Event) -> None:
        """Send bytes, close, or start and stop the timer; it no longer starts after the client has left."""
        if self._can_read or not isinstance(event, Updated):
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._can_read = False
        await self.idle_task.stop()

    async def _refuse(self) -> None:
        if (left_out := _refused.occurred()) is not None:
            log.warning("connections_refused", open=Connection._open, left_out=left_out)
        with suppress(OSError, TimeoutError):
            self.writer.write(_REFUSAL)
            async with asyncio.timeout(_HEAD_S):
                await self.reader.read(1)
        await self._close()


def install() -> None:
    """Make Hypercorn use these connections. A second call changes nothing."""
    vars(hypercorn.asyncio.run)["TCPServer"] = Connection
