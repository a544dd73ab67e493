"""TIFF: what its directory states, and its samples as they are stored, with 8 and 16 bits in the same way.

tifffile decodes all compressions but fax and JPEG, which Pillow's libtiff decodes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import tifffile

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture import exif, layout, ycbcr
from enlarger.picture.colour import Space
from enlarger.picture.layout import Layout
from enlarger.picture.values import Note, Samples

PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little and big endian, TIFF and BigTIFF."""

_KINDS: dict[int, tuple[Space, int, str]] = {
    layout.WHITE_IS_ZERO: ("gray", 1, "L"),
    layout.BLACK_IS_ZERO: ("gray", 1, "L"),
    layout.RGB: ("rgb", 3, "RGB"),
    layout.PALETTE: ("rgb", 1, "P"),
    layout.CMYK: ("cmyk", 4, "CMYK"),
    layout.YCBCR: ("rgb", 3, "RGB"),
    layout.LAB: ("lab", 3, "LAB"),
}
"""By photometric interpretation (TIFF 6.0, section 8 and on): kind of colour, its channels, and Pillow's
name of the mode."""

_OTHER_KINDS = {
    4: "a transparency mask",
    9: "ICC Lab",
    10: "ITU Lab (fax)",
    32803: "a sensor's colour filter array",
    32844: "LogL (HDR)",
    32845: "LogLuv (HDR)",
    34892: "a sensor's linear colours",
    51177: "a depth map",
}
"""Photometric interpretations that are not read, for people."""

_OPAQUE, _PREMULTIPLIED, _STRAIGHT, _STRAIGHT_OF_COREL = 0, 1, 2, 999
"""Values of ExtraSamples: not alpha, or a kind of alpha."""

_UNSIGNED, _UNDEFINED = 1, 4
"""Values of SampleFormat. Undefined samples are read as unsigned, as all programs do."""

_UNPACKED = (
    *(layout.NONE, layout.LZW, layout.ADOBE_DEFLATE, layout.DEFLATE),
    *(layout.PACK_BITS, layout.LZMA, layout.ZSTANDARD),
)
"""Compressions that tifffile unpacks here. The file names its codec, and not every codec that imagecodecs has is made for
strangers' bytes."""

_BY_LIBTIFF = (
    *(layout.FAX_RUNS, layout.FAX_WORDS, layout.FAX_3, layout.FAX_4),
    *(layout.OLD_JPEG, layout.JPEG, layout.THUNDER),
)
"""Compressions of 8 bits and fewer that Pillow's libtiff decodes."""

_OTHER_COMPRESSIONS = {
    **dict.fromkeys((9, 10, 34661), "JBIG"),
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    **dict.fromkeys((34676, 34677), "SGI LogLuv"),
    **dict.fromkeys((34927, 50001), "WebP"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    layout.JPEG: "JPEG",
    layout.OLD_JPEG: "JPEG",
    34715: "JBIG2",
    34887: "LERC",
    34892: "lossy DNG",
    34933: "PNG",
}
"""Compressions that are not read, for people."""

_TO_BITS, _TO_LOSSLESS = "convert it to 8 or 16 bits", "use LZW, deflate or none"
"""What the sender can do, in words."""

_DEPTHS_BITS = {layout.PALETTE: (1, 2, 4, 8), layout.YCBCR: (8,), layout.LAB: (8, 16)}
"""Bits per sample that are read, where not all are, by photometric interpretation."""

_MOST_CHANNELS = 8
"""A file with more channels holds measurements, not a picture."""

_MOST_SEGMENT_BYTES = 1 << 28
"""The largest tile that is unpacked: it may be larger than the picture."""

_BAND_ROWS = 256
"""Rows that are divided by alpha at once, to use little memory."""

_SUBSAMPLINGS = (1, 2, 4)
"""Values of YCbCrSubSampling."""

_ICC = 34675
"""Tag of the profile."""

# The operator need not see what libraries log about a stranger's file.
for _library in ("tifffile", "imagecodecs", "PIL"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffHeader:
    """What the first directory of a TIFF states."""

    layout: Layout
    alpha_channel: int | None
    """Number of the channel that is alpha."""

    alpha: int | None
    """``ExtraSamples`` of that channel."""

    orientation: int
    icc: bytes | None
    xmp: bytes | None
    dpi: tuple[float, float] | None

    @property
    def width_px(self) -> int:
        """Width as stored, before orientation."""
        return self.layout.width_px

    @property
    def height_px(self) -> int:
        """Height as stored, before orientation."""
        return self.layout.height_px

    @property
    def channels(self) -> int:
        """Channels of colour, alpha and anything else."""
        return self.layout.channels

    @property
    def depth_bits(self) -> int:
        """Bits per sample, the same in all channels."""
        return self.layout.depths_bits[0]

    @property
    def space(self) -> Space:
        """Colour space, after a palette is looked up."""
        return _KINDS[self.layout.photometric][0]

    @property
    def mode(self) -> str:
        """Pillow's name of the sample layout."""
        mode = _KINDS[self.layout.photometric][2]
        if mode == "L" and self.depth_bits in (1, 16) and not self.alpha:
            return "1" if self.depth_bits == 1 else "I;16"
        return mode + "A" if self.alpha else mode

    @property
    def is_unpacked_here(self) -> bool:
        """Whether ``samples`` decodes the file; if not, Pillow decodes what ``for_pillow`` returns."""
        return self.layout.compression in _UNPACKED

    @property
    def notes(self) -> tuple[Note, ...]:
        """A note on channels that are no part of the picture."""
        others = self.channels - _KINDS[self.layout.photometric][1] - (self.alpha is not None)
        if not others:
            return ()
        name = "1 extra channel" if others == 1 else f"{others} extra channels"
        return (Note("blocks_dropped", f"{name}, neither colour nor alpha"),)


def header(data: bytes) -> TiffHeader:
    """Return what the first directory states; no sample is decoded.

    Raises:
        UnreadableImage: the directory does not state how the samples are stored.
        UnsupportedFormat: the samples are stored in a way that is not read here.
    """
    block = exif.read_or_none(data)
    if block is None:
        raise UnreadableImage("the file is broken or cut short")
    stored = layout.layout(block)
    _check(stored)
    colours = _KINDS[stored.photometric][1]
    # What most programs mean that state nothing.
    kinds = stored.extra or (_STRAIGHT,)
    alphas = {
        colours + at: kind
        for at, kind in enumerate(kinds[: stored.channels - colours])
        if kind in (_PREMULTIPLIED, _STRAIGHT, _STRAIGHT_OF_COREL)
    }
    alpha_channel = min(alphas, default=None)
    orientation = block.number(exif.ORIENTATION)
    xmp = block.bytes_of(exif.XMP)
    return TiffHeader(
        layout=stored,
        alpha_channel=alpha_channel,
        alpha=None if alpha_channel is None else alphas[alpha_channel],
        orientation=orientation if orientation is not None else 1,
        icc=block.bytes_of(_ICC),
        xmp=xmp and xmp.rstrip(b"\0"),
        dpi=block.dpi,
    )


def samples(data: bytes, stated: TiffHeader) -> tuple[Samples, Samples | None]:
    """Return colour, (H, W, C), and alpha, (H, W): uint16 if the file has 16 bits, else uint8; not yet upright.

    Gray is black at 0, palettes and YCbCr become RGB, and all else is as stored.

    Raises:
        UnreadableImage: samples are missing, or are not as many as the header states.
    """
    how = stated.layout
    stored = _stored(data, how)
    if how.photometric == layout.YCBCR:
        rgb: Samples = ycbcr.to_rgb(stored[:, :, :3], how)
        stored = np.concatenate([rgb, stored[:, :, 3:]], axis=2)
    count = _KINDS[how.photometric][1]
    colour = stored[:, :, :count]
    if how.photometric == layout.PALETTE:
        colour = _looked_up(colour[:, :, 0], how)
    else:
        colour = _in_8_bits(colour, how)
    if how.photometric == layout.WHITE_IS_ZERO:
        colour = np.iinfo(colour.dtype).max - colour
    if stated.alpha_channel is None:
        return colour, None
    alpha = _in_8_bits(stored[:, :, stated.alpha_channel], how)
    if stated.alpha == _PREMULTIPLIED:
        divided = colour.view(f"i{colour.itemsize}") if how.photometric == layout.LAB else colour
        straight = _straight(divided, alpha[:, :, np.newaxis])
        if how.photometric == layout.LAB:  # L* has no sign, a* and b* have
            straight[:, :, 0] = _straight(colour[:, :, 0], alpha)
        colour = straight.view(colour.dtype)
    return colour, alpha


def for_pillow(data: bytes, stated: TiffHeader) -> bytes:
    """Return a file with nothing but the samples, so that damage elsewhere in the file does not reach Pillow.

    Raises:
        UnreadableImage: samples are missing.
    """
    how = stated.layout
    # JPEG as TIFF 6.0 had it stands where tags of its own say.
    if how.compression != layout.OLD_JPEG:
        how = how.with_whole_segments(len(data))
    return how.written_for_libtiff(data)


def unsupported_layout(stated: TiffHeader) -> UnsupportedFormat:
    """Return the refusal of samples that Pillow does not read."""
    how = stated.layout
    name = _OTHER_COMPRESSIONS.get(how.compression, "fax")
    what = f" of {how.channels} channels of {stated.space} in {name} compression"
    return _refusal(what, _TO_LOSSLESS)


def _stored(data: bytes, how: Layout) -> Samples:
    """Return all samples, (H, W, channels), as they are stored."""
    is_in_units = (
        how.photometric == layout.YCBCR and not how.is_planar and how.subsampling != (1, 1)
    )
    read = (how.in_units() if is_in_units else how).with_whole_segments(len(data))
    with tifffile.TiffFile(BytesIO(read.written_for_tifffile(data))) as file:
        page = file.pages.first
        if not isinstance(page, tifffile.TiffPage):
            raise UnreadableImage("the file is broken or cut short")
        stored = np.asarray(page.asarray(maxworkers=1))
        if page.axes.startswith("S"):
            stored = np.moveaxis(stored, 0, -1)
    shape = (read.height_px, read.width_px, read.channels)
    dtype = np.uint16 if how.depth_bits == 16 else np.uint8
    if stored.dtype not in (dtype, np.bool_) or stored.size != np.prod(shape):
        raise UnreadableImage("the pixels do not have the size that the header says")
    pixels: Samples = stored.reshape(shape).astype(dtype, copy=False)
    return ycbcr.from_units(pixels, how) if is_in_units else pixels


def _in_8_bits(values: Samples, how: Layout) -> Samples:
    """Values of fewer than 8 bits spread over 8; others as they are."""
    # 255 is a multiple of 1, 3 and 15.
    most = 2 ** how.depths_bits[0] - 1
    return values if most >= 255 else values * np.uint8(255 // most)


def _looked_up(indices: Samples, how: Layout) -> Samples:
    """RGB, (H, W, 3), uint8, of a palette's indices, (H, W)."""
    colours = 2 ** how.depths_bits[0]
    if len(how.colour_map) < 3 * colours:
        raise UnreadableImage("the palette is missing or cut short")
    palette: Samples = np.array(how.colour_map[: 3 * colours], np.uint32).reshape(3, colours).T
    # Some programs write 8 bits, which libtiff takes for such where there are no others (tif_getimage.c, checkcmap).
    palette = palette >> 8 if palette.max() > 255 else palette
    looked_up: Samples = palette.clip(max=255).astype(np.uint8)[indices]
    return looked_up


def _straight(colour: Samples, alpha: Samples) -> Samples:
    """Colour, signed or not, that was multiplied by alpha, divided by it again, rounded; black where it is clear."""
    limits, most = np.iinfo(colour.dtype), np.iinfo(alpha.dtype).max
    straight = np.empty_like(colour)
    for start in range(0, len(colour), _BAND_ROWS):
        band = slice(start, start + _BAND_ROWS)
        divisor = np.maximum(alpha[band], 1).astype(np.int64)
        quotient = (colour[band].astype(np.int64) * most + divisor // 2) // divisor
        straight[band] = quotient.clip(limits.min, limits.max)
    return straight


def _check(how: Layout) -> None:
    """Refuse what is not read here, with the reason.

    Raises:
        UnreadableImage: a tile would take too much memory.
        UnsupportedFormat: a TIFF of samples that we do not read.
    """
    depth_bits = how.depth_bits
    if set(how.formats) - {_UNSIGNED, _UNDEFINED}:
        raise _refusal(" of signed or floating point samples", _TO_BITS)
    if depth_bits is None:
        raise _refusal(" of channels of different depth", _TO_BITS)
    _check_colours(how)
    if depth_bits not in _DEPTHS_BITS.get(how.photometric, (1, 2, 4, 8, 16)):
        raise _refusal(f" of {depth_bits} bits per sample", _TO_BITS)
    if how.compression not in (_UNPACKED if depth_bits == 16 else (*_UNPACKED, *_BY_LIBTIFF)):
        name = _OTHER_COMPRESSIONS.get(how.compression, f"unknown ({how.compression})")
        of = " of 16 bits" if how.compression in _BY_LIBTIFF else ""
        raise _refusal(f"{of} in {name} compression", _TO_LOSSLESS)
    if how.predictor not in (1, 2) or (how.predictor == 2 and depth_bits < 8):
        raise _refusal(
            f" with predictor {how.predictor} for {depth_bits} bits", "save it without predictor"
        )
    if how.photometric == layout.YCBCR and how.compression in _UNPACKED:
        _check_ycbcr(how)
    if how.tile_px and how.segment_bytes > _MOST_SEGMENT_BYTES:
        raise UnreadableImage("decoding it takes too much memory")


def _check_colours(how: Layout) -> None:
    """Refuse kinds of colour that are not read here, and channels that do not make one.

    Raises:
        UnsupportedFormat: a TIFF of samples that we do not read.
    """
    name = None
    if how.slices != 1:
        name = "volumes"
    elif how.photometric not in _KINDS:
        name = _OTHER_KINDS.get(how.photometric, "this kind of colour")
    elif how.photometric == layout.CMYK and how.ink_set != 1:
        name = "inks other than CMYK"
    elif not _KINDS[how.photometric][1] <= how.channels <= _MOST_CHANNELS:
        name = f"{how.channels} channels"
    if name:
        raise _refusal(f" of {name}", "convert it to RGB or gray")
    if len(how.depths_bits) != how.channels:
        raise UnreadableImage("the file is broken or cut short")


def _check_ycbcr(how: Layout) -> None:
    """Refuse YCbCr that nobody writes.

    Raises:
        UnreadableImage: what it says of its colours makes none.
        UnsupportedFormat: a TIFF of samples that we do not read.
    """
    across, down = how.subsampling
    width_px, rows = how.segment_px
    is_single = (width_px, rows) == (how.width_px, how.height_px)
    is_whole = not (rows % down or (how.tile_px and width_px % across)) or is_single
    is_usual = {across, down} <= set(_SUBSAMPLINGS) and how.channels == 3 and how.predictor == 1
    if (across, down) != (1, 1) and (how.is_planar or not (is_usual and is_whole)):
        raise _refusal(f" of YCbCr subsampled in this way ({across}x{down})", "convert it to RGB")
    levels = zip(how.reference[::2], how.reference[1::2], strict=True)
    if not how.luma[1] or any(black == white for black, white in levels):
        raise UnreadableImage("the file is broken or cut short")


def _refusal(what: str, instead: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"a TIFF{what} is not read here; {instead}")
