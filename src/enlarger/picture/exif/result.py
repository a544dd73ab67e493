"""The EXIF block of a result: that of the input, without what is untrue of the result.

Entries stay as they are, byte for byte, unless they speak of the picture's size, its orientation, or places in it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from enlarger import __version__
from enlarger.picture.exif import tags
from enlarger.picture.exif.block import (
    ASCII,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Block,
    ByteOrder,
    Directory,
    Entry,
)
from enlarger.picture.exif.damage import damage_notes
from enlarger.picture.exif.reader import read
from enlarger.picture.exif.tags import tag_name
from enlarger.picture.exif.writer import can_stay, write
from enlarger.picture.values import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Size and content of a result, compared with the picture that the block was written for."""

    width_px: int
    height_px: int
    magnification: tuple[float, float] = (1, 1)
    """Pixels of the result across and down for each pixel of the picture."""

    is_whole: bool = True
    """Whether the result shows all of the picture as it was stored, so that places in it can be scaled."""

    is_srgb: bool = False
    """Whether the samples are sRGB and nothing else in the file says otherwise, so that the block must not either."""


def exif_for(
    exif: bytes | None,
    shown: Shown,
    *,
    states_orientation: bool = True,
    with_maker_note: bool = True,
    provenance: Mapping[str, object] | None = None,
) -> tuple[bytes, tuple[Note, ...]]:
    """Return the block for a result, which is upright and has no thumbnail, and notes on dropped entries.

    Args:
        exif: the block of the input, with or without prefix; None begins a new block.
        shown: what the result shows of the input.
        states_orientation: False if the format states the orientation elsewhere and the block must not.
        with_maker_note: False drops the maker's note.
        provenance: plain values that are written as JSON into the user comment.

    Raises:
        DamagedExifError: ``exif`` has no directory that can be read.
    """
    block = Block(order="<", directory={}) if exif is None else read(exif)
    order, directory = block.order, block.directory
    notes = damage_notes(block)
    for tag in tags.OF_SAMPLES | tags.ELSEWHERE:
        directory.pop(tag, None)
    details = block.details
    directory[tags.EXIF_DIRECTORY] = details
    note = details.get(tags.MAKER_NOTE)
    if isinstance(note, Entry) and not (with_maker_note and can_stay(note)):
        del details[tags.MAKER_NOTE]
        notes.append(
            Note("maker_note_dropped", f"{len(note.data)} bytes, which cannot stay where they are")
        )
    if exif is not None:
        directory.pop(tags.ORIENTATION, None)
        if states_orientation:
            directory[tags.ORIENTATION] = Entry(SHORT, 1, struct.pack(f"{order}H", 1))
        _resize(directory, details, order, shown)
        if shown.is_srgb and block.states_adobe_rgb:
            _state_srgb(directory, details, order)
        untrue = _scale(details, order, shown)
        if untrue:
            names = ", ".join(tag_name(tag) for tag in untrue)
            notes.append(Note("exif_entries_dropped", f"places in another picture: {names}"))
    if provenance is not None:
        if tags.USER_COMMENT in details:
            notes.append(Note("exif_entries_dropped", "UserComment, where the provenance is now"))
        comment = b"ASCII\0\0\0" + json.dumps(dict(provenance)).encode("ascii")
        details[tags.USER_COMMENT] = Entry(UNDEFINED, len(comment), comment)
        software = f"enlarger {__version__}".encode("ascii") + b"\0"
        directory[tags.SOFTWARE] = Entry(ASCII, len(software), software)
    return write(order, directory), tuple(notes)


def _resize(directory: Directory, details: Directory, order: ByteOrder, shown: Shown) -> None:
    """State the size of the result in the EXIF directory, and wherever else the block states a size."""
    width, height = (
        Entry(LONG, 1, struct.pack(f"{order}I", side)) for side in (shown.width_px, shown.height_px)
    )
    related = details.get(tags.INTEROPERABILITY_DIRECTORY)
    for place, across, down in (
        (directory, tags.WIDTH, tags.HEIGHT),
        (related if isinstance(related, dict) else {}, tags.RELATED_WIDTH, tags.RELATED_HEIGHT),
    ):
        for tag, entry in ((across, width), (down, height)):
            if tag in place:
                place[tag] = entry
    details[tags.EXIF_WIDTH], details[tags.EXIF_HEIGHT] = width, height


def _state_srgb(directory: Directory, details: Directory, order: ByteOrder) -> None:
    """State that samples are sRGB, in a block that says that they are Adobe RGB."""
    details[tags.COLOUR_SPACE] = Entry(SHORT, 1, struct.pack(f"{order}H", tags.SRGB_SPACE))
    details.pop(tags.GAMMA, None)
    for tag in tags.CALIBRATION:
        directory.pop(tag, None)
    related = details.get(tags.INTEROPERABILITY_DIRECTORY)
    if isinstance(related, dict) and tags.INDEX in related:
        related[tags.INDEX] = Entry(ASCII, 4, b"R98\0")


def _scale(details: Directory, order: ByteOrder, shown: Shown) -> list[int]:
    """Scale entries that count pixels. Remove those that would be untrue, and return their tags."""
    untrue = []
    for tag in tags.SUBJECT_PLACES:
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
    for tag, axis in tags.PIXELS_PER_UNIT.items():
        entry = details.get(tag)
        if isinstance(entry, Entry) and entry.type == RATIONAL and entry.count == 1:
            above, below = struct.unpack(f"{order}2I", entry.data)
            above = round(above * shown.magnification[axis])
            if above <= 0xFFFFFFFF:
                details[tag] = replace(entry, data=struct.pack(f"{order}2I", above, below))
            else:
                del details[tag]
                untrue.append(tag)
    return untrue


def _scaled_place(entry: Entry, order: ByteOrder, shown: Shown) -> Entry | None:
    """Return a place in the result; None if it lies outside, or does not fit into its type."""
    if entry.type != SHORT or not 2 <= entry.count <= 4 or not shown.is_whole:
        return None
    across, down = shown.magnification
    stored = struct.unpack(f"{order}{entry.count}H", entry.data)
    factors = (across, down, (across + down) / 2) if entry.count == 3 else (across, down) * 2
    values = [round(value * factor) for value, factor in zip(stored, factors, strict=False)]
    if max(values) > 0xFFFF:
        return None
    return replace(entry, data=struct.pack(f"{order}{entry.count}H", *values))
