"""The content of an EXIF block: directories of entries, in the block's own byte order."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

from enlarger.picture.exif import tags

EXIF_PREFIX = b"Exif\0\0"
"""Prefix of the block in a JPEG, and in what Pillow returns."""

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7

TYPE_BYTES = {
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

HEADER_BYTES = 8
ByteOrder = Literal["<", ">"]


class DamagedExifError(Exception):
    """The block has no directory that can be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a directory, in the byte order of its block."""

    type: int
    count: int
    data: bytes
    stays_at: int | None = None
    """Where in the block the value must stay; None if it may be moved."""


Directory: TypeAlias = "dict[int, Entry | Directory]"
"""Entries by tag. A nested directory stands in place of its offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The content of a block, as far as it can be read."""

    order: ByteOrder
    directory: Directory
    damaged: tuple[str, ...] = ()
    """Names of the entries that cannot be read."""

    damaged_tags: frozenset[int] = frozenset()
    """Tags of the damaged entries of the first directory."""

    @property
    def details(self) -> Directory:
        """The EXIF directory; empty if there is none."""
        found = self.directory.get(tags.EXIF_DIRECTORY)
        return found if isinstance(found, dict) else {}

    def number(self, tag: int) -> int | None:
        """Return a whole number of the first directory; None if it is missing or has another type."""
        entry = self.directory.get(tag)
        return whole_number(entry, self.order) if isinstance(entry, Entry) else None

    def bytes_of(self, tag: int) -> bytes | None:
        """Return the bytes of an entry of the first directory; None if it is missing or empty."""
        entry = self.directory.get(tag)
        return entry.data or None if isinstance(entry, Entry) else None

    def fractions_of(self, tag: int, count: int) -> tuple[float, ...] | None:
        """Return ``count`` rational numbers of the first directory; None if they are missing, or one has no value."""
        entry = self.directory.get(tag)
        if not isinstance(entry, Entry) or (entry.type, entry.count) != (RATIONAL, count):
            return None
        stored = struct.unpack(f"{self.order}{2 * count}I", entry.data)
        pairs = list(zip(stored[::2], stored[1::2], strict=True))
        return tuple(above / below for above, below in pairs) if all(stored[1::2]) else None

    def shorts_of(self, tag: int) -> tuple[int, ...] | None:
        """Return all numbers of an entry of 16-bit numbers; None if there is no such entry."""
        entry = self.directory.get(tag)
        if not isinstance(entry, Entry) or entry.type != SHORT or not entry.count:
            return None
        return struct.unpack(f"{self.order}{entry.count}H", entry.data)

    @property
    def states_adobe_rgb(self) -> bool:
        """Whether the block says that samples are Adobe RGB: by the index R03 (DCF 2.0), or by a ColorSpace."""
        stated = self.details.get(tags.COLOUR_SPACE)
        space = whole_number(stated, self.order) if isinstance(stated, Entry) else None
        related = self.details.get(tags.INTEROPERABILITY_DIRECTORY)
        index = related.get(tags.INDEX) if isinstance(related, dict) else None
        is_r03 = isinstance(index, Entry) and index.data.startswith(b"R03")
        # Programs that convert to sRGB often set the ColorSpace and leave the index.
        return space == tags.ADOBE_SPACE or (is_r03 and space != tags.SRGB_SPACE)

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch across and down; None if the block does not state both, or their unit is unknown."""
        stated = [self.directory.get(tag) for tag in (tags.X_RESOLUTION, tags.Y_RESOLUTION)]
        unit = self.number(tags.RESOLUTION_UNIT)
        inches = tags.INCHES_PER_UNIT.get(2 if unit is None else unit)
        found = []
        for entry in stated:
            if not isinstance(entry, Entry) or entry.type != RATIONAL or len(entry.data) < 8:
                return None
            upper, lower = struct.unpack_from(f"{self.order}II", entry.data)
            if not lower or inches is None:
                return None
            found.append(upper / lower / inches)
        return found[0], found[1]


def byte_order(exif: bytes) -> ByteOrder:
    """Return the byte order of a block or of a TIFF.

    Raises:
        DamagedExifError: the block does not begin with a byte order.
    """
    orders: dict[bytes, ByteOrder] = {b"II": "<", b"MM": ">"}
    order = orders.get(exif.removeprefix(EXIF_PREFIX)[:2])
    if order is None:
        raise DamagedExifError
    return order


def whole_number(entry: Entry, order: ByteOrder) -> int | None:
    """Return the value of an entry that is one whole number; None if it is something else."""
    kinds = {1: "B", SHORT: "H", LONG: "I", 13: "I", 16: "Q", 18: "Q"}
    if entry.type not in kinds or entry.count != 1:
        return None
    return int(struct.unpack(order + kinds[entry.type], entry.data)[0])
