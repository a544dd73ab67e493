"""Makes files that state their colours without a profile, for tests."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from enlarger.picture.values import Picture
from support.pictures import RGB, WIDE, encoded, noise, png

SAMPLES = noise(6, 8, 3)
P3_POINTS = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
ICCP = b"name\0\0" + zlib.compress(WIDE)


def gama(value: int) -> dict[bytes, bytes]:
    """The chunk of an exponent, in 100000ths."""
    return {b"gAMA": struct.pack(">I", value)}


def chrm(*points: int) -> dict[bytes, bytes]:
    """The chunk of chromaticities, in 100000ths."""
    return {b"cHRM": struct.pack(">8I", *points)}


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> dict[bytes, bytes]:
    """The chunk of code points."""
    return {b"cICP": bytes([primaries, transfer, matrix, full])}


SRGB_CHUNK = {b"sRGB": b"\0"}


def png_with(*chunks: dict[bytes, bytes], samples: Any = SAMPLES, colour: int = RGB) -> bytes:
    """A PNG with these chunks before its pixels."""
    merged = {kind: content for chunk in chunks for kind, content in chunk.items()}
    return png(samples, colour=colour, depth_bits=8 * samples.itemsize, chunks=merged)


def codes(picture: Picture) -> list[str]:
    """Return the codes of a picture's notes."""
    return [note.code for note in picture.notes]


def avif(primaries: int, transfer: int, **options: Any) -> bytes:
    """An AVIF of noise that states these code points; Pillow itself writes 1 and 13."""
    data = encoded(Image.fromarray(noise(16, 16, 3)), "AVIF", quality=100, **options)
    return data.replace(b"nclx\0\1\0\x0d", b"nclx" + struct.pack(">2H", primaries, transfer))


def bmp(
    kind: int,
    *,
    ends: tuple[int, ...] = (0,) * 9,
    gammas: tuple[int, ...] = (0,) * 3,
    profile: bytes = b"",
    size: int = 124,
) -> bytes:
    """A BMP with a header of version 4 or 5."""
    plain = encoded(SAMPLES, "BMP")
    pixels = plain[54:]
    header = struct.pack("<I", size) + plain[18:54] + struct.pack("<4I", 0, 0, 0, 0)
    header += struct.pack("<I9i3I", kind, *ends, *gammas)
    if size == 124:
        header += struct.pack("<4I", 4, size + len(pixels) if profile else 0, len(profile), 0)
    at = 14 + len(header)
    return (
        plain[:2]
        + struct.pack("<3I", at + len(pixels) + len(profile), 0, at)
        + header
        + pixels
        + profile
    )


CALIBRATED, EMBEDDED, LINKED, SRGB_KIND = 0, 0x4D424544, 0x4C494E4B, 0x73524742
P3_ENDS = tuple(
    round(value * 2**30) for value in (0.68, 0.32, 0, 0.265, 0.69, 0.045, 0.15, 0.06, 0.79)
)
"""x, y and z of each primary of Display P3."""

GAMMA_18 = (round(1.8 * 65536),) * 3


WHITE = (318, "2I", 2, (3127, 10000, 3290, 10000), True)
P3_TAG = (319, "2I", 6, tuple(v for n in (680, 320, 265, 690, 150, 60) for v in (n, 1000)), True)


def linear_table(bits: int, channels: int = 1) -> tuple[int, Any, int, Any, bool]:
    """TransferFunction of linear light."""
    table = np.rint(np.linspace(0, 65535, 1 << bits)).astype(int).tolist() * channels
    return (301, "H", len(table), table, True)


def photo(colour_space: int, index: str | None, kind: str = "JPEG", **options: Any) -> bytes:
    """A photo whose EXIF says which colours it has."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = colour_space
    if index is not None:
        exif.get_ifd(0x8769)[0xA005] = {1: index}
    return encoded(SAMPLES, kind, exif=exif, **options)
