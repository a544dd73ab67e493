"""The operators of a network, whatever file format stated them: plain values without weights.

Tensors have no batch axis here: a picture or its features are (C, H, W), a vector is (C,). The meaning of each operator
follows ncnn's layers (Tencent/ncnn, src/layer), which is the first format that is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Sides = tuple[int, int, int, int]
"""Pixels at the top, the bottom, the left and the right."""

Pair = tuple[int, int]
"""A number for the vertical and one for the horizontal axis."""

Function = Literal[
    "relu",
    "clip",
    "sigmoid",
    "mish",
    "hard_swish",
    "hard_sigmoid",
    "gelu",
    "swish",
    "tanh",
    "abs",
    "neg",
    "floor",
    "ceil",
    "square",
    "sqrt",
    "rsqrt",
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "reciprocal",
    "round",
    "trunc",
]
"""Functions of one number."""

Binary = Literal["add", "sub", "mul", "div", "max", "min", "pow", "rsub", "rdiv", "rpow"]
"""Functions of two numbers; those that begin with ``r`` swap them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An array of weights that an operator reads from the file."""

    shape: tuple[int, ...]

    is_tagged: bool = False
    """Whether a tag before it says how it is stored; without one it is f32."""

    @property
    def count(self) -> int:
        """How many numbers it has."""
        count = 1
        for length in self.shape:
            count *= length
        return count


def _weights_and_bias(shape: tuple[int, ...], *, has_bias: bool) -> tuple[Parameter, ...]:
    """Return tagged weights of a shape, whose first length is that of the outputs, and a bias for each output."""
    weights = Parameter(shape, is_tagged=True)
    return (weights, Parameter(shape[:1])) if has_bias else (weights,)


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of each number, on its own or fused into a convolution."""

    function: Function
    values: tuple[float, ...] = ()
    """The slope of ``relu``, the bounds of ``clip``, alpha and beta of the ``hard`` functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolve:
    """A convolution: weights (outputs, inputs / groups, height, width)."""

    outputs: int
    inputs: int
    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Sides = (0, 0, 0, 0)
    padding_value: float = 0.0
    groups: int = 1
    has_bias: bool = False
    activation: Apply | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The weights, then the bias."""
        shape = (self.outputs, self.inputs // self.groups, *self.kernel)
        return _weights_and_bias(shape, has_bias=self.has_bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deconvolve:
    """A transposed convolution: weights (outputs, inputs / groups, height, width), as ncnn stores them."""

    outputs: int
    inputs: int
    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    crop: Sides = (0, 0, 0, 0)
    """Pixels that are cut off the full result."""

    output_padding: Pair = (0, 0)
    """Rows at the bottom and columns at the right that are appended before cutting."""

    groups: int = 1
    has_bias: bool = False
    activation: Apply | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The weights, then the bias."""
        shape = (self.outputs, self.inputs // self.groups, *self.kernel)
        return _weights_and_bias(shape, has_bias=self.has_bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """A matrix of a vector: weights (outputs, inputs)."""

    outputs: int
    inputs: int
    has_bias: bool = False
    activation: Apply | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The weights, then the bias."""
        return _weights_and_bias((self.outputs, self.inputs), has_bias=self.has_bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The largest or the mean of each window."""

    mean: bool
    kernel: Pair
    stride: Pair
    padding: Sides = (0, 0, 0, 0)
    rounds_up: bool = True
    """Whether a last window that is not whole counts."""

    counts_padding: bool = False
    """Whether a mean divides by the window's size also where it covers padding."""


@dataclass(frozen=True, slots=True)
class PoolAll:
    """The largest or the mean of each channel: a vector."""

    mean: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalise:
    """A batch normalisation with fixed statistics: slope, mean, variance and bias for each channel."""

    channels: int
    epsilon: float

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Slope, mean, variance, bias."""
        return (Parameter((self.channels,)),) * 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChannels:
    """A factor, and perhaps an addend, for each channel."""

    channels: int
    has_bias: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The factors, then the addends."""
        return (Parameter((self.channels,)),) * (2 if self.has_bias else 1)


@dataclass(frozen=True, slots=True)
class Prelu:
    """``x if x > 0 else slope * x``, with a slope for each channel or one for all."""

    slopes: int

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The slopes."""
        return (Parameter((self.slopes,)),)


@dataclass(frozen=True, slots=True)
class Constant:
    """Numbers that the file holds."""

    shape: tuple[int, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The numbers."""
        return (Parameter(self.shape),)


@dataclass(frozen=True, slots=True)
class Input:
    """The picture: RGB in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The same tensor under one or several names."""


@dataclass(frozen=True, slots=True)
class Combine:
    """A function of two tensors, or of a tensor and a number. A vector applies to each channel."""

    function: Binary
    scalar: float | None = None


@dataclass(frozen=True, slots=True)
class Accumulate:
    """A product, weighted sum, or maximum of any number of tensors."""

    function: Literal["mul", "add", "max"]
    factors: tuple[float, ...] = ()
    """Factors of the tensors of a sum; empty if all are 1."""


@dataclass(frozen=True, slots=True)
class Join:
    """Tensors one after the other along an axis; axes count from the first, or from the end where negative."""

    axis: int = 0


@dataclass(frozen=True, slots=True)
class Divide:
    """A tensor in pieces along an axis."""

    lengths: tuple[int | None, ...]
    """None shares what is left equally."""

    axis: int = 0


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a tensor: where it begins and ends, by axis from the end (-1 is the width)."""

    bounds: tuple[tuple[int, int, int | None], ...]
    """Axis, start, and end; a negative end counts from the end, None is the end."""

    sizes_like_second: bool = False
    """Whether the height and the width are those of a second tensor; bounds then give the starts."""


@dataclass(frozen=True, slots=True)
class Pad:
    """More pixels around a tensor."""

    sides: Sides
    mode: Literal["constant", "replicate", "reflect"] = "constant"
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Resize:
    """Another size by interpolation, with centres of pixels half a pixel from their edges; nearest rounds down."""

    mode: Literal["nearest", "bilinear", "bicubic"]
    factor: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shuffle:
    """``factor`` x ``factor`` channels become pixels, as in PyTorch's ``pixel_shuffle``."""

    factor: int
    is_channels_last: bool = False
    """Whether a pixel's channels lie ``factor`` x ``factor`` apart instead of side by side."""


@dataclass(frozen=True, slots=True)
class Reshape:
    """Another shape with the same numbers; 0 keeps a length, -1 takes what is left."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transpose:
    """The axes in another order."""

    order: tuple[int, ...] = field()


Operator = (
    Apply
    | Convolve
    | Deconvolve
    | Dense
    | Pool
    | PoolAll
    | Normalise
    | ScaleChannels
    | Prelu
    | Constant
    | Input
    | Copy
    | Combine
    | Accumulate
    | Join
    | Divide
    | Crop
    | Pad
    | Resize
    | Shuffle
    | Reshape
    | Transpose
)


def parameters_of(operator: Operator) -> tuple[Parameter, ...]:
    """The arrays that an operator reads from the file, in the order of the file."""
    found: tuple[Parameter, ...] = getattr(operator, "parameters", ())
    return found
