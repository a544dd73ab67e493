"""A network as a graph of operators, checked once: what is read of any file before its weights are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from enlarger.errors import WeightsError
from enlarger.models.operators import Input, Operator, Parameter, parameters_of

MOST_NODES = 4_000
"""x4plus has a thousand."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operator, the tensors it reads, and those it makes."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def key(self) -> str:
        """The first tensor that it makes: unlike names, which may repeat, only this node makes it."""
        return self.outputs[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The arrays that it reads from the file of weights."""
        return parameters_of(self.operator)


@dataclass(frozen=True, slots=True)
class Network:
    """Nodes in an order in which each tensor is made before it is read; one picture in, one picture out."""

    nodes: tuple[Node, ...]
    input: str
    output: str

    @classmethod
    def of(cls, nodes: Iterable[Node], *, source: str) -> Network:
        """A network of nodes in their order.

        Args:
            nodes: in the order of the file.
            source: the name of the file, for errors.

        Raises:
            WeightsError: a tensor is read before it is made, is made twice or by nobody, or there is not one input and
                one output.
        """
        ordered = tuple(nodes)
        if len(ordered) > MOST_NODES:
            raise WeightsError(f"{source}: {len(ordered)} layers, at most {MOST_NODES} are read")
        made: dict[str, None] = {}
        unread: dict[str, None] = {}
        for node in ordered:
            for tensor in node.inputs:
                if tensor not in made:
                    raise WeightsError(
                        f"{source}: '{node.name[:40]}' reads '{tensor[:40]}', which no layer before it makes"
                    )
                unread.pop(tensor, None)
            for tensor in node.outputs:
                if tensor in made:
                    raise WeightsError(f"{source}: '{tensor[:40]}' is made twice")
                made[tensor] = unread[tensor] = None
        inputs = [node for node in ordered if isinstance(node.operator, Input)]
        if len(inputs) != 1 or len(inputs[0].outputs) != 1:
            raise WeightsError(
                f"{source}: a network here has one input, this one has {len(inputs)}"
            )
        if len(unread) != 1:
            raise WeightsError(
                f"{source}: a network here has one output, this one has {len(unread)}"
            )
        return cls(ordered, inputs[0].outputs[0], next(iter(unread)))

    def parameters(self) -> Iterator[tuple[Node, Parameter]]:
        """All arrays of weights with their nodes, in the order of the file."""
        for node in self.nodes:
            for parameter in node.parameters:
                yield node, parameter
