"""Requests and clients for the tests of the client of a model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels
from enlarger.pool.health import State
from enlarger.pool.remote import RemoteEngine
from support.fakes import (
    NEAREST,
)
from support.model_servers import RunningServer, running
from support.pictures import noise

LONG_S = 100
"""A deadline that is never reached."""

TILE = noise(8, 10, 3)


def request(pixels: Pixels = TILE, *, left_s: float = LONG_S, **fields: Any) -> TileRequest:
    """A tile for ``NEAREST``."""
    tile = TileRequest(
        pixels=pixels,
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id="r-1",
    )
    return replace(tile, **fields)


@asynccontextmanager
async def client_of(
    engine: Engine, session: aiohttp.ClientSession, *, gateways: int = 8
) -> AsyncIterator[tuple[RemoteEngine, RunningServer]]:
    """A client that has probed its server, and the server, which runs ``engine``."""
    async with running(engine, gateways=gateways) as server:
        client = RemoteEngine(server.address, session)
        assert (await client.probe()).state is State.READY
        yield client, server
        await session.close()  # so that the server need not wait for its connections
