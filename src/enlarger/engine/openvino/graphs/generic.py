"""A network of any operators, in one part and in f32."""

from __future__ import annotations

from enlarger.engine.openvino.graphs.nodes import Node
from enlarger.engine.openvino.graphs.operators import connect
from enlarger.engine.openvino.graphs.parts import Part, Recipe
from enlarger.errors import WeightsError


class GenericGraph:
    """See ``Graph``. The result lacks the margins of the input."""

    parts = (Part("whole", channels=3),)
    is_f32_only = True

    def make(self, part: str, x: Node, recipe: Recipe) -> Node:
        """See ``Graph``."""
        del part  # there is one
        if recipe.ranges is not None:
            raise WeightsError("int8 is for networks of kind rrdb")
        model = recipe.model
        return connect(model.files.network, model.files.arrays(model.sha256), x, name=model.id)
