"""Tiles that tests send to a model server."""

from __future__ import annotations

from typing import Any

from enlarger.geometry.rect import Pixels
from support.fakes import nearest
from support.model_servers import Answer, RunningServer
from support.pictures import noise

TILE = noise(8, 10, 3)
HEADERS = {
    "Content-Type": "application/octet-stream",
    "Tile-Shape": "8,10,3",
    "Tile-Dtype": "uint8",
    "Tile-Model": "nearest",
    "Tile-Deadline-Ms": "30000",
}
"""What every tile must say, here for ``TILE``."""


async def posted(server: RunningServer, pixels: Pixels = TILE, **headers: str | None) -> Answer:
    """A tile sent to ``server``; ``headers`` (``tile_shape="..."``) replace the usual ones, None leaves one out."""
    given = {name.replace("_", "-").title(): value for name, value in headers.items()}
    sent = {name: value for name, value in (HEADERS | given).items() if value is not None}
    return await server.ask("POST", "/tiles", sent, pixels.tobytes())


async def assert_works(server: RunningServer) -> None:
    """The server enlarges a tile, and holds no other."""
    answer = await posted(server)
    assert answer.status == 200
    assert answer.body == nearest(TILE, 4).tobytes()
    assert (await server.ask("GET", "/ready")).json()["in_flight"] == 0


TOKEN = "a token of a test"
LIMIT_BYTES = 1024 * 6
"""A tile of the largest size, in samples of two bytes."""


def above_debug(entries: list[Any]) -> list[Any]:
    """Return the entries that are logged by default, without one for each request."""
    return [entry for entry in entries if entry["log_level"] != "debug"]
