"""Small files for who looks on or waits, not for who keeps them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Rect
from enlarger.picture.values import Samples

MEDIA_TYPE = "image/jpeg"

_QUALITY = 85


def preview(samples: Samples, size_px: tuple[int, int], *, part: Rect | None = None) -> bytes:
    """Samples as a JPEG file, resampled plainly; what is transparent is put on white.

    Args:
        samples: (H, W, C) of 1 to 4 channels, uint8 or uint16.
        size_px: width and height of the whole picture as it is shown.
        part: the part of that which the file holds; None for all.
    """
    eight_bits = samples if samples.dtype == np.uint8 else (samples >> 8).astype(np.uint8)
    image = Image.fromarray(eight_bits[:, :, 0] if eight_bits.shape[2] == 1 else eight_bits)
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    part = part or Rect.whole(*size_px)
    column, row = image.width / size_px[0], image.height / size_px[1]
    box = (part.left * column, part.top * row, part.right * column, part.bottom * row)
    out_px = (part.width_px, part.height_px)
    grows = out_px[0] >= image.width
    method = Image.Resampling.BICUBIC if grows else Image.Resampling.BOX
    file = io.BytesIO()
    image.resize(out_px, method, box=box).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
