"""EXIF in a TIFF: read from its first directory, and written into it."""

from __future__ import annotations

import struct
from dataclasses import replace

from enlarger.picture.exif import tags
from enlarger.picture.exif.block import EXIF_PREFIX, LONG, Block, DamagedExifError, Directory, Entry
from enlarger.picture.exif.damage import damage_notes_of_tiff
from enlarger.picture.exif.reader import read
from enlarger.picture.exif.tags import tag_name
from enlarger.picture.exif.writer import can_stay, write
from enlarger.picture.values import Note


def exif_of_tiff(block: Block) -> tuple[bytes | None, tuple[Note, ...]]:
    """Return what a TIFF says about the photo, as an EXIF block, or None; and notes on dropped entries."""
    photo = {tag: value for tag, value in block.directory.items() if tag in tags.OF_PHOTO}
    notes = damage_notes_of_tiff(block)
    others = [tag for tag in block.directory if tag not in tags.OF_PHOTO | tags.OF_LAYOUT]
    if others:
        notes.append(
            Note("blocks_dropped", f"tags of the TIFF: {', '.join(map(tag_name, sorted(others)))}")
        )
    details = photo.get(tags.EXIF_DIRECTORY)
    note = details.get(tags.MAKER_NOTE) if isinstance(details, dict) else None
    if isinstance(details, dict) and isinstance(note, Entry) and not can_stay(note):
        del details[tags.MAKER_NOTE]
        notes.append(
            Note("maker_note_dropped", f"{len(note.data)} bytes, far from the file's start")
        )
    return (EXIF_PREFIX + write(block.order, photo) if photo else None), tuple(notes)


def with_exif(tiff: bytes, exif: bytes) -> bytes:
    """Return a TIFF of strips with the entries of an EXIF block. Both must have the same byte order.

    Raises:
        DamagedExifError: one of the two cannot be read.
    """
    photo, file = read(exif), read(tiff)
    order = file.order
    entries = {tag: value for tag, value in photo.directory.items() if tag not in tags.OF_LAYOUT}
    directory: Directory = {**entries, **file.directory}
    strips = file.directory.get(tags.STRIP_OFFSETS)
    if not isinstance(strips, Entry) or strips.type != LONG or not strips.count:
        raise DamagedExifError
    offsets = struct.unpack(f"{order}{strips.count}I", strips.data)
    # The maker's note has to stay at its offset from the start of the file, so the samples stand behind all
    # directories. How long these are does not depend on where the samples stand.
    begin = min(offsets)
    head = write(order, directory)
    moved = [offset - begin + len(head) for offset in offsets]
    directory[tags.STRIP_OFFSETS] = replace(
        strips, data=struct.pack(f"{order}{len(moved)}I", *moved)
    )
    return write(order, directory) + tiff[begin:]
