"""What follows from a network for tiles: its scale, the sizes it takes, how far it sees, and what a pixel costs.

Nothing is configured: sizes are found by walking the graph forwards for pictures of many sizes, and the reach by walking it
backwards from single pixels of the result, in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from enlarger.errors import WeightsError
from enlarger.models import operators as op
from enlarger.models.network import Network, Node
from enlarger.models.shapes import (
    Misfit,
    Shape,
    crop_bounds,
    most_held,
    multiply_adds,
    pieces,
    require_picture,
    shapes,
)

_PROBE_PX = 512
"""Side of the pictures that the graph is walked with; more than twice what usual networks see."""

_MULTIPLES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SCALES = range(1, 17)

_MOST_VISITS = 100_000
"""Nodes that are looked at before a network is refused, so that no file takes longer than about a second. x4plus needs 15 000."""

Span = tuple[int, int]
"""First and last index along an axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What lies between a tile and what a network takes and makes."""

    multiple_px: int = 1
    """Tiles begin at multiples of this, and sides of the network's input are of one remainder by it."""

    remainder_px: int = 0
    """That remainder of a side."""

    margin_px: int = 0
    """LR pixels of context that the network takes at each side and makes no pixels of; mirrored where there are none."""

    trim_px: int = 0
    """HR pixels to cut off at the top and left of what the network makes of a picture with its margin."""

    def around_px(self, side_px: int) -> tuple[int, int]:
        """Return the pixels that are mirrored before and after a side: its margins, and more until it fits."""
        side = side_px + 2 * self.margin_px
        return self.margin_px, self.margin_px + (self.remainder_px - side) % self.multiple_px


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a planner and an engine need to know of a network."""

    scale: int
    """HR pixels per LR pixel along an edge."""

    frame: Frame

    reach_px: int
    """LR pixels around a pixel that can change it."""

    is_local: bool
    """False where something is computed of the whole picture, so that tiles differ from it."""

    mflop_per_px: float
    """Computing for one LR pixel, in million floating-point operations."""

    held_per_px: float
    """Numbers for one LR pixel that are held at the same time, at the most demanding layer."""


def geometry(network: Network, *, source: str) -> Geometry:
    """Deduce what a planner needs.

    Args:
        network: the graph.
        source: its file's name, for errors.

    Raises:
        WeightsError: it makes no RGB picture, no whole number of pixels for each pixel, or shifts the picture.
    """
    multiple, remainder = _sizes(network, source)
    side = _PROBE_PX + (remainder - _PROBE_PX) % multiple
    try:
        found = shapes(network, side, side)
    except Misfit as error:
        raise WeightsError(f"{source}: {error}") from error
    require_picture(network, found, source=source)
    scale, cut_px = _law(network, side, multiple, source)
    _require_square(found[network.output], side, source)
    _limit(network, 2 * scale * multiple, source)
    margin = math.ceil(cut_px / 2 / scale)
    trim = scale * margin - cut_px // 2
    reach, is_local = _reach(network, found, side, scale, multiple, margin, trim)
    return Geometry(
        scale=scale,
        frame=Frame(multiple_px=multiple, remainder_px=remainder, margin_px=margin, trim_px=trim),
        reach_px=reach,
        is_local=is_local,
        mflop_per_px=2e-6 * multiply_adds(network, found) / side**2,
        held_per_px=most_held(network, found) / side**2,
    )


def _limit(network: Network, walks: int, source: str) -> None:
    """Raise ``WeightsError`` if so many walks through the network take too long."""
    if walks * len(network.nodes) > _MOST_VISITS:
        raise WeightsError(
            f"{source}: {len(network.nodes)} layers are too many for a network that would have to be examined {walks} times; "
            f"at most {_MOST_VISITS // walks} can run here"
        )


def _require_square(made: Shape, side: int, source: str) -> None:
    """Raise ``WeightsError`` unless rows grow as columns do."""
    if made[-2] != made[-1]:
        raise WeightsError(
            f"{source}: the network makes {made[-1]}x{made[-2]} px of {side}x{side}; "
            "it must scale width and height alike"
        )


def _fits(network: Network, side: int) -> bool:
    try:
        shapes(network, side, side)
    except Misfit:
        return False
    return True


def _sizes(network: Network, source: str) -> tuple[int, int]:
    """The smallest multiple, and the remainder by it, of sides that all fit and grow evenly."""
    out: dict[int, int] = {}

    def size(side: int) -> int | None:
        if side not in out:
            _limit(network, len(out) + 1, source)
            try:
                out[side] = shapes(network, side, side)[network.output][-1]
            except (Misfit, IndexError):
                out[side] = 0
        return out[side] or None

    for multiple in _MULTIPLES:
        for remainder in range(multiple):
            first = _PROBE_PX + (remainder - _PROBE_PX) % multiple
            found = [size(first + step * multiple) for step in range(4)]
            if None in found:
                continue
            steps = {b - a for a, b in pairwise(found)}  # type: ignore[operator]  # no None is left
            if (
                len(steps) == 1
                and not (step := steps.pop()) % multiple
                and step // multiple in _SCALES
            ):
                return multiple, remainder
    if _fits(network, _PROBE_PX):
        raise WeightsError(f"{source}: the network does not upscale by a whole number from 1 to 16")
    try:
        shapes(network, _PROBE_PX, _PROBE_PX)
    except Misfit as error:
        raise WeightsError(f"{source}: {error}") from error
    raise AssertionError


def _law(network: Network, side: int, multiple: int, source: str) -> tuple[int, int]:
    """Scale, and how many HR pixels are missing of scale times the input's side."""
    made = shapes(network, side, side)[network.output][-1]
    more = shapes(network, side + multiple, side + multiple)[network.output][-1]
    scale = (more - made) // multiple
    cut = scale * side - made
    if cut < 0 or cut % 2:
        raise WeightsError(
            f"{source}: the network makes {made} px of {side}, which is no scale of {scale} with even edges"
        )
    return scale, cut


def _reach(
    network: Network,
    found: dict[str, Shape],
    side: int,
    scale: int,
    multiple: int,
    margin: int,
    trim: int,
) -> tuple[int, bool]:
    """LR pixels that a pixel sees at most, over all its places relative to the grid of the network's strides."""
    centre = (side // 2) // multiple * multiple
    reach, is_local = 0, True
    for axis in (0, 1):
        for phase in range(scale * multiple):
            at = (centre - margin) * scale + trim + phase
            (first, last), is_local_here = _seen(network, found, axis, at)
            here = centre + phase // scale
            reach = max(reach, here - first, last - here)
            is_local = is_local and is_local_here
    return reach, is_local


def _seen(network: Network, found: dict[str, Shape], axis: int, at: int) -> tuple[Span, bool]:
    """The pixels of the input that the result's row or column ``at`` is made of."""
    wanted: dict[str, Span] = {network.output: (at, at)}
    is_local = True
    for node in reversed(network.nodes):
        spans = [
            (number, wanted[name]) for number, name in enumerate(node.outputs) if name in wanted
        ]
        if not spans or not node.inputs:
            continue
        if _mixes_places(node, found):
            is_local = False
            continue
        for number, name in enumerate(node.inputs):
            for output, span in spans:
                seen = _before(node, span, _Context(node, found, axis, number, output))
                if seen is not None:
                    known = wanted.get(name, seen)
                    wanted[name] = (min(seen[0], known[0]), max(seen[1], known[1]))
    return wanted.get(network.input, (at, at)), is_local


def _mixes_places(node: Node, found: dict[str, Shape]) -> bool:
    """Whether a number that the node makes may come from anywhere in the picture."""
    takes_picture = any(len(found[name]) > 1 for name in node.inputs)
    makes_picture = all(len(found[name]) == 3 for name in node.outputs)
    return takes_picture and (
        not makes_picture or isinstance(node.operator, op.Reshape | op.Transpose)
    )


def _before(node: Node, span: Span, context: _Context) -> Span | None:
    """The part of an input that a part of a result is made of; None if only its size counts."""
    if len(context.shapes[context.number]) < 3:
        return span  # a vector applies to all places
    return _BACK.get(type(node.operator), _as_it_is)(node.operator, span, context)


@dataclass(frozen=True, slots=True)
class _Context:
    node: Node
    found: dict[str, Shape]
    axis: int
    """0 for rows, 1 for columns."""

    number: int
    """Which of the node's inputs is asked for."""

    output: int
    """Which of its outputs is wanted."""

    @property
    def shapes(self) -> Sequence[Shape]:
        """The shapes of the node's inputs."""
        return [self.found[name] for name in self.node.inputs]


def _as_it_is(_: Any, span: Span, __: _Context) -> Span:
    return span


def _convolve_back(operator: op.Convolve, span: Span, context: _Context) -> Span:
    axis = context.axis
    before = operator.padding[2 * axis]
    stride = operator.stride[axis]
    width = operator.dilation[axis] * (operator.kernel[axis] - 1)
    return span[0] * stride - before, span[1] * stride - before + width


def _deconvolve_back(operator: op.Deconvolve, span: Span, context: _Context) -> Span:
    axis = context.axis
    first, last = (one + operator.crop[2 * axis] for one in span)
    width = operator.dilation[axis] * (operator.kernel[axis] - 1)
    return -(-(first - width) // operator.stride[axis]), last // operator.stride[axis]


def _pool_back(operator: op.Pool, span: Span, context: _Context) -> Span:
    axis = context.axis
    before, stride = operator.padding[2 * axis], operator.stride[axis]
    return span[0] * stride - before, span[1] * stride - before + operator.kernel[axis] - 1


def _crop_back(operator: op.Crop, span: Span, context: _Context) -> Span | None:
    if context.number == 1:
        return None  # only its size counts
    bounds = crop_bounds(operator, context.shapes)
    begin, _ = bounds.get(1 + context.axis, (0, 0))
    return span[0] + begin, span[1] + begin


def _pad_back(operator: op.Pad, span: Span, context: _Context) -> Span:
    before = operator.sides[2 * context.axis]
    return span[0] - before, span[1] - before


def _resize_back(operator: op.Resize, span: Span, context: _Context) -> Span:
    factor = operator.factor[context.axis]
    if operator.mode == "nearest":
        return math.floor(span[0] / factor), math.floor(span[1] / factor)
    low, high = (math.floor((one + 0.5) / factor - 0.5) for one in span)
    return (low, high + 1) if operator.mode == "bilinear" else (low - 1, high + 2)


def _shuffle_back(operator: op.Shuffle, span: Span, _: _Context) -> Span:
    return span[0] // operator.factor, span[1] // operator.factor


def _join_back(operator: op.Join, span: Span, context: _Context) -> Span:
    if operator.axis % 3 != 1 + context.axis:
        return span
    before = sum(shape[1 + context.axis] for shape in context.shapes[: context.number])
    return span[0] - before, span[1] - before


def _divide_back(operator: op.Divide, span: Span, context: _Context) -> Span:
    if operator.axis % 3 != 1 + context.axis:
        return span
    before = sum(pieces(operator, context.shapes[0][1 + context.axis])[: context.output])
    return span[0] + before, span[1] + before


_BACK: dict[type, Callable[[Any, Span, _Context], Span | None]] = {
    op.Convolve: _convolve_back,
    op.Deconvolve: _deconvolve_back,
    op.Pool: _pool_back,
    op.Crop: _crop_back,
    op.Pad: _pad_back,
    op.Resize: _resize_back,
    op.Shuffle: _shuffle_back,
    op.Join: _join_back,
    op.Divide: _divide_back,
}
"""By operator, the part of an input that a part of its result is made of; without an entry, the same part."""
