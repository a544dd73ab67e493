"""The samples of a file as they are stored, before colour and orientation are applied."""

from __future__ import annotations

import math
from dataclasses import dataclass

from enlarger.errors import UnreadableImage
from enlarger.picture.colour import Space
from enlarger.picture.metadata import Metadata
from enlarger.picture.stated import Stated
from enlarger.picture.values import Note, Samples

_MOST_DECODED_BYTES = 1 << 30
"""The samples of one file, in all its frames and with four channels, take at most a quarter of the address space of a
decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a decoder returns."""

    format: str
    colour: Samples
    """(H, W, 1), (H, W, 3), or (H, W, 4) for CMYK. The frames of an animation are stacked along the first axis."""

    alpha: Samples | None
    space: Space
    depth_bits: int
    metadata: Metadata
    stated: Stated
    """What the file states about its colours, besides a profile."""

    orientation: int
    oriented_by: str = "EXIF"
    """What states the orientation."""

    frames: int = 1
    """Frames in the file."""

    choice: str | None = None
    """In words, which page of a TIFF was taken instead of the first."""

    durations_ms: tuple[float, ...] = (0,)
    """The time of each frame that was decoded."""

    plays: int = 0
    """How often an animation plays; 0 is for ever."""

    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[Note, ...] = ()
    """Damage of the file that does not affect its pixels."""


def check_memory(
    width_px: int, height_px: int, *, depth_bits: int, channels: int = 4, frames: int = 1
) -> None:
    """Refuse samples that would take too much memory, before they are decoded.

    Raises:
        UnreadableImage: the samples would take too much memory.
    """
    # A palette of one channel has four when it is looked up.
    bytes_per_px = max(channels, 4) * (2 if depth_bits > 8 else 1)
    if width_px * height_px * frames * bytes_per_px > _MOST_DECODED_BYTES:
        raise UnreadableImage("decoding it takes too much memory")


def dpi_or_none(stated: object) -> tuple[float, float] | None:
    """Return two positive numbers, or None if it is something else."""
    if not isinstance(stated, tuple) or len(stated) != 2:
        return None
    across, down = (float(value) for value in stated)
    usable = math.isfinite(across) and math.isfinite(down) and min(across, down) > 0
    return (across, down) if usable else None
