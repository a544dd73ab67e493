"""bf16 as a type of an OpenVINO graph: f32 without the lower half of its bits, so 8 significant ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset14 as ops

Node = Any

_SPLIT = np.float32((1 << 16) + 1)


def rounded(x: Node) -> Node:
    """``x`` of type f32 rounded to bf16, to nearest, ties to even.

    OpenVINO's own ``Convert`` cuts the lower bits off (2026.4), which moves all features towards zero. So they are
    rounded before: ``c - (c - x)`` with ``c = x * (2**16 + 1)`` keeps the upper 8 of the 24 significant bits (Veltkamp's
    splitting; T. J. Dekker, Numerische Mathematik 18, 1971). It overflows from 5e33 on, where no picture's features are.
    """
    c = ops.multiply(x, ops.constant(_SPLIT))
    return ops.convert(ops.subtract(c, ops.subtract(c, x)), ov.Type.bf16)


def constant_like(x: Node, values: npt.NDArray[np.float32]) -> Node:
    """A constant of the type of ``x``, which is f32 or bf16; rounded to nearest for the latter."""
    if x.get_element_type() != ov.Type.bf16:
        return ops.constant(values)
    return ops.constant(nearest(values), dtype=ov.Type.bf16)  # which alone would cut off


def nearest(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values rounded to bf16, to nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # Half of the last place that stays, less one where that place is even, carries over where it must.
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
