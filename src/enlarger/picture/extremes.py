"""Keeps alpha exactly 0 or full over areas where the picture has it so.

A network answers a flat black or white area with values that are off by a step or two of 8 bits. This is invisible,
but clear areas are then not quite clear, and opaque areas not quite opaque.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from enlarger.geometry.axis import LOBES
from enlarger.picture.values import Samples

NETWORK_REACH_PX = 1
"""Distance to which the network may move an edge, in pixels of its input.

It was measured with animevideov3 on shapes that were reduced by a box, a bicubic and a Lanczos filter. Within one
pixel of the nearest visible pixel the result reaches 131 of 255. Beyond that it reaches 4, or 7 less than 255 where
alpha is full, which is ringing.
"""

Indices = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extremes:
    """The parts of a result that are clear or opaque because the picture around them is.

    A sample of the result is settled if all alpha within reach of the place that it covers is 0, or if all of it is
    full. This depends only on the picture and the place, so a part of a result has the same samples as the whole.
    """

    alpha: Samples
    """Shape (H, W), uint8 or uint16: the picture's alpha, also after a second pass."""

    width_px: int
    height_px: int
    """Size of the whole result."""

    left: int
    top: int
    """Where in the whole result the part begins."""

    network_reach_px: Fraction
    """How far the networks of all passes read around a place, in pixels of the picture."""

    is_reduced: bool
    """Whether the result was reduced with the Lanczos filter, which also reads around a place."""

    def settle(self, made: Samples, first: int) -> None:
        """Set samples to exactly 0 or full.

        Args:
            made: (rows, columns, 1), uint8 or uint16: rows of the part, in its full width; changed in place.
            first: index of the first of these rows in the part.
        """
        height, width = self.alpha.shape
        above, below = self._seen(self.top + first, len(made), height, self.height_px)
        before, behind = self._seen(self.left, made.shape[1], width, self.width_px)
        start = int(above[0])
        alpha = self.alpha[start : int(below[-1])]
        full = np.iinfo(alpha.dtype).max
        for differs, value in ((alpha != 0, 0), (alpha != full, np.iinfo(made.dtype).max)):
            if differs.all():
                continue
            rows = _any_within(differs, above - start, below - start)
            columns = _any_within(rows.T, before, behind).T
            np.copyto(made[:, :, 0], made.dtype.type(value), where=~columns)

    def _seen(self, start: int, count: int, length: int, wanted: int) -> tuple[Indices, Indices]:
        """Return the range [first, last) of the picture's pixels within reach of each of ``count`` places along an axis."""
        reach = self.network_reach_px
        if self.is_reduced:
            # Three lobes, stretched to the size of result samples, reach this far from the centre of each.
            reach += Fraction(LOBES * length, wanted)
        # All numbers are integers, so that no place depends on rounding.
        parts = wanted * reach.denominator
        around = reach.numerator * wanted
        places = np.arange(start, start + count, dtype=np.int64) * (length * reach.denominator)
        first = (places - around) // parts
        last = -((around + places + length * reach.denominator) // -parts)
        return first.clip(0, length - 1), last.clip(1, length)


def _any_within(flags: Bools, first: Indices, last: Indices) -> Bools:
    """Reduce (H, W) to (places, W): whether a flag is set in rows ``first`` to ``last`` of each place."""
    counts = np.zeros((len(flags) + 1, flags.shape[1]), np.int32)
    np.cumsum(flags, axis=0, out=counts[1:])
    found: Bools = counts[last] != counts[first]
    return found
