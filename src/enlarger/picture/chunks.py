"""Chunks of a PNG and of a WebP."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

XMP_KEYWORD = b"XML:com.adobe.xmp"
"""The keyword of the iTXt chunk of a PNG that holds XMP (XMP specification, part 3, 1.1.5)."""

_PNG_SIGNATURE_BYTES = 8

WEBP_KNOWN = frozenset(
    {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "}
)
"""Kinds of chunks of a WebP (RFC 9649, 2.5 to 2.7)."""

_WEBP_HEAD_BYTES = 12
_CHUNK_HEAD_BYTES = 8


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


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk, where it begins and where the next one does; the last may reach beyond the file.

    The length that the file states is believed no more than the chunks are: known ones behind it belong to the
    picture. A chunk of an odd length has a byte behind it that fills up, which some programs forget.
    """
    stated = _CHUNK_HEAD_BYTES + int.from_bytes(data[4:8], "little")
    begin = _WEBP_HEAD_BYTES
    while begin + _CHUNK_HEAD_BYTES <= len(data):
        kind, size = struct.unpack_from("<4sI", data, begin)
        if kind not in WEBP_KNOWN and (begin >= stated or not kind.isascii()):
            return
        end = begin + _CHUNK_HEAD_BYTES + size
        stop = end + size % 2
        if size % 2 and (data[end : end + 4] in WEBP_KNOWN or end == len(data)):
            stop = end
        yield kind, begin, stop
        begin = stop
