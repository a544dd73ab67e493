"""RRDBNet in two parts: nearly all computing is in the trunk, most memory is in the tail."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from openvino import opset14 as ops

from enlarger.engine.openvino.graphs.arithmetic import Arithmetic, Float
from enlarger.engine.openvino.graphs.nodes import Node, convolution, leaky, nearest
from enlarger.engine.openvino.graphs.parts import Part, Recipe
from enlarger.engine.openvino.int8 import Int8, ones_like
from enlarger.errors import WeightsError
from enlarger.models import Layer, Model, Ranges
from enlarger.models.architectures.rrdb import FEATURES

_TAIL = 4
"""Convolutions after the trunk."""

_RESIDUAL_SCALE = 0.2


class RrdbGraph:
    """See ``Graph``."""

    # The tail reaches 1/2 px at 2x and three times 1/4 px at 4x.
    parts = (Part("trunk", channels=3), Part("tail", channels=FEATURES, reach_px=2))

    def layers_of(self, model: Model) -> str:
        """See ``Graph``."""
        del model
        return ""

    def make(self, part: str, x: Node, recipe: Recipe) -> Node:
        """See ``Graph``."""
        if part == "trunk":
            return _trunk(x, recipe.layers[:-_TAIL], recipe.in_float, recipe.ranges)
        return _tail(x, recipe.layers[-_TAIL:], recipe.in_float)


def _trunk(x: Node, layers: list[Layer], in_float: Float, ranges: Ranges | None) -> Node:
    """Return the features of the picture at its own size: dense blocks of five convolutions, in residuals of three."""
    blocks, rest = divmod(len(layers) - 2, 15)
    if rest or blocks < 1:
        raise WeightsError(
            f"an rrdb network has 15 convolutions per block and 6 besides, not {len(layers) + _TAIL}"
        )
    convolutions = iter(layers)
    first = convolution(x, next(convolutions))
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
    """Return the result of four convolutions that each see all features before them, and a fifth that folds these."""
    features = [arithmetic.enter(x)]
    for _ in range(4):
        y = leaky(arithmetic.convolve(features, next(convolutions)))
        features = arithmetic.gather(features, y)
    y = arithmetic.leave(arithmetic.convolve(features, next(convolutions)))
    return _scaled_add(y, x)


def _tail(features: Node, layers: list[Layer], in_float: Float) -> Node:
    """Return the picture: two doublings, and back to RGB.

    The last convolution makes the picture, so it is never rounded: bf16 has 8 significant bits.
    """
    up1, up2, hr, last = layers
    y = nearest(in_float.enter(features), 2)
    y = nearest(leaky(in_float.convolve([y], up1)), 2)
    y = leaky(in_float.convolve([y], up2))
    y = leaky(in_float.convolve([y], hr))
    return convolution(in_float.leave(y), last)


def _scaled_add(x: Node, skip: Node) -> Node:
    return ops.add(ops.multiply(x, ops.constant(np.float32(_RESIDUAL_SCALE))), skip)
