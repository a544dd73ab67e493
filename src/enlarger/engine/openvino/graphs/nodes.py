"""Operations that the graphs of all kinds of networks share. Features have the layout (1, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset14 as ops

from enlarger.engine.openvino.bfloat16 import constant_like
from enlarger.errors import WeightsError
from enlarger.models import Convolution, Layer

Node = Any
"""An OpenVINO graph node; the package has no type information."""

_LEAK = 0.2


def planes(x: Node) -> Node:
    """Return (1, H, W, C) as (1, C, H, W)."""
    return ops.transpose(x, ops.constant(np.array([0, 3, 1, 2])))


def samples(x: Node) -> Node:
    """Return (1, C, H, W) as (1, H, W, C)."""
    return ops.transpose(x, ops.constant(np.array([0, 2, 3, 1])))


def convolution(x: Node, layer: Layer) -> Node:
    """Return the convolution of ``x`` with its bias, in the type of ``x``.

    Raises:
        WeightsError: the layer is not a convolution.
    """
    checked = check_convolution(layer)
    return ops.add(unbiased(x, checked), constant_like(x, checked.bias.reshape(1, -1, 1, 1)))


def unbiased(x: Node, layer: Convolution) -> Node:
    """Return the convolution of ``x`` without the bias."""
    return ops.convolution(x, constant_like(x, layer.weight), [1, 1], [1, 1], [1, 1], [1, 1])


def check_convolution(layer: Layer) -> Convolution:
    """Return the layer, which must be a convolution.

    Raises:
        WeightsError: the layer is not a convolution.
    """
    if not isinstance(layer, Convolution):
        raise WeightsError("a convolution was expected where the weights hold PReLU slopes")
    return layer


def channel_count(x: Node) -> int:
    """Return the number of channels of ``x``."""
    channels: int = x.get_output_partial_shape(0)[1].get_length()
    return channels


def leaky(x: Node) -> Node:
    """Return ``x`` after a leaky ReLU with a slope of 0.2."""
    return ops.prelu(x, constant_like(x, np.array([_LEAK], np.float32)))


def nearest(x: Node, factor: int) -> Node:
    """Return ``x`` enlarged by repeating each pixel."""
    return ops.interpolate(
        x,
        ops.constant(np.array([factor, factor], np.float32)),
        mode="nearest",
        shape_calculation_mode="scales",
        axes=ops.constant(np.array([2, 3])),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
