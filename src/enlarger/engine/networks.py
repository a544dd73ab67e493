"""The networks as OpenVINO graphs, built from numpy weights with the operator API.

RRDBNet and SRVGGNetCompact as Real-ESRGAN publishes them (xinntao/Real-ESRGAN, BSD-3-Clause). Both
take RGB in [0, 1] as (1, H, W, 3) float32, any H and W, and give (1, H * 4, W * 4, 3) float32, not clamped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset14 as ops

from enlarger.errors import WeightsError
from enlarger.models import Convolution, Layer, Model, Slopes

Node = Any
"""An OpenVINO graph node; the package has no type information."""

_SCALE = 4
_RESIDUAL_SCALE = 0.2
_LEAK = 0.2


def build(model: Model) -> ov.Model:
    """The network of a catalogue row, for any height and width.

    Raises:
        WeightsError: the weights are damaged, or do not make a network of the row's architecture.
    """
    picture = ops.parameter([1, -1, -1, 3], np.float32, name="picture")
    x = ops.transpose(picture, ops.constant(np.array([0, 3, 1, 2])))  # (1, 3, H, W)
    layers = model.layers()
    try:
        y = _rrdb(x, layers) if model.architecture == "rrdb" else _compact(x, layers)
    except (RuntimeError, StopIteration) as error:
        raise WeightsError(
            f"{model.id}: its weights do not make a network of kind {model.architecture}"
        ) from error
    network = ov.Model(
        [ops.transpose(y, ops.constant(np.array([0, 2, 3, 1])))], [picture], model.id
    )
    # Generated names count up over the whole process, and the cache of compiled networks takes names
    # into its key: the same network needs the same names each time.
    for number, node in enumerate(network.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    return network


def _rrdb(x: Node, layers: list[Layer]) -> Node:
    """RRDBNet: dense blocks of five convolutions in residuals, three to a block, then two doublings."""
    blocks, rest = divmod(len(layers) - 6, 15)
    if rest or blocks < 1:
        raise WeightsError(
            f"an rrdb network has 15 convolutions per block and 6 besides, not {len(layers)}"
        )
    convolutions = iter(layers)

    def convolve(node: Node) -> Node:
        return _convolution(node, next(convolutions))

    first = convolve(x)
    trunk = first
    for _ in range(blocks):
        block_input = trunk
        for _ in range(3):
            trunk = _dense_block(trunk, convolutions)
        trunk = _scaled_add(trunk, block_input)
    y = ops.add(first, convolve(trunk))
    y = _leaky(convolve(_nearest(y, 2)))
    y = _leaky(convolve(_nearest(y, 2)))
    y = _leaky(convolve(y))
    return convolve(y)


def _dense_block(x: Node, convolutions: Iterator[Layer]) -> Node:
    """Four convolutions that each see all features before them, a fifth that folds these back."""
    features = [x]
    for _ in range(4):
        seen = ops.concat(features, 1) if len(features) > 1 else x
        features.append(_leaky(_convolution(seen, next(convolutions))))
    return _scaled_add(_convolution(ops.concat(features, 1), next(convolutions)), x)


def _compact(x: Node, layers: list[Layer]) -> Node:
    """SRVGGNetCompact: convolutions and PReLUs in turn, a pixel shuffle, plus the input by nearest."""
    y = x
    for layer in layers:
        if isinstance(layer, Slopes):
            y = ops.prelu(y, ops.constant(layer.slope))
        else:
            y = _convolution(y, layer)
    y = ops.depth_to_space(y, "depth_first", _SCALE)
    return ops.add(y, _nearest(x, _SCALE))


def _convolution(x: Node, layer: Layer) -> Node:
    if not isinstance(layer, Convolution):
        raise WeightsError("a convolution was expected where the weights hold PReLU slopes")
    y = ops.convolution(x, ops.constant(layer.weight), [1, 1], [1, 1], [1, 1], [1, 1])
    return ops.add(y, ops.constant(layer.bias.reshape(1, -1, 1, 1)))


def _leaky(x: Node) -> Node:
    return ops.prelu(x, ops.constant(np.array([_LEAK], np.float32)))


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
