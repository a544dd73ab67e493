"""Pictures as plain values, without any library's image class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from enlarger.picture.encoding import Encoding, Statement

Samples = npt.NDArray[Any]
"""Shape (H, W, C) with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8 or uint16."""

FORMATS = ("png", "jpeg", "webp", "bmp", "tiff", "gif", "avif")
"""Formats that can be read, recognised by content."""

Content = Literal["photo", "drawing", "screen", "text"]
"""What a picture shows: see ``content``."""

_ANIMATED = ("png", "webp", "gif", "avif")
"""Formats whose frames follow one another in time; a TIFF has pages."""


@dataclass(frozen=True, slots=True)
class Note:
    """One change on the way that the caller should know of."""

    code: str
    """Stable name, such as ``orientation_applied``."""

    detail: str
    """A readable description of the change."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a picture carries, as in PNG. Comments of JPEG and GIF are texts, too."""

    keyword: str
    text: str
    language: str = ""
    translated_keyword: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of a file, from its first bytes, without decoding."""

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
    """Whether the file has an alpha channel, or a transparent colour. Only its pixels tell whether it is really opaque.

    For an animation, the value is that of its first frame.
    """

    content: Content | None = None
    """What the pixels of the first frame show; None unless the request needed to know that."""

    @property
    def is_animation(self) -> bool:
        """Whether the file's frames follow one another in time."""
        return self.frames > 1 and self.format in _ANIMATED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """The part of an animation beyond its first frame."""

    later: tuple[Samples, ...]
    """The frames after the first, as they are seen, of the same shape and type."""

    durations_ms: tuple[float, ...]
    """Display time of each frame, the first one included."""

    plays: int
    """How often the animation is played; 0 means for ever."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """Decoded samples, upright, and the data that the file carried with them."""

    samples: Samples
    """uint16 if the file has 16 bits per sample, else uint8. For an animation, the first frame."""

    motion: Motion | None = None
    """The rest of an animation."""

    format: str = "png"
    """Format of the source file, or of the file that the picture was prepared for, as in ``Header.format``."""

    icc: bytes | None = None
    """Colour profile of ``samples``. None means sRGB, or gray with the same curve, unless they are HDR."""

    stated: Statement | None = None
    """The file's statement of its colours, if it is not a profile. It applies to ``samples``, too."""

    own: Encoding | None = None
    """The file's encoding, if ``samples`` were converted to sRGB's curve because networks do not know linear light.

    Results are converted back if their format can hold it.
    """

    exif: bytes | None = None
    """EXIF block as stored in the file."""

    xmp: bytes | None = None
    """XMP packet as stored in the file."""

    iptc: bytes | None = None
    """Records of IPTC-IIM as stored in the file."""

    texts: tuple[Text, ...] = ()

    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down, if the file states them."""

    depth_bits: int = 8
    """Bits per sample in the file."""

    magnification: tuple[float, float] = (1, 1)
    """Number of pixels across and down for each pixel of the file."""

    is_whole: bool = True
    """Whether it shows the file's whole picture as it was stored, so that positions in it can be scaled."""

    notes: tuple[Note, ...] = ()

    @property
    def frames(self) -> tuple[Samples, ...]:
        """All frames of an animation, or the only one."""
        return (self.samples, *(self.motion.later if self.motion else ()))

    def with_frames(self, frames: Sequence[Samples]) -> Picture:
        """Return the same picture with other samples in each of its frames."""
        motion = self.motion and replace(self.motion, later=tuple(frames[1:]))
        return replace(self, samples=frames[0], motion=motion)

    @property
    def width_px(self) -> int:
        """Number of columns."""
        return int(self.samples.shape[1])

    @property
    def height_px(self) -> int:
        """Number of rows."""
        return int(self.samples.shape[0])

    @property
    def is_gray(self) -> bool:
        """Whether there is one colour channel instead of three."""
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
        """The alpha channel, (H, W): a view; None if there is none."""
        return self.samples[:, :, -1] if self.has_alpha else None


def with_alpha(colour: Samples, alpha: Samples | None) -> Samples:
    """Return colour (H, W, 1 or 3) and alpha (H, W) as one array."""
    return colour if alpha is None else np.concatenate([colour, alpha[:, :, np.newaxis]], axis=2)


def to_8_bits(samples: Samples) -> Samples:
    """Convert uint16 to uint8, rounded to nearest; uint8 is returned as it is."""
    if samples.dtype == np.uint8:
        return samples
    # 257 = 65535 / 255, so white stays white and black stays black; it is odd, so there are no ties.
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def flat(samples: Samples) -> Samples:
    """Return samples in the shape for encoders: (H, W) for a single channel, contiguous."""
    return np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
