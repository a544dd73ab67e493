"""Metadata of a TIFF: entries of its first directory."""

from __future__ import annotations

from enlarger.picture import exif as exif_
from enlarger.picture.metadata.found import Metadata
from enlarger.picture.metadata.photoshop import use_resources


def read_tiff(data: bytes, found: Metadata) -> None:
    """Read the metadata of a TIFF."""
    block = exif_.read_or_none(data)
    if block is None:
        return
    found.exif, notes = exif_.exif_of_tiff(block)
    found.notes += notes
    found.iptc = block.bytes_of(exif_.IPTC)
    use_resources(block.bytes_of(exif_.PHOTOSHOP) or b"", found)
