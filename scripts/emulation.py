"""Emulates CPUs with bf16 or fast int8: what they make of a network, computed in f32 on a CPU that has neither.

OpenVINO computes bf16 in f32 if the CPU lacks it, so that only rounding is missing. ``emulated`` adds it to the
graph, after every operation whose result would be stored in bf16. The runtime fuses a convolution with its bias, its
activation and a factor, and a factor with a sum. The fused result is rounded once, when it is stored.

In int8 every feature and weight is an integer, and sums are exact. In f32 they are nearly exact, up to 2**24.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov  # noqa: TID253 - graphs are changed
from openvino import opset14 as ops  # noqa: TID253

from enlarger.engine.openvino.bfloat16 import nearest, rounded

Node = Any

_COMPUTING = {"Convolution", "Add", "Multiply", "PRelu"}


def compiled(graph: ov.Model, threads: int, *, streams: int = 1) -> Any:
    """Compile the graph for f32 even where it states int8: without VNNI the runtime's sums of bytes overflow."""
    return ov.Core().compile_model(
        graph,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "LP_TRANSFORMS_MODE": "NO",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
        },
    )


def emulated(graph: ov.Model, *, hint: str) -> ov.Model:
    """Return the graph, changed in place so that it rounds to bf16 in the same places as a CPU with bf16.

    Args:
        graph: a network of ``enlarger.engine.openvino.graphs``.
        hint: the precision hint for the runtime. With ``bf16`` all operations store bf16, with ``f32`` only those
            whose type it is.
    """
    everywhere = hint == "bf16"
    stored = [node for node in graph.get_ordered_ops() if _is_stored(node, everywhere=everywhere)]
    if everywhere:
        for node in graph.get_ordered_ops():
            if node.get_type_name() == "Convolution":
                node.input(1).replace_source_output(_rounded_weight(node).output(0))
        stored += graph.get_parameters()
    for node in stored:
        readers = node.output(0).get_target_inputs()
        made = _rounded(node.output(0))
        for reader in readers:
            reader.replace_source_output(made.output(0))
    graph.validate_nodes_and_infer_types()
    return graph


def _rounded(output: Node) -> Node:
    """Return the output rounded to bf16, in its own type."""
    if output.get_element_type() != ov.Type.bf16:
        return ops.convert(rounded(output), np.float32)
    return rounded(ops.convert(output, np.float32))


def _is_stored(node: Node, *, everywhere: bool) -> bool:
    """Whether the result of this operation is written to memory in bf16."""
    kind = node.get_type_name()
    if kind not in _COMPUTING or not (
        everywhere or node.get_output_element_type(0) == ov.Type.bf16
    ):
        return False
    readers = _readers(node)
    if len(readers) != 1:
        return True
    follows = readers[0].get_type_name()
    if _ends_a_convolution(node):
        return not (
            follows == "PRelu" or (follows in {"Add", "Multiply"} and _has_constant(readers[0]))
        )
    return not (kind == "Multiply" and follows == "Add")


def _readers(node: Node) -> list[Node]:
    return [each.get_node() for each in node.output(0).get_target_inputs()]


def _ends_a_convolution(node: Node) -> bool:
    """Whether the operation is a convolution, or one that the runtime fuses with it."""
    while node.get_type_name() in {"PRelu", "Add", "Multiply"} and _has_constant(node):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Convolution")


def _has_constant(node: Node) -> bool:
    return bool(node.input_value(1).get_node().get_type_name() == "Constant")


def _rounded_weight(convolution: Node) -> Node:
    """Return the convolution's weights, rounded after the factor that the runtime multiplies them by."""
    factor, node = np.float32(1), convolution
    while len(readers := _readers(node)) == 1 and _ends_a_convolution(readers[0]):
        (node,) = readers
        if node.get_type_name() == "Multiply":
            factor = node.input_value(1).get_node().data.item()
        if node.get_type_name() == "Convolution":
            break
    values = convolution.input_value(1).get_node().data
    return ops.constant(nearest(values * np.float32(factor)) / np.float32(factor))
