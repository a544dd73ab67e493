"""The interface of a kind of network: which layers it has, how far it sees, what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from enlarger.geometry.tiles import BLEND_PX
from enlarger.models.layers import Graph, Operation, Outline
from enlarger.models.reach import Frame
from enlarger.models.readers import WeightFiles

COLOURS = 3
"""Channels of a picture."""

_LEAK = 0.2
_LEAK_TOLERANCE = 1e-4


class Kind(Protocol):
    """A kind of network that can run here; see ``architectures``."""

    @property
    def name(self) -> str:
        """Name in rows of the catalogue."""

    @property
    def scales(self) -> tuple[int, ...]:
        """Scales that networks of this kind may have, in HR pixels per LR pixel along an edge."""

    @property
    def most_halo_px(self) -> int:
        """Largest halo of a tile in LR pixels; networks that see farther are cut into tiles that blend."""

    @property
    def blend_px(self) -> int:
        """LR pixels to which tiles fade into one another where they are not exact."""

    def describe(self, files: WeightFiles) -> Graph:
        """Return what the files state of a network of this kind.

        Raises:
            WeightsError: the files do not describe a network, or describe one with a layer that is not supported.
        """

    def check_size(self, files: WeightFiles) -> None:
        """Compare the size of the weights with that of the layers, without reading them.

        Raises:
            OSError: the file cannot be read.
            WeightsError: the file is too short or too long, or stores weights in a way that is not supported.
        """

    def max_tile_px(self, graph: Graph) -> int:
        """Return the LR pixels of the largest tile, which limits the memory of a model server."""

    def tile_bytes_per_px(self, graph: Graph) -> int:
        """Return the bytes of memory for each LR pixel of a tile in f32, as benchmarks/tile_memory.py measures them."""

    def frame(self, graph: Graph) -> Frame:
        """Return what lies between a tile and what the network takes and makes."""

    def is_local(self, graph: Graph) -> bool:
        """Return whether nothing is computed of the whole picture, such as a global mean."""

    def ranges_shape(self, graph: Graph) -> tuple[int, int] | None:
        """Return the shape of the tables of ranges that int8 needs; None if this kind cannot be computed in int8."""

    def misfit(self, graph: Graph) -> str | None:
        """Return the reason why a network is not of this kind, in words; None if it is."""

    def reach_px(self, graph: Graph) -> int:
        """Return how far a result pixel sees, in LR pixels. A 3x3 convolution reaches one pixel of its own grid."""

    def mflop_per_px(self, graph: Graph) -> float:
        """Return the cost of one LR pixel in million floating-point operations (a multiply-add is two)."""


class RecognisedKind:
    """What kinds share whose layers are recognised one by one: 3x3 convolutions with zeros around the picture."""

    blend_px = BLEND_PX

    def describe(self, files: WeightFiles) -> Graph:
        """See ``Kind``."""
        return files.graph

    def check_size(self, files: WeightFiles) -> None:
        """See ``Kind``."""
        files.check_size()

    def frame(self, graph: Graph) -> Frame:
        """See ``Kind``."""
        del graph
        return Frame()

    def is_local(self, graph: Graph) -> bool:
        """See ``Kind``."""
        del graph
        return True


@dataclass(frozen=True, slots=True)
class Expected:
    """A convolution that a kind of network has at some place."""

    inputs: int
    outputs: int
    is_leaky: bool = False

    def fits(self, outline: Outline) -> bool:
        """Whether a layer is one."""
        slope = _LEAK if self.is_leaky else 1.0
        return (
            outline.kind == "Convolution"
            and (outline.inputs, outline.outputs) == (self.inputs, self.outputs)
            and abs(outline.slope - slope) < _LEAK_TOLERANCE
        )

    def __str__(self) -> str:
        return f"{self.inputs} to {self.outputs} channels{' with a leak of 0.2' if self.is_leaky else ''}"


def first_misfit(found: Sequence[Outline], expected: Iterable[Expected]) -> str | None:
    """The first convolution that is not as expected, in words; None if all are."""
    for number, (outline, rule) in enumerate(zip(found, expected, strict=True), start=1):
        if not rule.fits(outline):
            return f"convolution {number} is one of {_described(outline)}, where this architecture has {rule}"
    return None


def _described(outline: Outline) -> str:
    leak = "" if outline.slope == 1 else f" with a leak of {outline.slope:g}"
    return f"{outline.inputs} to {outline.outputs} channels{leak}"


def strange_operation(graph: Graph, allowed: Sequence[tuple[Operation, int | None]]) -> str | None:
    """The first layer without parameters that would be left out, in words; None if there is none.

    What builds the network puts such layers in by itself, where the architecture has them: so one that the
    architecture does not have, or has with other settings, would be missing without a word.

    Args:
        graph: the network.
        allowed: what the architecture has, with how many of each at most.
    """
    left = dict(allowed)
    for operation in graph.operations:
        like = _normal(operation)
        if like not in left:
            return f"it has a layer {_in_words(operation)}, which this architecture has not"
        most = left[like]
        if most == 0:
            return f"it has more layers {_in_words(operation)} than this architecture has"
        left[like] = None if most is None else most - 1
    return None


def _normal(operation: Operation) -> Operation:
    """The same with numbers in one form, without settings that are the usual ones."""
    values = {key: _number(value) for key, value in operation.values}
    return Operation(
        operation.kind, tuple((key, value) for key, value in values.items() if value != "0")
    )


def _number(value: str) -> str:
    try:
        return ",".join(f"{float(part):g}" for part in value.split(","))
    except ValueError:
        return value


def _in_words(operation: Operation) -> str:
    values = " ".join(f"{key}={value}" for key, value in operation.values)
    return f"'{operation.kind} {values}'"[:80] if values else f"'{operation.kind}'"
