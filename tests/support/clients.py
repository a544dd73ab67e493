"""How tests call the Python clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from enlarger import AsyncClient, Client

Ask = Callable[..., Awaitable[Any]]
"""Makes one call at a server's address, by either client; options are the client's."""


async def awaited(url: str, call: Callable[[Any], Any], **options: Any) -> Any:
    """Make a call by the client that awaits."""
    async with AsyncClient(url, **options) as client:
        return await call(client)


async def waited(url: str, call: Callable[[Any], Any], **options: Any) -> Any:
    """Make a call by the client that blocks, on a thread."""

    def work() -> Any:
        with Client(url, **options) as client:
            return call(client)

    return await asyncio.to_thread(work)


BOTH = {"waiting": waited, "awaiting": awaited}
