"""TIFF: its header, and samples of 16 bits, which Pillow would narrow to 8 without a word."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import tifffile

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.colour import Space
from enlarger.picture.values import Samples

PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little and big endian, TIFF and BigTIFF."""

_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 2, 3, 5, 6, 8
_KINDS: dict[int, tuple[Space, int, str]] = {
    _WHITE_IS_ZERO: ("gray", 1, "L"),
    1: ("gray", 1, "L"),
    _RGB: ("rgb", 3, "RGB"),
    _PALETTE: ("rgb", 1, "P"),
    _CMYK: ("cmyk", 4, "CMYK"),
    _YCBCR: ("rgb", 3, "RGB"),
    _LAB: ("lab", 3, "LAB"),
}
"""By photometric interpretation (TIFF 6.0, section 8 and on): kind of colour, its channels, and Pillow's
name of the mode."""

_PREMULTIPLIED, _STRAIGHT = 1, 2
"""What ExtraSamples says of alpha."""

_UNSIGNED, _UNDEFINED = 1, 4
"""Of SampleFormat; undefined samples are read as unsigned, as everybody does."""

_COMPRESSIONS = (1, 5, 8, 32773, 32946, 50000)
"""Of 16 bits: none, LZW, deflate by both of its numbers, PackBits, Zstandard. The file names its codec, and not
every codec that imagecodecs has is made for strangers' bytes; fewer bits go through the few that Pillow has."""

_MOST_CHANNELS = 8
"""More of them are measurements, not a picture."""

_ORIENTATION, _XMP, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 700, 282, 283, 296
_INCHES_PER_UNIT = {2: 1.0, 3: 1 / 2.54}
"""By ResolutionUnit: inch and centimetre."""

# What libraries think of a stranger's file is not the operator's business.
for _library in ("tifffile", "imagecodecs", "PIL"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the first directory says."""

    width_px: int
    height_px: int
    """Size as stored, before orientation."""

    depth_bits: int
    photometric: int
    channels: int
    """Of colour, alpha and whatever else there is."""

    alpha: int | None
    """``ExtraSamples`` of the channel behind the colours, where that is alpha."""

    orientation: int
    icc: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None

    @property
    def space(self) -> Space:
        """Kind of colour, after a palette's look-up."""
        return _KINDS[self.photometric][0]

    @property
    def mode(self) -> str:
        """Pillow's name of the sample layout."""
        mode = _KINDS[self.photometric][2]
        if mode == "L" and self.depth_bits in (1, 16) and not self.alpha:
            return "1" if self.depth_bits == 1 else "I;16"
        return mode + "A" if self.alpha else mode


def facts(data: bytes) -> Facts:
    """What the first directory says; no sample is decoded.

    Raises:
        UnsupportedFormat: a TIFF of samples that we do not read.
    """
    with tifffile.TiffFile(BytesIO(data)) as file:
        return _facts(file)


def samples_of_16_bits(data: bytes) -> tuple[Samples, Samples | None]:
    """Colour as stored, (H, W, C), black at 0 for gray, and alpha, (H, W); uint16, not yet turned.

    Raises:
        UnreadableImage: samples are missing, or are not as many as the header says.
        UnsupportedFormat: a TIFF of samples that we do not read.
    """
    with tifffile.TiffFile(BytesIO(data)) as file:
        stated = _facts(file)
        page = _first_page(file)
        parts = zip(page.dataoffsets, page.databytecounts, strict=True)
        if not all(size > 0 and offset + size <= len(data) for offset, size in parts):
            raise UnreadableImage("the file is broken or cut short")  # tifffile would leave black
        stored = np.asarray(page.asarray(maxworkers=1))
        if page.axes.startswith("S"):
            stored = np.moveaxis(stored, 0, -1)
        shape = (stated.height_px, stated.width_px, stated.channels)
        if stored.dtype != np.uint16 or stored.size != np.prod(shape):
            raise UnreadableImage("the pixels do not have the size that the header says")
        stored = stored.reshape(shape)
    count = _KINDS[stated.photometric][1]
    colour: Samples = stored[:, :, :count]
    if stated.photometric == _WHITE_IS_ZERO:
        colour = 65535 - colour
    if stated.alpha is None:
        return colour, None
    alpha = stored[:, :, count]
    if stated.alpha == _PREMULTIPLIED:
        colour = _straight(colour, alpha[:, :, np.newaxis])
    return colour, alpha


def _straight(colour: Samples, alpha: Samples) -> Samples:
    """Colour that was multiplied by alpha, divided by it again, rounded; black where it is clear."""
    divisor = np.maximum(alpha, 1).astype(np.uint64)
    straight: Samples = (colour * np.uint64(65535) + divisor // 2) // divisor
    return straight.clip(max=65535).astype(np.uint16)


def _first_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    page = file.pages.first
    if not isinstance(page, tifffile.TiffPage):
        raise UnreadableImage("the file is broken or cut short")
    return page


def _facts(file: tifffile.TiffFile) -> Facts:
    page = _first_page(file)
    depth_bits, format_, photometric = page.bitspersample, page.sampleformat, page.photometric
    if format_ not in (_UNSIGNED, _UNDEFINED):
        raise UnsupportedFormat(
            "a TIFF of signed or floating point samples is not read here; convert it to 8 or 16 bits"
        )
    if not isinstance(depth_bits, int):
        raise UnsupportedFormat(
            "a TIFF of channels of different depth is not read here; convert it to 8 or 16 bits"
        )
    if depth_bits not in (1, 2, 4, 8, 16) or (
        depth_bits == 16 and photometric in (_PALETTE, _YCBCR)
    ):
        raise UnsupportedFormat(
            f"a TIFF of {depth_bits} bits per sample is not read here; convert it to 8 or 16 bits"
        )
    if depth_bits < 16 and file.is_bigtiff and file.byteorder == ">":
        # Pillow looks for the version in the third byte, where only little-endian files have it.
        raise UnsupportedFormat(
            "a big-endian BigTIFF of less than 16 bits is not read here; convert it to TIFF"
        )
    if depth_bits == 16 and page.compression not in _COMPRESSIONS:
        raise UnsupportedFormat(
            "a TIFF of 16 bits in this compression is not read here; use LZW, deflate or none"
        )
    if photometric not in _KINDS or page.imagedepth != 1:
        raise UnsupportedFormat(
            "a TIFF of this kind of colour is not read here; convert it to RGB or gray"
        )
    channels = int(page.samplesperpixel)
    count = _KINDS[photometric][1]
    if not count <= channels <= _MOST_CHANNELS:
        raise UnsupportedFormat(
            f"a TIFF of {channels} channels is not read here; convert it to RGB or gray"
        )
    extra = [int(kind) for kind in page.extrasamples] or [
        _STRAIGHT
    ]  # what most mean who say nothing
    alpha = extra[0] if channels > count and extra[0] in (_PREMULTIPLIED, _STRAIGHT) else None
    orientation = _value(page, _ORIENTATION)
    xmp = _value(page, _XMP)
    return Facts(
        width_px=int(page.imagewidth),
        height_px=int(page.imagelength),
        depth_bits=depth_bits,
        photometric=int(photometric),
        channels=channels,
        alpha=alpha,
        orientation=int(orientation) if isinstance(orientation, int) else 1,
        icc=page.iccprofile,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp if isinstance(xmp, bytes) else None,
        dpi=_dpi(page),
    )


def _dpi(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Pixels per inch, unless the unit is none; an inch where the file does not say."""
    unit = _value(page, _RESOLUTION_UNIT)
    scale = _INCHES_PER_UNIT.get(unit if isinstance(unit, int) else 2)
    across, down = _value(page, _X_RESOLUTION), _value(page, _Y_RESOLUTION)
    if scale is None or not isinstance(across, tuple) or not isinstance(down, tuple):
        return None
    if not across[1] or not down[1]:
        return None
    return across[0] / across[1] / scale, down[0] / down[1] / scale


def _value(page: tifffile.TiffPage, tag: int) -> object:
    return page.tags.valueof(tag)
