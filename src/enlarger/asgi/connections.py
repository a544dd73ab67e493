"""Connections that end as soon as their client has left.

Hypercorn keeps the timer of an idle connection when the client closes it, and closes its own side only when that timer
ends. One request per connection, fourteen times a second, then needs a thousand file descriptors.
"""

from __future__ import annotations

import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Event, Updated


class Connection(TCPServer):
    """Hypercorn's connection, which is not idle but at its end once nothing more can be read from it."""

    _can_read = True

    async def protocol_send(self, event: Event) -> None:
        """Send bytes, close, or start and stop the timer; it no longer starts after the client has left."""
        if self._can_read or not isinstance(event, Updated):
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        await super()._read_data()
        self._can_read = False
        await self.idle_task.stop()


def install() -> None:
    """Make Hypercorn use these connections. A second call changes nothing."""
    vars(hypercorn.asyncio.run)["TCPServer"] = Connection
