"""Networks of any operators: what they need of tiles follows from their graph."""

from __future__ import annotations

from enlarger.models.layers import Graph
from enlarger.models.reach import Geometry
from enlarger.models.readers import WeightFiles


class Generic:
    """See ``Kind``."""

    name = "generic"
    scales: tuple[int, ...] = (2, 3, 4)

    # A network that sees farther is cut into tiles that blend.
    most_halo_px = 64

    # 256 x 256: 128 channels, which usual networks have, of which two tensors exist at a time.
    max_tile_px = 65_536
    tile_bytes_per_px = 4000

    def describe(self, files: WeightFiles) -> Graph:
        """See ``Kind``."""
        geometry = files.geometry
        return Graph((), (), geometry.scale, geometry)

    def check_size(self, files: WeightFiles) -> None:
        """See ``Kind``."""
        files.check_arrays()

    def misfit(self, graph: Graph) -> str | None:
        """See ``Kind``."""
        geometry = _of(graph)
        if not geometry.is_local:
            return "it computes something of the whole picture, such as a global mean, which tiles would change"
        if geometry.multiple_px != 1:
            return f"it takes sides that are multiples of {geometry.multiple_px} px; tiles have any size"
        return None

    def margin_px(self, graph: Graph) -> int:
        """See ``Kind``."""
        return _of(graph).margin_px

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
