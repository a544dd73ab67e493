"""SRVGGNetCompact (xinntao/Real-ESRGAN, realesrgan/archs/srvgg_arch.py): convolutions, a pixel shuffle, and the input."""

from __future__ import annotations

from enlarger.models.architectures.kind import (
    COLOURS,
    Expected,
    RecognisedKind,
    first_misfit,
    strange_operation,
)
from enlarger.models.layers import Graph, Operation


class Compact(RecognisedKind):
    """See ``Kind``."""

    name = "compact"
    scales: tuple[int, ...] = (4,)

    # More than any such network sees: tiles are exact.
    most_halo_px = 64

    def max_tile_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        del graph
        return 160_000

    def tile_bytes_per_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        del graph
        return 1000

    def misfit(self, graph: Graph) -> str | None:
        """See ``Kind``."""
        kinds = [outline.kind for outline in graph.outlines]
        alternating = ["Convolution", "PReLU"] * (len(kinds) // 2) + ["Convolution"]
        if kinds != alternating:
            return "a compact network has a PReLU between any two convolutions; this one has not"
        convolutions, activations = graph.outlines[::2], graph.outlines[1::2]
        for convolution, activation in zip(convolutions, activations, strict=False):
            if activation.outputs not in (1, convolution.outputs):
                return f"a PReLU has {activation.outputs} slopes for {convolution.outputs} channels"
        (scale,) = self.scales
        for side in range(1, 9):
            if side != scale and convolutions[-1].outputs == COLOURS * side**2:
                return f"it is a compact network of scale {side}; only scale {scale} can run here"
        features = [convolution.outputs for convolution in convolutions[:-1]]
        expected = map(Expected, [COLOURS, *features], [*features, COLOURS * scale**2])
        return first_misfit(convolutions, expected) or strange_operation(graph, _operations(scale))

    def ranges_shape(self, graph: Graph) -> None:
        """See ``Kind``."""
        del graph

    def reach_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        return sum(outline.kind == "Convolution" for outline in graph.outlines)

    def mflop_per_px(self, graph: Graph) -> float:
        """See ``Kind``."""
        return 2e-6 * sum(outline.weights for outline in graph.outlines)


def _operations(scale: int) -> tuple[tuple[Operation, int | None], ...]:
    return (
        (Operation("Input"), 1),
        (Operation("Split"), 1),
        (Operation("PixelShuffle", (("0", f"{scale}"),)), 1),
        (Operation("Interp", (("0", "1"), ("1", f"{scale}"), ("2", f"{scale}"))), 1),
        (Operation("BinaryOp"), 1),
    )
