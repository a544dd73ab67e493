"""Animated PNGs, written chunk by chunk."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from enlarger.geometry.rect import Pixels
from enlarger.picture.chunks import png_chunks
from support.pictures import (
    RGB_ALPHA,
    png,
    png_chunk,
)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A frame of an APNG as it is stored: what is drawn where, how, and what becomes of it."""

    samples: Pixels
    left: int = 0
    top: int = 0
    dispose: int = 0
    """0 leaves it, 1 clears its place, 2 puts back what was there (APNG 1.0, fcTL)."""

    over: bool = False
    """Blend it over what is there, instead of replacing that."""

    delay: tuple[int, int] = (1, 10)
    """Seconds, as a fraction."""


def apng(
    patches: Sequence[Patch],
    *,
    size_px: tuple[int, int] = (8, 6),
    colour: int = RGB_ALPHA,
    depth_bits: int = 8,
    plays: int = 0,
    promised: int | None = None,
    default: Pixels | None = None,
    chunks: dict[bytes, bytes] | None = None,
) -> bytes:
    """An APNG of these frames, chunk by chunk; ``default`` is the picture for programs that show no animation.

    ``promised`` is how many frames it says it has.
    """

    def pixels(samples: Pixels) -> bytes:
        single = png(samples, colour=colour, depth_bits=depth_bits)
        return next(data for kind, data in png_chunks(single) if kind == b"IDAT")

    count = len(patches) if promised is None else promised
    head = struct.pack(">IIBBBBB", *size_px, depth_bits, colour, 0, 0, 0)
    parts = [
        (b"IHDR", head),
        *(chunks or {}).items(),
        (b"acTL", struct.pack(">II", count, plays)),
    ]
    if default is not None:
        parts.append((b"IDAT", pixels(default)))
    numbers = itertools.count()
    for patch in patches:
        height, width, _ = patch.samples.shape
        control = struct.pack(
            ">IIIIIHHBB",
            next(numbers),
            width,
            height,
            patch.left,
            patch.top,
            *patch.delay,
            patch.dispose,
            patch.over,
        )
        parts.append((b"fcTL", control))
        content = pixels(patch.samples)
        if patch is patches[0] and default is None:
            parts.append((b"IDAT", content))
        else:
            parts.append((b"fdAT", struct.pack(">I", next(numbers)) + content))
    parts.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def parts(make: Callable[..., Pixels], channels: int, **fields: Any) -> list[Patch]:
    """A whole frame and three parts, which lie over one another."""
    places = [(6, 8, 0, 0), (3, 4, 2, 1), (4, 5, 3, 2), (1, 1, 7, 5)]
    return [
        Patch(samples=make(height, width, channels, seed=seed), left=left, top=top, **fields)
        for seed, (height, width, left, top) in enumerate(places)
    ]
