"""bf16 in OpenVINO graphs: values are rounded to the nearest that bf16 has, not cut off."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import openvino as ov  # noqa: TID253 - graphs are built
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset14 as ops  # noqa: TID253

from enlarger.engine.openvino.bfloat16 import constant_like, nearest, rounded

Floats = npt.NDArray[np.float32]

values = st.lists(
    st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False).filter(
        lambda value: value == 0 or abs(value) > 2.0**-100
    ),
    min_size=1,
    max_size=50,
)


def nearest_by_distance(value: np.float32) -> float:
    """The bf16 number that is closest; of two, the one with an even last place. In double precision."""
    bits = int(value.view(np.uint32)) & 0xFFFF0000
    below, above = (
        float(np.array(each, np.uint32).view(np.float32)) for each in (bits, bits + 0x10000)
    )
    exact = float(value)
    if abs(exact - below) == abs(above - exact):
        return below if bits >> 16 & 1 == 0 else above
    return min(below, above, key=lambda each: abs(each - exact))


@pytest.fixture(scope="module")
def runtime() -> ov.CompiledModel:
    """A graph that only rounds."""
    given = ops.parameter([-1], np.float32)
    graph = ov.Model([ops.convert(rounded(given), np.float32)], [given])
    return ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@given(values=values)
def test_array_is_rounded_to_nearest(values: list[float]) -> None:
    """Ties go to even, as IEEE 754 has it."""
    floats = np.array(values, np.float32)
    assert nearest(floats).tolist() == [nearest_by_distance(value) for value in floats]


@given(values=values)
def test_graph_rounds_as_the_array_is_rounded(
    runtime: ov.CompiledModel, values: list[float]
) -> None:
    """Whatever else the runtime does to multiplications and subtractions, the result is exact."""
    floats = np.array(values, np.float32)
    assert np.array_equal(runtime([floats])[0], nearest(floats))


def test_ties_and_neighbours_are_rounded_in_the_graph(runtime: ov.CompiledModel) -> None:
    """Each value halfway between two bf16 numbers around 1, and the f32 numbers next to it."""
    halves = (1 + (np.arange(-256, 256) * 2 + 1) / 2.0**9).astype(np.float32)
    around = np.concatenate([np.nextafter(halves, 0), halves, np.nextafter(halves, 9)])
    around = np.concatenate([around, -around]).astype(np.float32)
    assert np.array_equal(runtime([around])[0], nearest(around))


def test_constant_has_the_type_of_what_it_meets() -> None:
    """In bf16 it is the nearest, too: OpenVINO by itself would cut it off."""
    held = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    seen = ops.parameter([1], np.float32)
    for x, expected in ((seen, held), (ops.convert(seen, ov.Type.bf16), nearest(held))):
        constant = constant_like(x, held)
        assert constant.get_element_type() == x.get_element_type()
        graph = ov.Model([ops.convert(constant, np.float32), seen], [seen])
        made = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        assert np.array_equal(made([np.zeros(1, np.float32)])[0], expected)


def test_every_exponent_is_rounded() -> None:
    """From the smallest normal number of bf16 to the largest that does not overflow."""
    powers = 2.0 ** np.arange(-126, 112).astype(np.float64)
    assert all(low < high for low, high in pairwise(nearest(powers.astype(np.float32)).tolist()))
    third = (powers * (1 + 1 / 3)).astype(np.float32)
    assert np.abs(nearest(third) / third - 1).max() <= 2.0**-9
