"""Reads EXIF blocks entry by entry. A damaged entry is named and left out, and the others remain."""

from __future__ import annotations

import struct

from PIL.ExifTags import GPSTAGS, TAGS

from enlarger.picture.exif import tags
from enlarger.picture.exif.block import (
    EXIF_PREFIX,
    TYPE_BYTES,
    Block,
    DamagedExifError,
    Directory,
    Entry,
    byte_order,
    whole_number,
)
from enlarger.picture.exif.tags import tag_name

_POINTERS = {4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of offsets, as ``struct`` names them."""

_DEEPEST = 3
"""Directories inside one another: the first, EXIF, interoperability."""

_MOST_ENTRIES = 0xFFFF


def read(block: bytes) -> Block:
    """Return the entries of a block or of a TIFF, with or without prefix.

    Raises:
        DamagedExifError: there is no directory.
    """
    return _Reader(block.removeprefix(EXIF_PREFIX)).block()


def read_or_none(block: bytes | None) -> Block | None:
    """As ``read``; None if there is no block, or none that can be read."""
    if not block:
        return None
    try:
        return read(block)
    except DamagedExifError:
        return None


class _Reader:
    """Reads one block. It ends, whatever the offsets of the block say."""

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
        self._left = len(block)  # values that overlap would make a small block large
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
        """Name the thumbnail if it is damaged. It is in the second directory, and is always dropped."""
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
            whole_number(entry, order) if isinstance(entry, Entry) else 0
            for entry in (directory.get(tags.THUMBNAIL), directory.get(tags.THUMBNAIL_BYTES))
        )
        if not directory or (at or 0) + (size or 0) > len(self._block):
            self._damaged["thumbnail"] = None

    def _directory(self, offset: int, tag_of_directory: int = 0) -> Directory | None:
        """Return the directory at an offset, as far as it goes; None if there is none."""
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
        names = GPSTAGS if tag_of_directory == tags.GPS_DIRECTORY else TAGS
        directory: Directory = {}
        for number in range(min(stated, there)):
            at = begin + number * self._entry.size
            tag, type_, count, stored = self._entry.unpack_from(self._block, at)
            value: Entry | Directory | None = None
            if tag in directory:
                pass
            elif tag in tags.DIRECTORIES:
                value = self._below(tag, type_, count, stored)
            else:
                stays = tag_of_directory == tags.EXIF_DIRECTORY and tag == tags.MAKER_NOTE
                value = self._value(type_, count, stored, at, stays=stays)
            if value is None:
                self._damaged[tag_name(tag, names)] = None
                if len(self._open) == 1:
                    self._damaged_tags.add(tag)
            else:
                directory[tag] = value
        if stated > there:
            self._damaged[f"{stated - there} entries behind the end"] = None
        self._open.discard(offset)
        return directory

    def _below(self, tag: int, type_: int, count: int, stored: bytes) -> Directory | None:
        """Return the directory that an entry points to; None if the entry is damaged."""
        if type_ not in _POINTERS or count != 1 or TYPE_BYTES[type_] > len(stored):
            return None
        (offset,) = struct.unpack_from(self._order + _POINTERS[type_], stored)
        return self._directory(offset, tag)

    def _value(
        self, type_: int, count: int, stored: bytes, at: int, *, stays: bool
    ) -> Entry | None:
        """Return an entry's value; None if it is damaged."""
        if type_ not in TYPE_BYTES:
            return None
        size = count * TYPE_BYTES[type_]
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
