"""What a file carries besides samples: EXIF as directories of entries, XMP, chunks of a PNG.

An EXIF block is a small TIFF: a header, and directories whose entries stay as they are, byte for byte and
in their own byte order, unless they speak of the picture's size or orientation.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from enlarger import __version__

EXIF_PREFIX = b"Exif\0\0"
"""What stands before the block in a JPEG, and in what Pillow hands out."""

XMP_KEYWORD = b"XML:com.adobe.xmp"
"""Of the iTXt chunk of a PNG that holds XMP (XMP specification, part 3, 1.1.5)."""

_PNG_SIGNATURE_BYTES = 8

# Tags of EXIF 2.32, 4.6, and of TIFF 6.0.
_ORIENTATION, _SOFTWARE = 0x0112, 0x0131
_WIDTH, _HEIGHT = 0x0100, 0x0101
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_EXIF_WIDTH, _EXIF_HEIGHT, _USER_COMMENT = 0xA002, 0xA003, 0x9286
_DIRECTORIES = (_EXIF, _GPS, _INTEROPERABILITY)

_OF_TIFF = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298, _EXIF, _GPS})
"""Tags of a TIFF's first directory that speak of the photo: its description, camera, software, time,
artist, computer, copyright, and the directories of EXIF and GPS. The others describe the file."""

_OF_SAMPLES = frozenset({0x0111, 0x0116, 0x0117, 0x014A, 0x0144, 0x0145, 0x0201, 0x0202})
"""Tags that point to samples or to further pictures, which a block for another file must not."""

_ASCII, _SHORT, _LONG, _UNDEFINED = 2, 3, 4, 7
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes per value, by type (TIFF 6.0, section 2)."""

_DEEPEST = 3
"""Directories inside one another: the first, EXIF, interoperability."""


ByteOrder = Literal["<", ">"]


class DamagedExifError(Exception):
    """The block does not hold together."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a directory, in the byte order of its block."""

    type: int
    count: int
    data: bytes


Directory: TypeAlias = "dict[int, Entry | Directory]"
"""Entries by tag; a directory in place of its offset."""


def exif_for(
    exif: bytes | None,
    *,
    width_px: int,
    height_px: int,
    states_orientation: bool = True,
    provenance: Mapping[str, object] | None = None,
) -> bytes:
    """The block for a finished picture: upright, of this size, without thumbnail, all else as it was.

    Args:
        exif: the block of the picture it was made from, with or without prefix; None begins a new one.
        width_px: of the picture.
        height_px: of the picture.
        states_orientation: false where the format states it elsewhere and the block must be silent.
        provenance: plain values that are written as JSON into the user comment.

    Raises:
        DamagedExifError: ``exif`` does not hold together.
    """
    order: ByteOrder = "<"
    directory: Directory = {}
    if exif is not None:
        order, directory = _parsed(exif)
    for tag in _OF_SAMPLES:
        directory.pop(tag, None)
    details = directory.get(_EXIF)
    if not isinstance(details, dict):
        details = directory[_EXIF] = {}
    if exif is not None:
        directory.pop(_ORIENTATION, None)
        if states_orientation:
            directory[_ORIENTATION] = Entry(_SHORT, 1, struct.pack(f"{order}H", 1))
        width, height = (
            Entry(_LONG, 1, struct.pack(f"{order}I", side)) for side in (width_px, height_px)
        )
        for tag, entry in ((_WIDTH, width), (_HEIGHT, height)):
            if tag in directory:
                directory[tag] = entry
        details[_EXIF_WIDTH], details[_EXIF_HEIGHT] = width, height
    if provenance is not None:
        comment = b"ASCII\0\0\0" + json.dumps(dict(provenance)).encode("ascii")
        details[_USER_COMMENT] = Entry(_UNDEFINED, len(comment), comment)
        software = f"enlarger {__version__}".encode("ascii") + b"\0"
        directory[_SOFTWARE] = Entry(_ASCII, len(software), software)
    return _block(order, directory)


def exif_of_tiff(data: bytes) -> bytes | None:
    """What a TIFF says of the photo, as an EXIF block; None where it says nothing or cannot be read."""
    try:
        order, directory = _parsed(data)
    except DamagedExifError:
        return None
    kept = {tag: value for tag, value in directory.items() if tag in _OF_TIFF}
    return EXIF_PREFIX + _block(order, kept) if kept else None


def with_exif(tiff: bytes, exif: bytes) -> bytes:
    """A TIFF that says of the photo what the block says; both have the same byte order.

    Raises:
        DamagedExifError: one of them does not hold together.
    """
    order, of_photo = _parsed(exif)
    _, directory = _parsed(tiff)
    kept = {tag: value for tag, value in of_photo.items() if tag in _OF_TIFF}
    # The new directory stands at the end; strips stay where they are, and with them their offsets.
    tiff += bytes(len(tiff) % 2)
    offset = len(tiff)
    return (
        tiff[:4]
        + struct.pack(f"{order}I", offset)
        + tiff[8:]
        + _table({**kept, **directory}, order, offset)
    )


def byte_order(exif: bytes) -> ByteOrder:
    """Of a block or of a TIFF.

    Raises:
        DamagedExifError: the block says neither.
    """
    orders: dict[bytes, ByteOrder] = {b"II*\0": "<", b"MM\0*": ">"}
    order = orders.get(exif.removeprefix(EXIF_PREFIX)[:4])
    if order is None:
        raise DamagedExifError
    return order


def upright_xmp(xmp: bytes) -> bytes:
    """The packet with an orientation of 1 where it states one, as attribute or as element."""
    return re.sub(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)\d+""", rb"\g<1>1", xmp)


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


def _parsed(block: bytes) -> tuple[ByteOrder, Directory]:
    """Byte order and first directory of a block or of a TIFF."""
    block = block.removeprefix(EXIF_PREFIX)
    order = byte_order(block)
    try:
        (offset,) = struct.unpack_from(f"{order}I", block, 4)
        return order, _directory(block, order, offset, _DEEPEST)
    except struct.error as error:
        raise DamagedExifError from error


def _directory(block: bytes, order: ByteOrder, offset: int, depth: int) -> Directory:
    if depth == 0:
        raise DamagedExifError
    directory: Directory = {}
    left = len(block)  # values that overlap would make much of little
    (entries,) = struct.unpack_from(f"{order}H", block, offset)
    for position in range(offset + 2, offset + 2 + 12 * entries, 12):
        tag, type_, count = struct.unpack_from(f"{order}HHI", block, position)
        (pointer,) = struct.unpack_from(f"{order}I", block, position + 8)
        if tag in directory:
            raise DamagedExifError
        if tag in _DIRECTORIES:
            directory[tag] = _directory(block, order, pointer, depth - 1)
            continue
        size = count * _TYPE_BYTES.get(type_, len(block) + 1)
        start = position + 8 if size <= 4 else pointer
        left -= size
        if start + size > len(block) or left < 0:
            raise DamagedExifError
        directory[tag] = Entry(type_, count, block[start : start + size])
    return directory


def _block(order: ByteOrder, directory: Directory) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}I", 8) + _table(directory, order, 8)


def _table(directory: Directory, order: ByteOrder, offset: int) -> bytes:
    """A directory that stands at ``offset``, without a next one, and its longer values behind it."""
    table = struct.pack(f"{order}H", len(directory))
    values = bytearray()
    behind = offset + 2 + 12 * len(directory) + 4
    for tag, value in sorted(directory.items()):
        at = behind + len(values)
        if isinstance(value, dict):
            type_, count, data = _LONG, 1, _table(value, order, at)
        else:
            type_, count, data = value.type, value.count, value.data
        table += struct.pack(f"{order}HHI", tag, type_, count)
        if isinstance(value, Entry) and len(data) <= 4:
            table += data.ljust(4, b"\0")
            continue
        table += struct.pack(f"{order}I", at)
        values += data + bytes(len(data) % 2)
    return table + bytes(4) + bytes(values)
