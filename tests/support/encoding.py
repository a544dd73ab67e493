"""Pictures and files for the tests of encoding."""

from __future__ import annotations

import numpy as np

from enlarger.geometry.rect import Pixels
from enlarger.picture.values import Picture

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
LAYOUTS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's modes by number of channels."""


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def gradient(channels: int) -> Pixels:
    """A soft picture, which lossy formats keep well: 48 x 64; alpha, if there is one, is a ramp."""
    y, x = np.mgrid[0:48, 0:64]
    planes = [x * 4, y * 5, 255 - x * 2, y * 5][:channels]
    return np.stack(planes, axis=2).astype(np.uint8)
