"""Layers of a network, whatever file they were read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 3x3 convolution with stride 1 and zero padding 1."""

    weight: Floats
    """Shape (out, in, 3, 3)."""

    bias: Floats
    """Shape (out,)."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """A PReLU: ``x if x > 0 else slope * x``, a slope per channel."""

    slope: Floats
    """Shape (channels,)."""


Layer = Convolution | Slopes


@dataclass(frozen=True, slots=True)
class Outline:
    """One parametrised layer as the ``.param`` text states it."""

    kind: str
    outputs: int
    weights: int
    """Number of weights of a convolution; 0 for a PReLU."""

    slope: float = 1.0
    """What a convolution's negative results are multiplied by, where the text states a ReLU with it or after it."""

    @property
    def inputs(self) -> int:
        """Channels that a convolution takes; 0 for a PReLU."""
        return self.weights // (9 * self.outputs)


@dataclass(frozen=True, slots=True)
class Operation:
    """A layer without parameters."""

    kind: str
    """Its name in ncnn, such as ``Interp``."""

    values: tuple[tuple[str, str], ...] = ()
    """Its settings, by their number in ncnn."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What a file states of a network, but for the weights."""

    outlines: tuple[Outline, ...]
    """The layers with parameters, in order."""

    operations: tuple[Operation, ...] = ()
    """The others, in order, but for activations: these stand in ``Outline.slope``."""

    scale: float | None = None
    """How many times as high as its input the result is; None if no layer changes the size."""
