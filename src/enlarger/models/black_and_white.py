"""Networks that take other numbers than 0 for black and 1 for white."""

from __future__ import annotations

from dataclasses import replace

from enlarger.models import operators as op
from enlarger.models.network import Network, Node


def with_black_and_white(network: Network, *, black: float, white: float, source: str) -> Network:
    """Return a network that takes and makes 0 for black and 1 for white, so that nothing else needs to know.

    Args:
        network: a network that takes, and makes, other numbers for them.
        black: its number for black.
        white: its number for white.
        source: its file's name, for errors.
    """
    # Blobs in files have no spaces in their names.
    narrow, given, moved, made = "picture narrowed", "picture moved", "result moved", "result wide"
    entry = next(index for index, node in enumerate(network.nodes) if network.input in node.outputs)
    inner = [
        replace(node, inputs=tuple(given if one == network.input else one for one in node.inputs))
        for node in network.nodes[entry + 1 :]
    ]
    output = given if network.output == network.input else network.output
    return Network.of(
        (
            *network.nodes[: entry + 1],
            Node(narrow, op.Combine("mul", white - black), (network.input,), (narrow,)),
            Node(given, op.Combine("add", black), (narrow,), (given,)),
            *inner,
            Node(moved, op.Combine("add", -black), (output,), (moved,)),
            Node(made, op.Combine("mul", 1 / (white - black)), (moved,), (made,)),
        ),
        source=source,
    )
