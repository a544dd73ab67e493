"""Resources of Photoshop, in which JPEG and TIFF hold IPTC."""

from __future__ import annotations

import struct

from enlarger.picture.metadata.found import Metadata, note_unknown

PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
"""Beginning of the segments of a JPEG that hold resources."""

IPTC_RESOURCE = 0x0404
"""Number of the resource that holds IPTC."""

_PATH_RESOURCES = range(2000, 2998)

_LOST_RESOURCES = {0x040A: "copyright flag of Photoshop", 0x040B: "URL of Photoshop"}
"""Resources about the picture, by number. Others hold settings of the program, or what is elsewhere as well."""


def photoshop_block(iptc: bytes) -> bytes:
    """Return the resource that holds IPTC, as JPEG and TIFF have it."""
    head = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2)


def use_resources(data: bytes, found: Metadata) -> None:
    """Take IPTC out of Photoshop's resources, and name other resources about the picture."""
    resources = resources_of(data)
    found.iptc = found.iptc or resources.get(IPTC_RESOURCE)
    paths = sum(number in _PATH_RESOURCES for number in resources)
    lost = [name for number, name in _LOST_RESOURCES.items() if number in resources]
    note_unknown([*lost, *([f"{paths} paths of Photoshop"] if paths else [])], found)


def resources_of(data: bytes) -> dict[int, bytes]:
    """Return Photoshop's resources by number, as far as they can be read."""
    resources: dict[int, bytes] = {}
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 7 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        # The name has an even number of bytes with its length.
        at += 6 + (data[at + 6] + 2) // 2 * 2
        if at + 4 > len(data):
            break
        (size,) = struct.unpack_from(">I", data, at)
        content = data[at + 4 : at + 4 + size]
        resources[number] = resources.get(number, b"") + content
        at += 4 + size + size % 2
    return {number: content for number, content in resources.items() if content}
