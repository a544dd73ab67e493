"""SRVGGNetCompact in one part: convolutions and PReLUs in turn, a pixel shuffle, plus the input by nearest."""

from __future__ import annotations

from openvino import opset14 as ops

from enlarger.engine.openvino.bfloat16 import constant_like
from enlarger.engine.openvino.graphs.nodes import Node, convolution, nearest
from enlarger.engine.openvino.graphs.parts import Part, Recipe
from enlarger.errors import WeightsError
from enlarger.models import Model, Slopes


class CompactGraph:
    """See ``Graph``."""

    parts = (Part("whole", channels=3),)

    def layers_of(self, model: Model) -> str:
        """See ``Graph``."""
        del model
        return ""

    def make(self, part: str, x: Node, recipe: Recipe) -> Node:
        """See ``Graph``."""
        del part  # there is one
        if recipe.ranges is not None:
            raise WeightsError("int8 is for networks of kind rrdb")
        first, *others = recipe.layers
        y = recipe.in_float.convolve_picture(x, first)
        for layer in others:
            if isinstance(layer, Slopes):
                y = ops.prelu(y, constant_like(y, layer.slope))
            else:
                y = convolution(y, layer)
        y = ops.depth_to_space(recipe.in_float.leave(y), "depth_first", recipe.scale)
        return ops.add(y, nearest(x, recipe.scale))
