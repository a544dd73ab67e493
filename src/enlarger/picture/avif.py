"""Reads and writes what Pillow cannot: the EXIF and XMP of an AVIF, and the code points that state its colours.

EXIF and XMP are read from the file, and hidden from libavif, which refuses the picture if they are damaged. An AVIF
is a tree of boxes. One box lists the items, and another one says where each of them is stored (ISO/IEC 14496-12,
8.11).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

BRANDS = (b"ftypavif", b"ftypavis")
"""Bytes 4 to 12 of a file."""

_HIDDEN = b"skip"
"""An item type that every reader ignores."""

_MOST_ITEMS = 4096

_INSIDE = {
    b"meta": 4,
    b"stsd": 8,
    b"av01": 78,
    **dict.fromkeys((b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"), 0),
}
"""Boxes that lead to colours, each with the number of bytes before its child boxes (ISO/IEC 14496-12, 8; 23008-12,
9.3)."""

_COLOURS = b"nclx"
"""The beginning of a ``colr`` box with code points of H.273. Other ``colr`` boxes hold a profile."""


_XMP_TYPE = b"application/rdf+xml"
"""The content type of XMP among items of type ``mime`` (ISO/IEC 23008-12, A.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """The place of EXIF or XMP in an AVIF."""

    kind_at: int
    """The position of the item's type."""

    block: bytes
    """The stored bytes, for EXIF without the offset before them; empty if they are not in the file."""


def exif_item(data: bytes) -> Item | None:
    """Return the first EXIF item of a file; None if there is none, or the list of items is damaged."""
    found = _item(data, b"Exif")
    if found is None:
        return None
    skipped = int.from_bytes(found.block[:4].ljust(4, b"\0"), "big")
    return replace(found, block=found.block[4 + skipped :])


def xmp_item(data: bytes) -> Item | None:
    """Return the first XMP item of a file; None if there is none, or the list of items is damaged."""
    return _item(data, b"mime")


def without_metadata(data: bytes) -> bytes:
    """Return the file with the types of its EXIF and XMP items overwritten, so that readers ignore them.

    The length stays.
    """
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
    """Return where the boxes about the items begin and end, after version and flags."""
    meta = _box(data, b"meta", 0, len(data))
    return meta and (meta[0] + 4, meta[1])


def code_points(data: bytes) -> tuple[int, int] | None:
    """Return the colour primaries and transfer characteristics (ITU-T H.273); None if the file states none.

    They belong to the main item, or to the first track of an animation. Other items, such as a gain map, may have
    their own.
    """
    stated = list(_stated_colours(data, 0, len(data)))
    if data[8:12] == b"avis":
        stated.sort(key=lambda place: not place[1])
    own = _main_properties(data)
    for at, is_of_a_track, number in stated:
        if is_of_a_track or not own or number in own:
            return struct.unpack_from(">2H", data, at)
    return None


def with_code_points(data: bytes, points: tuple[int, int]) -> bytes:
    """Return a file of one picture, or one animation, with these code points."""
    written = bytearray(data)
    for at, _, _ in _stated_colours(data, 0, len(data)):
        struct.pack_into(">2H", written, at, *points)
    return bytes(written)


def _stated_colours(
    data: bytes, begin: int, end: int, *, is_of_a_track: bool = False
) -> Iterator[tuple[int, bool, int]]:
    """Yield where code points stand, whether they belong to a track, and the number of their property, from 1."""
    for number, (kind, start, stop) in enumerate(boxes(data, begin, end), start=1):
        if number > _MOST_ITEMS:
            return
        if kind == b"colr" and data[start : start + 4] == _COLOURS and start + 8 <= stop:
            yield start + 4, is_of_a_track, number
        elif kind in _INSIDE:
            inside = start + _INSIDE[kind]
            of_a_track = is_of_a_track or kind == b"trak"
            yield from _stated_colours(data, inside, stop, is_of_a_track=of_a_track)


def _main_properties(data: bytes) -> frozenset[int]:
    """Return the numbers of the main item's properties; empty if the file does not list them."""
    try:
        meta = _box(data, b"meta", 0, len(data))
        main = meta and _box(data, b"pitm", meta[0] + 4, meta[1])
        held = meta and _box(data, b"iprp", meta[0] + 4, meta[1])
        listed = held and _box(data, b"ipma", *held)
        if not (meta and main and listed):
            return frozenset()
        wanted, _ = _number(data, main[0] + 4, 2 if data[main[0]] == 0 else 4)
        item_bytes = 2 if data[listed[0]] == 0 else 4
        width = 2 if data[listed[0] + 3] & 1 else 1
        count, at = _number(data, listed[0] + 4, 4)
        for _ in range(min(count, _MOST_ITEMS)):
            item, at = _number(data, at, item_bytes)
            properties, at = _number(data, at, 1)
            if item == wanted:
                # The highest bit marks the property as essential.
                mask = (1 << (8 * width - 1)) - 1
                places = range(at, at + properties * width, width)
                return frozenset(_number(data, place, width)[0] & mask for place in places)
            at += properties * width
    except (struct.error, IndexError):
        pass
    return frozenset()


def boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box, and where its content begins and ends."""
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
    """Yield the type and the number of each EXIF and XMP item, and the position of its type."""
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
    """Yield the parts of an item."""
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
            # The part is in the file itself, or in a box beside this one.
            own = _box(data, b"idat", begin, end) if method & 15 == 1 else (0, len(data))
            if own is not None:
                start = own[0] + base + offset
                yield data[start : min(start + length, own[1])]
        if number == wanted:
            return


def _number(data: bytes, at: int, width: int) -> tuple[int, int]:
    """Return a number of this many bytes, and where it ends."""
    if at + width > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + width], "big"), at + width
