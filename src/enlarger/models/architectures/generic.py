"""Networks of any operators: what they need of tiles follows from their graph."""

from __future__ import annotations

import math

from enlarger.models.layers import Graph
from enlarger.models.reach import Frame, Geometry
from enlarger.models.readers import WeightFiles


class Generic:
    """See ``Kind``."""

    name = "generic"
    scales: tuple[int, ...] = tuple(range(1, 17))

    # A network that sees farther is cut into tiles that blend.
    most_halo_px = 64

    blend_px = 16

    most_tile_px = 160_000
    """LR pixels of the largest tile of a network that needs little memory."""

    most_tile_bytes = 1_400_000_000
    """Memory for the largest tile of other networks. Two threads with such tiles fit into the default of
    ``ENLARGER_MODEL_MEMORY``; smaller tiles of Real-CUGAN would consist mostly of their halos."""

    def describe(self, files: WeightFiles) -> Graph:
        """See ``Kind``."""
        geometry = files.geometry
        return Graph((), (), geometry.scale, geometry)

    def check_size(self, files: WeightFiles) -> None:
        """See ``Kind``."""
        files.check_arrays()

    def misfit(self, graph: Graph) -> str | None:
        """See ``Kind``. Whatever else cannot run was refused when it was read."""
        if self._fitting_px(graph) >= self._least_px(graph):
            return None
        return (
            f"it needs {self.tile_bytes_per_px(graph) / 1e6:.1f} MB for each pixel, so that its smallest tile, of "
            f"{self._least_px(graph)} px, takes more than {self.most_tile_bytes / 1e9:.1f} GB"
        )

    def max_tile_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        return min(self.most_tile_px, self._fitting_px(graph))

    def _fitting_px(self, graph: Graph) -> int:
        """Return the LR pixels of a tile that takes all of the memory that a tile may take."""
        return self.most_tile_bytes // self.tile_bytes_per_px(graph)

    def _least_px(self, graph: Graph) -> int:
        """Return the LR pixels of a tile of which at least a ninth is not halo."""
        halo_px = min(self.reach_px(graph) + self.blend_px, self.most_halo_px)
        return (2 * halo_px + max(halo_px, 5 * _of(graph).frame.multiple_px)) ** 2

    def tile_bytes_per_px(self, graph: Graph) -> int:
        """See ``Kind``. It is twice what layers need at the same time in f32: OpenVINO was measured to hold 1.1 to 1.9 times."""
        geometry = _of(graph)
        with_margin = (1 + 2 * geometry.frame.margin_px / math.sqrt(self.most_tile_px)) ** 2
        return math.ceil(2 * 4 * geometry.held_per_px * with_margin)

    def frame(self, graph: Graph) -> Frame:
        """See ``Kind``."""
        return _of(graph).frame

    def is_local(self, graph: Graph) -> bool:
        """See ``Kind``."""
        return _of(graph).is_local

    def ranges_shape(self, graph: Graph) -> None:
        """See ``Kind``."""
        del graph

    def reach_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        return _of(graph).reach_px

    def mflop_per_px(self, graph: Graph) -> float:
        """See ``Kind``."""
        return _of(graph).mflop_per_px


def _of(graph: Graph) -> Geometry:
    if graph.geometry is None:
        raise TypeError("a graph that `describe` did not make")
    return graph.geometry
