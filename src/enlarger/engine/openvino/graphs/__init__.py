"""The networks as OpenVINO graphs, built from numpy weights with the operator API.

A module for each kind of network builds its layers; ``GRAPHS`` lists them. RRDBNet and SRVGGNetCompact are as Real-ESRGAN
publishes them (xinntao/Real-ESRGAN, BSD-3-Clause).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset14 as ops

from enlarger.engine.openvino.graphs.arithmetic import (
    Arithmetic,
    Bf16,
    Float,
    FloatInParts,
    in_precision,
)
from enlarger.engine.openvino.graphs.compact import CompactGraph
from enlarger.engine.openvino.graphs.generic import GenericGraph
from enlarger.engine.openvino.graphs.nodes import planes, samples
from enlarger.engine.openvino.graphs.parts import Graph, Part, Recipe
from enlarger.engine.openvino.graphs.rrdb import RrdbGraph
from enlarger.errors import WeightsError
from enlarger.models import Model, Ranges

__all__ = [
    "Arithmetic",
    "Bf16",
    "Float",
    "FloatInParts",
    "Part",
    "build",
    "in_precision",
    "parts_of",
]

GRAPHS: dict[str, Graph] = {
    "rrdb": RrdbGraph(),
    "compact": CompactGraph(),
    "generic": GenericGraph(),
}
"""The graphs by the name of their architecture."""


def parts_of(model: Model) -> Sequence[Part]:
    """Return the parts of a model's network, without reading its weights."""
    return GRAPHS[model.architecture].parts


def layers_of(model: Model) -> str:
    """Return what the network of a model is built from besides its weights and the code of its graph."""
    return GRAPHS[model.architecture].layers_of(model)


def build(
    model: Model,
    ranges: Ranges | None = None,
    in_float: Float | None = None,
    *,
    part: str | None = None,
) -> ov.Model:
    """Build the network of a model, or a part of it, for any height and width.

    Args:
        model: the model.
        ranges: ranges to compute the dense blocks in int8, but for the blocks that it leaves in float.
        in_float: arithmetic of all that is not int8; None leaves the precision to the runtime.
        part: name of the part; None for the whole network.

    Returns:
        A graph from (1, H, W, C) to (1, H * scale, W * scale, 3), f32; a part that is not the last one keeps the size and
        returns its features.

    Raises:
        WeightsError: the weights are damaged, or do not make a network of the model's architecture; or the
            ranges belong to another network.
    """
    graph = GRAPHS[model.architecture]
    parts = [one for one in graph.parts if part in (None, one.name)]
    recipe = Recipe(model, in_float or Float(), ranges)
    given = ops.parameter([1, -1, -1, parts[0].channels], np.float32, name="given")
    try:
        x = planes(given)
        for one in parts:
            x = graph.make(one.name, x, recipe)
        network = ov.Model([samples(x)], [given], model.id)
    except (RuntimeError, StopIteration) as error:
        raise WeightsError(
            f"{model.id}: its weights do not make a network of kind {model.architecture}"
        ) from error
    # Generated names count up over the whole process, and the cache of compiled networks takes names
    # into its key: the same network needs the same names each time.
    for number, node in enumerate(network.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
    return network
