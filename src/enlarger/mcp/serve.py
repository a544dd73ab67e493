"""The composition root of ``enlarger mcp``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from enlarger.errors import ConfigError
from enlarger.installation import install_command
from enlarger.mcp.folders import Folders
from enlarger.mcp.over_stdio import serve_stdio
from enlarger.mcp.place import Place
from enlarger.shell.workers import worker_here

if TYPE_CHECKING:
    from enlarger.config import Settings


async def serve(
    allowed: Sequence[Path],
    place: Callable[[], AbstractAsyncContextManager[Place]],
    *,
    http_port: int | None,
    announce: Callable[[str], None],
) -> int:
    """Serve tools until the client closes stdin or this is cancelled, and return the exit status, which is 0.

    Args:
        allowed: the folders that clients may use.
        place: makes the place where pictures are upscaled.
        http_port: the port of the HTTP transport, 0 for any free one. None: stdin and stdout are the transport.
        announce: called with the URL of the HTTP transport once it listens.

    Raises:
        ConfigError: the package ``mcp`` is not installed, or a folder, the port or a model cannot be used.
    """
    folders = Folders(allowed)
    try:
        import mcp  # noqa: F401 - it is optional
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"enlarger mcp: the package mcp is not installed: {install_command('mcp')}"
        ) from error
    from enlarger.mcp.tools import make_server

    async with place() as found:
        server = make_server(found, folders)
        if http_port is None:
            await serve_stdio(server)
        else:
            from enlarger.mcp.over_http import serve_http

            await serve_http(server, http_port, announce)
    return 0


@asynccontextmanager
async def here(settings: Settings, *, device: str) -> AsyncIterator[Place]:
    """Yield this process as the place."""
    from enlarger.mcp.here import Here

    async with worker_here(settings, device=device) as (worker, catalogue):
        with TemporaryDirectory(prefix="enlarger-mcp-") as folder:
            place = Here(worker, catalogue, Path(folder))
            try:
                yield place
            finally:
                await asyncio.shield(place.close())


@asynccontextmanager
async def at_server(url: str, api_key: str | None) -> AsyncIterator[Place]:
    """Yield a server as the place."""
    from enlarger.client import AsyncClient
    from enlarger.mcp.at_server import AtServer
    from enlarger.picture.sandbox.pool import Decoders
    from enlarger.shell.remote import RemoteWorker
    from enlarger.shell.sources import Reader

    async with AsyncClient(url, api_key=api_key) as client, Decoders(1) as decoders:
        yield AtServer(client, RemoteWorker(client, decoders, Reader(), is_watched=True))
