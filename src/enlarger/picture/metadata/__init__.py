"""Metadata of a file: EXIF, XMP, IPTC and texts, read from the structure of the file itself, a module for each format.

Pillow returns only the last of several blocks, joins none of them, and does not know some. No pixel is decoded here.
Damaged metadata never makes a picture unreadable: what cannot be read is dropped with a note.
"""

from __future__ import annotations

from enlarger.picture.metadata.found import COMMENT, Metadata
from enlarger.picture.metadata.jpeg import EXTENSION_PREFIX, XMP_PREFIX
from enlarger.picture.metadata.photoshop import PHOTOSHOP_PREFIX, photoshop_block
from enlarger.picture.metadata.png import RAW_PROFILE, raw_profile
from enlarger.picture.metadata.reading import read_metadata

__all__ = [
    "COMMENT",
    "EXTENSION_PREFIX",
    "PHOTOSHOP_PREFIX",
    "RAW_PROFILE",
    "XMP_PREFIX",
    "Metadata",
    "photoshop_block",
    "raw_profile",
    "read_metadata",
]
