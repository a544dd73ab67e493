"""Pictures and measures for the tests of decoding."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode
from enlarger.picture.values import Picture
from support.pictures import (
    RGB,
    encoded,
    noise,
    noise16,
    png,
    tiff,
)

COLOURS = np.array([[1, 2, 3], [200, 100, 50], [255, 255, 255], [0, 0, 0]], np.uint8)
"""A palette of four."""

WHOLE = {
    "png": encoded(noise(40, 30, 3)),
    "palette": encoded(Image.fromarray(noise(40, 30, 3)).quantize(16)),
    "jpeg": encoded(noise(40, 30, 3), "JPEG"),
    "progressive": encoded(noise(40, 30, 3), "JPEG", progressive=True),
    "webp": encoded(noise(40, 30, 3), "WEBP"),
    "bmp": encoded(noise(40, 30, 3), "BMP"),
    "gif": encoded(Image.fromarray(noise(40, 30, 3)).quantize(16), "GIF"),
    "avif": encoded(noise(40, 30, 3), "AVIF"),
    "tiff": encoded(noise(40, 30, 3), "TIFF"),
    "deflated tiff": encoded(noise(40, 30, 3), "TIFF", compression="tiff_adobe_deflate"),
    "16-bit png": png(noise16(40, 30, 3), colour=RGB, depth_bits=16),
    "16-bit tiff": tiff(noise16(40, 30, 3), "rgb"),
    "deflated 16-bit tiff": tiff(noise16(40, 30, 3), "rgb", compression="adobe_deflate"),
}
"""Files that the tests of broken files start from."""

EXACTLY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
"""How to write each format with as little loss as it can."""


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def blocks() -> Pixels:
    """Six areas of 16 x 16 in six colours, which survive JPEG: 32 x 48, RGB."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0], [255] * 3])
    return colours.reshape(2, 3, 3).repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)


def difference(one: Pixels, other: Pixels) -> int:
    """Return the largest difference, in code values."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def as_rgba(samples: Pixels) -> Pixels:
    """Any channels of 8 bits as RGB and alpha."""
    colour = samples[:, :, :-1] if samples.shape[2] in (2, 4) else samples
    alpha = (
        samples[:, :, -1:] if samples.shape[2] in (2, 4) else np.full_like(colour[:, :, :1], 255)
    )
    return np.concatenate([np.broadcast_to(colour, (*colour.shape[:2], 3)), alpha], axis=2)


def assert_shown(data: bytes, expected: Sequence[Pixels], *, within: int = 0) -> Picture:
    """Every frame is what is seen, whatever colour is under what is clear; gives the picture."""
    picture = decode(data, frames=len(expected))
    assert len(picture.frames) == len(expected)
    for frame, wanted in zip(picture.frames, expected, strict=True):
        found = as_rgba(frame).astype(int)
        assert np.abs(found[:, :, 3] - wanted[:, :, 3]).max() <= within
        difference = np.abs(found - wanted)[wanted[:, :, 3] > 0]
        assert difference.size == 0 or difference.max() <= within
    return picture


@dataclass(frozen=True, kw_only=True)
class Block:
    """A frame of a GIF as it is stored: what is drawn where, what is clear in it, and what becomes of it."""

    indices: Pixels
    """0 to 7."""

    left: int = 0
    top: int = 0
    disposal: int = 0
    """0 and 1 leave it, 2 clears its place, 3 puts back what was there (GIF89a, 23)."""

    clear: int | None = None
    palette: Pixels | None = None
    duration_cs: int = 10


GIF_COLOURS = noise(8, 3, seed=50)


def gif(
    blocks: Sequence[Block],
    *,
    size_px: tuple[int, int] = (8, 6),
    palette: Pixels = GIF_COLOURS,
    loop: int | None = None,
) -> bytes:
    """A GIF of these frames, block by block."""
    data: bytes = b"GIF89a" + struct.pack("<HHBBB", *size_px, 0x82, 0, 0) + palette.tobytes()
    if loop is not None:
        data += b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loop, 0)
    for block in blocks:
        flags = block.disposal << 2 | (block.clear is not None)
        data += b"\x21\xf9\x04" + struct.pack(
            "<BHBB", flags, block.duration_cs, block.clear or 0, 0
        )
        height, width = block.indices.shape
        table = b"" if block.palette is None else block.palette.tobytes()
        place = struct.pack("<HHHHB", block.left, block.top, width, height, 0x82 if table else 0)
        data += b"," + place + table + lzw(block.indices)
    return bytes(data + b";")


def lzw(indices: Pixels) -> bytes:
    """Codes of four bits; the table is emptied before it would need a fifth, so nothing is compressed."""
    values: list[int] = indices.ravel().tolist()
    codes = [code for at in range(0, len(values), 6) for code in (8, *values[at : at + 6])] + [9]
    bits = sum(code << 4 * at for at, code in enumerate(codes))
    content = bits.to_bytes(len(codes) // 2 + 1, "little")
    assert len(content) < 256
    return bytes([3, len(content)]) + content + b"\0"


def animation(kind: str, *, channels: int = 3, **options: Any) -> bytes:
    """Three frames as Pillow writes them, of 48 x 32 px in areas of one colour, shown for 20, 30 and 40 ms."""
    frames = [Image.fromarray(frame) for frame in moving_blocks(channels)]
    return encoded(
        frames[0],
        kind,
        save_all=True,
        append_images=frames[1:],
        **{"duration": [20, 30, 40], **EXACTLY[kind], **options},
    )


def moving_blocks(channels: int = 3) -> list[Pixels]:
    """``blocks`` in three places; the fourth channel is a ramp."""
    frames = [np.roll(blocks(), 16 * number, axis=1) for number in range(3)]
    ramp = np.arange(48, dtype=np.uint8) * 5
    return [
        frame if channels == 3 else np.dstack([frame, np.broadcast_to(ramp, (32, 48))])
        for frame in frames
    ]
