"""How many tiles travel in one call to a replica."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

CALL_S = 0.005
"""What one call costs beside computing: Ray Serve's own median is 1.6 ms, and tiles of half a megabyte add as much."""

MOST_SHARE = 0.1
"""The largest share of a call's time that its own cost may be."""

MOST_TILES = 16
"""Tiles of one call. All of them are computed again if the replica is lost."""


def tiles_per_call(tile_s: float | None) -> int:
    """Return how many tiles travel in one call, so that calls cost no more than ``MOST_SHARE`` of the computing.

    Args:
        tile_s: measured seconds that a replica takes for one tile; None before the first.

    Returns:
        One for every slow device, and up to ``MOST_TILES`` for a fast one.
    """
    if tile_s is None:
        return 1
    if tile_s <= 0:
        return MOST_TILES
    return max(1, min(MOST_TILES, math.ceil(CALL_S / MOST_SHARE / tile_s)))


def calls_of(most: Sequence[int], *, free_calls: int) -> Iterator[slice]:
    """Yield the tiles of each call, for tiles that come at the same time.

    A few tiles are spread over all replicas, so that each of them computes a part of one picture.

    Args:
        most: for each tile, how many may travel with it; see ``tiles_per_call``.
        free_calls: calls that the replicas take now.
    """
    share = math.ceil(len(most) / max(1, free_calls))
    start = 0
    while start < len(most):
        stop = start + 1
        while stop < len(most) and stop - start < min(share, *most[start : stop + 1]):
            stop += 1
        yield slice(start, stop)
        start = stop
