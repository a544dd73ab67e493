"""Small files for who looks on or waits, not for who keeps them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from enlarger.picture.values import Samples

MEDIA_TYPE = "image/jpeg"

_QUALITY = 85

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def preview(samples: Samples, size_px: tuple[int, int], *, box: Box | None = None) -> bytes:
    """Samples as a JPEG file, resampled plainly; what is transparent is put on white.

    Args:
        samples: (H, W, C) of 1 to 4 channels, uint8 or uint16.
        size_px: width and height of the file.
        box: the part of the samples to show, in their pixels; None for all.
    """
    eight_bits = samples if samples.dtype == np.uint8 else (samples >> 8).astype(np.uint8)
    image = Image.fromarray(eight_bits[:, :, 0] if eight_bits.shape[2] == 1 else eight_bits)
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    grows = size_px[0] >= image.width
    method = Image.Resampling.BICUBIC if grows else Image.Resampling.BOX
    file = io.BytesIO()
    image.resize(size_px, method, box=box).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
