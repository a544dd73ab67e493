"""Alpha that is 0 or full over an area stays exactly that.

A network answers a flat black or white area with values that are off by a step or two of 8 bits. Nobody sees that, but
what should be clear is then not quite clear, and what should be opaque is not quite opaque.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from enlarger.geometry.axis import LOBES
from enlarger.picture.values import Samples

NETWORK_REACH_PX = 1
"""How far the network may move an edge, in pixels of what it enlarges.

Measured with animevideov3 on shapes that were reduced by a box, a bicubic and a Lanczos filter: within a pixel of the
nearest visible one, the result has up to 131 of 255; beyond that it has up to 4 (up to 7 less than 255 where alpha is
full), which is ringing.
"""

Indices = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extremes:
    """Where a result is clear or opaque because the picture is so all around.

    A sample of the result is settled if all alpha within reach of the place that it covers is 0, or if all of it is full. That
    depends on the picture and the place alone, so a part of a result has the samples of the whole.
    """

    alpha: Samples
    """(H, W), uint8 or uint16: the picture's, also after a second pass."""

    width_px: int
    height_px: int
    """Size of the whole result."""

    left: int
    top: int
    """Where in the whole result the part begins that is made."""

    network_reach_px: Fraction
    """How far the networks of all passes look around a place, in pixels of the picture."""

    is_reduced: bool
    """Whether the result comes out of the Lanczos filter, which looks around a place, too."""

    def settle(self, made: Samples, first: int) -> None:
        """Set samples to exactly 0 or full.

        Args:
            made: (rows, columns, 1), uint8 or uint16: rows of the part, in its full width; changed in place.
            first: number of the first of these rows in the part.
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
        """First, and last behind it, of the picture's pixels within reach of each of ``count`` places along an axis."""
        reach = self.network_reach_px
        if self.is_reduced:
            # Three lobes, stretched to samples of the result, reach so far from the centre of each.
            reach += Fraction(LOBES * length, wanted)
        # All in whole numbers, so that no place depends on rounding.
        parts = wanted * reach.denominator
        around = reach.numerator * wanted
        places = np.arange(start, start + count, dtype=np.int64) * (length * reach.denominator)
        first = (places - around) // parts
        last = -((around + places + length * reach.denominator) // -parts)
        return first.clip(0, length - 1), last.clip(1, length)


def _any_within(flags: Bools, first: Indices, last: Indices) -> Bools:
    """(H, W) to (places, W): whether a flag is set in rows ``first`` to ``last`` of each place."""
    counts = np.zeros((len(flags) + 1, flags.shape[1]), np.int32)
    np.cumsum(flags, axis=0, out=counts[1:])
    found: Bools = counts[last] != counts[first]
    return found
