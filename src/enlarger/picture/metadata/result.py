"""The metadata of a result, as its format can hold it, with a note on everything that is dropped."""

from __future__ import annotations

from collections.abc import Mapping

from enlarger.picture import exif as exif_
from enlarger.picture import xmp as xmp_
from enlarger.picture.formats import WITH_DPI
from enlarger.picture.metadata.found import COMMENT, MOST_NAMED
from enlarger.picture.metadata.photoshop import PHOTOSHOP_PREFIX
from enlarger.picture.values import Note, Picture, Text

JPEG_SEGMENT_BYTES = 65533
"""Bytes of one segment, which begins with the name of its block."""

_JPEG_EXIF_BYTES = JPEG_SEGMENT_BYTES - len(exif_.EXIF_PREFIX)
_JPEG_IPTC_BYTES = JPEG_SEGMENT_BYTES - len(PHOTOSHOP_PREFIX) - 13

_WITH_IPTC = ("png", "jpeg", "tiff")
"""Formats with IPTC. The standard of PNG has no place for it; as ImageMagick and exiftool do, it is written as text."""


def exif_for_result(
    picture: Picture,
    kind: str,
    notes: list[Note],
    *,
    preserve: bool,
    provenance: Mapping[str, object] | None,
) -> bytes | None:
    """Return the EXIF block to write, without prefix."""
    exif = picture.exif
    if exif is not None and not preserve:
        notes.append(Note("exif_dropped", f"{len(exif)} bytes"))
        exif = None
    block: bytes = b""
    lost: tuple[Note, ...] = ()
    trouble = None
    try:
        block, lost = _exif_block(picture, exif, kind, provenance)
        if kind == "jpeg" and len(block) > _JPEG_EXIF_BYTES:
            block, lost = _exif_block(picture, exif, kind, provenance, with_maker_note=False)
        if kind == "jpeg" and len(block) > _JPEG_EXIF_BYTES:
            trouble = f"{len(block)} bytes are more than jpeg holds"
    except exif_.DamagedExifError:
        trouble = "the block is damaged"
    if trouble is not None:
        notes.append(Note("exif_dropped", trouble))
        block, lost = _exif_block(picture, None, kind, provenance)
    notes += lost
    return block or None


def _exif_block(
    picture: Picture,
    exif: bytes | None,
    kind: str,
    provenance: Mapping[str, object] | None,
    *,
    with_maker_note: bool = True,
) -> tuple[bytes, tuple[Note, ...]]:
    """Return the block, which is empty if there is nothing to state, and notes on dropped entries."""
    if exif is None and provenance is None:
        return b"", ()
    shown = exif_.Shown(
        width_px=picture.width_px,
        height_px=picture.height_px,
        magnification=picture.magnification,
        is_whole=picture.is_whole,
        is_srgb=picture.icc is None
        and picture.own is None
        and not (picture.stated and picture.stated.is_hdr),
    )
    return exif_.exif_for(
        exif,
        shown,
        # AVIF has a property for it, and Pillow would rewrite a block that states it as well.
        states_orientation=kind != "avif",
        with_maker_note=with_maker_note,
        provenance=provenance,
    )


def xmp_for_result(picture: Picture, notes: list[Note], *, preserve: bool) -> bytes | None:
    """Return the XMP packet to write."""
    if picture.xmp is None:
        return None
    if not preserve:
        notes.append(Note("xmp_dropped", f"{len(picture.xmp)} bytes"))
        return None
    try:
        packet, untrue = xmp_.xmp_for(
            picture.xmp,
            width_px=picture.width_px,
            height_px=picture.height_px,
            magnification=picture.magnification,
            is_whole=picture.is_whole,
        )
    except xmp_.DamagedXmpError:
        notes.append(Note("xmp_dropped", "the packet is damaged"))
        return None
    if untrue:
        names = ", ".join(untrue)
        notes.append(Note("xmp_entries_dropped", f"places in another picture: {names}"))
    return packet


def iptc_for_result(
    picture: Picture, kind: str, notes: list[Note], *, preserve: bool
) -> bytes | None:
    """Return the IPTC records to write."""
    if picture.iptc is None:
        return None
    trouble = None
    if not preserve:
        trouble = f"{len(picture.iptc)} bytes"
    elif kind not in _WITH_IPTC:
        trouble = f"{kind} has no place for it"
    elif kind == "jpeg" and len(picture.iptc) > _JPEG_IPTC_BYTES:
        trouble = f"{len(picture.iptc)} bytes are more than jpeg holds"
    if trouble is not None:
        notes.append(Note("iptc_dropped", trouble))
        return None
    return picture.iptc


def texts_for_result(
    picture: Picture, kind: str, notes: list[Note], *, preserve: bool
) -> tuple[Text, ...]:
    """Return the texts to write."""
    texts = tuple(text for text in picture.texts if preserve and _holds_text(kind, text))
    lost = list(dict.fromkeys(text.keyword for text in picture.texts if text not in texts))
    if lost:
        names = ", ".join(map(repr, lost[:MOST_NAMED]))
        more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
        why = {"png": "", "jpeg": ": jpeg holds comments of up to 65533 bytes"}
        reason = why.get(kind, f": {kind} has no place for texts") if preserve else ""
        notes.append(Note("text_dropped", f"{names}{more}{reason}"))
    return texts


def _holds_text(kind: str, text: Text) -> bool:
    """Return whether a format has a place for a text."""
    if kind == "jpeg":
        return text.keyword == COMMENT and len(text.text.encode()) <= JPEG_SEGMENT_BYTES
    return kind == "png"


def dpi_for_result(picture: Picture, kind: str) -> tuple[float, float] | None:
    """Return the resolution, if the format has a place for it and for numbers of this size."""
    if picture.dpi is None or kind not in WITH_DPI:
        return None
    return picture.dpi if all(0.5 <= value <= 65535 for value in picture.dpi) else None
