"""Chunks of a PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

XMP_KEYWORD = b"XML:com.adobe.xmp"
"""Of the iTXt chunk of a PNG that holds XMP (XMP specification, part 3, 1.1.5)."""

_PNG_SIGNATURE_BYTES = 8


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk, as far as the file goes."""
    position = _PNG_SIGNATURE_BYTES
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Length, kind, content and checksum."""
    checksum = zlib.crc32(kind + content)
    return b"".join([struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)])
