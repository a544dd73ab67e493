"""Geometry of tiles: how a picture is cut, and where each enlarged piece belongs.

Pure functions of plain values. The plan depends on the picture's size and the model alone, never on
how many model servers there are or live, so that the same picture gives the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""Rows, columns, channels of RGB: shape (H, W, 3), uint8 or uint16."""

WANTED_TILES = 5
"""A picture is cut into at least this many tiles, so that every model server of a usual set gets one."""

MAX_WORK_FACTOR = 1.35
"""...unless the halos would then make the network compute more than this many times the picture."""


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a tile, in LR pixels: the core [start, stop) inside the read part [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def read_px(self) -> int:
        """Length of the read part: core and halo."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class TileBox:
    """Where one tile is read from the picture and which part of it is kept."""

    rows: Span
    columns: Span

    @property
    def lr_px(self) -> int:
        """LR pixels the network sees, halo included."""
        return self.rows.read_px * self.columns.read_px

    def read(self, image: Pixels) -> Pixels:
        """The tile's pixels, halo included: a view of ``image``, shape (H, W, ...)."""
        return image[self.rows.first : self.rows.last, self.columns.first : self.columns.last]

    def paste(self, canvas: Pixels, enlarged: Pixels, scale: int) -> None:
        """Copy the enlarged tile's core to its place in ``canvas``, shape (H * scale, W * scale, ...)."""
        rows, columns = self.rows, self.columns
        top, left = (rows.start - rows.first) * scale, (columns.start - columns.first) * scale
        height, width = (rows.stop - rows.start) * scale, (columns.stop - columns.start) * scale
        canvas[
            rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale
        ] = enlarged[top : top + height, left : left + width]


def plan(width_px: int, height_px: int, *, halo_px: int, max_tile_px: int) -> list[TileBox]:
    """Cut a picture into tiles whose cores partition it.

    Among all grids whose tiles hold at most ``max_tile_px`` LR pixels, the one that computes least,
    given at least ``WANTED_TILES`` tiles. Where that many would cost more than ``MAX_WORK_FACTOR``
    times the picture, as many as that factor allows.

    Args:
        width_px: the picture's width, at least 1.
        height_px: the picture's height, at least 1.
        halo_px: context read around a core, at inner edges only: zero padding by the network's
            convolutions belongs at the picture's true borders.
        max_tile_px: LR pixels of one tile, halo included; at least ``(2 * halo_px + 1) ** 2``.

    Returns:
        Tiles in row order.
    """
    if width_px < 1 or height_px < 1 or max_tile_px < (2 * halo_px + 1) ** 2:
        raise ValueError(
            f"cannot cut {width_px}x{height_px} px, halo {halo_px}, tile {max_tile_px} px"
        )
    rows, columns = min(
        _grids(width_px, height_px, halo_px=halo_px, max_tile_px=max_tile_px),
        key=lambda grid: _preference(grid, width_px, height_px, halo_px),
    )
    return [
        TileBox(row, column)
        for row in _spans(height_px, rows, halo_px)
        for column in _spans(width_px, columns, halo_px)
    ]


def _grids(
    width_px: int, height_px: int, *, halo_px: int, max_tile_px: int
) -> Iterator[tuple[int, int]]:
    """(rows, columns) worth a look: for each number of columns the fewest rows that fit, and a few more."""
    for columns in range(1, width_px + 1):
        tallest_px = max_tile_px // _longest_read_px(width_px, columns, halo_px)
        fewest = next(
            (few for few in (1, 2) if _longest_read_px(height_px, few, halo_px) <= tallest_px), None
        )
        if fewest is None:
            if tallest_px <= 2 * halo_px:
                continue
            fewest = -(-height_px // (tallest_px - 2 * halo_px))
        for rows in range(fewest, min(fewest + WANTED_TILES, height_px + 1)):
            yield rows, columns


def _longest_read_px(length_px: int, parts: int, halo_px: int) -> int:
    """Length of the longest tile along an axis, halo included."""
    inner_edges = min(parts - 1, 2)
    return min(length_px, -(-length_px // parts) + inner_edges * halo_px)


def _preference(
    grid: tuple[int, int], width_px: int, height_px: int, halo_px: int
) -> tuple[float, ...]:
    """Smaller is better."""
    rows, columns = grid
    # Each inner edge is read twice, a halo deep on either side.
    computed = (width_px + 2 * halo_px * (columns - 1)) * (height_px + 2 * halo_px * (rows - 1))
    work_factor = computed / (width_px * height_px)
    tiles = rows * columns
    if work_factor > MAX_WORK_FACTOR and tiles > 1:
        return (2, work_factor, tiles)
    missing = max(0, WANTED_TILES - tiles)
    return (1 if missing else 0, missing, work_factor, tiles, rows)


def _spans(length_px: int, parts: int, halo_px: int) -> list[Span]:
    """Equal cores along one axis, differing by at most one pixel, with their halos."""
    cuts = [length_px * index // parts for index in range(parts + 1)]
    longest_core_px = -(-length_px // parts)
    spans = []
    for start, stop in pairwise(cuts):
        # A core that is one pixel short reads one pixel more, inwards, so that tiles of one kind have
        # one shape: the runtime prepares itself for each new shape.
        spare_px = longest_core_px - (stop - start)
        before, after = (spare_px, 0) if start > 0 else (0, spare_px)
        spans.append(
            Span(
                start,
                stop,
                max(0, start - halo_px - before),
                min(length_px, stop + halo_px + after),
            )
        )
    return spans
