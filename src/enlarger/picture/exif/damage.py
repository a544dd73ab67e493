"""Notes on the damaged entries of a block."""

from __future__ import annotations

from dataclasses import replace

from enlarger.picture.exif import tags
from enlarger.picture.exif.block import Block
from enlarger.picture.exif.tags import tag_name
from enlarger.picture.values import Note

_MOST_NAMED = 8
"""A note names at most this many damaged entries."""


def damage_notes(block: Block) -> list[Note]:
    """Return a note on the entries of a block that cannot be read."""
    if not block.damaged:
        return []
    names = ", ".join(block.damaged[:_MOST_NAMED])
    more = len(block.damaged) - _MOST_NAMED
    return [
        Note(
            "exif_entries_dropped", f"damaged: {names}" + (f" and {more} more" if more > 0 else "")
        )
    ]


def damage_notes_of_tiff(block: Block) -> list[Note]:
    """Return notes on the entries of a TIFF that cannot be read.

    There is one for entries about the photo, one for each block with a place of its own, and one for the rest.
    """
    lost = {tag for tag in block.damaged_tags if tag not in tags.OF_PHOTO}
    names = {tag_name(tag) for tag in lost}
    notes = damage_notes(
        replace(block, damaged=tuple(name for name in block.damaged if name not in names))
    )
    for tag in sorted(lost & set(tags.NOTED_ALONE) - set(block.directory)):
        notes.append(Note(tags.NOTED_ALONE[tag], "its entry in the file is damaged"))
    others = sorted(
        tag_name(tag) for tag in lost if tag not in tags.NOTED_ALONE or tag in block.directory
    )
    if others:
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        named = ", ".join(others[:_MOST_NAMED])
        notes.append(Note("damage_ignored", f"damaged entries of the TIFF: {named}{more}"))
    return notes
