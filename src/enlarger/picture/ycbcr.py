"""Converts YCbCr of a TIFF to RGB (TIFF 6.0, sections 20 and 21) if no codec does it."""

from __future__ import annotations

import numpy as np

from enlarger.picture.layout import Layout
from enlarger.picture.values import Samples

_BAND_ROWS = 256
"""Number of rows that are computed at once, to limit the memory."""


def from_units(units: Samples, layout: Layout) -> Samples:
    """Return Y, Cb and Cr, (H, W, 3), from units of subsampled YCbCr, (rows, columns, samples of a unit), uint8.

    Each Cb and Cr is repeated for the pixels that share it, as in libtiff.
    """
    across, down = layout.subsampling
    rows, columns, _ = units.shape
    luma = units[:, :, :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
    chroma = units[:, :, -2:].repeat(down, axis=0).repeat(across, axis=1)
    pixels = np.dstack([luma.reshape(rows * down, columns * across), chroma])
    return pixels[: layout.height_px, : layout.width_px]


def to_rgb(ycbcr: Samples, layout: Layout) -> Samples:
    """Return RGB, (H, W, 3), of Y, Cb and Cr, (H, W, 3), both uint8, by the file's coefficients and reference levels."""
    red, green, blue = layout.luma
    black, white = np.array(layout.reference, np.float64).reshape(3, 2).T
    factor = (np.array([255, 127, 127]) / (white - black)).astype(np.float32)
    rgb = np.empty_like(ycbcr)
    for start in range(0, len(ycbcr), _BAND_ROWS):
        band = slice(start, start + _BAND_ROWS)
        levels = (ycbcr[band] - black.astype(np.float32)) * factor
        y, cb, cr = levels[:, :, 0], levels[:, :, 1], levels[:, :, 2]
        r = y + cr * np.float32(2 - 2 * red)
        b = y + cb * np.float32(2 - 2 * blue)
        g = (y - np.float32(red) * r - np.float32(blue) * b) / np.float32(green)
        rgb[band] = np.rint(np.dstack([r, g, b])).clip(0, 255)
    return rgb
