"""The frames of a PNG or GIF as they are stored: each as a picture of its own, with its place.

Pillow composes frames as well, but with faults. It mixes semi-transparent samples wrongly, shows the default image of
an APNG through its frames, and fills clear areas with a colour.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from enlarger.errors import UnreadableImage
from enlarger.picture import gif
from enlarger.picture.chunks import png_chunk, png_chunks

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The drawing of one frame."""

    file: bytes
    """A still picture."""

    left: int
    top: int
    width_px: int
    height_px: int
    """Its place, as the animation states it."""

    duration_ms: float
    is_blended: bool
    """Whether the patch is drawn over the canvas, rather than replacing it."""

    then: Literal["leave", "clear", "restore"]
    """How its place is disposed of before the next frame."""


def of_png(data: bytes) -> Iterator[Patch]:
    """Yield the frames of an APNG (PNG third edition, 11.3.6), without a default image that is not a frame.

    Raises:
        ValueError, struct.error, LookupError: the file is damaged.
        UnreadableImage: a frame is larger than the picture.
    """
    shared: list[tuple[bytes, bytes]] = []
    control: bytes | None = None
    pixels = b""
    numbers = itertools.count()
    for kind, content in png_chunks(data):
        if kind in (b"fcTL", b"fdAT") and int.from_bytes(content[:4], "big") != next(numbers):
            raise ValueError("frames are not in order")
        if kind in (b"fcTL", b"IEND"):
            if control is not None:
                yield _png_patch(shared, control, pixels)
            control, pixels = content, b""
        elif kind == b"fdAT" or (kind == b"IDAT" and control is not None):
            pixels += content[4 if kind == b"fdAT" else 0 :]
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            shared.append((kind, content))


def _png_patch(shared: list[tuple[bytes, bytes]], control: bytes, pixels: bytes) -> Patch:
    _, width, height, left, top, count, per_s, then, blend = struct.unpack(">5I2H2B", control)
    (_, header), *others = shared
    # This is checked before decoding: a few bytes may state any size.
    if left + width > int.from_bytes(header[:4], "big") or top + height > int.from_bytes(
        header[4:8], "big"
    ):
        raise UnreadableImage("a frame is larger than the picture")
    chunks = [(b"IHDR", struct.pack(">II", width, height) + header[8:]), *others]
    chunks += [(b"IDAT", pixels), (b"IEND", b"")]
    return Patch(
        file=_PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks),
        left=left,
        top=top,
        width_px=width,
        height_px=height,
        duration_ms=1000 * count / (per_s or 100),
        is_blended=blend == 1,
        then=("leave", "clear", "restore")[then],
    )


def of_gif(film: gif.Film) -> Iterator[Patch]:
    """Yield the frames of a GIF (GIF89a, 20 to 23)."""
    for frame in film.frames:
        disposal = frame.control[0] >> 2 & 7
        yield Patch(
            file=gif.still(film, frame),
            left=frame.left,
            top=frame.top,
            width_px=frame.width_px,
            height_px=frame.height_px,
            duration_ms=10.0 * int.from_bytes(frame.control[1:3], "little"),
            is_blended=True,
            then="clear" if disposal == 2 else "restore" if disposal == 3 else "leave",
        )
