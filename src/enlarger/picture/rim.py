"""Removes the former background from the colours at the edge of a cut-out.

If a shape was cut out of a picture by alpha alone, the pixels along its edge still have the colours drawn there: its
own and those of the background, mixed in the ratio that alpha states. On another background this is a visible rim.
The network widens it, because it sharpens the edge of the colours and that of alpha independently.

So the background is estimated from the edge, and removed where it explains the colours (the compositing equation:
Porter and Duff, Compositing Digital Images, 1984). Edges with the shape's own colours are not changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.picture.bleed import spread
from enlarger.picture.values import Samples

_REACH_PX = 4
"""A pixel belongs to an edge if a transparent one and a more opaque one lie within this distance."""

_CELL_PX = 8
"""Backgrounds are estimated for squares of this size, each from five by five of them."""

_LEAST_STEPS = 2
"""In steps of 8 bits: edges whose colours deviate less from those inside are not changed."""

_LEAST_PX = 16
"""An edge with fewer pixels is not enough to estimate a background."""

_UNEXPLAINED = 0.35
"""The largest share of the squared deviation from the inner colours that a background may leave unexplained.

It was measured on ten kinds of shapes, sharp and blurred. Mixtures with an even background leave up to 0.1, those
with a photo up to 0.4, and edges with colours of their own 0.6 or more.
"""

_UNEXPLAINED_OF_OUTLINE = 0.6
"""The largest unexplained share of the deviation from the edge's own mean: an outline of one colour is not a mixture."""

_CONSISTENT, _CONSISTENT_STEPS = 0.9, 24
"""A pixel counts as mixed if removing the background brings it this much nearer to the inner colours, or within these
steps."""

_SURE_STEPS = 3
"""Uncertainty of the mixture in steps, since samples are rounded and the background is estimated. It matters most for
faint pixels."""

_NOISE = 0.1
"""Where alpha is lower than this, the colour without background counts less than the inner colours."""

Floats = npt.NDArray[np.floating[Any]]


def without_ground(colour: Samples, alpha: Samples) -> Samples:
    """Return colour (H, W, C) without a background in its edges; ``colour`` itself if none was found."""
    most_opaque = _maximum_around(alpha)
    rim = (alpha > 0) & (alpha < most_opaque) & (_maximum_around(alpha == 0))
    inside = (alpha > 0) & ~rim
    if np.count_nonzero(rim) < _LEAST_PX or not inside.any():
        return colour
    step = np.iinfo(colour.dtype).max / 255
    # From here on, arrays have shape (N, C), with the edge pixels only.
    inner = (
        spread(colour.astype(np.float32), inside[:, :, np.newaxis].astype(np.float32))[rim] / step
    )
    own = colour[rim] / step
    share = (alpha[rim] / most_opaque[rim])[:, np.newaxis]
    ground, outline = _around(np.nonzero(rim), alpha.shape, own, inner, share)
    deviation = _mean_square(own - inner)
    unexplained = _mean_square(own - (share * inner + (1 - share) * ground))
    if (
        deviation < _LEAST_STEPS**2
        or unexplained > _UNEXPLAINED * deviation
        or unexplained > _UNEXPLAINED_OF_OUTLINE * _mean_square(own - outline)
    ):
        return colour
    shape = ((own - (1 - share) * ground) / share).clip(0, 255)
    limit = np.maximum(_CONSISTENT_STEPS, _SURE_STEPS / share)
    limit = np.maximum(limit, _CONSISTENT * _length(own - inner))
    trust = share**2 / (share**2 + _NOISE**2)
    clean = np.where(_length(shape - inner) < limit, inner + trust * (shape - inner), own)
    result = colour.copy()
    result[rim] = np.rint(clean * step).astype(colour.dtype)
    return result


def _around(
    places: tuple[npt.NDArray[np.intp], ...],
    size: tuple[int, ...],
    own: Floats,
    inner: Floats,
    share: Floats,
) -> tuple[Floats, Floats]:
    """Return for each edge pixel the background that best explains the pixels around it, and their mean colour."""
    cell = places[0] // _CELL_PX, places[1] // _CELL_PX
    channels = own.shape[1]
    # The background is the least-squares solution of own - share * inner = (1 - share) * ground.
    values = np.concatenate(
        [(1 - share) * (own - share * inner), (1 - share) ** 2, own, np.ones_like(share)], axis=1
    )
    sums: Floats = np.zeros((-(-size[0] // _CELL_PX), -(-size[1] // _CELL_PX), values.shape[1]))
    np.add.at(sums, cell, values)
    for axis in (0, 1):
        for _ in range(2):
            sums = _with_neighbours(sums, axis)
    mixed, weight, colour, count = np.split(
        sums[cell], [channels, channels + 1, 2 * channels + 1], axis=1
    )
    return (mixed / weight).clip(0, 255), colour / count


def _with_neighbours(sums: Floats, axis: int) -> Floats:
    """Return the sum of each value and its two neighbours."""
    moved = np.moveaxis(sums, axis, 0)
    padded = np.pad(moved, [(1, 1), *[(0, 0)] * (moved.ndim - 1)])
    return np.moveaxis(padded[:-2] + padded[1:-1] + padded[2:], 0, axis)


def _maximum_around(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the largest value within ``_REACH_PX`` of each pixel, along both axes."""
    for axis in (0, 1):
        moved = np.moveaxis(values, axis, 0)
        largest = moved.copy()
        for distance in range(1, min(_REACH_PX, len(moved) - 1) + 1):
            np.maximum(largest[distance:], moved[:-distance], out=largest[distance:])
            np.maximum(largest[:-distance], moved[distance:], out=largest[:-distance])
        values = np.moveaxis(largest, 0, axis)
    return values


def _mean_square(difference: Floats) -> float:
    return float((difference**2).mean())


def _length(difference: Floats) -> Floats:
    """Reduce (N, C) to (N, 1): the root mean square of a pixel's channels."""
    length: Floats = np.sqrt((difference**2).mean(axis=1, keepdims=True))
    return length
