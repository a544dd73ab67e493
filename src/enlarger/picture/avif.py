"""EXIF and XMP of an AVIF: read from the file, and hidden from libavif, which refuses the picture if they are damaged.

An AVIF is a tree of boxes; one lists its items, another says where each of them stands (ISO/IEC 14496-12, 8.11).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

BRANDS = (b"ftypavif", b"ftypavis")
"""Bytes 4 to 12 of a file."""

_HIDDEN = b"skip"
"""A kind of item that nobody reads."""

_MOST_ITEMS = 4096


_XMP_TYPE = b"application/rdf+xml"
"""The content type of XMP among items of kind ``mime`` (ISO/IEC 23008-12, A.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Where EXIF or XMP stands in an AVIF."""

    kind_at: int
    """Where the file says what kind of item it is."""

    block: bytes
    """As it stands there, of EXIF without the number before it; empty where it is not in the file."""


def exif_item(data: bytes) -> Item | None:
    """The first EXIF item of a file; None where there is none, or what lists the items is damaged."""
    found = _item(data, b"Exif")
    if found is None:
        return None
    skipped = int.from_bytes(found.block[:4].ljust(4, b"\0"), "big")
    return replace(found, block=found.block[4 + skipped :])


def xmp_item(data: bytes) -> Item | None:
    """The first item of XMP, likewise."""
    return _item(data, b"mime")


def without_metadata(data: bytes) -> bytes:
    """The file with its items of EXIF and XMP called something else, in as many bytes."""
    try:
        meta = _meta(data)
        listed = list(_listed(data, *meta)) if meta else []
    except (struct.error, IndexError):
        return data
    if not listed:
        return data
    hidden = bytearray(data)
    for _, _, kind_at in listed:
        hidden[kind_at : kind_at + 4] = _HIDDEN
    return bytes(hidden)


def _item(data: bytes, wanted: bytes) -> Item | None:
    try:
        meta = _meta(data)
        listed = _listed(data, *meta) if meta else iter(())
        found = next(((number, at) for kind, number, at in listed if kind == wanted), None)
        if meta is None or found is None:
            return None
        number, kind_at = found
        return Item(kind_at=kind_at, block=b"".join(_extents(data, *meta, number)))
    except (struct.error, IndexError):
        return None


def _meta(data: bytes) -> tuple[int, int] | None:
    """Where the boxes about the items begin and end, behind version and flags."""
    meta = _box(data, b"meta", 0, len(data))
    return meta and (meta[0] + 4, meta[1])


def boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box, and where its content begins and ends."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        head = 8
        if size == 1 and begin + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, begin + 8)
            head = 16
        stop = end if size == 0 else min(begin + size, end)
        if stop < begin + head:
            return
        yield kind, begin + head, stop
        begin = stop


def _box(data: bytes, kind: bytes, begin: int, end: int) -> tuple[int, int] | None:
    found = (place for name, *place in boxes(data, begin, end) if name == kind)
    return next(((start, stop) for start, stop in found), None)


def _listed(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind and number of each item of EXIF and XMP, and where its kind stands."""
    listing = _box(data, b"iinf", begin, end)
    if listing is None:
        return
    at, stop = listing
    at += 4 + (2 if data[at] == 0 else 4)
    for kind, inside, end_ in itertools.islice(boxes(data, at, stop), _MOST_ITEMS):
        version = data[inside]
        if kind != b"infe" or version not in (2, 3):
            continue
        width = 2 if version == 2 else 4
        kind_at = inside + 4 + width + 2
        kind = data[kind_at : kind_at + 4]
        if kind == b"Exif" or (kind == b"mime" and _XMP_TYPE in data[kind_at + 4 : end_]):
            yield kind, int.from_bytes(data[inside + 4 : inside + 4 + width], "big"), kind_at


def _extents(data: bytes, begin: int, end: int, wanted: int) -> Iterator[bytes]:
    """The parts of an item."""
    locations = _box(data, b"iloc", begin, end)
    if locations is None:
        return
    at, _ = locations
    version = data[at]
    offset_bytes, length_bytes = divmod(data[at + 4], 16)
    base_bytes, index_bytes = divmod(data[at + 5], 16)
    if version == 0:
        index_bytes = 0
    at += 6
    width = 2 if version < 2 else 4
    count, at = _number(data, at, width)
    for _ in range(min(count, _MOST_ITEMS)):
        number, at = _number(data, at, width)
        method, at = _number(data, at, 2) if version else (0, at)
        base, at = _number(data, at + 2, base_bytes)
        extents, at = _number(data, at, 2)
        for _ in range(extents):
            offset, at = _number(data, at + index_bytes, offset_bytes)
            length, at = _number(data, at, length_bytes)
            if number != wanted:
                continue
            # In the file, or in a box beside this one.
            own = _box(data, b"idat", begin, end) if method & 15 == 1 else (0, len(data))
            if own is not None:
                start = own[0] + base + offset
                yield data[start : min(start + length, own[1])]
        if number == wanted:
            return


def _number(data: bytes, at: int, width: int) -> tuple[int, int]:
    """A number of so many bytes, and where it ends."""
    if at + width > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + width], "big"), at + width
