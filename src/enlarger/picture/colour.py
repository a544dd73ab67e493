"""Converts the colours that a file states to those of the result, and any colour space to sRGB.

Pictures with 8 bits use LittleCMS through Pillow. Those with 16 bits use it through imagecodecs, since Pillow has no
such mode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from enlarger.picture import tone
from enlarger.picture.encoding import Encoding, Statement, coded_of, light_of
from enlarger.picture.profile import Curve
from enlarger.picture.stated import Stated
from enlarger.picture.values import Note, Samples

Space = Literal["gray", "rgb", "cmyk", "lab"]
"""Colour spaces that files use."""

_IN_PROFILE = {"gray": b"GRAY", "rgb": b"RGB ", "cmyk": b"CMYK", "lab": b"Lab "}
"""Their names in a profile (ICC.1:2022, table 19)."""

_IN_PILLOW = {"gray": "L", "rgb": "RGB", "cmyk": "CMYK", "lab": "LAB"}

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
"""White stays white; with black point compensation, black stays black."""

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

_LAB_ZERO = 0x8000
"""Difference between a* and b* in a TIFF, which are signed, and in a profile, where they begin at -128."""


class BrokenProfileError(Exception):
    """LittleCMS cannot use the profile."""


def fits(icc: bytes, space: Space) -> bool:
    """Whether a profile's colour space (bytes 16 to 19, ICC.1:2022 table 17) is that of the samples."""
    return icc[16:20] == _IN_PROFILE[space]


def is_readable(icc: bytes) -> bool:
    """Whether the profile's header and directory are consistent. Its curves and tables are not checked."""
    try:
        _opened(icc)
    except BrokenProfileError:
        return False
    return True


_HOLD_HDR = ("png", "avif")
"""Formats that can state PQ and HLG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """Colour channels, and everything that their file says about their meaning."""

    samples: Samples
    """Shape (H, W, C), uint8 or uint16, as ``to_srgb`` expects them."""

    alpha: Samples | None
    space: Space
    icc: bytes | None
    stated: Stated

    def for_result(self, kind: str | None, *, wants_srgb: bool) -> Made:
        """Return gray or RGB samples for a result, with their profile or statement.

        Args:
            kind: the format of the result; None for one that can hold everything.
            wants_srgb: convert all other colours to sRGB.
        """
        notes = list(self.stated.notes)
        icc = self._usable_profile(notes)
        if self.space in ("gray", "rgb"):
            first = self.stated.first
            if first is not None:
                if icc is not None and not self._is_made_of(first):
                    notes.append(Note("icc_dropped", f"{first.source} holds before it"))
                return self._as_stated(first, notes, kind, wants_srgb=wants_srgb)
            second = self.stated.second
            if second is not None and (icc is None or self._is_made_of(second)):
                return self._as_stated(second, notes, kind, wants_srgb=wants_srgb)
            if icc is None or not wants_srgb:
                return Made(samples=self.samples, icc=icc, notes=notes)
        return self._through_profile(icc, notes)

    def _is_made_of(self, encoding: Encoding) -> bool:
        """Whether the profile equals the one that we derive from the statement beside it.

        Then the file is a result of ours.
        """
        return encoding.hdr is None and self.icc == encoding.profile(gray=self.space == "gray")

    def _usable_profile(self, notes: list[Note]) -> bytes | None:
        if self.icc is None:
            return None
        trouble = None
        if not fits(self.icc, self.space):
            trouble = "the profile is for another kind of colour"
        elif not is_readable(self.icc):
            trouble = "the profile is damaged"
        if trouble is not None:
            notes.append(Note("icc_dropped", trouble))
            return None
        return self.icc

    def _through_profile(self, icc: bytes | None, notes: list[Note]) -> Made:
        """Return samples in sRGB, converted with the file's profile."""
        space = self.space
        try:
            samples = to_srgb(self.samples, space, icc)
        except BrokenProfileError:
            notes.append(Note("icc_dropped", "the profile is damaged"))
            icc = None
            samples = to_srgb(self.samples, space, None)
            if space in ("gray", "rgb"):
                return Made(samples=samples, notes=notes)
        name = {"gray": "gray", "rgb": "RGB", "cmyk": "CMYK", "lab": "Lab"}[space]
        how = "through the file's profile" if icc else "without a profile"
        notes.append(Note("colorspace_converted", f"{name} to sRGB {how}"))
        return Made(samples=samples, notes=notes)

    def _as_stated(
        self, encoding: Encoding, notes: list[Note], kind: str | None, *, wants_srgb: bool
    ) -> Made:
        """Return samples whose file states its colours without a profile: marked as they are, or converted."""
        samples, gray, statement = self.samples, self.space == "gray", encoding.statement
        if encoding.is_narrow:
            samples = _in_full_range(samples)
            notes.append(Note("colorspace_converted", "narrow range, stated by cICP, to full"))
        words = f"{encoding.name}, stated by {encoding.source}, to sRGB"
        if encoding.hdr is not None:
            peak = tone.peak_nits(samples, self.alpha, encoding.hdr)
            statement = replace(statement, peak_nits=peak)
            if not wants_srgb and (kind is None or kind in _HOLD_HDR):
                return Made(samples=samples, statement=statement, notes=notes)
            how = f"white at {tone.WHITE_NITS:.0f} cd/m2"
            if peak > tone.WHITE_NITS:
                how += f", and what is brighter, to {peak:.0f}, made darker"
            notes.append(Note("colorspace_converted", f"{words}; {how}"))
            return Made(samples=tone.to_srgb(samples, statement), notes=notes)
        if encoding.is_srgb(gray=gray):
            return Made(samples=samples, statement=statement, notes=notes)
        icc = encoding.profile(gray=gray)
        try:
            if wants_srgb:
                samples = to_srgb(samples, self.space, icc)
                notes.append(Note("colorspace_converted", words))
                return Made(samples=samples, notes=notes)
        except BrokenProfileError:
            notes.append(Note("color_statement_dropped", f"{encoding.source}: it is no colour"))
            return Made(samples=self.samples, notes=notes)
        if encoding.is_linear:
            seen = encoding.with_curve_of_srgb()
            is_srgb = seen.is_srgb(gray=gray)
            return Made(
                samples=with_curves(samples, encoding.curves, seen.curves),
                icc=None if is_srgb else seen.profile(gray=gray),
                statement=None if is_srgb else seen.statement,
                own=encoding,
                notes=notes,
            )
        return Made(samples=samples, icc=icc, statement=statement, notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Colour channels of a picture, and the data that describes them."""

    samples: Samples
    """Shape (H, W, 1) or (H, W, 3)."""

    icc: bytes | None = None
    statement: Statement | None = None
    own: Encoding | None = None
    """See ``Picture.own``."""

    notes: list[Note]


def to_srgb(colour: Samples, space: Space, icc: bytes | None) -> Samples:
    """Return colour channels in sRGB: (H, W, 3), or (H, W, 1) for gray, in the dtype of the input.

    Args:
        colour: (H, W, 1, 3 or 4), uint8 or uint16; Lab has signed a* and b*, as in a TIFF.
        space: the colour space of the channels.
        icc: their profile. Without one, inks are subtracted from white, Lab is the ICC's (D50), and gray and RGB are
            unchanged.

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
    rgb = _transformed(colour, space, icc, _SRGB)
    return rgb[:, :, 1:2] if space == "gray" else rgb  # neutral: all three channels are equal


def with_curves(
    colour: Samples, curves: tuple[Curve, Curve, Curve], wanted: tuple[Curve, Curve, Curve]
) -> Samples:
    """Return colour channels, (H, W, 1 or 3), of the same light in other curves; gray uses the curve of green.

    The dtype is that of the input.
    """
    most = int(np.iinfo(colour.dtype).max)
    codes = np.arange(most + 1) / most
    made = np.empty_like(colour)
    pairs = list(zip(curves, wanted, strict=True))
    if colour.shape[2] == 1:
        pairs = pairs[1:2]
    for channel, (curve, other) in enumerate(pairs):
        table = np.rint(coded_of(other, light_of(curve, codes).clip(0, 1)) * most)
        made[:, :, channel] = table.astype(colour.dtype)[colour[:, :, channel]]
    return made


def from_srgb(rgb: tuple[int, int, int], icc: bytes) -> Samples:
    """Return a colour of sRGB, 0 to 255, in the colours of a profile made here for gray or RGB: (1,) or (3,), uint16."""
    space: Space = "gray" if fits(icc, "gray") else "rgb"
    wide = np.array(rgb, np.uint16).reshape(1, 1, 3) * np.uint16(257)
    made: Samples = imagecodecs.cms_transform(
        wide,
        _SRGB,
        icc,
        colorspace="rgb",
        outcolorspace=space,
        intent=int(_INTENT),
        flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE,
    )
    flat: Samples = made.reshape(-1)
    return flat


def _transformed(colour: Samples, space: Space, icc: bytes, wanted: bytes) -> Samples:
    """Return colours of one profile in those of another, for RGB: (H, W, 3)."""
    in_depth = _in_16_bits if colour.dtype == np.uint16 else _in_8_bits
    return in_depth(np.ascontiguousarray(colour), space, icc, wanted)


def _in_8_bits(colour: Samples, space: Space, icc: bytes, wanted: bytes) -> Samples:
    height, width, _ = colour.shape
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if space in ("gray", "lab"):
        # Without this, a gray of linear light was off by 10 of 255 code values. Most of Lab is out of gamut: see
        # below.
        flags |= ImageCms.Flags.NOOPTIMIZE
    image = Image.frombytes(_IN_PILLOW[space], (width, height), colour.tobytes())
    try:
        converted = ImageCms.profileToProfile(
            image,
            _opened(icc),
            _opened(wanted),
            renderingIntent=_INTENT,
            outputMode="RGB",
            flags=flags,
        )
    except ImageCms.PyCMSError as error:
        raise BrokenProfileError from error
    return np.array(converted)


def _in_16_bits(colour: Samples, space: Space, icc: bytes, wanted: bytes) -> Samples:
    flags = imagecodecs.CMS.FLAGS
    try:
        made: Samples = imagecodecs.cms_transform(
            colour[:, :, 0] if space == "gray" else colour,
            icc,
            wanted,
            colorspace=space,
            outcolorspace="rgb",
            intent=int(_INTENT),
            # With optimization, LittleCMS uses a grid. It was off by up to 13 of 255 code values for colours outside
            # the gamut, and moved white and black.
            flags=flags.BLACKPOINTCOMPENSATION | flags.NOOPTIMIZE,
        )
    except (imagecodecs.CmsError, ValueError) as error:
        raise BrokenProfileError from error
    return made


def _in_full_range(samples: Samples) -> Samples:
    """Return samples of the video range, with black and white at 16 and 235 of 8 bits (H.273, 8.3), stretched and clipped."""
    unit = 1 << (8 * samples.itemsize - 8)
    most = np.iinfo(samples.dtype).max
    stretched = (np.arange(most + 1) - 16 * unit) * (most / (219 * unit))
    full: Samples = np.rint(stretched.clip(0, most)).astype(samples.dtype)[samples]
    return full


def _without_profile(inks: Samples) -> Samples:
    """Return inks subtracted from white, with the same arithmetic as Pillow's own conversion."""
    most = np.iinfo(inks.dtype).max
    wide = inks.astype(np.uint32)
    light = most - wide[:, :, 3:]
    return (light - (wide[:, :, :3] * light + most // 2) // most).astype(inks.dtype)


def _lab_of_profile(lab: Samples) -> Samples:
    """Return Lab of a 16-bit TIFF (a* and b* signed, in 256ths) in the units of LittleCMS: from -128 in 257ths."""
    wide = lab.astype(np.uint32)
    chroma = ((wide[:, :, 1:] ^ _LAB_ZERO) * 257 + 128) // 256
    return np.concatenate([wide[:, :, :1], chroma.clip(0, 65535)], axis=2).astype(np.uint16)


def _opened(icc: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(BytesIO(icc))
    except OSError as error:
        raise BrokenProfileError from error
