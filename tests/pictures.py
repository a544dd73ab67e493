"""Makes picture files for tests, down to the chunks of a PNG where Pillow cannot write what we need."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from enlarger.wire import Pixels

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types of PNG (ISO/IEC 15948, table 11.1)."""


def noise(*shape: int, seed: int = 0) -> Pixels:
    """Random samples, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(samples: Pixels | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A file of these samples, as Pillow writes it."""
    if not isinstance(samples, Image.Image):
        samples = Image.fromarray(
            samples[:, :, 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
        )
    file = BytesIO()
    samples.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    samples: Pixels, *, colour: int, depth_bits: int, chunks: dict[bytes, bytes] | None = None
) -> bytes:
    """A PNG of (H, W, C) samples in ``depth_bits``; ``chunks`` stand before the pixels."""
    height, width, channels = samples.shape
    if depth_bits < 8:
        bits = np.unpackbits(
            samples.astype(np.uint8).reshape(height, width * channels, 1), axis=2, bitorder="big"
        )[:, :, 8 - depth_bits :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    else:
        rows = samples.astype(">u2" if depth_bits == 16 else np.uint8).reshape(height, -1)
    unfiltered = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth_bits, colour, 0, 0, 0)),
            *(png_chunk(kind, data) for kind, data in (chunks or {}).items()),
            png_chunk(b"IDAT", zlib.compress(unfiltered)),
            png_chunk(b"IEND", b""),
        ]
    )


def icc_profile(space: bytes) -> bytes:
    """A profile header that states a colour space, such as ``b"RGB "``, and no tags."""
    header = bytearray(128)
    header[0:4] = struct.pack(">I", 132)
    header[8:12] = b"\x04\x30\x00\x00"
    header[12:16] = b"mntr"
    header[16:20] = space
    header[20:24] = b"XYZ "
    header[36:40] = b"acsp"
    return bytes(header) + bytes(4)


def oriented(samples: Pixels, orientation: int, kind: str, **options: Any) -> bytes:
    """A file whose EXIF block states an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(samples, kind, exif=exif, **options)


def with_checksums(damaged: bytes | bytearray) -> bytes:
    """A PNG whose chunks all have the right checksum; another format stays as it is."""
    data = bytearray(damaged)
    position = 8
    while data.startswith(b"\x89PNG") and position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(data)
