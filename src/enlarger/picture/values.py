"""What a picture is to us: plain values, free of any library's image class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.picture.encoding import Encoding, Statement

Samples = npt.NDArray[Any]
"""Shape (H, W, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8 or uint16."""

FORMATS = ("png", "jpeg", "webp", "bmp", "tiff", "gif", "avif")
"""Formats read, told by content."""

_ANIMATED = ("png", "webp", "gif", "avif")
"""Formats whose frames follow one another in time; a TIFF has pages."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was changed on the way, for the caller to know."""

    code: str
    """Stable name, such as ``orientation_applied``."""

    detail: str
    """The same in words."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a picture carries, as PNG has them; comments of JPEG and GIF are such, too."""

    keyword: str
    text: str
    language: str = ""
    translated_keyword: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first bytes of a file say; nothing was decoded."""

    format: str
    """One of ``FORMATS``."""

    width_px: int
    height_px: int
    """Size as seen, after EXIF orientation."""

    mode: str
    """Pillow's name of the stored sample layout, such as ``RGB``, ``P``, ``CMYK``, ``I;16``."""

    depth_bits: int
    """Bits per sample in the file."""

    frames: int
    """1, or more for an animation, and for a TIFF of several pages."""

    may_be_transparent: bool = False
    """Whether it has an alpha channel, or a colour that is see-through. It may be opaque all the same: only its
    pixels tell. Of an animation, as its first frame says."""

    @property
    def is_animation(self) -> bool:
        """Whether the file's frames follow one another in time."""
        return self.frames > 1 and self.format in _ANIMATED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """What makes a picture move."""

    later: tuple[Samples, ...]
    """The frames after the first, as they are seen, of its shape and type."""

    durations_ms: tuple[float, ...]
    """How long each frame is shown, the first one included."""

    plays: int
    """How often it is played; 0 for ever."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """Decoded samples, upright, and what the file carried with them."""

    samples: Samples
    """uint16 where the file has 16 bits per sample, else uint8. Of an animation the first frame."""

    motion: Motion | None = None
    """The rest of an animation."""

    format: str = "png"
    """Of the file it came from, or of the one it was prepared for: as ``Header.format``."""

    icc: bytes | None = None
    """Colour profile that belongs to ``samples``; None means sRGB, or gray with the same curve, unless they are HDR."""

    stated: Statement | None = None
    """What the file said of its colours, if that was no profile. It belongs to ``samples``, too."""

    own: Encoding | None = None
    """The file's encoding, where ``samples`` have the curve of sRGB instead, since networks know no linear light. Results
    that can hold it get it back."""

    exif: bytes | None = None
    """EXIF block as it stood in the file."""

    xmp: bytes | None = None
    """XMP packet as it stood in the file."""

    iptc: bytes | None = None
    """Records of IPTC-IIM as they stood in the file."""

    texts: tuple[Text, ...] = ()

    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down, where the file states them."""

    depth_bits: int = 8
    """Bits per sample in the file."""

    magnification: tuple[float, float] = (1, 1)
    """Pixels across and down for each of the file's."""

    is_whole: bool = True
    """Whether it shows all of the file's picture, as it was stored, so that places in it can be scaled."""

    notes: tuple[Note, ...] = ()

    @property
    def frames(self) -> tuple[Samples, ...]:
        """All of an animation, or the only one."""
        return (self.samples, *(self.motion.later if self.motion else ()))

    def with_frames(self, frames: Sequence[Samples]) -> Picture:
        """The same picture with other samples in each of its frames."""
        motion = self.motion and replace(self.motion, later=tuple(frames[1:]))
        return replace(self, samples=frames[0], motion=motion)

    @property
    def width_px(self) -> int:
        """Pixels in a row."""
        return int(self.samples.shape[1])

    @property
    def height_px(self) -> int:
        """Rows."""
        return int(self.samples.shape[0])

    @property
    def is_gray(self) -> bool:
        """One colour channel instead of three."""
        return int(self.samples.shape[2]) <= 2

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.samples.shape[2] in (2, 4)

    @property
    def colour(self) -> Samples:
        """The colour channels, (H, W, 1) or (H, W, 3): a view."""
        return self.samples[:, :, :-1] if self.has_alpha else self.samples

    @property
    def alpha(self) -> Samples | None:
        """The alpha channel, (H, W): a view; None where there is none."""
        return self.samples[:, :, -1] if self.has_alpha else None


def with_alpha(colour: Samples, alpha: Samples | None) -> Samples:
    """Colour (H, W, 1 or 3) and alpha (H, W) as one array."""
    return colour if alpha is None else np.concatenate([colour, alpha[:, :, np.newaxis]], axis=2)


def to_8_bits(samples: Samples) -> Samples:
    """uint16 to uint8, rounded to nearest; uint8 stays as it is."""
    if samples.dtype == np.uint8:
        return samples
    # 257 = 65535 / 255, so white stays white and black stays black; it is odd, so there are no ties.
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def flat(samples: Samples) -> Samples:
    """Return samples as encoders take them: (H, W) for a single channel, contiguous."""
    return np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
