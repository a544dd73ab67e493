"""The rectangle type: a part of a picture, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""An array of rows, columns and channels: shape (H, W, C), uint8 or uint16."""


@dataclass(frozen=True, slots=True)
class Rect:
    """Columns [left, right) and rows [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def sized(cls, left: int, top: int, width: int, height: int) -> Rect:
        """Return the rectangle with this corner and this size."""
        return cls(left, top, left + width, top + height)

    @classmethod
    def whole(cls, width: int, height: int) -> Rect:
        """Return the rectangle that covers a picture of this size."""
        return cls(0, 0, width, height)

    @property
    def width_px(self) -> int:
        """Number of columns."""
        return self.right - self.left

    @property
    def height_px(self) -> int:
        """Number of rows."""
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices of rows and columns, which cut the rectangle out of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def holds(self, other: Rect) -> bool:
        """Whether ``other`` lies completely inside this rectangle."""
        return self.hull(other) == self

    def within(self, outer: Rect) -> Rect:
        """Return the same part relative to the corner of ``outer``."""
        return Rect(
            self.left - outer.left,
            self.top - outer.top,
            self.right - outer.left,
            self.bottom - outer.top,
        )

    def expanded(self, margin_px: int, bounds: Rect) -> Rect:
        """Return the part with ``margin_px`` more on each side, clipped to ``bounds``."""
        return Rect(
            max(bounds.left, self.left - margin_px),
            max(bounds.top, self.top - margin_px),
            min(bounds.right, self.right + margin_px),
            min(bounds.bottom, self.bottom + margin_px),
        )

    def common(self, other: Rect) -> Rect:
        """Return the intersection. Its width or height is 0 or less if the rectangles do not overlap."""
        return Rect(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def hull(self, other: Rect) -> Rect:
        """Return the smallest rectangle that contains both."""
        return Rect(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def times(self, factor: int) -> Rect:
        """Return the same part of the picture after upscaling by ``factor``."""
        return Rect(*(side * factor for side in (self.left, self.top, self.right, self.bottom)))

    def divided(self, factor: int) -> Rect:
        """Return the smallest part whose upscaled area contains this one."""
        return Rect(
            self.left // factor,
            self.top // factor,
            -(-self.right // factor),
            -(-self.bottom // factor),
        )

    def cut(self, enlarged: Pixels, made: Rect) -> Pixels:
        """Cut the upscaled pixels of this part out of ``enlarged``, which covers ``made``. Returns a view."""
        scale = len(enlarged) // made.height_px
        return enlarged[self.within(made).times(scale).slices]
