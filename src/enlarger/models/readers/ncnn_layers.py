"""Layers of ncnn: how the settings of each kind are read into an operator.

Keys and defaults are those of ncnn's layers (Tencent/ncnn, src/layer/*.cpp, ``load_param``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from enlarger.models import operators as op

_MOST_CHANNELS = 1 << 16
_MOST_KERNEL_PX = 256
_ABSENT = -233
"""What ncnn writes for a number that is not given."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``key=value`` pairs of a line."""

    values: Mapping[int, tuple[float, ...]]

    @classmethod
    def read(cls, words: Sequence[str]) -> Settings:
        """Read pairs; a key of -23300 minus k holds the list of key k, its length first.

        Raises:
            ValueError: a word is not such a pair.
        """
        values: dict[int, tuple[float, ...]] = {}
        for word in words:
            key_text, _, text = word.partition("=")
            key = int(key_text)
            numbers = tuple(map(float, text.split(",")))
            if not all(map(math.isfinite, numbers)):
                raise ValueError("not a number")
            if key <= -23300:
                key = -23300 - key
                if int(numbers[0]) != len(numbers) - 1:
                    raise ValueError("a list of another length than it states")
                numbers = numbers[1:]
            values[key] = numbers
        return cls(values)

    def number(self, key: int, default: float = 0.0) -> float:
        """A number."""
        found = self.values.get(key)
        return default if not found else found[0]

    def whole(self, key: int, default: int = 0) -> int:
        """A whole number.

        Raises:
            ValueError: it has a fraction, or is beyond all reason.
        """
        value = self.number(key, default)
        if value != int(value) or abs(value) > 1 << 31:
            raise ValueError("not a whole number")
        return int(value)

    def numbers(self, key: int) -> tuple[float, ...]:
        """A list."""
        return self.values.get(key, ())

    def wholes(self, key: int) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(int(number) for number in self.values.get(key, ()))

    def pair(self, across: int, down: int, default: int) -> op.Pair:
        """Vertical and horizontal: ncnn states the horizontal one, and the vertical one where it differs."""
        horizontal = self.whole(across, default)
        return self.whole(down, horizontal), horizontal


class Unsupported(Exception):
    """A setting that ncnn has and this reader has not; the text names it."""


def _bounded(value: int, most: int, what: str) -> int:
    if not 1 <= value <= most:
        raise Unsupported(f"{value} {what}")
    return value


_FUSED: dict[int, tuple[op.Function, int]] = {
    1: ("relu", 0),
    2: ("relu", 1),
    3: ("clip", 2),
    4: ("sigmoid", 0),
    5: ("mish", 0),
    6: ("hard_swish", 2),
}
"""By ncnn's number of an activation: its function, and how many values it has."""


def _activation(settings: Settings) -> op.Apply | None:
    kind = settings.whole(9)
    if kind == 0:
        return None
    if kind not in _FUSED:
        raise Unsupported(f"an activation of kind {kind}")
    function, count = _FUSED[kind]
    values = settings.numbers(10)[:count]
    if len(values) != count:
        raise ValueError("an activation without its values")
    return op.Apply(function, values or ((0.0,) if function == "relu" else ()))


def _sides(settings: Settings, left: int, right: int, top: int, bottom: int) -> op.Sides:
    at_left = settings.whole(left)
    at_top = settings.whole(top, at_left)
    sides = (at_top, settings.whole(bottom, at_top), at_left, settings.whole(right, at_left))
    if any(not 0 <= side <= _MOST_KERNEL_PX for side in sides):
        raise Unsupported(f"a padding of {min(sides)}")
    return sides


def _convolution_sizes(settings: Settings, groups: int) -> tuple[int, int, op.Pair]:
    outputs = _bounded(settings.whole(0), _MOST_CHANNELS, "output channels")
    kernel = settings.pair(1, 11, 0)
    for side in kernel:
        _bounded(side, _MOST_KERNEL_PX, "pixels of a kernel")
    count = settings.whole(6)
    inputs, rest = divmod(count * groups, outputs * kernel[0] * kernel[1])
    if rest or outputs % groups or inputs % groups:
        raise ValueError("weights that do not fit the layer")
    return outputs, _bounded(inputs, _MOST_CHANNELS, "input channels"), kernel


def _strides(settings: Settings) -> tuple[op.Pair, op.Pair]:
    stride, dilation = settings.pair(3, 13, 1), settings.pair(2, 12, 1)
    for step in (*stride, *dilation):
        _bounded(step, _MOST_KERNEL_PX, "pixels of a step")
    return stride, dilation


def _convolve(settings: Settings, inputs: int) -> op.Operator:
    if settings.whole(8) or settings.whole(19) or inputs != 1:
        raise Unsupported("int8 or dynamic weights")
    groups = _bounded(settings.whole(7, 1), _MOST_CHANNELS, "groups")
    outputs, channels, kernel = _convolution_sizes(settings, groups)
    stride, dilation = _strides(settings)
    return op.Convolve(
        outputs=outputs,
        inputs=channels,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=_sides(settings, 4, 15, 14, 16),
        padding_value=settings.number(18),
        groups=groups,
        has_bias=settings.whole(5) == 1,
        activation=_activation(settings),
    )


def _deconvolve(settings: Settings, inputs: int) -> op.Operator:
    if settings.whole(28) or settings.whole(20) or settings.whole(21) or inputs != 1:
        raise Unsupported("dynamic weights or a stated size")
    groups = _bounded(settings.whole(7, 1), _MOST_CHANNELS, "groups")
    outputs, channels, kernel = _convolution_sizes(settings, groups)
    stride, dilation = _strides(settings)
    right = settings.whole(18)
    return op.Deconvolve(
        outputs=outputs,
        inputs=channels,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        crop=_sides(settings, 4, 15, 14, 16),
        output_padding=(settings.whole(19, right), right),
        groups=groups,
        has_bias=settings.whole(5) == 1,
        activation=_activation(settings),
    )


def _dense(settings: Settings, _: int) -> op.Operator:
    if settings.whole(8):
        raise Unsupported("int8 weights")
    outputs = _bounded(settings.whole(0), _MOST_CHANNELS, "outputs")
    inputs, rest = divmod(settings.whole(2), outputs)
    if rest:
        raise ValueError("weights that do not fit the layer")
    return op.Dense(
        outputs=outputs,
        inputs=_bounded(inputs, _MOST_CHANNELS, "inputs"),
        has_bias=settings.whole(1) == 1,
        activation=_activation(settings),
    )


def _pool(settings: Settings, _: int) -> op.Operator:
    kind = settings.whole(0)
    if kind not in (0, 1) or settings.whole(7):
        raise Unsupported(f"a pooling of kind {kind}, or an adaptive one")
    if settings.whole(4):
        return op.PoolAll(mean=kind == 1)
    mode = settings.whole(5)
    if mode not in (0, 1):
        raise Unsupported(f"a padding of mode {mode}")
    kernel = settings.pair(1, 11, 0)
    for side in kernel:
        _bounded(side, _MOST_KERNEL_PX, "pixels of a window")
    stride = settings.pair(2, 12, 1)
    for side in stride:
        _bounded(side, _MOST_KERNEL_PX, "pixels of a step")
    return op.Pool(
        mean=kind == 1,
        kernel=kernel,
        stride=stride,
        padding=_sides(settings, 3, 14, 13, 15),
        rounds_up=mode == 0,
        counts_padding=settings.whole(6) == 1,
    )


def _scale(settings: Settings, inputs: int) -> op.Operator:
    size = settings.whole(0)
    if size == _ABSENT:
        if inputs != 2 or settings.whole(1):
            raise Unsupported("factors from another layer with addends")
        return op.Combine("mul")
    return op.ScaleChannels(
        channels=_bounded(size, _MOST_CHANNELS, "channels"), has_bias=settings.whole(1) == 1
    )


def _eltwise(settings: Settings, inputs: int) -> op.Operator:
    function = ("mul", "add", "max")[settings.whole(0)]
    factors = settings.numbers(1)
    if factors and (function != "add" or len(factors) != inputs):
        raise ValueError("factors that do not fit the layer")
    return op.Accumulate(function, factors)  # type: ignore[arg-type]  # one of three literals


_BINARY: tuple[op.Binary, ...] = (
    *("add", "sub", "mul", "div", "max", "min", "pow", "rsub", "rdiv", "rpow"),
)


def _binary(settings: Settings, inputs: int) -> op.Operator:
    kind = settings.whole(0)
    if not 0 <= kind < len(_BINARY):
        raise Unsupported(f"an operation of kind {kind}")
    has_scalar = settings.whole(1) == 1
    if inputs != (1 if has_scalar else 2):
        raise ValueError("another number of tensors")
    return op.Combine(_BINARY[kind], settings.number(2) if has_scalar else None)


_UNARY: tuple[op.Function, ...] = (
    *("abs", "neg", "floor", "ceil", "square", "sqrt", "rsqrt", "exp", "log", "sin", "cos", "tan"),
    *("asin", "acos", "atan", "reciprocal", "tanh"),
)


def _unary(settings: Settings, _: int) -> op.Operator:
    kind = settings.whole(0)
    if not 0 <= kind < len(_UNARY):
        raise Unsupported(f"an operation of kind {kind}")
    return op.Apply(_UNARY[kind])


def _divide(settings: Settings, _: int) -> op.Operator:
    if settings.numbers(2):
        raise Unsupported("pieces by their borders")
    lengths = tuple(None if one == _ABSENT else one for one in settings.wholes(0))
    return op.Divide(lengths, settings.whole(1))


def _crop(settings: Settings, inputs: int) -> op.Operator:
    starts = {-1: settings.whole(0), -2: settings.whole(1), -3: settings.whole(2)}
    if inputs == 2:
        if starts[-3] or _ABSENT in starts.values():
            raise Unsupported("a crop of channels like those of another tensor")
        return op.Crop(((-2, starts[-2], None), (-1, starts[-1], None)), sizes_like_second=True)
    begins, ends, axes = settings.wholes(9), settings.wholes(10), settings.wholes(11)
    if begins:
        axes = axes or tuple(range(len(begins)))
        if len(begins) != len(axes) or len(ends) not in (0, len(axes)):
            raise ValueError("lists of different lengths")
        stops = ends or (_ABSENT,) * len(axes)
        bounds = [
            (
                axis if axis < 0 else axis - 3,
                start,
                None if stop == _ABSENT or stop > 1 << 30 else stop,
            )
            for axis, start, stop in zip(axes, begins, stops, strict=True)
        ]
        if any(not -3 <= axis < 0 for axis, _, _ in bounds):
            raise Unsupported("a crop along an axis that pictures have not")
        return op.Crop(tuple(bounds))
    bounds = []
    for axis, size_key, second_key in ((-3, 5, 8), (-2, 4, 7), (-1, 3, 6)):
        size, second = settings.whole(size_key), settings.whole(second_key)
        if size == _ABSENT:
            stop = -second or None
        else:
            stop = starts[axis] + size if size else -second or None
        if starts[axis] or stop is not None:
            bounds.append((axis, starts[axis], stop))
    return op.Crop(tuple(bounds))


def _pad(settings: Settings, _: int) -> op.Operator:
    if settings.whole(6) or settings.whole(7) or settings.whole(8):
        raise Unsupported("a padding by channel, or of channels")
    sides = (settings.whole(0), settings.whole(1), settings.whole(2), settings.whole(3))
    if any(not 0 <= side <= _MOST_KERNEL_PX for side in sides):
        raise Unsupported(f"a padding of {min(sides)}")
    mode = ("constant", "replicate", "reflect")[settings.whole(4)]
    return op.Pad(sides, mode, settings.number(5))  # type: ignore[arg-type]  # one of three literals


def _resize(settings: Settings, inputs: int) -> op.Operator:
    kind = settings.whole(0)
    if kind not in (1, 2, 3):
        raise Unsupported(f"an interpolation of kind {kind}")
    if (
        inputs != 1
        or settings.whole(3)
        or settings.whole(4)
        or settings.whole(5)
        or settings.whole(6)
    ):
        raise Unsupported("an interpolation to a stated size, or with aligned corners")
    factor = (settings.number(1, 1.0), settings.number(2, 1.0))
    if any(not 1 / 16 <= one <= 16 for one in factor):
        raise Unsupported(f"an interpolation of {factor[0]:g}")
    return op.Resize(("nearest", "bilinear", "bicubic")[kind - 1], factor)


def _shuffle(settings: Settings, _: int) -> op.Operator:
    return op.Shuffle(
        _bounded(settings.whole(0, 1), 16, "times as many pixels"), settings.whole(1) == 1
    )


def _reshape(settings: Settings, _: int) -> op.Operator:
    if settings.whole(3) or settings.whole(11, _ABSENT) != _ABSENT:
        raise Unsupported("a shape of four axes, or another order")
    width, height, channels = (settings.whole(key, _ABSENT) for key in (0, 1, 2))
    return op.Reshape(tuple(one for one in (channels, height, width) if one != _ABSENT))


_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""By ncnn's ``order_type`` for three axes, which counts them from the width: the order of (C, H, W)."""


def _transpose(settings: Settings, _: int) -> op.Operator:
    return op.Transpose(_ORDERS[settings.whole(0)])


def _constant(settings: Settings, _: int) -> op.Operator:
    width, height, channels = (settings.whole(key) for key in (0, 1, 2))
    if settings.whole(11) or not settings.whole(21, 1):
        raise Unsupported("numbers of four axes, or packed ones")
    shape = tuple(length for length in (channels, height, width) if length)
    for length in shape:
        _bounded(length, _MOST_CHANNELS, "numbers along an axis")
    return op.Constant(shape or (1,))


def _function(
    function: op.Function, *defaults: tuple[int, float]
) -> Callable[[Settings, int], op.Operator]:
    def make(settings: Settings, _: int) -> op.Operator:
        return op.Apply(function, tuple(settings.number(key, value) for key, value in defaults))

    return make


LAYERS: dict[str, Callable[[Settings, int], op.Operator]] = {
    "Input": lambda _, __: op.Input(),
    "Split": lambda _, __: op.Copy(),
    "Noop": lambda _, __: op.Copy(),
    "Dropout": lambda _, __: op.Copy(),
    "Convolution": _convolve,
    "ConvolutionDepthWise": _convolve,
    "Deconvolution": _deconvolve,
    "DeconvolutionDepthWise": _deconvolve,
    "InnerProduct": _dense,
    "Pooling": _pool,
    "Scale": _scale,
    "BatchNorm": lambda settings, _: op.Normalise(
        channels=_bounded(settings.whole(0), _MOST_CHANNELS, "channels"), epsilon=settings.number(1)
    ),
    "Eltwise": _eltwise,
    "BinaryOp": _binary,
    "UnaryOp": _unary,
    "Concat": lambda settings, _: op.Join(settings.whole(0)),
    "Slice": _divide,
    "Crop": _crop,
    "Padding": _pad,
    "Interp": _resize,
    "PixelShuffle": _shuffle,
    "Reshape": _reshape,
    "Permute": _transpose,
    "MemoryData": _constant,
    "PReLU": lambda settings, _: op.Prelu(_bounded(settings.whole(0), _MOST_CHANNELS, "slopes")),
    "ReLU": _function("relu", (0, 0.0)),
    "Clip": _function("clip", (0, -3.4e38), (1, 3.4e38)),
    "Sigmoid": _function("sigmoid"),
    "HardSwish": _function("hard_swish", (0, 0.2), (1, 0.5)),
    "HardSigmoid": _function("hard_sigmoid", (0, 0.2), (1, 0.5)),
    "GELU": _function("gelu"),
    "Swish": _function("swish"),
    "Mish": _function("mish"),
    "TanH": _function("tanh"),
}
"""By ncnn's name of a layer, what reads its settings."""
