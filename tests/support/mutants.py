"""Real pictures of every format that we read, damaged in the ways of bad networks and of people who mean harm.

The pictures are small, so that a whole service can be asked for thousands. The same number always makes the same
file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from support.pictures import (
    GRAY_ALPHA,
    RGB,
    SRGB,
    WIDE,
    Page,
    cmyk_profile,
    encoded,
    noise,
    noise16,
    oriented,
    png,
    tiff,
    tiff_of_pages,
    with_checksums,
)

_TELLING = (0, 1, 2, 4, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 24, (1 << 31) - 1, 1 << 31)
"""Numbers at which types end and sizes become dangerous; and the largest of all, see ``_number``."""

_CHANGE_COUNTS = (1, 1, 1, 2, 4)
"""How often a file is damaged. Decoders get deepest into a file of one fault."""


@cache
def originals() -> dict[str, bytes]:
    """Sound files by name; the word before the first space is the format."""
    return {**_pngs(), **_jpegs(), **_webps(), **_gifs(), **_tiffs(), **_bmps(), **_avifs()}


def mutant(number: int) -> bytes:
    """The damaged file of that number."""
    random = np.random.default_rng(number)
    names = sorted(originals())
    name = names[number % len(names)]  # all in turn
    kin = [other for other in names if other.split()[0] == name.split()[0]]
    data = originals()[name]
    for _ in range(random.choice(_CHANGE_COUNTS)):
        data = damaged(data, originals()[kin[random.integers(len(kin))]], random)
    data = data or originals()[name][:1]  # nothing at all is no file
    return with_checksums(data) if random.random() < 0.8 else data


def damaged(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """The file after one more accident; ``other`` is one whose parts may get into it."""
    return _CHANGES[random.integers(len(_CHANGES))](data, other, random)


def parts(data: bytes) -> list[bytes]:
    """The file cut where its format begins something new: chunks, segments, boxes, fields. Joined they are the file."""
    walk = next((walk for head, walk in _WALKS.items() if data.startswith(head)), _boxes)
    cuts = [0]
    try:
        for at in walk(data):
            if not cuts[-1] < at < len(data):
                break
            cuts.append(at)
    except (struct.error, IndexError, OverflowError):
        pass  # damaged already: what was found so far will do
    return [data[at:end] for at, end in zip(cuts, [*cuts[1:], len(data)], strict=True)]


def moving(count: int = 3) -> list[Image.Image]:
    """Frames of 16 x 12 of which each changes a part."""
    frames = [noise(12, 16, 3)]
    for seed in range(1, count):
        frames.append(frames[-1].copy())
        frames[-1][2:8, 3 : 3 + 2 * seed] = noise(6, 2 * seed, 3, seed=seed)
    return [Image.fromarray(frame) for frame in frames]


def _animated(kind: str, frames: list[Image.Image], **options: Any) -> bytes:
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, **options)


def _pngs() -> dict[str, bytes]:
    talking = PngImagePlugin.PngInfo()
    talking.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>", zip=True)
    talking.add_text("Comment", "something " * 20, zip=True)
    clear = Image.fromarray(noise(9, 14, 3)).quantize(12)
    return {
        "png gray": encoded(noise(11, 17, 1)),
        "png rgb": encoded(noise(24, 20, 3)),
        "png rgba": encoded(noise(13, 12, 4)),
        "png palette": encoded(clear, transparency=3),
        "png 1 bit": encoded(Image.fromarray(noise(10, 19)).convert("1")),
        "png 16 bits": png(noise16(10, 9, 3), colour=RGB, depth_bits=16),
        "png 16 bits alpha": png(noise16(8, 11, 2), colour=GRAY_ALPHA, depth_bits=16),
        "png clear colour": encoded(noise(8, 8, 3), transparency=(1, 2, 3)),
        "png talking": encoded(
            noise(8, 9, 3), pnginfo=talking, icc_profile=WIDE, dpi=(300, 300), exif=_camera()
        ),
        "png moving": _animated("PNG", moving(), blend=1, disposal=2),
        "png moving default": _animated("PNG", moving(), default_image=True),
    }


def _jpegs() -> dict[str, bytes]:
    inks = Image.fromarray(noise(16, 15, 4), mode="CMYK")
    return {
        "jpeg rgb": encoded(noise(24, 31, 3), "JPEG"),
        "jpeg gray": encoded(noise(17, 9, 1), "JPEG"),
        "jpeg progressive": encoded(noise(16, 32, 3), "JPEG", progressive=True),
        "jpeg restarts": encoded(noise(32, 32, 3), "JPEG", restart_marker_blocks=1),
        "jpeg cmyk": encoded(inks, "JPEG", icc_profile=cmyk_profile()),
        "jpeg talking": encoded(
            noise(16, 16, 3), "JPEG", exif=_camera(), icc_profile=SRGB, xmp=b"<x:xmpmeta/>"
        ),
        "jpeg turned": oriented(noise(8, 24, 3), 6, "JPEG"),
    }


def _webps() -> dict[str, bytes]:
    return {
        "webp lossy": encoded(noise(20, 21, 3), "WEBP"),
        "webp lossless": encoded(noise(19, 12, 3), "WEBP", lossless=True),
        "webp alpha": encoded(noise(16, 15, 4), "WEBP"),
        "webp talking": encoded(
            noise(9, 9, 3), "WEBP", exif=_camera(), icc_profile=WIDE, xmp=b"<x:xmpmeta/>"
        ),
        "webp moving": _animated("WEBP", moving()),
    }


def _gifs() -> dict[str, bytes]:
    few = Image.fromarray(noise(15, 20, 3)).quantize(7)
    return {
        "gif still": encoded(few, "GIF"),
        "gif clear": encoded(few, "GIF", transparency=2, interlace=0),
        "gif moving": _animated("GIF", moving(), disposal=2, loop=2),
        "gif moving back": _animated("GIF", moving(4), disposal=3),
    }


def _tiffs() -> dict[str, bytes]:
    bits = Image.fromarray(noise(16, 24)).convert("1")
    smooth = Image.fromarray(noise(16, 16, 3))
    tiled = BytesIO()
    tifffile.imwrite(
        tiled, noise(20, 20, 3), tile=(16, 16), photometric="rgb", metadata=None, bigtiff=True
    )
    return {
        "tiff rgb": tiff(noise(17, 9, 3), "rgb"),
        "tiff big endian": tiff(noise(9, 9, 3), "rgb", byteorder=">"),
        "tiff big tiles": tiled.getvalue(),
        "tiff lzw": encoded(smooth, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encoded(smooth, "TIFF", compression="tiff_adobe_deflate"),
        "tiff packbits": encoded(smooth, "TIFF", compression="packbits"),
        "tiff jpeg": encoded(smooth, "TIFF", compression="jpeg"),
        "tiff fax": encoded(bits, "TIFF", compression="group4"),
        "tiff palette": encoded(smooth.quantize(9), "TIFF"),
        "tiff cmyk": tiff(noise(8, 9, 4), "separated", iccprofile=cmyk_profile()),
        "tiff cmyk alpha": tiff(noise(8, 9, 5), "separated", planar=True, compression="lzw"),
        "tiff gray alpha": tiff(noise(9, 7, 2), "miniswhite", compression="zstd", predictor=True),
        "tiff lab": encoded(Image.fromarray(noise(9, 8, 3), mode="LAB"), "TIFF"),
        "tiff 16 bits": tiff(noise16(12, 9, 3), "rgb"),
        "tiff 16 bits deflate": tiff(noise16(12, 9, 4), "rgb", compression="adobe_deflate"),
        "tiff 16 bits planar": tiff(noise16(9, 10, 3), "rgb", planar=True),
        "tiff 16 bits lab": tiff(noise16(9, 8, 3), "cielab"),
        "tiff preview": tiff_of_pages(
            Page(samples=noise(3, 4, 3), kind=1, below=(Page(samples=noise16(9, 12, 3)),)),
            Page(samples=noise(5, 6, 3)),
            byteorder=">",
        ),
        "tiff pages": _animated("TIFF", moving(2)),
        "tiff turned": oriented(noise(9, 16, 3), 5, "TIFF"),
    }


def _bmps() -> dict[str, bytes]:
    smooth = Image.fromarray(noise(13, 18, 3))
    return {
        "bmp rgb": encoded(smooth, "BMP"),
        "bmp palette": encoded(smooth.quantize(20), "BMP"),
        "bmp 1 bit": encoded(smooth.convert("1"), "BMP"),
        "bmp alpha": encoded(noise(8, 9, 4), "BMP"),
        "bmp runs": _runs(),
    }


def _avifs() -> dict[str, bytes]:
    deep = imagecodecs.avif_encode(noise16(16, 16, 3) >> 6, bitspersample=10)
    return {
        "avif rgb": encoded(noise(24, 16, 3), "AVIF"),
        "avif alpha": encoded(noise(16, 16, 4), "AVIF"),
        "avif talking": encoded(noise(16, 24, 3), "AVIF", exif=_camera(), icc_profile=SRGB),
        "avif deep": bytes(deep),
        "avif moving": _animated("AVIF", moving()),
    }


def _camera() -> bytes:
    """An EXIF block with directories inside one another."""
    exif = Image.Exif()
    exif[0x010F] = "maker of cameras"
    exif[0x0112] = 3
    exif[0x011A] = exif[0x011B] = 300.0
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()


def _runs() -> bytes:
    """A BMP of run lengths (RLE8), which Pillow reads and does not write: 8 x 4."""
    rows = b"".join(bytes([4, at, 4, at + 1, 0, 0]) for at in range(4)) + b"\0\1"
    palette = noise(16, 4).tobytes()
    at = 14 + 40 + len(palette)
    return b"".join(
        [
            b"BM" + struct.pack("<IHHI", at + len(rows), 0, 0, at),
            struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(rows), 2835, 2835, 16, 16),
            palette,
            rows,
        ]
    )


# Where parts begin


def _png_chunks(data: bytes) -> Iterator[int]:
    at = 8
    while True:
        yield at
        at += 12 + int(struct.unpack_from(">I", data, at)[0])


def _segments(data: bytes) -> Iterator[int]:
    """Yield the offsets of a JPEG's segments, up to its first scan."""
    at = 2
    while data[at] == 0xFF:
        yield at
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _riff_chunks(data: bytes) -> Iterator[int]:
    at = 12
    while True:
        yield at
        size = int(struct.unpack_from("<I", data, at + 4)[0])
        at += 8 + size + size % 2


def _gif_blocks(data: bytes) -> Iterator[int]:
    at = 13 + _table_bytes(data[10])
    while data[at] in (0x21, 0x2C):
        yield at
        at += 2 if data[at] == 0x21 else 11 + _table_bytes(data[at + 9])
        while data[at]:
            at += 1 + data[at]
        at += 1
    yield at


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _entries(data: bytes) -> Iterator[int]:
    """Yield the offsets of the entries of a TIFF's first directory."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    head, count, size = ("Q", "Q", 20) if is_big else ("I", "H", 12)
    at = int(struct.unpack_from(order + head, data, 8 if is_big else 4)[0])
    left = int(struct.unpack_from(order + count, data, at)[0])
    begin = at + struct.calcsize(order + count)
    yield from range(begin, begin + size * left + 1, size)


def _fields(data: bytes) -> Iterator[int]:
    """Yield the offsets of the fields of a BMP's headers."""
    yield from (2, 10, 14, 18, 22, 26, 28, 30, 34, 46, 50, 54)


def _boxes(data: bytes) -> Iterator[int]:
    """Yield the offsets of an AVIF's boxes, including each box inside ``meta``, because these decide what is read."""
    at = 0
    while True:
        size, kind = struct.unpack_from(">I4s", data, at)
        at += 12 if kind == b"meta" else 8 if kind in (b"iprp", b"ipco", b"moov") else int(size)
        yield at


_WALKS: dict[bytes, Callable[[bytes], Iterator[int]]] = {
    b"\x89PNG": _png_chunks,
    b"\xff\xd8": _segments,
    b"RIFF": _riff_chunks,
    b"GIF8": _gif_blocks,
    b"II": _entries,
    b"MM": _entries,
    b"BM": _fields,
}


# What is done to a file, with another of its format at hand

Random = np.random.Generator


def _place(data: bytes, random: Random) -> int:
    return int(random.integers(len(data))) if data else 0


def _replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _bits(data: bytes, __: bytes, random: Random) -> bytes:
    """A few bits are turned over."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 8)):
        if changed:
            changed[_place(data, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _bytes(data: bytes, _: bytes, random: Random) -> bytes:
    """A run of bytes is other ones."""
    return _replaced(data, _place(data, random), random.bytes(int(random.integers(1, 9))))


def _number(data: bytes, _: bytes, random: Random) -> bytes:
    """A number near where a part begins, often a length, is a telling one."""
    pieces = parts(data)
    at = sum(len(piece) for piece in pieces[: random.integers(len(pieces))])
    size = int(random.choice([1, 2, 4]))
    most = 256**size - 1
    value = int(random.choice([*_TELLING, most]))
    new = min(value, most).to_bytes(size, "big" if random.random() < 0.5 else "little")
    return _replaced(data, min(at + int(random.integers(24)), len(data)), new)


def _cut(data: bytes, _: bytes, random: Random) -> bytes:
    """The end is missing."""
    return data[: _place(data, random)]


def _hole(data: bytes, _: bytes, random: Random) -> bytes:
    """Some bytes are missing."""
    at = _place(data, random)
    return data[:at] + data[at + int(random.integers(1, 33)) :]


def _more(data: bytes, _: bytes, random: Random) -> bytes:
    """Some bytes are too much."""
    at = _place(data, random)
    return data[:at] + random.bytes(int(random.integers(1, 33))) + data[at:]


def _splice(data: bytes, other: bytes, random: Random) -> bytes:
    """It goes on as another file."""
    return data[: _place(data, random)] + other[_place(other, random) :]


def _order(data: bytes, _: bytes, random: Random) -> bytes:
    """Two parts have changed places."""
    pieces = parts(data)
    one, two = random.integers(len(pieces), size=2)
    pieces[one], pieces[two] = pieces[two], pieces[one]
    return b"".join(pieces)


def _missing(data: bytes, _: bytes, random: Random) -> bytes:
    """A part is missing."""
    pieces = parts(data)
    del pieces[random.integers(len(pieces))]
    return b"".join(pieces)


def _again(data: bytes, _: bytes, random: Random) -> bytes:
    """A part comes several times."""
    pieces = parts(data)
    at = random.integers(len(pieces))
    return b"".join([*pieces[:at], *[pieces[at]] * int(random.integers(2, 40)), *pieces[at + 1 :]])


def _foreign(data: bytes, other: bytes, random: Random) -> bytes:
    """A part is another file's."""
    pieces, theirs = parts(data), parts(other)
    pieces[random.integers(len(pieces))] = theirs[random.integers(len(theirs))]
    return b"".join(pieces)


_CHANGES = (
    _bits,
    _bytes,
    _number,
    _number,
    _cut,
    _hole,
    _more,
    _splice,
    _order,
    _missing,
    _again,
    _foreign,
)
"""Each as likely; what is told of lengths and sizes twice, since it is what decoders trust."""
