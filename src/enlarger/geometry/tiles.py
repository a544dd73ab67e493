"""Geometry of tiles: how a picture is cut, and where each upscaled piece belongs.

These are pure functions of plain values. The plan depends only on the picture's size and the model, never on the
number of model servers, so that the same picture has the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from enlarger.geometry.rect import Pixels, Rect

SERVERS = (1, 2, 3, 4, 5)
"""Numbers of model servers that a plan is made for, since it must not depend on the actual number."""

MAX_WORK_FACTOR = 1.235
"""The network computes at most this multiple of the picture, if the largest tile allows it."""

BLEND_PX = 2
"""Distance to which tiles fade into one another if their halo is shorter than the reach of the network."""

MAX_WORK_FACTOR_OF_TWO = 1.35
"""The limit for a picture that would otherwise be a single tile: two servers finish it earlier than one."""


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a tile, in LR pixels: the core [start, stop) inside the part read, [first, last)."""

    start: int
    stop: int
    first: int
    last: int

    blend_px: int = 0
    """Distance to which the core fades into its neighbours beyond its inner ends. They fade into it equally far."""

    @property
    def before_px(self) -> int:
        """Length of the fade before the core; 0 at the picture's border."""
        return min(self.blend_px, self.start - self.first)

    @property
    def after_px(self) -> int:
        """Length of the fade after the core; 0 at the picture's border."""
        return min(self.blend_px, self.last - self.stop)

    @property
    def kept(self) -> tuple[int, int]:
        """The part of the tile that goes into the picture: the core and its fades."""
        return self.start - self.before_px, self.stop + self.after_px

    @property
    def read_px(self) -> int:
        """Length of the part read: core and halo."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class TileBox:
    """Where a tile is read from the picture, and which part of its result is kept."""

    rows: Span
    columns: Span

    @property
    def lr_px(self) -> int:
        """Number of LR pixels that the network reads, halo included."""
        return self.rows.read_px * self.columns.read_px

    def read(self, image: Pixels) -> Pixels:
        """Return the tile's pixels, halo included: a view of ``image``, shape (H, W, ...)."""
        return image[self.window.slices]

    @property
    def window(self) -> Rect:
        """The part of the picture that is read, halo included."""
        return Rect(self.columns.first, self.rows.first, self.columns.last, self.rows.last)

    @property
    def kept(self) -> Rect:
        """The part that goes into the picture: the core and its fades."""
        (top, bottom), (left, right) = self.rows.kept, self.columns.kept
        return Rect(left, top, right, bottom)

    @property
    def kept_in_tile(self) -> Rect:
        """The kept part, relative to the corner of the part read."""
        return self.kept.within(self.window)

    def shares(self, enlarged: Pixels, scale: int) -> Iterator[tuple[Rect, Pixels, bool]]:
        """Yield this tile's contributions to the picture: its upscaled kept part, faded where neighbours overlap it.

        Contributions are integers that add up in any order. If two tiles agree on a sample, their sum is exactly that
        sample.

        Yields:
            A part of the picture in LR pixels; its upscaled contribution, which may be a view of ``enlarged``; and
            whether other tiles contribute to it as well. Where none does, the contribution is the result.
        """
        kept, rows, columns = self.kept, self.rows, self.columns
        alone = self._alone
        if alone.width_px > 0 and alone.height_px > 0:
            yield alone, alone.cut(enlarged, kept), False
        for part, (above, below), (before, after) in self._fades():
            share = part.cut(enlarged, kept).copy()
            _fade(share, above * rows.before_px * scale, below * rows.after_px * scale)
            across = share.swapaxes(0, 1)
            _fade(across, before * columns.before_px * scale, after * columns.after_px * scale)
            yield part, share, True

    @property
    def shared(self) -> tuple[Rect, ...]:
        """The parts that other tiles contribute to as well."""
        return tuple(part for part, _, _ in self._fades())

    @property
    def _alone(self) -> Rect:
        kept, rows, columns = self.kept, self.rows, self.columns
        return Rect(
            kept.left + 2 * columns.before_px,
            kept.top + 2 * rows.before_px,
            kept.right - 2 * columns.after_px,
            kept.bottom - 2 * rows.after_px,
        )

    def _fades(self) -> Iterator[tuple[Rect, tuple[int, int], tuple[int, int]]]:
        """Yield each shared part, and 1 where it fades: above and below, before and after."""
        kept, alone = self.kept, self._alone
        parts = (
            (Rect(kept.left, kept.top, kept.right, alone.top), (1, 0), (1, 1)),
            (Rect(kept.left, alone.bottom, kept.right, kept.bottom), (0, 1), (1, 1)),
            (Rect(kept.left, alone.top, alone.left, alone.bottom), (0, 0), (1, 0)),
            (Rect(alone.right, alone.top, kept.right, alone.bottom), (0, 0), (0, 1)),
        )
        return (fade for fade in parts if fade[0].width_px > 0 and fade[0].height_px > 0)

    def paste(self, canvas: Pixels, enlarged: Pixels, scale: int) -> None:
        """Add this tile's contribution to ``canvas``, which starts as zeros, shape (H * scale, W * scale, ...)."""
        for part, share, _ in self.shares(enlarged, scale):
            canvas[part.times(scale).slices] += share


def _fade(rows: Pixels, before_px: int, after_px: int) -> None:
    """Fade the first ``2 * before_px`` rows in and the last ``2 * after_px`` rows out, in place."""
    if before_px:
        edge = rows[: 2 * before_px]
        edge[:] = _faded_in(edge)
    if after_px:
        edge = rows[-2 * after_px :]
        edge -= _faded_in(edge)


def _faded_in(edge: Pixels) -> Pixels:
    """Return rows with weights that rise from nearly 0 to nearly 1, rounded to nearest."""
    weights = np.arange(1, 2 * len(edge), 2, dtype=np.uint32).reshape(-1, *[1] * (edge.ndim - 1))
    whole = 2 * len(edge)
    faded: Pixels = (edge * weights + len(edge)) // whole
    return faded.astype(edge.dtype)


def plan(
    width_px: int,
    height_px: int,
    *,
    halo_px: int,
    max_tile_px: int,
    blend_px: int = 0,
    multiple_px: int = 1,
) -> list[TileBox]:
    """Cut a picture into tiles of one shape whose cores partition it.

    Candidates are the grids whose tiles hold at most ``max_tile_px`` LR pixels and that compute at most
    ``MAX_WORK_FACTOR`` times the picture. The plan prefers grids with a tile for each of ``SERVERS``, or as many
    tiles as possible. Among these it takes the one that needs the least server time, including the wait for the last
    tile. If that is a single tile, ``MAX_WORK_FACTOR_OF_TWO`` is the limit instead. If no grid is cheap enough, the
    plan takes the cheapest.

    Args:
        width_px: the picture's width, at least 1.
        height_px: the picture's height, at least 1.
        halo_px: context read around a core, at inner edges only: at the picture's true borders the network's
            convolutions must see their own zero padding.
        max_tile_px: LR pixels of one tile, halo included; at least ``(2 * halo_px + 5 * multiple_px - 4) ** 2``.
        blend_px: distance to which tiles fade into one another, if cores are at least twice as long. Use 0 if the
            halo makes tiles exact, which is true for the cores alone.
        multiple_px: tiles begin at multiples of this, so that the strides of a network fall on the same pixels in all
            of them. All tiles but the last ones of an axis are as long.

    Returns:
        Tiles in row order.
    """
    if width_px < 1 or height_px < 1 or max_tile_px < (2 * halo_px + 5 * multiple_px - 4) ** 2:
        raise ValueError(
            f"cannot cut {width_px}x{height_px} px, halo {halo_px}, tile {max_tile_px} px"
        )
    grids = _Grids(width_px, height_px, halo_px, max_tile_px, multiple_px)
    chosen = min(grids.cheap(MAX_WORK_FACTOR), key=grids.preference, default=None)
    if chosen == (1, 1):
        chosen = min(grids.cheap(MAX_WORK_FACTOR_OF_TWO), key=grids.preference)
    rows, columns = chosen or min(grids.fewest(), key=grids.computed_px)
    return [
        TileBox(row, column)
        for row in _spans(height_px, rows, halo_px, blend_px, multiple_px)
        for column in _spans(width_px, columns, halo_px, blend_px, multiple_px)
    ]


def _least_core_px(multiple_px: int) -> int:
    """Return the shortest core with which no two tiles begin at the same multiple."""
    return 2 * multiple_px - 1


def _most_parts(length_px: int, halo_px: int, multiple_px: int) -> int:
    """Return the most tiles along an axis that still read less each than fewer tiles would."""
    return max(1, (length_px - 2 * halo_px) // _least_core_px(multiple_px))


def _computed_px(length_px: int, parts: int, halo_px: int) -> int:
    """Return the total length that all tiles along an axis read: each inner edge adds a halo on either side."""
    return length_px + 2 * halo_px * (parts - 1)


def _read_px(length_px: int, parts: int, halo_px: int, multiple_px: int) -> int:
    """Return the length of each tile along an axis, halo included, and what a tile loses that begins at a multiple."""
    evenly = -(-_computed_px(length_px, parts, halo_px) // parts)
    return min(length_px, evenly + multiple_px - 1)


@dataclass(frozen=True, slots=True)
class _Grids:
    """The ways to cut a picture, as (rows, columns)."""

    width_px: int
    height_px: int
    halo_px: int
    max_tile_px: int
    multiple_px: int

    def fewest(self) -> Iterator[tuple[int, int]]:
        """Yield for each number of columns the smallest number of rows whose tiles are small enough."""
        halos_px = 2 * self.halo_px
        around_px = halos_px + self.multiple_px - 1
        most_columns = _most_parts(self.width_px, self.halo_px, self.multiple_px)
        for columns in range(1, most_columns + 1):
            tallest_px = self.max_tile_px // _read_px(
                self.width_px, columns, self.halo_px, self.multiple_px
            )
            if self.height_px <= tallest_px:
                yield 1, columns
            elif tallest_px >= around_px + _least_core_px(self.multiple_px):
                yield -(-(self.height_px - halos_px) // (tallest_px - around_px)), columns

    def cheap(self, work_factor: float) -> Iterator[tuple[int, int]]:
        """Yield the grids that compute at most this multiple of the picture."""
        most_px = work_factor * self.width_px * self.height_px
        most_rows = _most_parts(self.height_px, self.halo_px, self.multiple_px)
        for fewest, columns in self.fewest():
            for rows in range(fewest, most_rows + 1):
                if self.computed_px((rows, columns)) > most_px:
                    break
                yield rows, columns
            if self.computed_px((1, columns)) > most_px:
                return

    def computed_px(self, grid: tuple[int, int]) -> int:
        """Return the number of pixels that the network computes, halos included."""
        rows, columns = grid
        return _computed_px(self.height_px, rows, self.halo_px) * _computed_px(
            self.width_px, columns, self.halo_px
        )

    def preference(self, grid: tuple[int, int]) -> tuple[float, ...]:
        """Return the sort key of a grid: a tile for each server comes first, then time. Smaller is better."""
        return max(0, SERVERS[-1] - grid[0] * grid[1]), self.busy_px(grid)

    def busy_px(self, grid: tuple[int, int]) -> float:
        """Return the pixels that ``SERVERS`` could have computed until the last tile is done. Smaller is better."""
        tiles = grid[0] * grid[1]
        rounds = sum(servers * -(-tiles // servers) for servers in SERVERS)
        return rounds * self.computed_px(grid) / tiles


def _spans(
    length_px: int, parts: int, halo_px: int, blend_px: int, multiple_px: int = 1
) -> list[Span]:
    """Return tiles of one length along an axis, spread evenly. Each core ends in the middle of an overlap."""
    read_px = _read_px(length_px, parts, halo_px, multiple_px)
    evenly_px = read_px - (multiple_px - 1)
    evenly = [(length_px - evenly_px) * index // max(1, parts - 1) for index in range(parts)]
    firsts = [first // multiple_px * multiple_px for first in evenly]
    middles = [(first + read_px + following) // 2 for first, following in pairwise(firsts)]
    cores = list(pairwise([0, *middles, length_px]))
    # No pixel belongs to three tiles, or to a tile that did not read it.
    blend_px = min(blend_px, halo_px, min(stop - start for start, stop in cores) // 2)
    return [
        Span(start, stop, first, min(length_px, first + read_px), blend_px)
        for first, (start, stop) in zip(firsts, cores, strict=True)
    ]
