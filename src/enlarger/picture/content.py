"""Finds out what a picture shows, by a few shares of its pixels: docs/decisions/0032 has the rule and its accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from enlarger.picture.decode import decode
from enlarger.picture.values import Content, Picture, Samples, to_8_bits

_BLOCK_PX = 16
"""Side of the blocks that are looked at."""

_MOST_BLOCKS = 1024
"""At most about so many blocks are looked at, evenly spread. Averaging would blur the edges that tell letters from skin."""

_BUSY_SPAN = 24
"""A block is busy if its brightest and its darkest pixel differ by more than this, of 255."""

_HARD_STEP, _EDGE_STEP = 48, 32
"""Neighbours that differ by this much, of 255, are at a hard edge; at an edge whose direction is looked at."""

_INKY_SHARE = 0.06
"""A block with this share of hard steps is full of strokes."""

_LUMA = np.array([77, 150, 29], np.int32)
"""Weights of red, green and blue, of 256 (BT.601)."""

Blocks = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What is measured of a picture: shares from 0 to 1."""

    ground: float
    """Pixels of the most frequent of 4096 colours."""

    gray: float
    """Pixels whose largest and smallest channel differ by at most 24 of 255."""

    inky: float
    """Blocks that are full of hard steps, as those of printed pages are."""

    hard: float
    """Hard steps among all steps between neighbours in busy blocks."""

    straight: float
    """Edges in busy blocks that continue straight down or straight across, as those of windows do."""


def content_of(data: bytes) -> Content:
    """Return what a file shows: its first frame, on white.

    Raises:
        UnsupportedFormat: the file is not an image of a format that is read here.
        UnreadableImage: the file is an image, but broken or cut short.
    """
    return judged(measured(decode(data)))


def judged(shares: Shares) -> Content:
    """Return what a picture with these shares shows. In doubt it is a photo, for which the usual model is made."""
    if shares.ground < 0.2:
        return "photo"  # no colour prevails: light and grain are everywhere
    if shares.gray > 0.95 and shares.inky > 0.35:
        return "text"
    if shares.hard < 0.01:
        return "photo"  # no edge is hard: a smooth sky, or an empty page, in which nothing can go wrong
    if shares.straight > 0.64 and shares.gray > 0.6 and shares.inky > 0.1:
        return "screen"
    return "drawing"


def measured(picture: Picture) -> Shares:
    """Measure a picture."""
    blocks = _blocks(_on_white(picture))  # (N, H, W, 3)
    codes = (blocks >> 4) @ np.array([256, 16, 1], np.int16)
    luma = ((blocks @ _LUMA) >> 8).astype(np.int16)
    across, down = (np.abs(np.diff(luma, axis=axis)) for axis in (2, 1))
    inky = (across >= _HARD_STEP).mean(axis=(1, 2)) if across.size else np.zeros(1)
    busy = np.ptp(luma, axis=(1, 2)) > _BUSY_SPAN
    return Shares(
        ground=float(np.bincount(codes.ravel()).max() / codes.size),
        gray=float((np.ptp(blocks, axis=3) <= 24).mean()),
        inky=float((inky >= _INKY_SHARE).mean()),
        hard=_share(across[busy] >= _HARD_STEP),
        straight=(_straight(across[busy], axis=1) + _straight(down[busy], axis=2)) / 2,
    )


def _on_white(picture: Picture) -> Samples:
    """Return the colours (H, W, 3), 8 bits. Transparent pixels may have any colours, so they are put on white."""
    colour = to_8_bits(picture.colour)
    if picture.alpha is not None:
        alpha = to_8_bits(picture.alpha)[:, :, np.newaxis].astype(np.uint16)
        colour = ((colour * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
    return np.broadcast_to(colour, (*colour.shape[:2], 3))


def _blocks(pixels: Samples) -> Blocks:
    """Return evenly spread blocks of a picture (H, W, 3), shape (N, side, side, 3)."""
    height, width = pixels.shape[:2]
    side = min(_BLOCK_PX, height, width)
    rows, columns = height // side, width // side
    every = max(1, math.ceil(math.sqrt(rows * columns / _MOST_BLOCKS)))
    tiled = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    chosen = tiled[::every, :, ::every].swapaxes(1, 2)
    return chosen.reshape(-1, side, side, 3).astype(np.int16)


def _straight(steps: Blocks, *, axis: int) -> float:
    """Return the share of edges that go on at the same place of the next row, or of the next column."""
    edges = steps >= _EDGE_STEP
    here, before = (np.moveaxis(edges, axis, 0)[part] for part in (slice(1, None), slice(-1)))
    return float((here & before).sum() / max(1, here.sum()))


def _share(found: npt.NDArray[np.bool_]) -> float:
    return float(found.mean()) if found.size else 0.0
