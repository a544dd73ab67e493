"""XMP packets: properties that are untrue of a result are changed or removed, and all others stay as they are.

``packet`` is a packet with the places of its properties. ``result`` makes the packet of a result, ``announcements``
removes what speaks of further pictures in the file, and ``extension`` joins and splits long packets.
"""

from __future__ import annotations

from enlarger.picture.xmp.announcements import Announced, without_announcements
from enlarger.picture.xmp.extension import extension_guid, guid, joined, split
from enlarger.picture.xmp.orientation import orientation
from enlarger.picture.xmp.packet import DamagedXmpError, in_utf8
from enlarger.picture.xmp.result import xmp_for

__all__ = [
    "Announced",
    "DamagedXmpError",
    "extension_guid",
    "guid",
    "in_utf8",
    "joined",
    "orientation",
    "split",
    "without_announcements",
    "xmp_for",
]
