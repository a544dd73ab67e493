"""A network of any operators, in one part."""

from __future__ import annotations

from enlarger.engine.openvino.graphs.arithmetic import Bf16
from enlarger.engine.openvino.graphs.nodes import Node
from enlarger.engine.openvino.graphs.operators import connect
from enlarger.engine.openvino.graphs.parts import Part, Recipe
from enlarger.errors import WeightsError
from enlarger.models import Model


class GenericGraph:
    """See ``Graph``. The result lacks the margins of the input."""

    parts = (Part("whole", channels=3),)

    def layers_of(self, model: Model) -> str:
        """See ``Graph``. Two networks may have the same weights and end in different sizes, as animevideov3's do."""
        return repr(model.files.network)

    def make(self, part: str, x: Node, recipe: Recipe) -> Node:
        """See ``Graph``."""
        del part  # there is one
        if recipe.ranges is not None:
            raise WeightsError("int8 is for networks of kind rrdb")
        model = recipe.model
        arrays = model.files.arrays(model.sha256)
        in_bf16 = isinstance(recipe.in_float, Bf16)
        return connect(model.files.network, arrays, x, name=model.id, in_bf16=in_bf16)
