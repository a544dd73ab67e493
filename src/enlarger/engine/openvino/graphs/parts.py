"""The interface of a kind of network to OpenVINO: the parts that are compiled, and how each is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from enlarger.engine.openvino.graphs.arithmetic import Float
from enlarger.engine.openvino.graphs.nodes import Node
from enlarger.models import Layer, Model, Ranges


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a network that is compiled on its own."""

    name: str
    """Name in files and errors."""

    channels: int
    """Channels of its input."""

    reach_px: int | None = None
    """LR pixels that it sees around a pixel, for a part that is computed in blocks; None if it needs the whole tile."""


@dataclass(frozen=True)  # without slots: `layers` is kept
class Recipe:
    """What a network is built from."""

    model: Model

    in_float: Float
    """The arithmetic of all that is computed in floating point."""

    ranges: Ranges | None
    """The ranges that int8 needs; None to compute all of the network in floating point."""

    @property
    def scale(self) -> int:
        """HR pixels per LR pixel along an edge."""
        return self.model.scale

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers with their weights, in network order; see ``Model.layers``."""
        return self.model.layers()


class Graph(Protocol):
    """The graph of one kind of network."""

    @property
    def parts(self) -> Sequence[Part]:
        """One part, or two: the first takes the picture, the second takes the first one's result."""

    def layers_of(self, model: Model) -> str:
        """Return a text that differs between networks of different layers; empty if the code says which there are."""

    def make(self, part: str, x: Node, recipe: Recipe) -> Node:
        """Build a part.

        Args:
            part: its name.
            x: its input, shape (1, C, H, W), f32.
            recipe: what the network is built from.

        Returns:
            The result of the part, (1, C, H, W), f32, at any H and W. RGB is in [0, 1], not clamped.

        Raises:
            WeightsError: the weights or the ranges do not make a network of this kind.
        """
