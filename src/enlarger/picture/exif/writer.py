"""Writes EXIF blocks. A maker's note stays at its place, since most makers count its offsets from the start of the block."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from enlarger.picture.exif import tags
from enlarger.picture.exif.block import HEADER_BYTES, LONG, ByteOrder, Directory, Entry

_FURTHEST_BYTES = 1 << 18
"""A maker's note that ends further from the start is dropped, since the block would be large and mostly empty."""


def write(order: ByteOrder, directory: Directory) -> bytes:
    """Return a block of this directory. Its number of bytes is even."""
    details = directory.get(tags.EXIF_DIRECTORY)
    note = details.get(tags.MAKER_NOTE) if isinstance(details, dict) else None
    room = _Room([note] if isinstance(note, Entry) else [])
    first = _put(room, directory, order)
    head = b"II*\0" if order == "<" else b"MM\0*"
    room.put(0, head + struct.pack(f"{order}I", first))
    return bytes(room.data) + bytes(len(room.data) % 2)


def can_stay(note: Entry) -> bool:
    """Return whether a maker's note can stay in a new block at its offset in the old one."""
    if note.stays_at is None:
        return len(note.data) <= 4  # it is inside the entry, and has no offsets
    return HEADER_BYTES <= note.stays_at <= _FURTHEST_BYTES - len(note.data)


@dataclass(slots=True)
class _Room:
    """The bytes of a block while it is written, around a value that must stay at its place."""

    fixed: Iterable[Entry]
    data: bytearray = field(default_factory=lambda: bytearray(HEADER_BYTES))
    front: int = HEADER_BYTES
    """The bytes from here to ``wall`` are free."""

    wall: int = HEADER_BYTES
    back: int = HEADER_BYTES
    """All bytes from here on are free."""

    def __post_init__(self) -> None:
        for entry in self.fixed:
            if entry.stays_at is not None:
                self.wall = entry.stays_at
                self.back = (
                    entry.stays_at + len(entry.data) + (entry.stays_at + len(entry.data)) % 2
                )
                self.put(entry.stays_at, entry.data)

    def place(self, size: int) -> int:
        """Return a place for this many bytes, at an even offset, as TIFF requires."""
        size += size % 2
        if self.front + size <= self.wall:
            at, self.front = self.front, self.front + size
        else:
            at, self.back = self.back, self.back + size
        return at

    def put(self, at: int, content: bytes) -> None:
        """Write bytes at an offset."""
        self.data.extend(bytes(max(0, at + len(content) - len(self.data))))
        self.data[at : at + len(content)] = content


def _put(room: _Room, directory: Directory, order: ByteOrder) -> int:
    """Write a directory, without a next one, and everything that it points to; return its offset."""
    at = room.place(2 + 12 * len(directory) + 4)
    table = struct.pack(f"{order}H", len(directory))
    for tag, value in sorted(directory.items()):
        if isinstance(value, dict):
            type_, count = LONG, 1
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
