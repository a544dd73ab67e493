"""What must be computed for a result of a given size, or for a part of it: pure geometry.

A network upscales by its own scale. A larger result needs a second pass over the first one's result. Any other size
is one exact reduction after the last pass. A part of the result needs only the tiles that it is made of and those
that the steps after the network read, so it has the same pixels as the whole result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from enlarger.geometry.axis import Axis
from enlarger.geometry.rect import Rect
from enlarger.geometry.tiles import TileBox, plan


class Network(Protocol):
    """The properties of a model that planning needs."""

    @property
    def scale(self) -> int: ...  # noqa: D102
    @property
    def halo_px(self) -> int: ...  # noqa: D102
    @property
    def max_tile_px(self) -> int: ...  # noqa: D102
    @property
    def blend_px(self) -> int: ...  # noqa: D102
    @property
    def multiple_px(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of the network over a picture, or over a part of it."""

    boxes: tuple[TileBox, ...]
    """The tiles to compute, out of the plan of the whole picture."""

    read: Rect
    """LR pixels that are read."""

    made: Rect
    """LR pixels whose upscaled area is used."""

    @property
    def lr_px(self) -> int:
        """Number of LR pixels that the network computes, halos included."""
        return sum(box.lr_px for box in self.boxes)


@dataclass(frozen=True, slots=True)
class Route:
    """All steps from a picture to a result."""

    passes: tuple[Pass, ...]
    out: Rect
    """The wanted part of the whole result, in its pixels."""

    rows: Axis
    columns: Axis
    """The reductions of rows and columns that follow the last pass."""

    @property
    def lr_px(self) -> int:
        """Number of LR pixels that the network computes in all passes, for one plane."""
        return sum(step.lr_px for step in self.passes)

    @property
    def tile_lr_px(self) -> int:
        """Number of LR pixels of the largest tile, its halo included."""
        return max(box.lr_px for step in self.passes for box in step.boxes)


def route(
    width_px: int,
    height_px: int,
    *,
    model: Network,
    size_px: tuple[int, int],
    region: Rect | None = None,
    crop: Rect | None = None,
    margin_px: int = 0,
) -> Route:
    """Plan the passes to a result.

    Args:
        width_px: width of the picture.
        height_px: height of the picture.
        model: the model that upscales the picture.
        size_px: width and height of the whole result.
        region: the part of the picture whose result is wanted; None for all of it.
        crop: the wanted part in pixels of the result, instead of ``region``.
        margin_px: distance in LR pixels to which the step after the network reads around a pixel.
    """
    out = crop or result_window(
        region or Rect.whole(width_px, height_px), (width_px, height_px), size_px
    )
    count = pass_count((width_px, height_px), size_px, scale=model.scale)
    final = (width_px * model.scale**count, height_px * model.scale**count)
    columns = Axis(final[0], size_px[0], out.left, out.right)
    rows = Axis(final[1], size_px[1], out.top, out.bottom)
    (left, right), (top, bottom) = columns.seen, rows.seen
    need = Rect(left, top, right, bottom)
    passes: list[Pass] = []
    for number in reversed(range(count)):
        grown = model.scale**number
        bounds = Rect.whole(width_px * grown, height_px * grown)
        passes.append(_pass(bounds, need.divided(model.scale).expanded(margin_px, bounds), model))
        need = passes[-1].read
    made = passes[0].made.times(model.scale)
    return Route(
        tuple(reversed(passes)),
        out,
        rows=replace(rows, held_from=made.top),
        columns=replace(columns, held_from=made.left),
    )


def pass_count(picture_px: tuple[int, int], size_px: tuple[int, int], *, scale: int) -> int:
    """Return how often the network must run until its result is at least ``size_px``; at least once.

    Raises:
        ValueError: the network keeps the size, and a larger one is asked for.
    """
    if scale == 1 and (picture_px[0] < size_px[0] or picture_px[1] < size_px[1]):
        raise ValueError("a network that keeps the size makes no larger picture")
    count = 1
    while any(
        side * scale**count < wanted for side, wanted in zip(picture_px, size_px, strict=True)
    ):
        count += 1
    return count


def result_window(region: Rect, picture_px: tuple[int, int], size_px: tuple[int, int]) -> Rect:
    """Return where a part of the picture lies in the whole result. It covers at least one pixel."""

    def place(at: int, length: int, wanted: int) -> int:
        return (2 * at * wanted + length) // (2 * length)  # at * wanted / length, rounded half up

    left, right = (place(at, picture_px[0], size_px[0]) for at in (region.left, region.right))
    top, bottom = (place(at, picture_px[1], size_px[1]) for at in (region.top, region.bottom))
    return Rect(left, top, max(right, left + 1), max(bottom, top + 1))


def tiles_of(width_px: int, height_px: int, model: Network) -> list[TileBox]:
    """Return the tiles of a whole picture, as a model requires them."""
    return plan(
        width_px,
        height_px,
        halo_px=model.halo_px,
        max_tile_px=model.max_tile_px,
        blend_px=model.blend_px,
        multiple_px=model.multiple_px,
    )


def _pass(bounds: Rect, made: Rect, model: Network) -> Pass:
    boxes = []
    read = made
    for box in tiles_of(bounds.width_px, bounds.height_px, model):
        shared = box.kept.common(made)
        if shared.width_px > 0 and shared.height_px > 0:
            boxes.append(box)
            read = read.hull(box.window)
    return Pass(tuple(boxes), read, made)
