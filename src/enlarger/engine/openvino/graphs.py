"""The networks as OpenVINO graphs, built from numpy weights with the operator API.

RRDBNet and SRVGGNetCompact as Real-ESRGAN publishes them (xinntao/Real-ESRGAN, BSD-3-Clause). Both
take RGB in [0, 1] as (1, H, W, 3) float32, any H and W, and give (1, H * 4, W * 4, 3) float32, not clamped.
RRDBNet comes in two halves as well: nearly all computing is in the trunk, most memory in the tail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import openvino as ov
from openvino import opset14 as ops

from enlarger.engine.openvino.bfloat16 import constant_like, nearest, rounded
from enlarger.engine.openvino.int8 import Int8, ones_like
from enlarger.errors import WeightsError
from enlarger.models import Convolution, Layer, Model, Ranges, Slopes

Node = Any
"""An OpenVINO graph node; the package has no type information."""

_SCALE = 4
_FEATURES = 64
_TAIL = 4
"""Convolutions of an rrdb network after its trunk."""

_RESIDUAL_SCALE = 0.2
_LEAK = 0.2


TAIL_REACH_PX = 2
"""LR pixels that the tail sees around a pixel: 1/2 px at 2x and three times 1/4 px at 4x, and no more."""


class Arithmetic(Protocol):
    """How a dense block computes: what its convolutions see, and what they make of it."""

    def enter(self, x: Node) -> Node:
        """The block's input as its convolutions see it."""

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """A convolution of all features so far, as if they were one tensor, with its bias."""

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """The features so far, and with them the result of the convolution of these, as the following ones see it."""

    def leave(self, y: Node) -> Node:
        """The result of a convolution as what is not part of the block sees it."""


class Float:
    """In floating point, as the runtime is told to."""

    def enter(self, x: Node) -> Node:
        """As it is."""
        return x

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """Of the features, one after the other."""
        return _convolution(ops.concat(features, 1) if len(features) > 1 else features[0], layer)

    def convolve_picture(self, x: Node, layer: Layer) -> Node:
        """A convolution of the picture itself, in f32, as the following ones see it."""
        return _convolution(x, layer)

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """As it is."""
        return [*features, y]

    def leave(self, y: Node) -> Node:
        """As it is."""
        return y


class Bf16(Float):
    """Convolutions in bf16, and all else in f32: types are part of the graph, so the runtime is told f32.

    A residual sum in bf16 rounds the picture's features at every block, 70 times in x4plus. In f32 only what the
    convolutions see and make is rounded (docs/decisions/0026).
    """

    def enter(self, x: Node) -> Node:
        """``x``, in f32, rounded to bf16."""
        return rounded(x)

    def convolve_picture(self, x: Node, layer: Layer) -> Node:
        """In bf16 without rounding the picture, whose samples have up to 16 bits, nor the weights.

        Each is the sum of two bf16 numbers, which hold 16 bits. Three of the four products are added; the fourth is as
        small as what f32 rounds. Nine channels instead of three cost nothing beside the 64 of all others.
        """
        convolution = _check_convolution(layer)
        upper = rounded(x)
        lower = rounded(ops.subtract(x, ops.convert(upper, np.float32)))
        coarse = nearest(convolution.weight)
        fine = convolution.weight - coarse
        weight = np.concatenate([coarse, coarse, fine], 1)
        seen = ops.concat([upper, lower, upper], 1)
        return _convolution(seen, Convolution(weight, convolution.bias))

    def leave(self, y: Node) -> Node:
        """In f32 again, which is exact."""
        return ops.convert(y, np.float32)


class FloatInParts(Float):
    """The same with less memory. What comes out of each part is rounded once more, which f32 does not mind."""

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """Joined with the one before where the two have as many channels as the block's input.

        The network has a quarter fewer convolutions for it, and is loaded in four fifths of the time.
        """
        *before, last = features
        if _channels(last) + _channels(y) <= _FEATURES:
            return [*before, ops.concat([last, y], 1)]
        return [*features, y]

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """A sum of convolutions of each feature, which the runtime adds in place.

        No tensor has more than 64 channels. For a network of any shape the runtime shares memory between tensors
        as if each were as large as the largest: so it holds half as much.
        """
        convolution = _check_convolution(layer)
        total: Node = None
        begin = 0
        for node in features:
            end = begin + _channels(node)
            # The first part brings the bias.
            part = Convolution(
                np.ascontiguousarray(convolution.weight[:, begin:end]), convolution.bias
            )
            total = (
                _convolution(node, part) if total is None else ops.add(_unbiased(node, part), total)
            )
            begin = end
        if begin != convolution.weight.shape[1]:
            raise WeightsError(
                f"a convolution takes {convolution.weight.shape[1]} channels, not {begin}"
            )
        return total


def in_precision(precision: str) -> Float:
    """How a network computes in ``f32`` or ``bf16``, as a graph that is compiled with the hint f32."""
    return Bf16() if precision == "bf16" else FloatInParts()


def build(model: Model, ranges: Ranges | None = None, in_float: Float | None = None) -> ov.Model:
    """The whole network of a catalogue row, for any height and width.

    Args:
        model: the row.
        ranges: compute the dense blocks in int8, by these ranges, but for those that it leaves in float.
        in_float: how it computes in floating point; None leaves that to the runtime.

    Raises:
        WeightsError: the weights are damaged, or do not make a network of the row's architecture, or the
            ranges are not those of such a network.
    """
    if ranges is not None and model.architecture != "rrdb":
        raise WeightsError(f"{model.id}: int8 is for networks of kind rrdb")

    arithmetic = in_float or Float()

    def whole(picture: Node) -> Node:
        x, layers = _planes(picture), model.layers()
        if model.architecture == "compact":
            return _samples(_compact(x, layers, arithmetic))
        trunk = _trunk(x, layers[:-_TAIL], arithmetic, ranges)
        return _samples(_tail(trunk, layers[-_TAIL:], arithmetic))

    return _graph(model, whole, channels=3)


def build_trunk(model: Model, in_float: Arithmetic, ranges: Ranges | None = None) -> ov.Model:
    """What an rrdb network does at the picture's own size: (1, H, W, 3) to features (1, H, W, 64).

    Args:
        model: the row.
        in_float: how blocks in floating point compute.
        ranges: as ``build``.

    Raises:
        WeightsError: as ``build``.
    """

    def trunk(picture: Node) -> Node:
        return _samples(_trunk(_planes(picture), model.layers()[:-_TAIL], in_float, ranges))

    return _graph(model, trunk, channels=3)


def build_tail(model: Model, in_float: Arithmetic) -> ov.Model:
    """The rest of an rrdb network: features (1, H, W, 64) to (1, H * 4, W * 4, 3).

    Args:
        model: the row.
        in_float: how its convolutions compute, but for the last one.

    Raises:
        WeightsError: as ``build``.
    """

    def tail(features: Node) -> Node:
        return _samples(_tail(_planes(features), model.layers()[-_TAIL:], in_float))

    return _graph(model, tail, channels=_FEATURES)


def _graph(model: Model, make: Callable[[Node], Node], *, channels: int) -> ov.Model:
    """What ``make`` makes of an input (1, H, W, channels)."""
    given = ops.parameter([1, -1, -1, channels], np.float32, name="given")
    try:
        network = ov.Model([make(given)], [given], model.id)
    except (RuntimeError, StopIteration) as error:
        raise WeightsError(
            f"{model.id}: its weights do not make a network of kind {model.architecture}"
        ) from error
    # Generated names count up over the whole process, and the cache of compiled networks takes names
    # into its key: the same network needs the same names each time.
    for number, node in enumerate(network.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    return network


def _planes(x: Node) -> Node:
    return ops.transpose(x, ops.constant(np.array([0, 3, 1, 2])))  # (1, C, H, W)


def _samples(x: Node) -> Node:
    return ops.transpose(x, ops.constant(np.array([0, 2, 3, 1])))  # (1, H, W, C)


def _trunk(x: Node, layers: list[Layer], in_float: Arithmetic, ranges: Ranges | None) -> Node:
    """RRDBNet at the picture's own size: dense blocks of five convolutions in residuals, three to a block."""
    blocks, rest = divmod(len(layers) - 2, 15)
    if rest or blocks < 1:
        raise WeightsError(
            f"an rrdb network has 15 convolutions per block and 6 besides, not {len(layers) + _TAIL}"
        )
    convolutions = iter(layers)
    first = _convolution(x, next(convolutions))
    ones = ones_like(first)  # shared, and nothing where no block uses them

    def arithmetic(block: int, dense: int) -> Arithmetic:
        if ranges is None or block in ranges.in_float:
            return in_float
        return Int8(ranges, 3 * block + dense, ones)

    trunk = first
    for block in range(blocks):
        block_input = trunk
        for dense in range(3):
            trunk = _dense_block(trunk, convolutions, arithmetic(block, dense))
        trunk = _scaled_add(trunk, block_input)
    last = in_float.convolve([in_float.enter(trunk)], next(convolutions))
    return ops.add(first, in_float.leave(last))


def _dense_block(x: Node, convolutions: Iterator[Layer], arithmetic: Arithmetic) -> Node:
    """Four convolutions that each see all features before them, a fifth that folds these back."""
    features = [arithmetic.enter(x)]
    for _ in range(4):
        y = _leaky(arithmetic.convolve(features, next(convolutions)))
        features = arithmetic.gather(features, y)
    y = arithmetic.leave(arithmetic.convolve(features, next(convolutions)))
    return _scaled_add(y, x)


def _tail(features: Node, layers: list[Layer], in_float: Arithmetic) -> Node:
    """The rest of RRDBNet: two doublings, and back to RGB.

    The last convolution makes the picture, so it is never rounded: bf16 has 8 significant bits.
    """
    up1, up2, hr, last = layers
    y = _nearest(in_float.enter(features), 2)
    y = _nearest(_leaky(in_float.convolve([y], up1)), 2)
    y = _leaky(in_float.convolve([y], up2))
    y = _leaky(in_float.convolve([y], hr))
    return _convolution(in_float.leave(y), last)


def _compact(x: Node, layers: list[Layer], in_float: Float) -> Node:
    """SRVGGNetCompact: convolutions and PReLUs in turn, a pixel shuffle, plus the input by nearest."""
    first, *others = layers
    y = in_float.convolve_picture(x, first)
    for layer in others:
        if isinstance(layer, Slopes):
            y = ops.prelu(y, constant_like(y, layer.slope))
        else:
            y = _convolution(y, layer)
    y = ops.depth_to_space(in_float.leave(y), "depth_first", _SCALE)
    return ops.add(y, _nearest(x, _SCALE))


def _convolution(x: Node, layer: Layer) -> Node:
    checked = _check_convolution(layer)
    return ops.add(_unbiased(x, checked), constant_like(x, checked.bias.reshape(1, -1, 1, 1)))


def _channels(x: Node) -> int:
    channels: int = x.get_output_partial_shape(0)[1].get_length()
    return channels


def _unbiased(x: Node, layer: Convolution) -> Node:
    return ops.convolution(x, constant_like(x, layer.weight), [1, 1], [1, 1], [1, 1], [1, 1])


def _check_convolution(layer: Layer) -> Convolution:
    if not isinstance(layer, Convolution):
        raise WeightsError("a convolution was expected where the weights hold PReLU slopes")
    return layer


def _leaky(x: Node) -> Node:
    return ops.prelu(x, constant_like(x, np.array([_LEAK], np.float32)))


def _scaled_add(x: Node, skip: Node) -> Node:
    return ops.add(ops.multiply(x, ops.constant(np.float32(_RESIDUAL_SCALE))), skip)


def _nearest(x: Node, factor: int) -> Node:
    return ops.interpolate(
        x,
        ops.constant(np.array([factor, factor], np.float32)),
        mode="nearest",
        shape_calculation_mode="scales",
        axes=ops.constant(np.array([2, 3])),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
