"""EXIF blocks: read entry by entry, and written so that they are true of another picture.

An EXIF block is a small TIFF file: a header, and directories of entries. ``block`` is its content, ``reader`` and
``writer`` convert it from and to bytes. ``result`` makes the block of a result, and ``tiff`` puts it into a TIFF.
"""

from __future__ import annotations

from enlarger.picture.exif.block import (
    EXIF_PREFIX,
    Block,
    ByteOrder,
    DamagedExifError,
    Entry,
    byte_order,
)
from enlarger.picture.exif.reader import read, read_or_none
from enlarger.picture.exif.result import Shown, exif_for
from enlarger.picture.exif.tags import IPTC, ORIENTATION, PHOTOSHOP, XMP
from enlarger.picture.exif.tiff import exif_of_tiff, with_exif

__all__ = [
    "EXIF_PREFIX",
    "IPTC",
    "ORIENTATION",
    "PHOTOSHOP",
    "XMP",
    "Block",
    "ByteOrder",
    "DamagedExifError",
    "Entry",
    "Shown",
    "byte_order",
    "exif_for",
    "exif_of_tiff",
    "read",
    "read_or_none",
    "with_exif",
]
