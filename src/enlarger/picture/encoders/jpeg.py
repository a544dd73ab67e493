"""Segments of a JPEG that Pillow does not write: XMP, IPTC and comments."""

from __future__ import annotations

import struct

from enlarger.picture import xmp
from enlarger.picture.metadata import (
    EXTENSION_PREFIX,
    PHOTOSHOP_PREFIX,
    XMP_PREFIX,
    photoshop_block,
)
from enlarger.picture.metadata.result import JPEG_SEGMENT_BYTES
from enlarger.picture.values import Picture

_JPEG_XMP_BYTES = JPEG_SEGMENT_BYTES - len(XMP_PREFIX)
_JPEG_EXTENSION_BYTES = 65400


def segments(picture: Picture) -> bytes:
    """Return the segments of XMP, IPTC and comments."""
    written = []
    if picture.xmp is not None:
        packet, extension = xmp.split(picture.xmp, _JPEG_XMP_BYTES)
        written.append((0xE1, XMP_PREFIX + packet))
        for at in range(0, len(extension or b""), _JPEG_EXTENSION_BYTES):
            part = (extension or b"")[at : at + _JPEG_EXTENSION_BYTES]
            place = struct.pack(">2I", len(extension or b""), at)
            head = EXTENSION_PREFIX + xmp.guid(extension or b"").encode() + place
            written.append((0xE1, head + part))
    if picture.iptc is not None:
        block = photoshop_block(picture.iptc)
        written.append((0xED, PHOTOSHOP_PREFIX + block))
    written += [(0xFE, text.text.encode()) for text in picture.texts]
    return b"".join(
        struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content for marker, content in written
    )
