"""RRDBNet (xinntao/Real-ESRGAN, basicsr/archs/rrdbnet_arch.py): dense blocks in residuals, then two doublings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from enlarger.models.architectures.kind import (
    COLOURS,
    Expected,
    RecognisedKind,
    first_misfit,
    strange_operation,
)
from enlarger.models.layers import Graph, Operation, Outline

FEATURES = 64
"""Channels between its blocks."""

_AROUND_BLOCKS = 6
"""Convolutions besides its dense blocks."""

_A_BLOCK = 15
"""Convolutions of a block: three dense blocks of five."""

_OPERATIONS = (
    (Operation("Input"), 1),
    (Operation("Split"), None),
    (Operation("Concat"), None),
    # What a block makes counts a fifth beside what it was given.
    (Operation("Eltwise", (("-23301", "2,0.2,1"), ("0", "1"))), None),
    (Operation("Eltwise", (("-23301", "2,1,0.2"), ("0", "1"))), None),
    (Operation("BinaryOp", (("0", "2"), ("1", "1"), ("2", "0.2"))), None),
    (Operation("BinaryOp"), None),
    (Operation("Interp", (("0", "1"), ("1", "2"), ("2", "2"))), 2),
)


def dense_blocks(outlines: Sequence[Outline]) -> int:
    """How many dense blocks a network has."""
    return 3 * ((len(outlines) - _AROUND_BLOCKS) // _A_BLOCK)


def growth(outlines: Sequence[Outline]) -> int:
    """How many channels each convolution of a dense block adds."""
    return outlines[1].outputs


class Rrdb(RecognisedKind):
    """See ``Kind``."""

    name = "rrdb"
    scales: tuple[int, ...] = (4,)

    # These networks see farther than is worth computing: x4plus 349 px. 28 px is the widest halo with which 1024 x 1024
    # takes at most 1.25 times the computing of the network in one piece, with both networks of the wheel:
    # docs/decisions/0025.
    most_halo_px = 28

    def max_tile_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        del graph
        return 379 * 379  # one of nine tiles of 1024 x 1024

    def tile_bytes_per_px(self, graph: Graph) -> int:
        """See ``Kind``. It is what the trunk holds."""
        del graph
        return 2400

    def misfit(self, graph: Graph) -> str | None:
        """See ``Kind``."""
        outlines = graph.outlines
        if any(outline.kind == "PReLU" for outline in outlines):
            return "it has PReLU layers, which networks of kind compact have"
        blocks, rest = divmod(len(outlines) - _AROUND_BLOCKS, _A_BLOCK)
        (scale,) = self.scales
        if rest or blocks < 1:
            return (
                f"it has {len(outlines)} convolutions; an rrdb network of scale {scale} has {_A_BLOCK} in each block "
                f"and {_AROUND_BLOCKS} besides"
            )
        if outlines[0].inputs in (4 * COLOURS, 16 * COLOURS):
            other = 2 if outlines[0].inputs == 4 * COLOURS else 1
            return f"it is an rrdb network of scale {other}; only scale {scale} can run here"
        return first_misfit(outlines, _expected(blocks, growth(outlines))) or strange_operation(
            graph, _OPERATIONS
        )

    def ranges_shape(self, graph: Graph) -> tuple[int, int]:
        """See ``Kind``."""
        return dense_blocks(graph.outlines), FEATURES + 4 * growth(graph.outlines)

    def reach_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        # Six convolutions stand outside the dense blocks: first, after the trunk, and four at 2x and 4x.
        # The former reach 1 px each; the latter 1/2 + 3 * 1/4 px, which two pixels hold.
        return len(graph.outlines) - 6 + 4

    def mflop_per_px(self, graph: Graph) -> float:
        """See ``Kind``."""
        *trunk, up1, up2, hr, last = [outline.weights for outline in graph.outlines]
        return 2e-6 * (sum(trunk) + 4 * up1 + 16 * (up2 + hr + last))


def _expected(blocks: int, growth: int) -> Iterator[Expected]:
    yield Expected(COLOURS, FEATURES)
    for _ in range(3 * blocks):
        for number in range(4):
            yield Expected(FEATURES + number * growth, growth, is_leaky=True)
        yield Expected(FEATURES + 4 * growth, FEATURES)
    yield Expected(FEATURES, FEATURES)
    for _ in range(3):
        yield Expected(FEATURES, FEATURES, is_leaky=True)
    yield Expected(FEATURES, COLOURS)
