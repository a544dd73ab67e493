"""Small files for who looks on or waits, not for who keeps them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Rect
from enlarger.picture import profile, tone
from enlarger.picture.encoding import Statement
from enlarger.picture.values import Samples

MEDIA_TYPE = "image/jpeg"

_QUALITY = 85

_LARGEST_PROFILE_BYTES = 1 << 15
"""Those of displays are smaller; a larger one would outweigh the picture."""


LEAST_SIDE_PX, MOST_SIDE_PX = 16, 2048
"""The longest side of a preview is between these."""


def fitted(size_px: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Return the width and height of a picture that is reduced until no side is longer than ``max_side_px``."""
    longest = max(size_px)
    if longest <= max_side_px:
        return size_px
    width, height = (max(1, round(side * max_side_px / longest)) for side in size_px)
    return width, height


def reduced(file: bytes, max_side_px: int) -> bytes:
    """Return a smaller preview of a preview; the same file if no side is longer than ``max_side_px``."""
    with Image.open(io.BytesIO(file)) as image:
        size_px = fitted(image.size, max_side_px)
        if size_px == image.size:
            return file
        image.draft(
            None, size_px
        )  # decodes a half, a quarter or an eighth of the size, if that is enough
        smaller = image.resize(size_px, Image.Resampling.BOX, reducing_gap=None)
        return _encoded(smaller, image.info.get("icc_profile"))


def preview(
    samples: Samples,
    size_px: tuple[int, int],
    *,
    part: Rect | None = None,
    icc: bytes | None = None,
    stated: Statement | None = None,
) -> bytes:
    """Samples as a JPEG file, resampled plainly; what is transparent is put on white.

    Args:
        samples: (H, W, C) of 1 to 4 channels, uint8 or uint16.
        size_px: width and height of the whole picture as it is shown.
        part: the part of that which the file holds; None for all.
        icc: the profile of the samples, for gray or RGB; None for sRGB. It is passed on, and not opened.
        stated: what is said of them besides; PQ and HLG are made sRGB.
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
    image = image.resize(out_px, method, box=box)
    if stated is not None and stated.is_hdr:
        shown = np.asarray(image).reshape(out_px[1], out_px[0], -1)
        shown = tone.to_srgb(shown, stated)
        image = Image.fromarray(shown[:, :, 0] if shown.shape[2] == 1 else shown)
    if icc is not None and profile.is_for_gray(icc) and image.mode != "L":
        icc = profile.rgb_of_gray(icc)
    if icc is not None and len(icc) > _LARGEST_PROFILE_BYTES:
        icc = None
    return _encoded(image, icc)


def _encoded(image: Image.Image, icc: bytes | None) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, icc_profile=icc)
    return file.getvalue()
