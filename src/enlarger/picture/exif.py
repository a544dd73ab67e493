"""EXIF blocks: read entry by entry, and written so that they speak of another picture.

An EXIF block is a small TIFF file: a header, and directories of entries. Entries stay as they are, byte for byte and in
the block's own byte order, unless they speak of the picture's size, orientation or places in it. An entry that is damaged
is left out, and the others stay. A maker's note stays at its place in the block, since most makers count the offsets
inside it from the start of the block.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from PIL.ExifTags import GPSTAGS, TAGS

from enlarger import __version__
from enlarger.picture.values import Note

EXIF_PREFIX = b"Exif\0\0"
"""What stands before the block in a JPEG, and in what Pillow hands out."""

# Tags of EXIF 3.0, 4.6, and of TIFF 6.0.
ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
XMP, IPTC, PHOTOSHOP = 0x02BC, 0x83BB, 0x8649
_SOFTWARE, _WIDTH, _HEIGHT = 0x0131, 0x0100, 0x0101
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_EXIF_WIDTH, _EXIF_HEIGHT, _USER_COMMENT, _MAKER_NOTE = 0xA002, 0xA003, 0x9286, 0x927C
_RELATED_WIDTH, _RELATED_HEIGHT = 0x1001, 0x1002
_COLOUR_SPACE, _GAMMA, _INDEX = 0xA001, 0xA500, 0x0001
_CALIBRATION = (0x012D, 0x013E, 0x013F)
"""TransferFunction, WhitePoint and PrimaryChromaticities."""

_SRGB_SPACE, _ADOBE_SPACE = 1, 2
"""Values of ColorSpace; the second stands in no standard, but cameras write it."""

_SUBJECT_PLACES = (0x9214, 0xA214)
"""SubjectArea and SubjectLocation: a point, with a diameter or with a width and height behind it, in pixels."""

_PIXELS_PER_UNIT = {0xA20E: 0, 0xA20F: 1}
"""FocalPlaneXResolution and FocalPlaneYResolution: pixels of the picture per unit of the sensor, by axis."""

_INCHES_PER_UNIT = {2: 1.0, 3: 1 / 2.54}
"""By ResolutionUnit: inch, which it is where nothing is stated, and centimetre."""

_OFFSET_SCHEMA = 0xEA1D
"""How far Windows has moved the maker's note. It is left out where the note stays where it is."""

_DIRECTORIES = (_EXIF, _GPS, _INTEROPERABILITY)

_STRIP_OFFSETS = 0x0111
_THUMBNAIL, _THUMBNAIL_BYTES = 0x0201, 0x0202

_OF_SAMPLES = frozenset(
    {0x0111, 0x0116, 0x0117, 0x014A, 0x0144, 0x0145, 0x0201, 0x0202, 0x8773, _OFFSET_SCHEMA}
)
"""Tags that point to samples or to further pictures or state their colour, which a block for another file must not."""

_NOTED_ALONE = {0x8773: "icc_dropped", XMP: "xmp_dropped", IPTC: "iptc_dropped"}
"""Codes of notes for blocks of their own that are damaged."""

_ELSEWHERE = frozenset({XMP, IPTC, PHOTOSHOP})
"""Blocks of their own that some programs repeat inside EXIF. They are read from there and written in their own place."""

_OF_LAYOUT = frozenset(
    {
        *range(0x00FE, 0x010B),  # kind of page, size, depth, compression, colour, thresholds
        *(0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x011A, 0x011B, 0x011C),
        *range(0x0120, 0x0126),  # free blocks, gray response, options of fax
        *(0x0128, 0x0129, 0x012D, 0x013D, 0x013E, 0x013F, 0x0140, 0x0141),
        *range(0x0142, 0x014B),  # tiles and SubIFDs
        *range(0x014C, 0x0160),  # inks, extra samples, sample format and ranges, JPEG tables
        *range(0x0200, 0x020A),  # JPEG of TIFF 6.0
        *(0x0211, 0x0212, 0x0213, 0x0214, 0x022F),
        *(0x80E3, 0x80E4, 0x80E5, 0x80E6, 0x8773),
        *_ELSEWHERE,
    }
)
"""Tags of a TIFF's first directory that say how its samples are stored, or what is carried in another way."""

_OF_PHOTO = frozenset(
    {
        *(0x010D, 0x010E, 0x010F, 0x0110, 0x011D, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298),
        *(0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0xC4A5),
        *(_EXIF, _GPS),
    }
)
"""Tags of a TIFF's first directory that speak of the photo: names, description, camera, software, time, artist,
computer, copyright, rating, titles of Windows, settings of printing, and the directories of EXIF and GPS."""

_ASCII, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 2, 3, 4, 5, 7
_TYPE_BYTES = {
    type_: size
    for size, types in {
        1: (1, 2, 6, 7, 129),
        2: (3, 8),
        4: (4, 9, 11, 13),
        8: (5, 10, 12, 16, 17, 18),
    }.items()
    for type_ in types
}
"""Bytes per value, by type (TIFF 6.0, section 2; BigTIFF; EXIF 3.0 for UTF-8)."""

_POINTERS = {4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of offsets, as ``struct`` names them."""

_DEEPEST = 3
"""Directories inside one another: the first, EXIF, interoperability."""

_FURTHEST_BYTES = 1 << 18
"""A maker's note that ends further from the start would make a large block of nothing."""

_HEADER_BYTES = 8

_MOST_ENTRIES = 0xFFFF
_MOST_NAMED = 8
"""Damaged entries that a note names."""

ByteOrder = Literal["<", ">"]


class DamagedExifError(Exception):
    """Nothing can be read of the block."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a directory, in the byte order of its block."""

    type: int
    count: int
    data: bytes
    stays_at: int | None = None
    """Where in the block the value must stand; None where it may be moved."""


Directory: TypeAlias = "dict[int, Entry | Directory]"
"""Entries by tag; a directory in place of its offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What a block holds, as far as it can be read."""

    order: ByteOrder
    directory: Directory
    damaged: tuple[str, ...] = ()
    """Names of entries that cannot be read."""

    damaged_tags: frozenset[int] = frozenset()
    """Tags of those of them that stand in the first directory."""

    @property
    def details(self) -> Directory:
        """The EXIF directory; empty where there is none."""
        found = self.directory.get(_EXIF)
        return found if isinstance(found, dict) else {}

    def number(self, tag: int) -> int | None:
        """A whole number of the first directory; None where it is missing or of another type."""
        entry = self.directory.get(tag)
        return _number(entry, self.order) if isinstance(entry, Entry) else None

    def bytes_of(self, tag: int) -> bytes | None:
        """The bytes of an entry of the first directory; None where it is missing or empty."""
        entry = self.directory.get(tag)
        return entry.data or None if isinstance(entry, Entry) else None

    def fractions_of(self, tag: int, count: int) -> tuple[float, ...] | None:
        """So many rational numbers of the first directory; None where they are not there, or one has no value."""
        entry = self.directory.get(tag)
        if not isinstance(entry, Entry) or (entry.type, entry.count) != (_RATIONAL, count):
            return None
        stored = struct.unpack(f"{self.order}{2 * count}I", entry.data)
        pairs = list(zip(stored[::2], stored[1::2], strict=True))
        return tuple(above / below for above, below in pairs) if all(stored[1::2]) else None

    def shorts_of(self, tag: int) -> tuple[int, ...] | None:
        """All numbers of an entry of 16 bits each; None where there is none."""
        entry = self.directory.get(tag)
        if not isinstance(entry, Entry) or entry.type != _SHORT or not entry.count:
            return None
        return struct.unpack(f"{self.order}{entry.count}H", entry.data)

    @property
    def states_adobe_rgb(self) -> bool:
        """Whether a camera says that samples are Adobe RGB: by the index R03 (DCF 2.0), or by a ColorSpace of its own."""
        stated = self.details.get(_COLOUR_SPACE)
        space = _number(stated, self.order) if isinstance(stated, Entry) else None
        related = self.details.get(_INTEROPERABILITY)
        index = related.get(_INDEX) if isinstance(related, dict) else None
        is_r03 = isinstance(index, Entry) and index.data.startswith(b"R03")
        # Programs that convert to sRGB and say so often leave the index.
        return space == _ADOBE_SPACE or (is_r03 and space != _SRGB_SPACE)

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch across and down; None where the block does not state both of them, or no unit."""
        stated = [self.directory.get(tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
        unit = self.number(_RESOLUTION_UNIT)
        inches = _INCHES_PER_UNIT.get(2 if unit is None else unit)
        found = []
        for entry in stated:
            if not isinstance(entry, Entry) or entry.type != _RATIONAL or len(entry.data) < 8:
                return None
            upper, lower = struct.unpack_from(f"{self.order}II", entry.data)
            if not lower or inches is None:
                return None
            found.append(upper / lower / inches)
        return found[0], found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a result shows of the picture that a block speaks of."""

    width_px: int
    height_px: int
    magnification: tuple[float, float] = (1, 1)
    """Pixels across and down for each of the picture's."""

    is_whole: bool = True
    """Whether it shows all of the picture, as that was stored, so that places in it can be scaled."""

    is_srgb: bool = False
    """Whether its samples are sRGB and nothing says otherwise, so that the block must not."""


def read(block: bytes) -> Block:
    """The entries of a block or of a TIFF, with or without prefix; damaged entries are named and left out.

    Raises:
        DamagedExifError: there is no directory.
    """
    return _Reader(block.removeprefix(EXIF_PREFIX)).block()


def read_or_none(block: bytes | None) -> Block | None:
    """As ``read``; None where there is no block or nothing can be read of it."""
    if not block:
        return None
    try:
        return read(block)
    except DamagedExifError:
        return None


def exif_for(
    exif: bytes | None,
    shown: Shown,
    *,
    states_orientation: bool = True,
    keeps_maker_note: bool = True,
    provenance: Mapping[str, object] | None = None,
) -> tuple[bytes, tuple[Note, ...]]:
    """The block for a finished picture, upright, of its size and without thumbnail, and what was left out of it.

    Args:
        exif: the block of the picture it was made from, with or without prefix; None begins a new one.
        shown: size of the finished picture, and what it shows of the other one.
        states_orientation: false where the format states it elsewhere and the block must be silent.
        keeps_maker_note: false leaves it out.
        provenance: plain values that are written as JSON into the user comment.

    Raises:
        DamagedExifError: nothing can be read of ``exif``.
    """
    block = Block(order="<", directory={}) if exif is None else read(exif)
    order, directory = block.order, block.directory
    notes = _damage(block)
    for tag in _OF_SAMPLES | _ELSEWHERE:
        directory.pop(tag, None)
    details = block.details
    directory[_EXIF] = details
    note = details.get(_MAKER_NOTE)
    if isinstance(note, Entry) and not (keeps_maker_note and _can_stay(note)):
        del details[_MAKER_NOTE]
        notes.append(
            Note("maker_note_dropped", f"{len(note.data)} bytes, which cannot stay where they are")
        )
    if exif is not None:
        directory.pop(ORIENTATION, None)
        if states_orientation:
            directory[ORIENTATION] = Entry(_SHORT, 1, struct.pack(f"{order}H", 1))
        _resize(directory, details, order, shown)
        if shown.is_srgb and block.states_adobe_rgb:
            _state_srgb(directory, details, order)
        untrue = _scale(details, order, shown)
        if untrue:
            names = ", ".join(_name(tag) for tag in untrue)
            notes.append(Note("exif_entries_dropped", f"places in another picture: {names}"))
    if provenance is not None:
        if _USER_COMMENT in details:
            notes.append(Note("exif_entries_dropped", "UserComment, where the provenance is now"))
        comment = b"ASCII\0\0\0" + json.dumps(dict(provenance)).encode("ascii")
        details[_USER_COMMENT] = Entry(_UNDEFINED, len(comment), comment)
        software = f"enlarger {__version__}".encode("ascii") + b"\0"
        directory[_SOFTWARE] = Entry(_ASCII, len(software), software)
    return _written(order, directory), tuple(notes)


def exif_of_tiff(block: Block) -> tuple[bytes | None, tuple[Note, ...]]:
    """What a TIFF says of the photo, as an EXIF block, and what was left out; None where it says nothing."""
    kept = {tag: value for tag, value in block.directory.items() if tag in _OF_PHOTO}
    notes = _damage_of_tiff(block)
    others = [tag for tag in block.directory if tag not in _OF_PHOTO | _OF_LAYOUT]
    if others:
        notes.append(
            Note("blocks_dropped", f"tags of the TIFF: {', '.join(map(_name, sorted(others)))}")
        )
    details = kept.get(_EXIF)
    note = details.get(_MAKER_NOTE) if isinstance(details, dict) else None
    if isinstance(details, dict) and isinstance(note, Entry) and not _can_stay(note):
        del details[_MAKER_NOTE]
        notes.append(
            Note("maker_note_dropped", f"{len(note.data)} bytes, far from the file's start")
        )
    return (EXIF_PREFIX + _written(block.order, kept) if kept else None), tuple(notes)


def with_exif(tiff: bytes, exif: bytes) -> bytes:
    """A TIFF of strips that says of the photo what the block says; both have the same byte order.

    Raises:
        DamagedExifError: one of them cannot be read.
    """
    photo, file = read(exif), read(tiff)
    order = file.order
    kept = {tag: value for tag, value in photo.directory.items() if tag not in _OF_LAYOUT}
    directory: Directory = {**kept, **file.directory}
    strips = file.directory.get(_STRIP_OFFSETS)
    if not isinstance(strips, Entry) or strips.type != _LONG or not strips.count:
        raise DamagedExifError
    offsets = struct.unpack(f"{order}{strips.count}I", strips.data)
    # The maker's note has to stay at its offset from the start of the file, so the samples stand behind all
    # directories. How long these are does not depend on where the samples stand.
    begin = min(offsets)
    head = _written(order, directory)
    moved = [offset - begin + len(head) for offset in offsets]
    directory[_STRIP_OFFSETS] = replace(strips, data=struct.pack(f"{order}{len(moved)}I", *moved))
    return _written(order, directory) + tiff[begin:]


def byte_order(exif: bytes) -> ByteOrder:
    """The byte order of a block or of a TIFF.

    Raises:
        DamagedExifError: the block says neither.
    """
    orders: dict[bytes, ByteOrder] = {b"II": "<", b"MM": ">"}
    order = orders.get(exif.removeprefix(EXIF_PREFIX)[:2])
    if order is None:
        raise DamagedExifError
    return order


def _can_stay(note: Entry) -> bool:
    """Whether a maker's note can stand in a new block where it stood in the old one."""
    if note.stays_at is None:
        return len(note.data) <= 4  # it stands in the entry itself, and points to nothing
    return _HEADER_BYTES <= note.stays_at <= _FURTHEST_BYTES - len(note.data)


def _resize(directory: Directory, details: Directory, order: ByteOrder, shown: Shown) -> None:
    """State the size of the result where a size is stated, and in the EXIF directory in any case."""
    width, height = (
        Entry(_LONG, 1, struct.pack(f"{order}I", side))
        for side in (shown.width_px, shown.height_px)
    )
    related = details.get(_INTEROPERABILITY)
    for place, across, down in (
        (directory, _WIDTH, _HEIGHT),
        (related if isinstance(related, dict) else {}, _RELATED_WIDTH, _RELATED_HEIGHT),
    ):
        for tag, entry in ((across, width), (down, height)):
            if tag in place:
                place[tag] = entry
    details[_EXIF_WIDTH], details[_EXIF_HEIGHT] = width, height


def _state_srgb(directory: Directory, details: Directory, order: ByteOrder) -> None:
    """Say that samples are sRGB, where the block says that they are Adobe RGB."""
    details[_COLOUR_SPACE] = Entry(_SHORT, 1, struct.pack(f"{order}H", _SRGB_SPACE))
    details.pop(_GAMMA, None)
    for tag in _CALIBRATION:
        directory.pop(tag, None)
    related = details.get(_INTEROPERABILITY)
    if isinstance(related, dict) and _INDEX in related:
        related[_INDEX] = Entry(_ASCII, 4, b"R98\0")


def _scale(details: Directory, order: ByteOrder, shown: Shown) -> list[int]:
    """Scale what counts pixels; remove and name what is untrue of the result."""
    untrue = []
    for tag in _SUBJECT_PLACES:
        entry = details.pop(tag, None)
        if not isinstance(entry, Entry):
            continue
        if shown.magnification == (1, 1) and shown.is_whole:
            details[tag] = entry
            continue
        scaled = _scaled_place(entry, order, shown)
        if scaled is None:
            untrue.append(tag)
        else:
            details[tag] = scaled
    for tag, axis in _PIXELS_PER_UNIT.items():
        entry = details.get(tag)
        if isinstance(entry, Entry) and entry.type == _RATIONAL and entry.count == 1:
            above, below = struct.unpack(f"{order}2I", entry.data)
            above = round(above * shown.magnification[axis])
            if above <= 0xFFFFFFFF:
                details[tag] = replace(entry, data=struct.pack(f"{order}2I", above, below))
            else:
                del details[tag]
                untrue.append(tag)
    return untrue


def _scaled_place(entry: Entry, order: ByteOrder, shown: Shown) -> Entry | None:
    """A place in the result; None if it lies outside, or does not fit into its type."""
    if entry.type != _SHORT or not 2 <= entry.count <= 4 or not shown.is_whole:
        return None
    across, down = shown.magnification
    stored = struct.unpack(f"{order}{entry.count}H", entry.data)
    factors = (across, down, (across + down) / 2) if entry.count == 3 else (across, down) * 2
    values = [round(value * factor) for value, factor in zip(stored, factors, strict=False)]
    if max(values) > 0xFFFF:
        return None
    return replace(entry, data=struct.pack(f"{order}{entry.count}H", *values))


def _number(entry: Entry, order: ByteOrder) -> int | None:
    """A whole number that stands alone."""
    kinds = {1: "B", _SHORT: "H", _LONG: "I", 13: "I", 16: "Q", 18: "Q"}
    if entry.type not in kinds or entry.count != 1:
        return None
    return int(struct.unpack(order + kinds[entry.type], entry.data)[0])


def _damage(block: Block) -> list[Note]:
    """What could not be read of a block."""
    if not block.damaged:
        return []
    names = ", ".join(block.damaged[:_MOST_NAMED])
    more = len(block.damaged) - _MOST_NAMED
    return [
        Note(
            "exif_entries_dropped", f"damaged: {names}" + (f" and {more} more" if more > 0 else "")
        )
    ]


def _damage_of_tiff(block: Block) -> list[Note]:
    """What could not be read of a TIFF's first directory: entries on the photo, blocks of their own, and the rest."""
    lost = {tag for tag in block.damaged_tags if tag not in _OF_PHOTO}
    names = {_name(tag) for tag in lost}
    notes = _damage(
        replace(block, damaged=tuple(name for name in block.damaged if name not in names))
    )
    for tag in sorted(lost & set(_NOTED_ALONE) - set(block.directory)):
        notes.append(Note(_NOTED_ALONE[tag], "its entry in the file is damaged"))
    others = sorted(_name(tag) for tag in lost if tag not in _NOTED_ALONE or tag in block.directory)
    if others:
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        named = ", ".join(others[:_MOST_NAMED])
        notes.append(Note("damage_ignored", f"damaged entries of the TIFF: {named}{more}"))
    return notes


def _name(tag: int, names: Mapping[int, str] = TAGS) -> str:
    """A tag for people: its name, if it has one, and its number."""
    name = names.get(tag)
    return f"0x{tag:04X}" if name is None else f"{name} (0x{tag:04X})"


class _Reader:
    """One way through a block. It ends, whatever the offsets say."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._order = byte_order(block)
        version = block[2:4] if self._order == "<" else block[3:1:-1]
        if version not in (b"*\0", b"+\0"):
            raise DamagedExifError
        self._is_big = version == b"+\0"
        count, offset = ("Q", "Q") if self._is_big else ("H", "I")
        self._count = struct.Struct(self._order + count)
        self._offset = struct.Struct(self._order + offset)
        self._entry = struct.Struct(f"{self._order}HH{offset}{self._offset.size}s")
        self._left = len(block)  # values that overlap would make much of little
        self._open: set[int] = set()
        self._damaged: dict[str, None] = {}
        self._damaged_tags: set[int] = set()

    def block(self) -> Block:
        try:
            (offset,) = self._offset.unpack_from(self._block, 8 if self._is_big else 4)
        except struct.error as error:
            raise DamagedExifError from error
        directory = self._directory(offset)
        if directory is None:
            raise DamagedExifError
        damaged_tags = self._damaged_tags.copy()
        self._look_at_thumbnail(offset)
        return Block(
            order=self._order,
            directory=directory,
            damaged=tuple(self._damaged),
            damaged_tags=frozenset(damaged_tags),
        )

    def _look_at_thumbnail(self, first: int) -> None:
        """Name the thumbnail where it is damaged. It is in the second directory, and is never kept."""
        (stated,) = self._count.unpack_from(self._block, first)
        at = first + self._count.size + stated * self._entry.size
        if at + self._offset.size > len(self._block):
            return
        (second,) = self._offset.unpack_from(self._block, at)
        if self._is_big or not second:
            return
        directory = self._directory(second) or {}
        order = self._order
        at, size = (
            _number(entry, order) if isinstance(entry, Entry) else 0
            for entry in (directory.get(_THUMBNAIL), directory.get(_THUMBNAIL_BYTES))
        )
        if not directory or (at or 0) + (size or 0) > len(self._block):
            self._damaged["thumbnail"] = None

    def _directory(self, offset: int, tag_of_directory: int = 0) -> Directory | None:
        """The directory that stands there, as far as it goes; None where none does."""
        if offset in self._open or len(self._open) == _DEEPEST:
            return None
        begin = offset + self._count.size
        if begin > len(self._block):
            return None
        (stated,) = self._count.unpack_from(self._block, offset)
        there = min((len(self._block) - begin) // self._entry.size, _MOST_ENTRIES)
        if stated and not there:
            return None
        self._open.add(offset)
        names = GPSTAGS if tag_of_directory == _GPS else TAGS
        directory: Directory = {}
        for number in range(min(stated, there)):
            at = begin + number * self._entry.size
            tag, type_, count, stored = self._entry.unpack_from(self._block, at)
            value: Entry | Directory | None = None
            if tag in directory:
                pass
            elif tag in _DIRECTORIES:
                value = self._below(tag, type_, count, stored)
            else:
                stays = tag_of_directory == _EXIF and tag == _MAKER_NOTE
                value = self._value(type_, count, stored, at, stays=stays)
            if value is None:
                self._damaged[_name(tag, names)] = None
                if len(self._open) == 1:
                    self._damaged_tags.add(tag)
            else:
                directory[tag] = value
        if stated > there:
            self._damaged[f"{stated - there} entries behind the end"] = None
        self._open.discard(offset)
        return directory

    def _below(self, tag: int, type_: int, count: int, stored: bytes) -> Directory | None:
        """The directory that an entry points to."""
        if type_ not in _POINTERS or count != 1 or _TYPE_BYTES[type_] > len(stored):
            return None
        (offset,) = struct.unpack_from(self._order + _POINTERS[type_], stored)
        return self._directory(offset, tag)

    def _value(
        self, type_: int, count: int, stored: bytes, at: int, *, stays: bool
    ) -> Entry | None:
        """An entry's value; None where it is damaged."""
        if type_ not in _TYPE_BYTES:
            return None
        size = count * _TYPE_BYTES[type_]
        is_inside = size <= len(stored)
        if is_inside:
            start = at + self._entry.size - len(stored)
        else:
            (start,) = self._offset.unpack(stored)
        if start + size > len(self._block) or size > self._left:
            return None
        self._left -= size
        stays_at = start if stays and not is_inside else None
        return Entry(type_, count, self._block[start : start + size], stays_at)


@dataclass(slots=True)
class _Room:
    """The bytes of a block while it is written, around a value that must stand where it stood."""

    fixed: Iterable[Entry]
    data: bytearray = field(default_factory=lambda: bytearray(_HEADER_BYTES))
    front: int = _HEADER_BYTES
    """Free from here to the fixed value."""

    wall: int = _HEADER_BYTES
    back: int = _HEADER_BYTES
    """Free from here on."""

    def __post_init__(self) -> None:
        for entry in self.fixed:
            if entry.stays_at is not None:
                self.wall = entry.stays_at
                self.back = (
                    entry.stays_at + len(entry.data) + (entry.stays_at + len(entry.data)) % 2
                )
                self.put(entry.stays_at, entry.data)

    def place(self, size: int) -> int:
        """Where so many bytes can stand; at an even offset, as TIFF asks."""
        size += size % 2
        if self.front + size <= self.wall:
            at, self.front = self.front, self.front + size
        else:
            at, self.back = self.back, self.back + size
        return at

    def put(self, at: int, content: bytes) -> None:
        """Write it there."""
        self.data.extend(bytes(max(0, at + len(content) - len(self.data))))
        self.data[at : at + len(content)] = content


def _written(order: ByteOrder, directory: Directory) -> bytes:
    """A block of this directory, of an even number of bytes."""
    details = directory.get(_EXIF)
    note = details.get(_MAKER_NOTE) if isinstance(details, dict) else None
    room = _Room([note] if isinstance(note, Entry) else [])
    first = _put(room, directory, order)
    head = b"II*\0" if order == "<" else b"MM\0*"
    room.put(0, head + struct.pack(f"{order}I", first))
    return bytes(room.data) + bytes(len(room.data) % 2)


def _put(room: _Room, directory: Directory, order: ByteOrder) -> int:
    """Write a directory without a next one, and what it points to; returns where it stands."""
    at = room.place(2 + 12 * len(directory) + 4)
    table = struct.pack(f"{order}H", len(directory))
    for tag, value in sorted(directory.items()):
        if isinstance(value, dict):
            type_, count = _LONG, 1
            stored = struct.pack(f"{order}I", _put(room, value, order))
        else:
            type_, count, stored = value.type, value.count, value.data.ljust(4, b"\0")
            if len(value.data) > 4:
                place = value.stays_at
                if place is None:
                    place = room.place(len(value.data))
                    room.put(place, value.data)
                stored = struct.pack(f"{order}I", place)
        table += struct.pack(f"{order}HHI", tag, type_, count) + stored
    room.put(at, table + bytes(4))
    return at
