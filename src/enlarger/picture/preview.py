"""Small files for who looks on, not for who keeps them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from enlarger.picture.values import Samples

MEDIA_TYPE = "image/jpeg"

_QUALITY = 85


def preview(samples: Samples, size_px: tuple[int, int]) -> bytes:
    """Samples as a JPEG file.

    Args:
        samples: (H, W, 3), uint16.
        size_px: width and height of the file, which may be others.
    """
    image = Image.fromarray((samples >> 8).astype(np.uint8))
    file = io.BytesIO()
    image.resize(size_px, Image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
