"""Reads the metadata of a file, whatever its format is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from enlarger.picture import exif as exif_
from enlarger.picture import xmp as xmp_
from enlarger.picture.metadata.avif import read_avif
from enlarger.picture.metadata.found import Metadata
from enlarger.picture.metadata.gif import read_gif
from enlarger.picture.metadata.jpeg import read_jpeg
from enlarger.picture.metadata.photoshop import use_resources
from enlarger.picture.metadata.png import read_png
from enlarger.picture.metadata.tiff import read_tiff
from enlarger.picture.metadata.webp import read_webp
from enlarger.picture.values import Note

_READERS: dict[str, Callable[[bytes, Metadata], None]] = {
    "jpeg": read_jpeg,
    "png": read_png,
    "gif": read_gif,
    "webp": read_webp,
    "avif": read_avif,
    "tiff": read_tiff,
}


def read_metadata(data: bytes, format_: str, *, exif: bytes | None, xmp: bytes | None) -> Metadata:
    """Return the metadata of a file, with notes on what cannot be preserved in any format.

    Args:
        data: the file.
        format_: the format, as in ``Header``.
        exif: the EXIF block that the format's library found. It counts for formats that are not read here.
        xmp: the XMP packet that the library found, likewise.
    """
    found = Metadata(exif=exif, xmp=xmp)
    read = _READERS.get(format_)
    if read is not None:
        try:
            read(data, found)
        except (LookupError, ValueError, struct.error, zlib.error):
            found.notes.append(Note("blocks_dropped", "the file's blocks are damaged"))
    _settle(found)
    return found


def _settle(found: Metadata) -> None:
    """Use blocks that are inside other blocks, and drop what announces parts of the file that the result does not have."""
    block = exif_.read_or_none(found.exif)
    if block is not None:
        found.xmp = found.xmp or block.bytes_of(exif_.XMP)
        found.iptc = found.iptc or block.bytes_of(exif_.IPTC)
        resources = block.bytes_of(exif_.PHOTOSHOP)
        if resources is not None:
            use_resources(resources, found)
    if found.xmp is not None:
        try:
            said, announced = xmp_.without_announcements(found.xmp)
        except xmp_.DamagedXmpError:
            found.notes.append(Note("xmp_dropped", "the packet is damaged"))
            found.xmp = None
        else:
            found.xmp = said or None
            found.gain_map |= announced.gain_map
            found.video |= announced.video
            if announced.others and not found.others_bytes:
                found.notes.append(
                    Note("attachment_dropped", "further pictures that XMP speaks of")
                )
    if found.gain_map:
        found.notes.append(
            Note("gain_map_dropped", "what makes the picture brighter on HDR screens")
        )
    if found.video:
        found.notes.append(Note("video_dropped", "the moving part of a motion photo"))
    if found.others_bytes and not (found.gain_map or found.video):
        found.notes.append(
            Note("attachment_dropped", f"{found.others_bytes} bytes behind the picture")
        )
