"""Metadata of a WebP: chunks of EXIF and XMP."""

from __future__ import annotations

from enlarger.picture.chunks import WEBP_KNOWN, webp_chunks
from enlarger.picture.metadata.found import FOUR_LETTERS, Metadata, look_behind, note_unknown


def read_webp(data: bytes, found: Metadata) -> None:
    """Read the metadata of a WebP."""
    unknown: dict[str, None] = {}
    found.exif = found.xmp = None
    stop = len(data)
    for kind, begin, stop in webp_chunks(data):
        if kind == b"EXIF":
            found.exif = found.exif or data[begin + 8 : stop]
        elif kind == b"XMP ":
            found.xmp = found.xmp or data[begin + 8 : stop].rstrip(b"\0")
        elif kind not in WEBP_KNOWN and FOUR_LETTERS.fullmatch(kind):
            name = kind.decode().strip()
            unknown[f"{name} (content credentials)" if kind == b"C2PA" else name] = None
    note_unknown(unknown, found)
    look_behind(data[stop:], found)
