"""Networks that make a difference: what is to be added to the picture, whose pixels are repeated."""

from __future__ import annotations

from enlarger.errors import WeightsError
from enlarger.models import operators as op
from enlarger.models.network import Network, Node
from enlarger.models.reach import Geometry


def with_picture_added(network: Network, geometry: Geometry, *, source: str) -> Network:
    """Return a network that adds the picture by itself, so that nothing else needs to know.

    Args:
        network: a network whose result is to be added to the picture.
        geometry: the facts that follow from it, which do not change.
        source: its file's name, for errors.

    Raises:
        WeightsError: the result is not as large as the picture that is to be added.
    """
    if geometry.frame.trim_px:
        raise WeightsError(f"{source}: the picture cannot be added to what the network makes")
    margin, factor = geometry.frame.margin_px, float(geometry.scale)
    bounds = tuple((axis, margin, -margin or None) for axis in (-2, -1))
    # Blobs in files have no spaces in their names.
    inner, enlarged, total = "picture inside", "picture enlarged", "picture added"
    return Network.of(
        (
            *network.nodes,
            Node(inner, op.Crop(bounds), (network.input,), (inner,)),
            Node(enlarged, op.Resize("nearest", (factor, factor)), (inner,), (enlarged,)),
            Node(total, op.Combine("add"), (network.output, enlarged), (total,)),
        ),
        source=source,
    )
