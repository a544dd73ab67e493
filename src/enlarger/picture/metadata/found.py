"""The metadata that is found in a file, and notes on what cannot be preserved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from enlarger.picture import exif as exif_
from enlarger.picture import xmp as xmp_
from enlarger.picture.values import Note, Text

COMMENT = "Comment"
"""The keyword of comments of JPEG and GIF among texts, as in PNG (third edition, 11.3.3.1)."""

MOST_TEXTS = 1000
"""Texts of a file that are preserved at most."""


MOST_NAMED = 8
"""A note names at most this many things."""

FOUR_LETTERS = re.compile(rb"[\x20-\x7e]{4}")
GAIN_MAP = re.compile(
    rb"http://ns\.adobe\.com/hdr-gain-map/|hdrgm:|http://ns\.apple\.com/HDRGainMap/|aux:hdrgainmap|"
    rb"urn:iso:std:iso:ts:21496"
)
_VIDEO = re.compile(rb"ftyp(?:mp4|isom|iso\d|avc|qt  |M4V|3gp|hvc)|MotionPhoto_Data")


@dataclass(slots=True, kw_only=True)
class Metadata:
    """The metadata of a file. ``read_metadata`` fills it."""

    exif: bytes | None = None
    """The EXIF block as in the file, with prefix."""

    xmp: bytes | None = None
    iptc: bytes | None = None
    """Records of IPTC-IIM."""

    texts: list[Text] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    turned: tuple[int, str] | None = None
    """Orientation that the format itself states, and the format's name; None if EXIF and XMP state it."""

    gain_map: bool = False
    """Whether the file has a gain map, which makes the picture brighter on HDR screens."""

    video: bool = False
    """Whether the file has the moving part of a motion photo."""

    others_bytes: int = 0
    """Bytes that follow the picture in the file."""

    def orientation(self) -> tuple[int, str]:
        """Return the orientation of the format, else of EXIF, else of XMP, and which of these states it."""
        if self.turned is not None:
            return self.turned
        block = exif_.read_or_none(self.exif)
        stated = block.number(exif_.ORIENTATION) if block else None
        if stated is None:
            stated = xmp_.orientation(self.xmp)
            return stated or 1, "XMP"
        return stated, "EXIF"


def look_behind(rest: bytes, found: Metadata) -> None:
    """Take note of what follows the picture in its file."""
    if not rest.strip(b"\0\xff \r\n\t"):
        return
    found.others_bytes = len(rest)
    found.gain_map |= GAIN_MAP.search(rest) is not None
    found.video |= _VIDEO.search(rest) is not None


def note_unknown(names: Iterable[str], found: Metadata) -> None:
    """Add a note that names blocks which are not read here."""
    named = list(names)
    if named:
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        found.notes.append(Note("blocks_dropped", ", ".join(named[:MOST_NAMED]) + more))


def comment_text(text: bytes) -> str:
    """Return the text of a comment, whose encoding no format states."""
    text = text.rstrip(b"\0")
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
