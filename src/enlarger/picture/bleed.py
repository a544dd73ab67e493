"""Replaces the invisible colour under transparency, which the network would otherwise mix into the edges.

Editors leave black or white there, which the network draws as a dark or light fringe around the shape. Therefore the
colour of the nearest visible pixels is first spread below the transparent ones (push and pull over a pyramid: Gortler
et al., The Lumigraph, 1996).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.picture.values import Samples

Floats = npt.NDArray[np.floating[Any]]


def bleed_colour(colour: Samples, alpha: Samples) -> Samples:
    """Return colour (H, W, C) where visible colour is spread below the pixels whose alpha (H, W) is 0."""
    clear = alpha == 0
    if not clear.any() or clear.all():
        return colour
    weight = np.where(clear, 0, 1).astype(np.float32)[:, :, np.newaxis]
    filled = np.rint(spread(colour.astype(np.float32), weight)).astype(colour.dtype)
    return np.where(clear[:, :, np.newaxis], filled, colour)


def spread(colour: Floats, weight: Floats) -> Floats:
    """Return the colour (H, W, C) where its weight (H, W, 1) is 1, and that of the surroundings where it is 0."""
    return _spread(colour * weight, weight)


def _spread(summed: Floats, weight: Floats) -> Floats:
    """Return the mean colour where there is weight, and that of the surroundings elsewhere."""
    if summed.shape[0] == 1 and summed.shape[1] == 1:
        return summed / np.maximum(weight, 1)
    coarse_sum, coarse_weight = _halved(summed), _halved(weight)
    # From here on it only matters whether there is colour: one pixel fills as well as many.
    share = np.where(coarse_weight > 0, coarse_weight, 1)
    coarse = _spread(coarse_sum / share, (coarse_weight > 0).astype(np.float32))
    around = _doubled(coarse, summed.shape[0], summed.shape[1])
    return np.where(weight > 0, summed / np.where(weight > 0, weight, 1), around)


def _halved(values: Floats) -> Floats:
    """Return the sums of blocks of two by two."""
    height, width, _ = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]


def _doubled(values: Floats, height: int, width: int) -> Floats:
    """Return the values at twice the size, interpolated linearly to avoid steps, and cut to ``height`` and ``width``."""
    for axis, length in ((0, height), (1, width)):
        before = np.concatenate(
            [values.take([0], axis), values.take(range(values.shape[axis] - 1), axis)], axis
        )
        after = np.concatenate(
            [values.take(range(1, values.shape[axis]), axis), values.take([-1], axis)], axis
        )
        pair = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], axis + 1)
        shape = list(values.shape)
        shape[axis] *= 2
        values = pair.reshape(shape).take(range(length), axis)
    return values
