"""The shapes of a network's tensors for a picture of a given size, and what computing them costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from enlarger.errors import WeightsError
from enlarger.models import operators as op
from enlarger.models.network import Network, Node

Shape = tuple[int, ...]
"""(C, H, W), (H, W) or (C,)."""


class Misfit(Exception):
    """A picture of this size does not fit the network; the text says where."""


def shapes(network: Network, height_px: int, width_px: int) -> dict[str, Shape]:
    """The shape of each tensor.

    Args:
        network: the graph.
        height_px: height of the RGB picture.
        width_px: its width.

    Raises:
        Misfit: tensors that are joined or combined have different sizes.
    """
    found: dict[str, Shape] = {network.input: (3, height_px, width_px)}
    for node in network.nodes:
        if isinstance(node.operator, op.Input):
            continue
        made = _SHAPES[type(node.operator)](
            node.operator, [found[one] for one in node.inputs], node
        )
        if any(length < 1 for shape in made for length in shape):
            raise Misfit(f"'{node.name[:40]}' makes nothing of {height_px}x{width_px} px")
        if len(made) != len(node.outputs):
            raise Misfit(f"'{node.name[:40]}' makes {len(made)} tensors, not {len(node.outputs)}")
        found |= zip(node.outputs, made, strict=True)
    return found


def multiply_adds(network: Network, found: dict[str, Shape]) -> int:
    """How many multiplications and additions make the tensors of these shapes, by the layers that have weights."""
    total = 0
    for node in network.nodes:
        operator = node.operator
        if isinstance(operator, op.Convolve | op.Deconvolve):
            pixels = found[(node.outputs if isinstance(operator, op.Convolve) else node.inputs)[0]]
            weights = operator.outputs * (operator.inputs // operator.groups)
            total += weights * math.prod(operator.kernel) * math.prod(pixels[-2:])
        elif isinstance(operator, op.Dense):
            total += operator.outputs * operator.inputs
    return total


def most_held(network: Network, found: dict[str, Shape]) -> int:
    """How many numbers the tensors of these shapes have that are needed at the same time, at the most demanding layer."""
    origin: dict[str, str] = {}
    """The tensor that each copy shares its memory with."""

    for node in network.nodes:
        if isinstance(node.operator, op.Copy):
            first = origin.get(node.inputs[0], node.inputs[0])
            origin |= dict.fromkeys(node.outputs, first)
    last = {
        origin.get(name, name): number
        for number, node in enumerate(network.nodes)
        for name in node.inputs
    }
    last[origin.get(network.output, network.output)] = len(network.nodes)
    ends: dict[int, list[str]] = {}
    for name, number in last.items():
        ends.setdefault(number, []).append(name)
    held = most = 0
    for number, node in enumerate(network.nodes):
        held += sum(math.prod(found[name]) for name in node.outputs if name in last)
        most = max(most, held)
        held -= sum(math.prod(found[name]) for name in ends.get(number, ()))
    return most


def _same(_: Any, given: Sequence[Shape], __: Node) -> list[Shape]:
    return [given[0]]


def _copy(_: op.Copy, given: Sequence[Shape], node: Node) -> list[Shape]:
    return [given[0]] * len(node.outputs)


def _picture(shape: Shape, node: Node, channels: int | None = None) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise Misfit(f"'{node.name[:40]}' takes features, not {len(shape)} axes")
    if channels is not None and shape[0] != channels:
        raise Misfit(f"'{node.name[:40]}' takes {channels} channels, not {shape[0]}")
    return shape[0], shape[1], shape[2]


def _convolve(operator: op.Convolve, given: Sequence[Shape], node: Node) -> list[Shape]:
    _, height, width = _picture(given[0], node, operator.inputs)
    top, bottom, left, right = operator.padding
    sizes = [
        (size - operator.dilation[axis] * (operator.kernel[axis] - 1) - 1) // operator.stride[axis]
        + 1
        for axis, size in enumerate((height + top + bottom, width + left + right))
    ]
    return [(operator.outputs, *sizes)]


def _deconvolve(operator: op.Deconvolve, given: Sequence[Shape], node: Node) -> list[Shape]:
    _, height, width = _picture(given[0], node, operator.inputs)
    top, bottom, left, right = operator.crop
    cuts = (top + bottom, left + right)
    sizes = [
        (size - 1) * operator.stride[axis]
        + operator.dilation[axis] * (operator.kernel[axis] - 1)
        + 1
        + operator.output_padding[axis]
        - cuts[axis]
        for axis, size in enumerate((height, width))
    ]
    return [(operator.outputs, *sizes)]


def _dense(operator: op.Dense, given: Sequence[Shape], node: Node) -> list[Shape]:
    if math.prod(given[0]) != operator.inputs:
        raise Misfit(
            f"'{node.name[:40]}' takes {operator.inputs} numbers, not {math.prod(given[0])}"
        )
    return [(operator.outputs,)]


def _pool(operator: op.Pool, given: Sequence[Shape], node: Node) -> list[Shape]:
    channels, height, width = _picture(given[0], node)
    top, bottom, left, right = operator.padding
    sizes = []
    for axis, size in enumerate((height + top + bottom, width + left + right)):
        steps = (size - operator.kernel[axis]) / operator.stride[axis]
        sizes.append((math.ceil(steps) if operator.rounds_up else math.floor(steps)) + 1)
    return [(channels, *sizes)]


def _pool_all(_: op.PoolAll, given: Sequence[Shape], node: Node) -> list[Shape]:
    return [(_picture(given[0], node)[0],)]


def _by_channel(operator: Any, given: Sequence[Shape], node: Node) -> list[Shape]:
    if given[0][0] != operator.channels:
        raise Misfit(f"'{node.name[:40]}' takes {operator.channels} channels, not {given[0][0]}")
    return [given[0]]


def _prelu(operator: op.Prelu, given: Sequence[Shape], node: Node) -> list[Shape]:
    if operator.slopes not in (1, given[0][0]):
        raise Misfit(f"'{node.name[:40]}' has {operator.slopes} slopes for {given[0][0]} channels")
    return [given[0]]


def _constant(operator: op.Constant, _: Sequence[Shape], __: Node) -> list[Shape]:
    return [operator.shape]


def broadcast(first: Shape, second: Shape) -> Shape | None:
    """The shape of two tensors that are combined, as ncnn does: a vector applies to channels; None if they do not fit."""
    if len(first) < len(second):
        first, second = second, first
    if len(second) < len(first):
        second = (*second, *(1,) * (len(first) - len(second)))
    if any(a != b and 1 not in (a, b) for a, b in zip(first, second, strict=True)):
        return None
    return tuple(max(a, b) for a, b in zip(first, second, strict=True))


def _together(given: Sequence[Shape], node: Node) -> list[Shape]:
    shape: Shape | None = given[0]
    for other in given[1:]:
        shape = broadcast(shape, other) if shape is not None else None
    if shape is None:
        raise Misfit(f"'{node.name[:40]}' combines tensors of different sizes")
    return [shape]


def _combine(_: Any, given: Sequence[Shape], node: Node) -> list[Shape]:
    return _together(given, node)


def _axis(axis: int, shape: Shape, node: Node) -> int:
    if not -len(shape) <= axis < len(shape):
        raise Misfit(f"'{node.name[:40]}' names an axis that there is not")
    return axis % len(shape)


def _join(operator: op.Join, given: Sequence[Shape], node: Node) -> list[Shape]:
    axis = _axis(operator.axis, given[0], node)
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in given}
    if len(others) != 1 or len({len(shape) for shape in given}) != 1:
        raise Misfit(f"'{node.name[:40]}' joins tensors of different sizes")
    total = sum(shape[axis] for shape in given)
    return [(*given[0][:axis], total, *given[0][axis + 1 :])]


def pieces(operator: op.Divide, length: int) -> list[int]:
    """The lengths of the pieces of an axis.

    Raises:
        Misfit: they are longer than the axis.
    """
    left = length
    found = []
    for number, stated in enumerate(operator.lengths):
        piece = left // (len(operator.lengths) - number) if stated is None else stated
        found.append(piece)
        left -= piece
    if left < 0 or any(piece < 1 for piece in found):
        raise Misfit("pieces that are longer than what is divided")
    return found


def _divide(operator: op.Divide, given: Sequence[Shape], node: Node) -> list[Shape]:
    shape = given[0]
    axis = _axis(operator.axis, shape, node)
    return [(*shape[:axis], piece, *shape[axis + 1 :]) for piece in pieces(operator, shape[axis])]


def crop_bounds(operator: op.Crop, given: Sequence[Shape]) -> dict[int, tuple[int, int]]:
    """Where a crop begins and ends along each axis that it cuts, by axis from the first.

    Raises:
        Misfit: it begins or ends outside.
    """
    shape = given[0]
    found = {}
    for axis, start, stop in operator.bounds:
        place = axis % 3 - 3 + len(shape)
        if not 0 <= place < len(shape):
            raise Misfit("a crop along an axis that there is not")
        length = shape[place]
        begin = start + length if start < 0 else start
        if operator.sizes_like_second:
            end = begin + given[1][axis]
        elif stop is None:
            end = length
        else:
            end = stop + length if stop < 0 else min(stop, length)
        if not 0 <= begin < end <= length:
            raise Misfit("a crop that begins or ends outside")
        found[place] = (begin, end)
    return found


def _crop(operator: op.Crop, given: Sequence[Shape], _: Node) -> list[Shape]:
    shape = list(given[0])
    for axis, (begin, end) in crop_bounds(operator, given).items():
        shape[axis] = end - begin
    return [tuple(shape)]


def _pad(operator: op.Pad, given: Sequence[Shape], node: Node) -> list[Shape]:
    channels, height, width = _picture(given[0], node)
    top, bottom, left, right = operator.sides
    if operator.mode == "reflect" and (max(top, bottom) >= height or max(left, right) >= width):
        raise Misfit(f"'{node.name[:40]}' mirrors more than there is")
    return [(channels, height + top + bottom, width + left + right)]


def _resize(operator: op.Resize, given: Sequence[Shape], node: Node) -> list[Shape]:
    channels, height, width = _picture(given[0], node)
    return [(channels, int(height * operator.factor[0]), int(width * operator.factor[1]))]


def _shuffle(operator: op.Shuffle, given: Sequence[Shape], node: Node) -> list[Shape]:
    channels, height, width = _picture(given[0], node)
    kept, rest = divmod(channels, operator.factor**2)
    if rest:
        raise Misfit(f"'{node.name[:40]}' makes pixels of {channels} channels")
    return [(kept, height * operator.factor, width * operator.factor)]


def _reshape(operator: op.Reshape, given: Sequence[Shape], node: Node) -> list[Shape]:
    shape = [
        given[0][place] if length == 0 and place < len(given[0]) else length
        for place, length in enumerate(operator.shape)
    ]
    known = math.prod(length for length in shape if length != -1)
    if -1 in shape and known:
        shape[shape.index(-1)] = math.prod(given[0]) // known
    if math.prod(shape) != math.prod(given[0]):
        raise Misfit(f"'{node.name[:40]}' makes another number of numbers")
    return [tuple(shape)]


def _transpose(operator: op.Transpose, given: Sequence[Shape], node: Node) -> list[Shape]:
    shape = _picture(given[0], node)
    return [tuple(shape[axis] for axis in operator.order)]


_SHAPES: dict[type, Callable[[Any, Sequence[Shape], Node], list[Shape]]] = {
    op.Apply: _same,
    op.Convolve: _convolve,
    op.Deconvolve: _deconvolve,
    op.Dense: _dense,
    op.Pool: _pool,
    op.PoolAll: _pool_all,
    op.Normalise: _by_channel,
    op.ScaleChannels: _by_channel,
    op.Prelu: _prelu,
    op.Constant: _constant,
    op.Copy: _copy,
    op.Combine: _combine,
    op.Accumulate: _combine,
    op.Join: _join,
    op.Divide: _divide,
    op.Crop: _crop,
    op.Pad: _pad,
    op.Resize: _resize,
    op.Shuffle: _shuffle,
    op.Reshape: _reshape,
    op.Transpose: _transpose,
}


def require_picture(network: Network, found: dict[str, Shape], *, source: str) -> None:
    """Raise ``WeightsError`` unless the network makes three channels."""
    if len(found[network.output]) != 3 or found[network.output][0] != 3:
        raise WeightsError(
            f"{source}: the network makes {found[network.output]}, not an RGB picture"
        )
