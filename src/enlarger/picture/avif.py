"""What Pillow does not tell of an AVIF, and cannot write: its EXIF and XMP, and the numbers that state its colours.

EXIF and XMP are read from the file, and hidden from libavif, which refuses the picture if they are damaged. An AVIF is a
tree of boxes; one lists its items, another says where each of them stands (ISO/IEC 14496-12, 8.11).
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

_INSIDE = {
    b"meta": 4,
    b"stsd": 8,
    b"av01": 78,
    **dict.fromkeys((b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl"), 0),
}
"""Boxes that lead to colours, and how many bytes stand in each before the boxes inside (ISO/IEC 14496-12, 8; 23008-12, 9.3)."""

_COLOURS = b"nclx"
"""What a box ``colr`` begins with that has numbers of H.273; others hold a profile."""


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


def code_points(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristics of the picture (ITU-T H.273); None where the file states none.

    They are those of the main item, or of the first track of an animation. Other items, such as a gain map or what it leads
    to, have some of their own.
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
    """A file of one picture, or one animation, that states these colours."""
    written = bytearray(data)
    for at, _, _ in _stated_colours(data, 0, len(data)):
        struct.pack_into(">2H", written, at, *points)
    return bytes(written)


def _stated_colours(
    data: bytes, begin: int, end: int, *, is_of_a_track: bool = False
) -> Iterator[tuple[int, bool, int]]:
    """Where numbers of H.273 stand, whether they are a track's, and which property of the file they are, from 1."""
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
    """Numbers of the properties of the main item; empty where the file does not say."""
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
                # The highest bit says that the property is essential.
                mask = (1 << (8 * width - 1)) - 1
                places = range(at, at + properties * width, width)
                return frozenset(_number(data, place, width)[0] & mask for place in places)
            at += properties * width
    except (struct.error, IndexError):
        pass
    return frozenset()


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
