"""Metadata of a JPEG: segments of EXIF, XMP with its extension, Photoshop resources, and comments."""

from __future__ import annotations

import re
import struct

from enlarger.picture import jpeg
from enlarger.picture import xmp as xmp_
from enlarger.picture.exif import EXIF_PREFIX
from enlarger.picture.metadata.found import (
    COMMENT,
    GAIN_MAP,
    MOST_TEXTS,
    Metadata,
    comment_text,
    look_behind,
    note_unknown,
)
from enlarger.picture.metadata.photoshop import PHOTOSHOP_PREFIX, use_resources
from enlarger.picture.values import Note, Text

XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"

EXTENSION_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
"""Beginnings of the segments of a JPEG that hold XMP, and extended XMP."""

_EXTENSION_HEAD_BYTES = 40
"""The name of an extension, its length, and the offset of the segment's part of it."""

_SEGMENTS = (
    (0xE1, EXIF_PREFIX, "exif"),
    (0xE1, XMP_PREFIX, "xmp"),
    (0xE1, EXTENSION_PREFIX, "extension"),
    (0xED, PHOTOSHOP_PREFIX, "resources"),
    (0xFE, b"", "comment"),
)
"""Marker and beginning of the segments that are read."""

_SKIPPED_SEGMENTS = (b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"Adobe", b"AVI1", b"MPF\0")
"""Beginnings of segments about the file: its form, its colours, a thumbnail, further pictures."""


def read_jpeg(data: bytes, found: Metadata) -> None:
    """Read the metadata of a JPEG."""
    kinds: dict[str, list[bytes]] = {name: [] for _, _, name in _SEGMENTS}
    unknown: dict[str, None] = {}
    end = len(data)
    for segment in jpeg.segments(data):
        marker, content = segment.marker, data[segment.content]
        if marker == jpeg.EOI:
            end = segment.stop
        for its_marker, prefix, name in _SEGMENTS:
            if marker == its_marker and content.startswith(prefix):
                kinds[name].append(content[len(prefix) :])
                break
        else:
            if 0xE0 <= marker <= 0xEF and GAIN_MAP.match(content):
                found.gain_map = True
            elif 0xE0 <= marker <= 0xEF and not content.startswith(_SKIPPED_SEGMENTS):
                unknown[_segment_name(marker, content)] = None
    comments = kinds["comment"]
    found.texts += [Text(COMMENT, comment_text(comment)) for comment in comments[:MOST_TEXTS]]
    if len(comments) > MOST_TEXTS:
        found.notes.append(Note("text_dropped", f"{len(comments) - MOST_TEXTS} more comments"))
    found.exif, found.xmp = None, next(iter(kinds["xmp"]), None)
    if kinds["exif"]:
        first, *others = kinds["exif"]
        # A block in more than one segment continues without another header.
        more = (part for part in others if not part.startswith((b"II*\0", b"MM\0*")))
        found.exif = EXIF_PREFIX + b"".join([first, *more])
    if len(kinds["xmp"]) > 1:
        found.notes.append(Note("xmp_dropped", "a further packet"))
    use_resources(b"".join(kinds["resources"]), found)
    note_unknown(unknown, found)
    _join_extension(found, kinds["extension"])
    look_behind(data[end:], found)


def _segment_name(marker: int, content: bytes) -> str:
    name = f"APP{marker & 15}"
    if b"jumb" in content[:40]:
        return f"{name} (content credentials)"
    said = re.match(rb"[\x20-\x7e]{3,40}", content)
    return f"{name} ({said[0].decode()})" if said else name


def _join_extension(found: Metadata, segments: list[bytes]) -> None:
    """Join the packet and its extension, if that is complete."""
    wanted = found.xmp and xmp_.extension_guid(found.xmp)
    if not wanted and not segments:
        return
    own = [segment for segment in segments if wanted and segment.startswith(wanted.encode())]
    extension = _whole(own)
    trouble = None
    if extension is None or xmp_.guid(extension) != wanted:
        extension, trouble = None, "the extended part is damaged or incomplete"
    try:
        found.xmp = found.xmp and xmp_.joined(found.xmp, extension)
    except xmp_.DamagedXmpError:
        trouble = "the extended part is damaged or incomplete"
    if trouble is not None:
        found.notes.append(Note("xmp_entries_dropped", trouble))


def _whole(segments: list[bytes]) -> bytes | None:
    """Join the segments of an extension, which have a name, a length, an offset and bytes; None if some are missing."""
    if any(len(segment) < _EXTENSION_HEAD_BYTES for segment in segments):
        return None
    parts = sorted((struct.unpack_from(">2I", segment, 32)[::-1], segment) for segment in segments)
    content = b""
    for (at, size), segment in parts:
        content += segment[_EXTENSION_HEAD_BYTES:]
        if at + len(segment) - _EXTENSION_HEAD_BYTES != len(content) or size != parts[0][0][1]:
            return None
    return content if parts and len(content) == parts[0][0][1] else None
