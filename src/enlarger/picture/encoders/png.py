"""Encodes PNG by imagecodecs, and writes the chunks that it does not write."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np

from enlarger.large_arrays import large_array
from enlarger.picture import chunks, exif, marking
from enlarger.picture.metadata import RAW_PROFILE, photoshop_block, raw_profile
from enlarger.picture.values import Picture, Samples, Text, flat

PNG_LEVEL = 1
"""Four times faster than Pillow's default of 6, for files 10 % larger (measured on natural photos)."""

_PNG_STRATEGY = imagecodecs.PNG.STRATEGY.RLE

_PNG_FILTER = imagecodecs.PNG.FILTER.PAETH
"""A network's output is smooth and never repeats exactly. So the encoder looks for runs of what a neighbour does not
predict, and not for repetitions. This takes less than two thirds of the time of the library's default, and makes smaller
files (benchmarks/encoders.py). Files of exactly repeated drawings are a third larger, but no network makes these."""

_PNG_HEADER_BYTES = 33
"""Signature and IHDR. Chunks about the whole picture follow them."""


def png_file(picture: Picture) -> list[bytes | memoryview]:
    """Return the parts of a PNG file (third edition, 11.3)."""
    pixels = bare_png(flat(picture.samples))
    written = marking.png_chunks_of(picture.stated)
    if picture.icc is not None:
        written.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi is not None:
        across, down = (int(value / 0.0254 + 0.5) for value in picture.dpi)
        written.append((b"pHYs", struct.pack(">IIB", across, down, 1)))  # 1: per metre
    if picture.exif is not None:
        written.append((b"eXIf", picture.exif.removeprefix(exif.EXIF_PREFIX)))
    written += text_chunks(picture)
    return [
        pixels[:_PNG_HEADER_BYTES],
        *(chunks.png_chunk(kind, content) for kind, content in written),
        pixels[_PNG_HEADER_BYTES:],
    ]


def text_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    """Return the chunks of text (PNG third edition, 11.3.3). None is compressed: some readers refuse long ones."""
    written = []
    if picture.xmp is not None:
        written.append((b"iTXt", chunks.XMP_KEYWORD + bytes(5) + picture.xmp))
    texts = picture.texts
    if picture.iptc is not None:
        profile = raw_profile("iptc", photoshop_block(picture.iptc))
        texts += (Text(f"{RAW_PROFILE}iptc", profile),)
    for text in texts:
        keyword = text.keyword.encode("latin-1") + b"\0"
        if text.language or text.translated_keyword or not _is_latin_1(text.text):
            names = (text.language.encode("latin-1"), text.translated_keyword.encode(), b"")
            written.append((b"iTXt", keyword + bytes(2) + b"\0".join(names) + text.text.encode()))
        else:
            written.append((b"tEXt", keyword + text.text.encode("latin-1")))
    return written


def bare_png(samples: Samples) -> memoryview:
    """Return a PNG file that holds only samples, of 8 or 16 bits. Pillow would copy them."""
    # A buffer of our own: the codec copies its own buffer, which is also too small for noise in short rows. Pages that
    # are not written take no memory.
    room: Any = large_array(((samples.nbytes + len(samples)) * 5 // 4 + 4096,), np.uint8)
    return memoryview(
        imagecodecs.png_encode(
            samples, level=PNG_LEVEL, strategy=_PNG_STRATEGY, filter=_PNG_FILTER, out=room
        )
    )


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
