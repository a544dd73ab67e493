"""Requests and clients for the tests of the client of a model server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels
from support.fakes import (
    NEAREST,
)
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
