"""Metadata of an AVIF: items of EXIF and XMP, and the orientation that its properties state."""

from __future__ import annotations

from enlarger.picture import avif
from enlarger.picture import exif as exif_
from enlarger.picture.exif import EXIF_PREFIX
from enlarger.picture.metadata.found import FOUR_LETTERS, Metadata, note_unknown

_KNOWN_BOXES = frozenset(
    {b"ftyp", b"styp", b"meta", b"mdat", b"moov", b"moof", b"free", b"skip", b"wide", b"sidx"}
)


def read_avif(data: bytes, found: Metadata) -> None:
    """Read the metadata of an AVIF."""
    unknown: dict[str, None] = {}
    for kind, begin, end in avif.boxes(data, 0, len(data)):
        if kind == b"mpvd":
            found.video = True
        elif kind == b"meta":
            listed = data[begin:end]
            found.gain_map |= b"tmap" in listed or b"aux:hdrgainmap" in listed
        elif kind not in _KNOWN_BOXES and FOUR_LETTERS.fullmatch(kind):
            unknown[kind.decode()] = None
    note_unknown(unknown, found)
    # Properties of the picture state its orientation, whatever EXIF says. Pillow returns them as an EXIF block.
    block = exif_.read_or_none(found.exif)
    found.turned = ((block and block.number(exif_.ORIENTATION)) or 1, "AVIF")
    packet = avif.xmp_item(data)
    found.xmp = (packet and packet.block) or None
    item = avif.exif_item(data)
    if item is not None or (block is not None and set(block.directory) == {exif_.ORIENTATION}):
        found.exif = None
    if item is not None and item.block:
        found.exif = EXIF_PREFIX + item.block.removeprefix(EXIF_PREFIX)
