"""Files for the tests of what decoders see of them."""

from __future__ import annotations

import shutil
import struct
import zlib

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe
from enlarger.picture.values import Picture
from support.blocks import packet
from support.mutants import moving
from support.pictures import (
    RGB,
    WIDE,
    encoded,
    noise,
    noise16,
    png,
    visible,
)

CJPEG, CONVERT = shutil.which("cjpeg"), shutil.which("convert")
SAMPLES = noise(12, 17, 3)
PNG = png(SAMPLES, colour=RGB, depth_bits=8)
DEEP = noise16(12, 17, 3)
DEEP_PNG = png(DEEP, colour=RGB, depth_bits=16)


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def assert_whole(data: bytes, samples: Pixels) -> list[str]:
    """Every pixel is there, and the header says the same; gives the notes' codes."""
    picture, header = decode(data), probe(data)
    assert np.array_equal(picture.samples, samples)
    assert (header.height_px, header.width_px) == samples.shape[:2]
    return codes(picture)


def with_chunk(data: bytes, chunk: bytes, *, before: bytes = b"IDAT") -> bytes:
    """A PNG with one more chunk, as it stands, before the first of a kind."""
    at = data.index(before) - 4
    return data[:at] + chunk + data[at:]


def damaged(chunk: bytes) -> bytes:
    """A chunk whose checksum is wrong."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


CHUNKS = {
    b"pHYs": struct.pack(">IIB", 3000, 3000, 1),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", *range(8)),
    b"sRGB": b"\0",
    b"iCCP": b"a\0\0" + zlib.compress(WIDE),
    b"cICP": b"\1\r\0\1",
    b"sBIT": b"\x08\x08\x08",
    b"tRNS": bytes(6),
    b"bKGD": bytes(6),
    b"tIME": bytes(7),
    b"hIST": bytes(4),
    b"tEXt": b"a\0b",
    b"zTXt": b"a\0\0" + zlib.compress(b"b"),
    b"iTXt": b"a\0\0\0\0\0b",
    b"eXIf": b"MM\0*\0\0\0\x08\0\0\0\0\0\0",
    b"prVt": b"private",
}
"""Ancillary chunks by kind."""

FILLING, ATTACHED = (
    (b"\0" * 9, b"\xff" * 40),
    (PNG, b"more", b"\0\0\0\4IDAT", b"\0\0\0\4tEXta\0bc1234"),
)
"""What may lie behind the end of a picture: nothing, and something that is not in the result."""


def animated_png() -> bytes:
    """Three frames."""
    frames = moving()
    return encoded(frames[0], save_all=True, append_images=frames[1:], duration=40)


JPEGS: dict[str, bytes] = {
    "baseline": encoded(noise(40, 30, 3), "JPEG"),
    "gray": encoded(noise(40, 30, 1), "JPEG"),
    "inks": encoded(Image.fromarray(noise(20, 20, 4), mode="CMYK"), "JPEG"),
    "progressive": encoded(noise(40, 30, 3), "JPEG", progressive=True),
    "optimised": encoded(noise(40, 30, 3), "JPEG", optimize=True, subsampling=0),
    "restarts": encoded(noise(40, 30, 3), "JPEG", restart_marker_blocks=2),
    "flat": encoded(np.full((40, 30, 3), 77, np.uint8), "JPEG"),
    "of best quality": encoded(noise(17, 33, 3), "JPEG", quality=100),
}

WEBPS: dict[str, bytes] = {
    "lossy": encoded(noise(21, 20, 3), "WEBP"),
    "lossless": encoded(noise(21, 20, 3), "WEBP", lossless=True),
    "alpha": encoded(visible(noise(21, 20, 4)), "WEBP"),
    "talking": encoded(noise(21, 20, 3), "WEBP", xmp=packet(), icc_profile=WIDE),
}

AVIF = encoded(noise(16, 24, 3), "AVIF", xmp=packet())


def bmp(fourth: Pixels, *, states_alpha: bool) -> bytes:
    """A BMP of 32 bits, with or without a mask of its alpha (BITMAPV4HEADER)."""
    pixels = np.dstack([SAMPLES[::-1, :, ::-1], fourth[::-1]]).tobytes()
    height, width, _ = SAMPLES.shape
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    head = struct.pack(
        "<IiiHHIIiiII",
        108 if states_alpha else 40,
        *(width, height, 1, 32, 3 if states_alpha else 0, len(pixels), 0, 0, 0, 0),
    ) + (masks if states_alpha else b"")
    offset = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + head + pixels
