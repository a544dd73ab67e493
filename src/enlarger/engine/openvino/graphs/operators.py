"""Any network as an OpenVINO graph: each operator of ``models/operators.py`` in those of the runtime.

In bf16 all but the narrowest convolutions are computed in bf16, and everything else in f32: the layers that take the picture
and those that make it keep its depth, and sums are not rounded (docs/decisions/0026).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import Output
from openvino import opset14 as ops

from enlarger.engine.openvino.bfloat16 import constant_like, rounded
from enlarger.errors import WeightsError
from enlarger.models import operators as op
from enlarger.models.network import Network, Node

OvNode = Any
"""A node of an OpenVINO graph; the package has no type information."""

Floats = npt.NDArray[np.float32]
Arrays = Sequence[Floats]

_FEW_CHANNELS = 12
"""Convolutions of no more channels, in or out, are computed in f32: an RGB picture, or four pixels of it."""

_DEVIATION_FOR_0 = 1e-4
"""What a batch normalisation divides by where its variance is 0, as in ncnn's src/layer/batchnorm.cpp."""


def connect(
    network: Network,
    weights: Mapping[str, Arrays],
    picture: OvNode,
    *,
    name: str,
    in_bf16: bool = False,
) -> OvNode:
    """Build the operators of a network.

    Args:
        network: the operators.
        weights: the arrays of each node that has some, by its key.
        picture: RGB in [0, 1], shape (1, 3, H, W), f32.
        name: name of the model, for errors.
        in_bf16: whether to compute convolutions in bf16.

    Returns:
        The result of the network's last layer, f32, not clamped.

    Raises:
        WeightsError: the operators do not fit together, or their weights cannot be computed with.
    """
    tensors: dict[str, OvNode] = {network.input: picture}
    for node in network.nodes:
        if isinstance(node.operator, op.Input):
            continue
        build = _BUILDERS[type(node.operator)]
        enter = _entrance(node.operator, in_bf16=in_bf16)
        try:
            inputs = [enter(tensors[one]) for one in node.inputs]
            made = build(node.operator, inputs, weights.get(node.key, ()), node)
        except WeightsError as error:
            raise WeightsError(f"{name}: {error}") from error
        except (RuntimeError, ValueError) as error:
            raise WeightsError(
                f"{name}: '{node.name[:40]}' does not fit the layers before it"
            ) from error
        tensors |= zip(node.outputs, made, strict=True)
    return _wide(tensors[network.output])


def _entrance(operator: op.Operator, *, in_bf16: bool) -> Callable[[OvNode], OvNode]:
    """Return what puts the inputs of an operator into the type that it is computed in."""
    if isinstance(operator, op.Copy):
        return lambda x: x
    if in_bf16 and isinstance(operator, op.Convolve | op.Deconvolve):
        is_wide = min(operator.inputs, operator.outputs) > _FEW_CHANNELS
        return _narrow if is_wide else _wide
    return _wide


def _narrow(x: OvNode) -> OvNode:
    """Return a tensor in bf16."""
    return x if x.get_element_type() == ov.Type.bf16 else rounded(x)


def _wide(x: OvNode) -> OvNode:
    """Return a tensor in f32."""
    return ops.convert(x, np.float32) if x.get_element_type() == ov.Type.bf16 else x


def _f32(*values: float) -> OvNode:
    return ops.constant(np.array(values if len(values) > 1 else values[0], np.float32))


def _like(x: OvNode, value: float) -> OvNode:
    """Return a number in the type of ``x``."""
    return constant_like(x, np.array(value, np.float32))


def _i64(values: Sequence[int]) -> OvNode:
    return ops.constant(np.array(values, np.int64))


def _rank(x: OvNode) -> int:
    tensor = (
        x if isinstance(x, Output) else x.output(0)
    )  # a divided tensor is an output of its node
    rank: int = tensor.get_partial_shape().rank.get_length()
    return rank


def _by_channel(x: OvNode, array: Floats) -> OvNode:
    return constant_like(x, array.reshape(1, -1, *[1] * (_rank(x) - 2)))


def _apply(operator: op.Apply, x: OvNode) -> OvNode:
    values = operator.values
    match operator.function:
        case "relu":
            slope = values[0] if values else 0.0
            return (
                ops.relu(x)
                if slope == 0
                else ops.prelu(x, constant_like(x, np.array([slope], np.float32)))
            )
        case "clip":
            return ops.clamp(x, values[0], values[1])
        case "hard_swish":
            return ops.multiply(x, ops.hard_sigmoid(x, *(_like(x, value) for value in values)))
        case "hard_sigmoid":
            return ops.hard_sigmoid(x, *(_like(x, value) for value in values))
        case "gelu":
            return ops.gelu(x, "erf")
        case function:
            return _FUNCTIONS[function](x)


_FUNCTIONS: dict[str, Callable[[OvNode], OvNode]] = {
    "sigmoid": ops.sigmoid,
    "mish": ops.mish,
    "swish": ops.swish,
    "tanh": ops.tanh,
    "abs": ops.abs,
    "neg": ops.negative,
    "floor": ops.floor,
    "ceil": ops.ceiling,
    "square": lambda x: ops.multiply(x, x),
    "sqrt": ops.sqrt,
    "rsqrt": lambda x: ops.divide(_f32(1), ops.sqrt(x)),
    "exp": ops.exp,
    "log": ops.log,
    "sin": ops.sin,
    "cos": ops.cos,
    "tan": ops.tan,
    "asin": ops.asin,
    "acos": ops.acos,
    "atan": ops.atan,
    "reciprocal": lambda x: ops.divide(_f32(1), x),
    "round": lambda x: ops.round(x, "half_to_even"),
    "trunc": lambda x: ops.multiply(ops.sign(x), ops.floor(ops.abs(x))),
}


def _finish(x: OvNode, operator: op.Convolve | op.Deconvolve | op.Dense, arrays: Arrays) -> OvNode:
    if operator.has_bias:
        x = ops.add(x, _by_channel(x, arrays[1]))
    return x if operator.activation is None else _apply(operator.activation, x)


def _convolve(operator: op.Convolve, inputs: list[OvNode], arrays: Arrays, _: Node) -> list[OvNode]:
    top, bottom, left, right = operator.padding
    x, begins, ends = inputs[0], [top, left], [bottom, right]
    if operator.padding_value and any(operator.padding):
        x = _padded(x, operator.padding, "constant", operator.padding_value)
        begins = ends = [0, 0]
    weight = arrays[0]
    if operator.groups == 1:
        y = ops.convolution(
            x, constant_like(x, weight), [*operator.stride], begins, ends, [*operator.dilation]
        )
    else:
        grouped = weight.reshape(
            operator.groups, operator.outputs // operator.groups, *weight.shape[1:]
        )
        y = ops.group_convolution(
            x, constant_like(x, grouped), [*operator.stride], begins, ends, [*operator.dilation]
        )
    return [_finish(y, operator, arrays)]


def _deconvolve(
    operator: op.Deconvolve, inputs: list[OvNode], arrays: Arrays, _: Node
) -> list[OvNode]:
    top, bottom, left, right = operator.crop
    groups, weight = operator.groups, arrays[0]
    # ncnn: (outputs, inputs / groups, ...); the runtime: (groups, inputs / groups, outputs / groups, ...).
    grouped = weight.reshape(groups, operator.outputs // groups, *weight.shape[1:]).swapaxes(1, 2)
    settings = {
        "strides": [*operator.stride],
        "pads_begin": [top, left],
        "pads_end": [bottom, right],
        "dilations": [*operator.dilation],
        "output_padding": [*operator.output_padding],
    }
    if groups == 1:
        kernel = constant_like(inputs[0], np.ascontiguousarray(grouped[0]))
        y = ops.convolution_backprop_data(inputs[0], kernel, **settings)
    else:
        kernel = constant_like(inputs[0], np.ascontiguousarray(grouped))
        y = ops.group_convolution_backprop_data(inputs[0], kernel, **settings)
    return [_finish(y, operator, arrays)]


def _dense(operator: op.Dense, inputs: list[OvNode], arrays: Arrays, _: Node) -> list[OvNode]:
    flat = ops.reshape(inputs[0], _i64([1, operator.inputs]), False)
    y = ops.matmul(flat, ops.constant(arrays[0]), False, True)
    return [_finish(y, operator, arrays)]


def _pool(operator: op.Pool, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    top, bottom, left, right = operator.padding
    rounding = "ceil" if operator.rounds_up else "floor"
    if operator.mean:
        y = ops.avg_pool(
            inputs[0],
            [*operator.stride],
            [top, left],
            [bottom, right],
            [*operator.kernel],
            not operator.counts_padding,
            rounding,
        )
    else:
        y = ops.max_pool(
            inputs[0],
            [*operator.stride],
            [1, 1],
            [top, left],
            [bottom, right],
            [*operator.kernel],
            rounding,
        ).output(0)
    return [y]


def _pool_all(operator: op.PoolAll, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    reduce = ops.reduce_mean if operator.mean else ops.reduce_max
    return [reduce(inputs[0], _i64([2, 3]), False)]


def _normalise(
    operator: op.Normalise, inputs: list[OvNode], arrays: Arrays, node: Node
) -> list[OvNode]:
    slope, mean, variance, bias = arrays
    with np.errstate(all="ignore"):  # what is not finite is refused below
        deviation = np.sqrt(variance + np.float32(operator.epsilon))
        deviation[deviation == 0] = _DEVIATION_FOR_0
        factor = slope / deviation
        addend = bias - factor * mean
    if not (np.isfinite(factor).all() and np.isfinite(addend).all()):
        raise WeightsError(
            f"the weights of '{node.name[:40]}' cannot be computed with: a variance is below 0, "
            "or a number is too large; the file is damaged, so get it again"
        )
    x = inputs[0]
    scaled = ops.multiply(x, _by_channel(x, factor))
    return [ops.add(scaled, _by_channel(x, addend))]


def _scale_channels(
    _: op.ScaleChannels, inputs: list[OvNode], arrays: Arrays, __: Node
) -> list[OvNode]:
    x = inputs[0]
    y = ops.multiply(x, _by_channel(x, arrays[0]))
    return [ops.add(y, _by_channel(x, arrays[1])) if len(arrays) > 1 else y]


def _prelu(_: op.Prelu, inputs: list[OvNode], arrays: Arrays, __: Node) -> list[OvNode]:
    return [ops.prelu(inputs[0], ops.constant(arrays[0]))]


def _constant(_: op.Constant, __: list[OvNode], arrays: Arrays, ___: Node) -> list[OvNode]:
    return [ops.constant(arrays[0][np.newaxis])]


def _copy(_: op.Copy, inputs: list[OvNode], __: Arrays, node: Node) -> list[OvNode]:
    return inputs[:1] * len(node.outputs)


def _aligned(first: OvNode, second: OvNode) -> tuple[OvNode, OvNode]:
    """Two tensors with as many axes: a vector applies to channels."""
    ranks = _rank(first), _rank(second)
    if ranks[0] == ranks[1]:
        return first, second

    def raised(x: OvNode, rank: int) -> OvNode:
        return ops.unsqueeze(x, _i64(range(_rank(x), rank))) if _rank(x) < rank else x

    return raised(first, max(ranks)), raised(second, max(ranks))


_TWO: dict[str, Callable[[OvNode, OvNode], OvNode]] = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "div": ops.divide,
    "max": ops.maximum,
    "min": ops.minimum,
    "pow": ops.power,
    "rsub": lambda a, b: ops.subtract(b, a),
    "rdiv": lambda a, b: ops.divide(b, a),
    "rpow": lambda a, b: ops.power(b, a),
}


def _combine(operator: op.Combine, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    first = inputs[0]
    if operator.scalar is not None:
        return [_TWO[operator.function](first, _f32(operator.scalar))]
    return [_TWO[operator.function](*_aligned(first, inputs[1]))]


def _accumulate(operator: op.Accumulate, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    factors = operator.factors or (1.0,) * len(inputs)
    terms = [
        x if factor == 1 else ops.multiply(x, _f32(factor))
        for x, factor in zip(inputs, factors, strict=True)
    ]
    total = terms[0]
    for term in terms[1:]:
        total = _TWO[operator.function](*_aligned(total, term))
    return [total]


def _axis(axis: int, x: OvNode) -> int:
    """An axis with the batch counted: those from the first move by one."""
    return axis + 1 if axis >= 0 else axis + _rank(x)


def _join(operator: op.Join, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    return [ops.concat(inputs, _axis(operator.axis, inputs[0]))]


def _divide(operator: op.Divide, inputs: list[OvNode], _: Arrays, node: Node) -> list[OvNode]:
    x = inputs[0]
    axis = ops.constant(np.int64(_axis(operator.axis, x)))
    if None not in operator.lengths:
        split = ops.variadic_split(x, axis, _i64([one or 0 for one in operator.lengths]))
    elif any(one is not None for one in operator.lengths[:-1]):
        last = [-1 if one is None else one for one in operator.lengths]
        split = ops.variadic_split(x, axis, _i64(last))
    else:
        split = ops.split(x, axis, len(operator.lengths))
    return [split.output(number) for number in range(len(node.outputs))]


def _crop(operator: op.Crop, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    x = inputs[0]
    if not operator.bounds:
        return [x]
    axes = [axis % 3 - 3 + _rank(x) for axis, _, _ in operator.bounds]
    starts = _i64([start for _, start, _ in operator.bounds])
    if operator.sizes_like_second:
        sizes = ops.gather(ops.shape_of(inputs[1], "i64"), _i64(axes), _i64([0]))
        stops = ops.add(starts, ops.reshape(sizes, _i64([len(axes)]), False))
    else:
        stops = _i64(
            [np.iinfo(np.int64).max if stop is None else stop for _, _, stop in operator.bounds]
        )
    return [ops.slice(x, starts, stops, _i64([1] * len(axes)), _i64(axes))]


def _padded(x: OvNode, sides: op.Sides, mode: str, value: float) -> OvNode:
    top, bottom, left, right = sides
    named = {"constant": "constant", "replicate": "edge", "reflect": "reflect"}[mode]
    return ops.pad(x, _i64([0, 0, top, left]), _i64([0, 0, bottom, right]), named, _like(x, value))


def _pad(operator: op.Pad, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    return [_padded(inputs[0], operator.sides, operator.mode, operator.value)]


def _resize(operator: op.Resize, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    settings: dict[str, Any] = {
        "shape_calculation_mode": "scales",
        "axes": _i64([2, 3]),
    }
    if operator.mode == "nearest":
        settings |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        settings |= {"coordinate_transformation_mode": "half_pixel", "cube_coeff": -0.75}
    mode = {"nearest": "nearest", "bilinear": "linear_onnx", "bicubic": "cubic"}[operator.mode]
    return [ops.interpolate(inputs[0], _f32(*operator.factor), mode, **settings)]


def _shuffle(operator: op.Shuffle, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    mode = "blocks_first" if operator.is_channels_last else "depth_first"
    return [ops.depth_to_space(inputs[0], mode, operator.factor)]


def _reshape(operator: op.Reshape, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    return [ops.reshape(inputs[0], _i64([1, *operator.shape]), True)]


def _transpose(operator: op.Transpose, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    return [ops.transpose(inputs[0], _i64([0, *(axis + 1 for axis in operator.order)]))]


def _function(operator: op.Apply, inputs: list[OvNode], _: Arrays, __: Node) -> list[OvNode]:
    return [_apply(operator, inputs[0])]


_Builder = Callable[[Any, list[OvNode], Arrays, Node], list[OvNode]]

_BUILDERS: dict[type, _Builder] = {
    op.Apply: _function,
    op.Convolve: _convolve,
    op.Deconvolve: _deconvolve,
    op.Dense: _dense,
    op.Pool: _pool,
    op.PoolAll: _pool_all,
    op.Normalise: _normalise,
    op.ScaleChannels: _scale_channels,
    op.Prelu: _prelu,
    op.Constant: _constant,
    op.Copy: _copy,
    op.Combine: _combine,
    op.Accumulate: _accumulate,
    op.Join: _join,
    op.Divide: _divide,
    op.Crop: _crop,
    op.Pad: _pad,
    op.Resize: _resize,
    op.Shuffle: _shuffle,
    op.Reshape: _reshape,
    op.Transpose: _transpose,
}
