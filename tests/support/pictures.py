"""Makes picture files for tests, down to the chunks of a PNG where Pillow cannot write what we need."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

from enlarger.geometry.rect import Pixels

GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types of PNG (ISO/IEC 15948, table 11.1)."""


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
"""A profile with curves and primaries."""


ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
D65 = (0.3127, 0.3290)
WIDE_GAMMA, GRAY_GAMMA = 2.19921875, 1.8

WIDE: bytes = imagecodecs.cms_profile(
    "rgb",
    whitepoint=(*D65, 1.0),
    primaries=[value for primary in ADOBE_PRIMARIES for value in (*primary, 1.0)],
    gamma=WIDE_GAMMA,
)
"""Like Adobe RGB (1998)."""

GRAY_PROFILE: bytes = imagecodecs.cms_profile("gray", whitepoint=(*D65, 1.0), gamma=GRAY_GAMMA)

# What the file says upright, from what it stores (EXIF 2.32, 4.6.4 A): the value names the side of the
# scene where the first row and the first column lie.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


def skimage_photo(name: str) -> Pixels:
    """A photograph that scikit-image carries, RGB."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    # The file itself: skimage's own loaders would go to the network.
    with Image.open(Path(spec.origin).parent / "data" / name) as image:
        return np.asarray(image.convert("RGB"))


def noise(*shape: int, seed: int = 0) -> Pixels:
    """Random samples, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def noise16(*shape: int, seed: int = 0) -> Pixels:
    """Random samples, uint16."""
    return np.random.default_rng(seed).integers(0, 65536, shape).astype(np.uint16)


def visible(samples: Pixels) -> Pixels:
    """Without a wholly transparent pixel, under which colour would be spread."""
    if samples.shape[2] in (2, 4):
        samples[:, :, -1] |= 1
    return samples


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


def png_samples(data: bytes) -> Pixels:
    """The samples of a PNG of 8 or 16 bits without palette and interlace, by the five filters of its standard."""
    position, content = 8, b""
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            content += data[position + 8 : position + 8 + length]
        position += 12 + length
    width, height, depth_bits, colour = struct.unpack(">IIBB", data[16:26])
    channels = {GRAY: 1, GRAY_ALPHA: 2, RGB: 3, RGB_ALPHA: 4}[colour]
    pixel_bytes = channels * depth_bits // 8
    filtered = zlib.decompress(content)
    rows = [bytes(pixel_bytes * (width + 1))]
    for start in range(0, len(filtered), 1 + pixel_bytes * width):
        above, row = rows[-1], bytearray(pixel_bytes)
        for at, value in enumerate(
            filtered[start + 1 : start + 1 + pixel_bytes * width], start=pixel_bytes
        ):
            a, b, c = row[at - pixel_bytes], above[at], above[at - pixel_bytes]
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row.append((value + (0, a, b, (a + b) // 2, nearest)[filtered[start]]) & 255)
        rows.append(bytes(row))
    samples = np.frombuffer(
        b"".join(row[pixel_bytes:] for row in rows[1:]), ">u2" if depth_bits == 16 else np.uint8
    )
    return samples.reshape(height, width, channels).astype(f"u{depth_bits // 8}")


def tiff(samples: Pixels, photometric: str, *, planar: bool = False, **options: Any) -> bytes:
    """A TIFF of (H, W, C) samples of any type, as tifffile writes it; what is beyond the colours is alpha."""
    channels = samples.shape[2]
    colours = {"rgb": 3, "cielab": 3, "separated": 4}.get(photometric, 1)
    if channels > colours:
        options = {"extrasamples": ["unassalpha"], **options}
    if channels > 1:
        options["planarconfig"] = "separate" if planar else "contig"
    pixels = (
        samples[:, :, 0] if channels == 1 else np.moveaxis(samples, 2, 0) if planar else samples
    )
    file = BytesIO()
    tifffile.imwrite(
        file,
        np.ascontiguousarray(pixels),
        photometric=photometric,
        metadata=None,
        rowsperstrip=8,
        **options,
    )
    return file.getvalue()


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a TIFF, as ``tiff_of_pages`` writes it."""

    samples: Pixels
    photometric: str | int = "rgb"
    kind: int = 0
    """NewSubfileType: 1 for a reduced picture, 4 for a mask."""

    tags: tuple[tuple[int, str, int, Any], ...] = ()
    """Further entries: tag, type, count and value."""

    below: tuple[Page, ...] = ()
    """Pages in SubIFDs."""


def tiff_of_pages(*pages: Page, **options: Any) -> bytes:
    """A TIFF of these pages in a chain; ``options`` such as ``byteorder`` and ``bigtiff``."""
    file = BytesIO()
    written = [each for page in pages for each in (page, *page.below)]
    with tifffile.TiffWriter(file, **options) as writer:
        for page in written:
            writer.write(
                page.samples[:, :, 0] if page.samples.shape[2] == 1 else page.samples,
                photometric=page.photometric,
                subfiletype=1 if page.kind else 0,
                extratags=[(*tag, True) for tag in page.tags],
                subifds=len(page.below) or None,
                metadata=None,
                software=False,
            )
    # tifffile writes no mask of colours, so the kinds are written here.
    data = bytearray(file.getvalue())
    order, count = options.get("byteorder", "<"), "Q" if options.get("bigtiff") else "I"
    at = 0
    for page in filter(lambda page: page.kind, written):
        entry = struct.pack(f"{order}HH{count}I", 254, 4, 1, 1)
        at = data.index(entry, at) + len(entry)
        struct.pack_into(f"{order}I", data, at - 4, page.kind)
    return bytes(data)


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


def cmyk_profile() -> bytes:
    """Four inks to Lab, by a table of two steps per ink: a small printer, in the bytes of ICC.1 (lut8Type)."""
    steps = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(16, 4)
    table = np.array([lab_of_inks(inks) for inks in steps])
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if at in (0, 4, 8) else 0 for at in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4
    lut += table.astype(np.uint8).tobytes() + identity * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"A2B0": lut, b"wtpt": white}
    head = bytearray(icc_profile(b"CMYK")[:128])
    head[8:16] = b"\x02\x40\0\0prtr"
    head[20:24] = b"Lab "
    head[68:80] = white[8:]
    listed, content = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        at = 128 + 4 + 12 * len(tags) + len(content)
        listed += name + struct.pack(">II", at, len(tag))
        content += tag + bytes(-len(tag) % 4)
    head[0:4] = struct.pack(">I", 128 + len(listed) + len(content))
    return bytes(head) + listed + content


def lab_of_inks(inks: Pixels) -> tuple[float, float, float]:
    """L*, a* and b* of full or absent inks, as 8 bits of the profile: paper is white, black is black."""
    cyan, magenta, yellow, black = (int(ink > 0) for ink in inks)
    paper = 1 - black
    light = 255 * paper * (1 - (cyan + magenta + yellow) / 4)
    return light, 128 + paper * 20 * (magenta - cyan), 128 + paper * 20 * (yellow - cyan)


def srgb_of_lab(lab: Pixels) -> Pixels:
    """L* of 0 to 100, a* and b* (D50) to sRGB of 0 to 1, by CIE 15 and IEC 61966-2-1."""
    f = (lab[..., 0] + 16) / 116
    each = np.stack([f + lab[..., 1] / 500, f, f - lab[..., 2] / 200], axis=-1)
    xyz = np.where(each > 6 / 29, each**3, (each - 4 / 29) * 3 * (6 / 29) ** 2)
    xyz = xyz * (0.9642, 1.0, 0.8249)
    # sRGB's primaries as seen under D50 (Bradford), as its profile has them.
    to_xyz = np.array(
        [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7142]]
    )
    return srgb_curve(xyz @ np.linalg.inv(to_xyz).T)


def srgb_of_wide(rgb: Pixels) -> Pixels:
    """``WIDE`` of 0 to 1 to sRGB, by the primaries of both."""

    def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Pixels:
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
        x, y = D65
        scale: Pixels = np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))
        return columns * scale

    matrix = np.linalg.inv(to_xyz(SRGB_PRIMARIES)) @ to_xyz(ADOBE_PRIMARIES)
    return srgb_curve(rgb**WIDE_GAMMA @ matrix.T)


def srgb_curve(linear: Pixels) -> Pixels:
    """Linear light to sRGB, 0 to 1."""
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


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
