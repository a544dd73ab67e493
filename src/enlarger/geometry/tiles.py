"""Geometry of tiles: how a picture is cut, and where each enlarged piece belongs.

Pure functions of plain values. The plan depends on the picture's size and the model alone, never on
how many model servers there are or live, so that the same picture gives the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from enlarger.geometry.rect import Pixels, Rect

SERVERS = (1, 2, 3, 4, 5)
"""How many model servers share a picture, as far as a plan that must not know can tell."""

MAX_WORK_FACTOR = 1.235
"""The network computes no more than this many times the picture, where the largest tile allows."""

MAX_WORK_FACTOR_OF_TWO = 1.35
"""The same where a picture would be a single tile otherwise: two servers are done with it earlier than one."""


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a tile, in LR pixels: the core [start, stop) inside the read part [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    blend_px: int = 0
    """How far beyond its inner ends the core fades into its neighbours, who fade as far into it."""

    @property
    def before_px(self) -> int:
        """Of that before the core: nothing at the picture's border."""
        return min(self.blend_px, self.start - self.first)

    @property
    def after_px(self) -> int:
        """Of that after the core."""
        return min(self.blend_px, self.last - self.stop)

    @property
    def kept(self) -> tuple[int, int]:
        """What of the tile goes into the picture: the core, and what fades."""
        return self.start - self.before_px, self.stop + self.after_px

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
        return image[self.window.slices]

    @property
    def window(self) -> Rect:
        """What is read, halo included."""
        return Rect(self.columns.first, self.rows.first, self.columns.last, self.rows.last)

    @property
    def kept(self) -> Rect:
        """What goes into the picture: the core, and what fades."""
        (top, bottom), (left, right) = self.rows.kept, self.columns.kept
        return Rect(left, top, right, bottom)

    @property
    def kept_in_tile(self) -> Rect:
        """The same, counted from the corner of the read part."""
        return self.kept.within(self.window)

    def share(self, enlarged: Pixels, scale: int) -> Pixels:
        """What is kept, enlarged, as this tile's share of the picture: faded where a neighbour has a share too.

        Shares are whole numbers that add up, in any order; where two tiles agree on a sample, to exactly that.
        """
        if not self.rows.blend_px and not self.columns.blend_px:
            return enlarged
        share = enlarged.copy()
        for view, span in ((share, self.rows), (share.swapaxes(0, 1), self.columns)):
            if span.before_px:
                edge = view[: 2 * span.before_px * scale]
                edge[:] = _faded_in(edge)
            if span.after_px:
                edge = view[-2 * span.after_px * scale :]
                edge -= _faded_in(edge)
        return share

    def paste(self, canvas: Pixels, enlarged: Pixels, scale: int) -> None:
        """Add what is kept, enlarged, to ``canvas``, of zeros at first, (H * scale, W * scale, ...)."""
        canvas[self.kept.times(scale).slices] += self.share(enlarged, scale)


def _faded_in(edge: Pixels) -> Pixels:
    """Rows that count little at first and nearly all in the end, rounded to nearest."""
    weights = np.arange(1, 2 * len(edge), 2, dtype=np.uint32).reshape(-1, *[1] * (edge.ndim - 1))
    whole = 2 * len(edge)
    faded: Pixels = (edge * weights + len(edge)) // whole
    return faded.astype(edge.dtype)


BLEND_PX = 2
"""How far tiles fade into one another that are not exact at their borders."""


def plan(
    width_px: int, height_px: int, *, halo_px: int, max_tile_px: int, blend_px: int = 0
) -> list[TileBox]:
    """Cut a picture into tiles of one shape whose cores partition it.

    Among all grids whose tiles hold at most ``max_tile_px`` LR pixels and that compute at most
    ``MAX_WORK_FACTOR`` times the picture: one with a tile for each of ``SERVERS`` or as many as there can be, and
    of these the one that takes the least of their time, that in which they wait for the last tile included.
    Where that leaves a single tile, ``MAX_WORK_FACTOR_OF_TWO`` counts; where no grid is that cheap, the cheapest.

    Args:
        width_px: the picture's width, at least 1.
        height_px: the picture's height, at least 1.
        halo_px: context read around a core, at inner edges only: zero padding by the network's
            convolutions belongs at the picture's true borders.
        max_tile_px: LR pixels of one tile, halo included; at least ``(2 * halo_px + 1) ** 2``.
        blend_px: how far tiles fade into one another, where cores are at least twice as long; 0 where the
            halo makes them exact, which it does for cores alone.

    Returns:
        Tiles in row order.
    """
    if width_px < 1 or height_px < 1 or max_tile_px < (2 * halo_px + 1) ** 2:
        raise ValueError(
            f"cannot cut {width_px}x{height_px} px, halo {halo_px}, tile {max_tile_px} px"
        )
    grids = _Grids(width_px, height_px, halo_px, max_tile_px)
    chosen = min(grids.cheap(MAX_WORK_FACTOR), key=grids.preference, default=None)
    if chosen == (1, 1):
        chosen = min(grids.cheap(MAX_WORK_FACTOR_OF_TWO), key=grids.preference)
    rows, columns = chosen or min(grids.fewest(), key=grids.computed_px)
    return [
        TileBox(row, column)
        for row in _spans(height_px, rows, halo_px, blend_px)
        for column in _spans(width_px, columns, halo_px, blend_px)
    ]


def _most_parts(length_px: int, halo_px: int) -> int:
    """So many tiles along an axis still read less each than fewer tiles would."""
    return max(1, length_px - 2 * halo_px)


def _computed_px(length_px: int, parts: int, halo_px: int) -> int:
    """What all tiles along an axis read: each inner edge twice, a halo deep on either side."""
    return length_px + 2 * halo_px * (parts - 1)


def _read_px(length_px: int, parts: int, halo_px: int) -> int:
    """Length of each tile along an axis, halo included."""
    return -(-_computed_px(length_px, parts, halo_px) // parts)


@dataclass(frozen=True, slots=True)
class _Grids:
    """Ways to cut a picture, as (rows, columns)."""

    width_px: int
    height_px: int
    halo_px: int
    max_tile_px: int

    def fewest(self) -> Iterator[tuple[int, int]]:
        """For each number of columns the fewest rows whose tiles are small enough."""
        around_px = 2 * self.halo_px
        for columns in range(1, _most_parts(self.width_px, self.halo_px) + 1):
            tallest_px = self.max_tile_px // _read_px(self.width_px, columns, self.halo_px)
            if self.height_px <= tallest_px:
                yield 1, columns
            elif tallest_px > around_px:
                yield -(-(self.height_px - around_px) // (tallest_px - around_px)), columns

    def cheap(self, work_factor: float) -> Iterator[tuple[int, int]]:
        """Those that compute at most so many times the picture."""
        most_px = work_factor * self.width_px * self.height_px
        most_rows = _most_parts(self.height_px, self.halo_px)
        for fewest, columns in self.fewest():
            for rows in range(fewest, most_rows + 1):
                if self.computed_px((rows, columns)) > most_px:
                    break
                yield rows, columns
            if self.computed_px((1, columns)) > most_px:
                return

    def computed_px(self, grid: tuple[int, int]) -> int:
        """What the network computes, halos included."""
        rows, columns = grid
        return _computed_px(self.height_px, rows, self.halo_px) * _computed_px(
            self.width_px, columns, self.halo_px
        )

    def preference(self, grid: tuple[int, int]) -> tuple[float, ...]:
        """Smaller is better: first of all a tile for each server, then time."""
        return max(0, SERVERS[-1] - grid[0] * grid[1]), self.busy_px(grid)

    def busy_px(self, grid: tuple[int, int]) -> float:
        """Pixels that ``SERVERS`` could have computed until the last tile is done; smaller is better."""
        tiles = grid[0] * grid[1]
        rounds = sum(servers * -(-tiles // servers) for servers in SERVERS)
        return rounds * self.computed_px(grid) / tiles


def _spans(length_px: int, parts: int, halo_px: int, blend_px: int) -> list[Span]:
    """Tiles of one length along an axis, spread evenly; each core ends in the middle of an overlap."""
    read_px = _read_px(length_px, parts, halo_px)
    firsts = [(length_px - read_px) * index // max(1, parts - 1) for index in range(parts)]
    middles = [(first + read_px + following) // 2 for first, following in pairwise(firsts)]
    cores = list(pairwise([0, *middles, length_px]))
    # No pixel belongs to three tiles, and none to a tile that did not read it.
    blend_px = min(blend_px, halo_px, min(stop - start for start, stop in cores) // 2)
    return [
        Span(start, stop, first, first + read_px, blend_px)
        for first, (start, stop) in zip(firsts, cores, strict=True)
    ]
