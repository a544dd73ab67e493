"""From any kind of colour to sRGB, through the profile that came with the samples.

8 bits go through Pillow's LittleCMS, 16 bits through that of imagecodecs, since Pillow has no such mode.
"""

from __future__ import annotations

from io import BytesIO
from typing import Literal

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from enlarger.picture.values import Samples

Space = Literal["gray", "rgb", "cmyk", "lab"]
"""Kinds of colour that files hold."""

_IN_PROFILE = {"gray": b"GRAY", "rgb": b"RGB ", "cmyk": b"CMYK", "lab": b"Lab "}
"""How a profile names them (ICC.1:2022, table 19)."""

_IN_PILLOW = {"gray": "L", "rgb": "RGB", "cmyk": "CMYK", "lab": "LAB"}

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
"""White stays white; with black point compensation, black stays black."""

_LAB_ZERO = 0x8000
"""What a TIFF's signed a* and b* differ by from a profile's, which begin at -128."""


class BrokenProfileError(Exception):
    """LittleCMS can make nothing of the profile."""


def fits(icc: bytes, space: Space) -> bool:
    """Whether a profile's colour space (bytes 16 to 19, ICC.1:2022 table 17) is that of the samples."""
    return icc[16:20] == _IN_PROFILE[space]


def is_readable(icc: bytes) -> bool:
    """Whether the profile's header and directory hold together; its curves and tables are not looked at."""
    try:
        _opened(icc)
    except BrokenProfileError:
        return False
    return True


def to_srgb(colour: Samples, space: Space, icc: bytes | None) -> Samples:
    """Colour channels in sRGB: (H, W, 3), or (H, W, 1) for gray, in the dtype they came in.

    Args:
        colour: (H, W, 1, 3 or 4), uint8 or uint16, Lab with signed a* and b* as in a TIFF.
        space: what the channels are.
        icc: their profile. Without one inks are subtracted from white, Lab is that of the ICC (D50), and
            gray and RGB stay.

    Raises:
        BrokenProfileError: the profile cannot be used.
    """
    if icc is None:
        if space == "cmyk":
            return _without_profile(colour)
        if space != "lab":
            return colour
        icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if space == "lab" and colour.dtype == np.uint16:
        colour = _lab_of_profile(colour)
    converted = _in_16_bits if colour.dtype == np.uint16 else _in_8_bits
    rgb = converted(np.ascontiguousarray(colour), space, icc)
    return rgb[:, :, 1:2] if space == "gray" else rgb  # neutral: all three are the same


def _in_8_bits(colour: Samples, space: Space, icc: bytes) -> Samples:
    height, width, _ = colour.shape
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if space == "lab":
        flags |= ImageCms.Flags.NOOPTIMIZE  # most of Lab is out of gamut: see below
    image = Image.frombytes(_IN_PILLOW[space], (width, height), colour.tobytes())
    try:
        converted = ImageCms.profileToProfile(
            image,
            _opened(icc),
            ImageCms.createProfile("sRGB"),
            renderingIntent=_INTENT,
            outputMode="RGB",
            flags=flags,
        )
    except ImageCms.PyCMSError as error:
        raise BrokenProfileError from error
    return np.array(converted)


def _in_16_bits(colour: Samples, space: Space, icc: bytes) -> Samples:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    flags = imagecodecs.CMS.FLAGS
    try:
        return imagecodecs.cms_transform(
            colour[:, :, 0] if space == "gray" else colour,
            icc,
            srgb,
            colorspace=space,
            outcolorspace="rgb",
            intent=int(_INTENT),
            # Optimized, LittleCMS goes through a grid, which was up to 13 of 255 code values off where
            # colours leave the gamut, and moved white and black.
            flags=flags.BLACKPOINTCOMPENSATION | flags.NOOPTIMIZE,
        )
    except (imagecodecs.CmsError, ValueError) as error:
        raise BrokenProfileError from error


def _without_profile(inks: Samples) -> Samples:
    """Inks subtracted from white, in the arithmetic of Pillow's own conversion."""
    most = np.iinfo(inks.dtype).max
    wide = inks.astype(np.uint32)
    light = most - wide[:, :, 3:]
    return (light - (wide[:, :, :3] * light + most // 2) // most).astype(inks.dtype)


def _lab_of_profile(lab: Samples) -> Samples:
    """Lab of a 16-bit TIFF (a* and b* signed, in 256ths) as LittleCMS counts: from -128 in 257ths."""
    wide = lab.astype(np.uint32)
    chroma = ((wide[:, :, 1:] ^ _LAB_ZERO) * 257 + 128) // 256
    return np.concatenate([wide[:, :, :1], chroma.clip(0, 65535)], axis=2).astype(np.uint16)


def _opened(icc: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(BytesIO(icc))
    except OSError as error:
        raise BrokenProfileError from error
