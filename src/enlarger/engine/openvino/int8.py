"""Eight-bit arithmetic for the dense blocks of an rrdb network: 8-bit features and weights, sums of 32 bits.

What OpenVINO's low-precision transformations recognise is written: values that a FakeQuantize put on the
integers, and int8 weights with one factor per output channel. Then the convolutions really run in int8, and
activation and rounding to the next layer's integers are part of them.

- Every channel has a step of its own. A step is folded into the weights on both sides, so it costs nothing.
- Features after a leaky ReLU reach five times further up than down. They are shifted to use all 256 values.
  A zero of the padding is then no zero: four channels of ones, which are zero in the padding, carry the
  shift's part of the sum, exact at the borders too. Zero points, which OpenVINO has for this, give wrong
  sums in 2026.4 (docs/decisions/0014).
- Weights are rounded so that the nine taps' errors cancel on smooth inputs, and what the channels' means
  leave of the rounding goes into the bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from openvino import opset14 as ops

from enlarger.errors import WeightsError
from enlarger.models import Convolution, Layer
from enlarger.models.ranges import Ranges

Node = Any

_FEATURES = 64
_LOW, _HIGH = -128, 127
_ONES = 4
"""Channels of ones: what vector instructions take at once, and enough to hold a shift's part of the sum."""

_NEIGHBOURS_AGREE = 0.4
"""Assumed correlation of features one pixel apart, for the rounding of weights. Measured on the results of
x4plus: 0.25 and 0.6 are up to 0.5 dB worse than 0.4, and 0 (plain rounding) up to 2 dB."""

_DAMPING = 0.01

Doubles = npt.NDArray[np.float64]


def ones_like(x: Node) -> Node:
    """Channels that hold the largest value at every pixel of ``x``, (1, 4, H, W)."""
    sides = ops.slice(
        ops.shape_of(x), ops.constant([2]), ops.constant([4]), ops.constant([1])
    )  # (H, W)
    ones = ops.broadcast(
        _constant(np.full((1, _ONES, 1, 1), _HIGH)),
        ops.concat([ops.constant(np.array([1, _ONES])), sides], 0),
    )
    return _integers(ones, np.array([_LOW]), np.array([_HIGH]))


class Int8:
    """The arithmetic of one dense block; see ``graphs.Arithmetic``.

    Args:
        ranges: of the network's features.
        index: which dense block it is.
        ones: what ``ones_like`` made, for all blocks.

    Raises:
        WeightsError: the ranges are not those of such a network.
    """

    def __init__(self, ranges: Ranges, index: int, ones: Node) -> None:
        if not index < len(ranges.low):
            raise WeightsError(
                f"the table of ranges is for {len(ranges.low)} dense blocks; there are more"
            )
        low, high = (table[index].astype(np.float64) for table in (ranges.low, ranges.high))
        self._step = (high - low) / (_HIGH - _LOW - 1)
        self._shift = np.rint((_LOW + _HIGH) / 2 - (low + high) / 2 / self._step)
        # The block's input is about as often below zero as above: no shift, so that the first convolution
        # needs no ones.
        self._step[:_FEATURES] = np.maximum(-low / -_LOW, high / _HIGH)[:_FEATURES]
        self._shift[:_FEATURES] = 0
        self._mean = ranges.mean[index] / self._step
        self._ones = ones

    def enter(self, x: Node) -> Node:
        """The block's input on the integers."""
        step = self._step[:_FEATURES]
        return _integers(x, _LOW * step, _HIGH * step)

    def convolve(self, features: list[Node], layer: Layer) -> Node:
        """A convolution of all features; its result is in steps if it is a feature itself."""
        if not isinstance(layer, Convolution):
            raise WeightsError("a convolution was expected where the weights hold PReLU slopes")
        outputs, inputs = layer.weight.shape[:2]
        unit = np.ones(outputs)
        if inputs < self._step.size:
            unit = self._step[inputs : inputs + outputs]
        weight, bias = layer.weight / unit[:, None, None, None], layer.bias / unit
        values, quantum, bias = self._rounded(weight, bias)
        seen = [*features, self._ones] if len(features) > 1 else features
        y = ops.convolution(
            ops.concat(seen, 1) if len(seen) > 1 else seen[0],
            ops.multiply(ops.convert(ops.constant(values), np.float32), _constant(quantum)),
            *([[1, 1]] * 4),
        )
        return ops.add(y, _constant(bias.reshape(1, -1, 1, 1)))

    def gather(self, features: list[Node], y: Node) -> list[Node]:
        """With what a convolution made, after its activation, on the integers."""
        outputs = (self._step.size - _FEATURES) // 4
        first = _FEATURES + (len(features) - 1) * outputs
        shift = self._shift[first : first + outputs]
        return [*features, _integers(y, _LOW - shift, _HIGH - shift)]

    def leave(self, y: Node) -> Node:
        """As it is: the runtime has taken the quanta out."""
        return y

    def _rounded(
        self, weight: Doubles, bias: Doubles
    ) -> tuple[npt.NDArray[np.int8], Doubles, Doubles]:
        """Int8 weights of the features, and of the ones behind them; their quanta; the bias that goes with them."""
        inputs = weight.shape[1]
        weight = weight * self._step[:inputs, None, None]
        shift = self._shift[:inputs]
        # What the shifts add to the sum, with the other sign, wherever there is no padding.
        from_shift = -np.einsum("ocyx,c->oyx", weight, shift)
        quantum = np.maximum(
            np.abs(weight).max(axis=(1, 2, 3)),
            np.abs(from_shift).max(axis=(1, 2)) / (_ONES * _HIGH),
        )
        quantum = np.maximum(quantum, np.finfo(np.float32).tiny)[:, None, None, None] / _HIGH
        values = _round_taps(weight / quantum)
        lost = (weight - values * quantum).sum(axis=(2, 3))
        bias = bias + lost @ self._mean[:inputs]
        if inputs == _FEATURES:
            return values.astype(np.int8), quantum, bias
        left = -np.einsum("ocyx,c->oyx", values, shift) / _HIGH
        for channels_left in range(_ONES, 0, -1):
            ones = np.clip(np.rint(left / channels_left), -_HIGH, _HIGH)
            values = np.concatenate([values, ones[:, None]], axis=1)
            left = left - ones
        bias = bias + quantum[:, 0, 0, 0] * _HIGH * left.sum(axis=(1, 2))
        return values.astype(np.int8), quantum, bias


def _round_taps(values: Doubles) -> Doubles:
    """Weights (out, in, 3, 3) rounded to integers, each error made good by the taps that follow.

    This is GPTQ (Frantar et al. 2022, arXiv 2210.17323) on the nine taps of each kernel alone, for inputs
    whose correlation falls with distance.
    """
    places = np.argwhere(np.ones((3, 3)))
    distance = np.abs(places[:, None] - places).sum(axis=2)
    correlation = _NEIGHBOURS_AGREE**distance + _DAMPING * np.eye(9)
    weights = np.linalg.cholesky(np.linalg.inv(correlation)).T
    left = values.reshape(*values.shape[:2], 9).copy()
    rounded = np.empty_like(left)
    for tap in range(9):
        rounded[..., tap] = np.clip(np.rint(left[..., tap]), -_HIGH, _HIGH)
        error = (left[..., tap] - rounded[..., tap]) / weights[tap, tap]
        left[..., tap + 1 :] -= error[..., None] * weights[tap, tap + 1 :]
    return rounded.reshape(values.shape)


def _integers(x: Node, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Node:
    """``x`` with ``low`` to ``high``, per channel, on the integers from -128 to 127."""
    return ops.fake_quantize(
        x,
        _constant(low.reshape(1, -1, 1, 1)),
        _constant(high.reshape(1, -1, 1, 1)),
        _constant(np.full((1, 1, 1, 1), _LOW)),
        _constant(np.full((1, 1, 1, 1), _HIGH)),
        _HIGH - _LOW + 1,
    )


def _constant(values: npt.NDArray[Any]) -> Node:
    return ops.constant(np.ascontiguousarray(values, np.float32))
