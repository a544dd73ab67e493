"""Number formats of convolutions in floating point; ``int8`` has the other one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from openvino import opset14 as ops

from enlarger.engine.openvino.bfloat16 import nearest, rounded
from enlarger.engine.openvino.graphs.nodes import (
    Node,
    channel_count,
    check_convolution,
    convolution,
    unbiased,
)
from enlarger.errors import WeightsError
from enlarger.models import Convolution, Layer

_MOST_CHANNELS = 64
"""Channels of the largest tensor of ``FloatInParts``."""


class Arithmetic(Protocol):
    """The number format of a block of convolutions: how they read their input, and how they write their output."""

    def enter(self, x: Node) -> Node:
        """Return the input of the block in the format of its convolutions."""

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """Return the convolution, with its bias, of all features as if they were one tensor."""

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """Return the features together with ``y``, the result of their convolution, for the convolutions that follow."""

    def leave(self, y: Node) -> Node:
        """Return the result of a convolution in the format outside the block."""


class Float:
    """Floating point in the precision that the runtime chooses."""

    def enter(self, x: Node) -> Node:
        """See ``Arithmetic``."""
        return x

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """Return the convolution of the concatenated features."""
        return convolution(ops.concat(features, 1) if len(features) > 1 else features[0], layer)

    def convolve_picture(self, x: Node, layer: Layer) -> Node:
        """Return the convolution of the picture, which is f32, in the format of the convolutions that follow."""
        return convolution(x, layer)

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """See ``Arithmetic``."""
        return [*features, y]

    def leave(self, y: Node) -> Node:
        """See ``Arithmetic``."""
        return y


class Bf16(Float):
    """Convolutions in bf16, and all else in f32: types are part of the graph, so the runtime is told f32.

    A residual sum in bf16 rounds the picture's features at every block, 70 times in x4plus. In f32 only what the
    convolutions see and make is rounded (docs/decisions/0026).
    """

    def enter(self, x: Node) -> Node:
        """Return ``x``, which is f32, rounded to bf16."""
        return rounded(x)

    def convolve_picture(self, x: Node, layer: Layer) -> Node:
        """Return the convolution in bf16 without rounding the picture, whose samples have up to 16 bits, or the weights.

        Each value is the sum of two bf16 numbers, which hold 16 bits. Three of the four products are added; the fourth is as
        small as what f32 rounds. Nine channels instead of three cost nothing beside the 64 of all others.
        """
        checked = check_convolution(layer)
        upper = rounded(x)
        lower = rounded(ops.subtract(x, ops.convert(upper, np.float32)))
        coarse = nearest(checked.weight)
        fine = checked.weight - coarse
        weight = np.concatenate([coarse, coarse, fine], 1)
        seen = ops.concat([upper, lower, upper], 1)
        return convolution(seen, Convolution(weight, checked.bias))

    def leave(self, y: Node) -> Node:
        """Return ``y`` converted to f32, which is exact."""
        return ops.convert(y, np.float32)


class FloatInParts(Float):
    """Floating point with less memory: a convolution is a sum of convolutions of each feature."""

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """Return the features, where ``y`` is joined with the last one if both together have at most 64 channels.

        This leaves the network a quarter fewer convolutions, and it loads in four fifths of the time.
        """
        *before, last = features
        if channel_count(last) + channel_count(y) <= _MOST_CHANNELS:
            return [*before, ops.concat([last, y], 1)]
        return [*features, y]

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """Return the sum of the convolutions of each feature, which the runtime adds in place.

        No tensor has more than 64 channels. For a network of any shape the runtime shares memory between tensors
        as if each were as large as the largest, so this halves the memory.
        """
        checked = check_convolution(layer)
        total: Node = None
        begin = 0
        for node in features:
            end = begin + channel_count(node)
            # The first part brings the bias.
            part = Convolution(np.ascontiguousarray(checked.weight[:, begin:end]), checked.bias)
            total = (
                convolution(node, part) if total is None else ops.add(unbiased(node, part), total)
            )
            begin = end
        if begin != checked.weight.shape[1]:
            raise WeightsError(
                f"a convolution takes {checked.weight.shape[1]} channels, not {begin}"
            )
        return total


def in_precision(precision: str) -> Float:
    """Return the arithmetic of ``f32`` or ``bf16`` for a graph that is compiled with the hint f32."""
    return Bf16() if precision == "bf16" else FloatInParts()
