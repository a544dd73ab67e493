"""The golden input, and the pictures that networks must make of it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enlarger.errors import WeightsError
from enlarger.models.files import read_bounded

GOLDEN_FOLDER = Path(__file__).parent / "golden"

_MOST_BYTES = 1 << 22
"""The largest of the pictures here has 200 KB."""

Pixels = npt.NDArray[np.uint8]


def golden_input() -> Pixels:
    """The picture that every network is tried on, shape (H, W, 3)."""
    return _read(GOLDEN_FOLDER / "input.png")


def read_golden(path: Path, *, scale: int) -> Pixels:
    """What a network must make of the golden input.

    Raises:
        WeightsError: it cannot be read as a picture, or does not have the size of an enlarged golden input.
    """
    height, width, _ = golden_input().shape
    golden = _read(path)
    if golden.shape[:2] != (scale * height, scale * width):
        found = f"{golden.shape[1]}x{golden.shape[0]}"
        raise WeightsError(
            f"{path.name}: the golden picture has {found} px; it must have {scale * width}x{scale * height}"
        )
    return golden


def _read(path: Path) -> Pixels:
    # Imported here: only engines need it, and models of somebody's own.
    from PIL import Image

    try:
        with Image.open(BytesIO(read_bounded(path, _MOST_BYTES))) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # decoders raise many kinds of errors
        raise WeightsError(f"{path.name}: cannot be read as a picture") from error
