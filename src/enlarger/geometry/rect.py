"""The one rectangle of this code: a part of a picture, in its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""Rows, columns, channels: shape (H, W, C), uint8 or uint16."""


@dataclass(frozen=True, slots=True)
class Rect:
    """Columns [left, right) and rows [top, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def sized(cls, left: int, top: int, width: int, height: int) -> Rect:
        """The rectangle with that corner and that size."""
        return cls(left, top, left + width, top + height)

    @classmethod
    def whole(cls, width: int, height: int) -> Rect:
        """All of a picture of that size."""
        return cls(0, 0, width, height)

    @property
    def width_px(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height_px(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to cut it out of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def holds(self, other: Rect) -> bool:
        """Whether all of ``other`` is in it."""
        return self.hull(other) == self

    def within(self, outer: Rect) -> Rect:
        """The same part, counted from the corner of ``outer``."""
        return Rect(
            self.left - outer.left,
            self.top - outer.top,
            self.right - outer.left,
            self.bottom - outer.top,
        )

    def expanded(self, margin_px: int, bounds: Rect) -> Rect:
        """The part with ``margin_px`` more on each side, as far as ``bounds`` reaches."""
        return Rect(
            max(bounds.left, self.left - margin_px),
            max(bounds.top, self.top - margin_px),
            min(bounds.right, self.right + margin_px),
            min(bounds.bottom, self.bottom + margin_px),
        )

    def common(self, other: Rect) -> Rect:
        """What both share; its width or height is 0 or less where they share nothing."""
        return Rect(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def hull(self, other: Rect) -> Rect:
        """The smallest rectangle that holds both."""
        return Rect(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def times(self, factor: int) -> Rect:
        """The same part of the picture enlarged by ``factor``."""
        return Rect(*(side * factor for side in (self.left, self.top, self.right, self.bottom)))

    def divided(self, factor: int) -> Rect:
        """The smallest part whose enlargement by ``factor`` holds this one."""
        return Rect(
            self.left // factor,
            self.top // factor,
            -(-self.right // factor),
            -(-self.bottom // factor),
        )

    def cut(self, enlarged: Pixels, made: Rect) -> Pixels:
        """This part's enlargement out of ``enlarged``, that of ``made``, which holds it: a view."""
        scale = len(enlarged) // made.height_px
        return enlarged[self.within(made).times(scale).slices]
