"""The XMP packet of a result: that of the input, without what is untrue of the result."""

from __future__ import annotations

import re
from collections.abc import Iterable

from enlarger.picture.xmp.namespaces import DIMENSIONS, EXIF, PANORAMA, REGIONS, TIFF, XMP
from enlarger.picture.xmp.orientation import ORIENTATION
from enlarger.picture.xmp.packet import Element, Name, Packet, Part, in_utf8

_OF_PLACES = frozenset(
    {
        PANORAMA,
        REGIONS,
        "http://ns.microsoft.com/photo/1.2/",
        "http://ns.google.com/photos/1.0/depthmap/",
        "http://ns.google.com/photos/1.0/focus/",
    }
)
"""Namespaces whose properties describe places in the picture."""

_ACROSS = re.compile(r"\w*(?:WidthPixels|LeftPixels|RectWidth|RectLeft)")

_DOWN = re.compile(r"\w*(?:HeightPixels|TopPixels|RectHeight|RectTop)")
"""Names of GPano that count pixels (Photo Sphere XMP metadata)."""

_SIZES = {
    (TIFF, "ImageWidth"): 0,
    (TIFF, "ImageLength"): 1,
    (EXIF, "PixelXDimension"): 0,
    (EXIF, "PixelYDimension"): 1,
}
_PIXELS_PER_UNIT = {(EXIF, "FocalPlaneXResolution"): 0, (EXIF, "FocalPlaneYResolution"): 1}
_SUBJECT_PLACES = frozenset({(EXIF, "SubjectArea"), (EXIF, "SubjectLocation")})
_THUMBNAILS = (XMP, "Thumbnails")
_NUMBER = re.compile(r"\s*(\d{1,12})(?:/(\d{1,12}))?\s*")


def xmp_for(
    xmp: bytes,
    *,
    width_px: int,
    height_px: int,
    magnification: tuple[float, float] = (1, 1),
    is_whole: bool = True,
) -> tuple[bytes, tuple[str, ...]]:
    """Return the packet for a result, which is upright and has no thumbnails, and the names of dropped properties.

    Args:
        xmp: the packet of the input.
        width_px: width of the result.
        height_px: height of the result.
        magnification: pixels of the result across and down for each pixel of the input.
        is_whole: whether the result shows all of the input as it was stored, so that places in it can be scaled.

    Raises:
        DamagedXmpError: the packet cannot be read.
    """
    packet = Packet(in_utf8(xmp))
    sides_px = (width_px, height_px)
    removed: dict[str, None] = {}
    is_changed = magnification != (1, 1) or not is_whole
    for part in packet.properties():
        name = part.name
        axis = _axis(name)
        if name == ORIENTATION:
            packet.set(part, "1")
        elif name in _SIZES:
            packet.set(part, str(sides_px[_SIZES[name]]))
        elif name == _THUMBNAILS:
            packet.remove(part)
        elif (name in _SUBJECT_PLACES and is_changed) or (name[0] in _OF_PLACES and not is_whole):
            packet.remove(part)
            removed[f"{part.prefix}:{name[1]}" if part.prefix else name[1]] = None
        elif axis is not None:
            _scale(packet, part, magnification[axis])
        elif name[0] == REGIONS and isinstance(part, Element):
            _state_size(packet, part, sides_px)
    return packet.changed(), tuple(removed)


def _state_size(packet: Packet, regions: Element, sides_px: tuple[int, int]) -> None:
    """Set the size of the picture that regions refer to."""
    for element in regions.with_all_below():
        parts: Iterable[Part] = [element, *element.attributes]
        for part in parts:
            if part.name == (DIMENSIONS, "w"):
                packet.set(part, str(sides_px[0]))
            elif part.name == (DIMENSIONS, "h"):
                packet.set(part, str(sides_px[1]))


def _axis(name: Name) -> int | None:
    """Return the axis along which a property counts pixels; None if it counts none."""
    if name[0] == PANORAMA:
        return 0 if _ACROSS.fullmatch(name[1]) else 1 if _DOWN.fullmatch(name[1]) else None
    return _PIXELS_PER_UNIT.get(name)


def _scale(packet: Packet, part: Part, factor: float) -> None:
    """Multiply a whole number or a ratio."""
    found = _NUMBER.fullmatch(packet.text(part))
    if found is not None:
        below = "" if found[2] is None else f"/{found[2]}"
        packet.set(part, f"{round(int(found[1]) * factor)}{below}")
