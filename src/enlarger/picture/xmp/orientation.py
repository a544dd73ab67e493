"""The orientation that an XMP packet states."""

from __future__ import annotations

from enlarger.picture.xmp.namespaces import TIFF
from enlarger.picture.xmp.packet import DamagedXmpError, Packet, in_utf8

ORIENTATION = (TIFF, "Orientation")
"""Namespace and name of the property."""


def orientation(xmp: bytes | None) -> int | None:
    """Return the orientation as EXIF counts it; None if the packet does not state one, or cannot be read."""
    if xmp is None or b"Orientation" not in xmp:
        return None
    try:
        packet = Packet(in_utf8(xmp))
    except DamagedXmpError:
        return None
    for part in packet.properties():
        text = packet.text(part)
        if part.name == ORIENTATION and text.isdecimal() and len(text) == 1:
            return int(text)
    return None
