"""The golden input, and the golden pictures that networks must make of it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enlarger.errors import WeightsError
from enlarger.models.files import read_bounded

GOLDEN_FOLDER = Path(__file__).parent / "golden"

_MOST_BYTES = 1 << 22
"""The limit for a file; the largest golden picture here has 200 KB."""

Pixels = npt.NDArray[np.uint8]


def golden_input() -> Pixels:
    """Return the picture that tests every network, shape (H, W, 3)."""
    return _read(GOLDEN_FOLDER / "input.png")


def read_golden(path: Path, *, scale: int) -> Pixels:
    """Return the picture that a network must make of the golden input.

    Raises:
        WeightsError: the file is not a picture, or does not have the size of the upscaled golden input.
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
    # This is imported here because only engines and users' own models need it.
    from PIL import Image

    try:
        with Image.open(BytesIO(read_bounded(path, _MOST_BYTES))) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # decoders raise many kinds of errors
        raise WeightsError(f"{path.name}: cannot be read as a picture") from error
