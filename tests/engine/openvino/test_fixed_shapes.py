"""A device that has to know shapes beforehand gets a network for each shape, and computes what others compute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from support.networks import write_random_rrdb
from support.pictures import noise16

from enlarger.engine.openvino.devices import known_properties, needs_fixed_shapes
from enlarger.engine.openvino.fixed_shapes import FixedShapes, Shape
from enlarger.engine.openvino.processor import Processor
from enlarger.engine.openvino.runtime import OpenVINORuntime
from enlarger.geometry.rect import Rect
from enlarger.models import Catalogue, Model


class MadeRequest:
    """Doubles a batch, if it has the shape of its network."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.batch: Any = None

    def set_input_tensor(self, batch: Any) -> None:
        """See ``openvino.InferRequest``."""
        assert batch.shape == self.shape
        self.batch = batch

    def infer(self) -> None:
        """See ``openvino.InferRequest``."""
        self.batch = 2 * self.batch

    def get_output_tensor(self) -> Any:
        """See ``openvino.InferRequest``."""
        return self.batch


class MadeNetwork:
    """A network that was compiled for a shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def create_infer_request(self) -> MadeRequest:
        """See ``openvino.CompiledModel``."""
        return MadeRequest(self.shape)


class Compiler:
    """Remembers the shapes that it was asked for."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []

    def __call__(self, shape: Shape) -> MadeNetwork:
        """Compile."""
        self.shapes.append(shape)
        return MadeNetwork(shape)


def double(request: Any, *shape: int) -> None:
    """Have a batch computed."""
    request.set_input_tensor(np.ones(shape))
    request.infer()
    assert np.array_equal(request.get_output_tensor(), np.full(shape, 2.0))


def test_each_shape_is_compiled_once() -> None:
    """For all requests together, when the first batch of the shape comes."""
    compiler = Compiler()
    network = FixedShapes(compiler)
    one, other = network.create_infer_request(), network.create_infer_request()
    assert compiler.shapes == []
    for request in (one, other, one):
        double(request, 1, 8, 9, 3)
        double(request, 1, 9, 8, 3)
    assert compiler.shapes == [(1, 8, 9, 3), (1, 9, 8, 3)]


def test_shape_that_was_not_used_for_longest_goes_first() -> None:
    """So that memory does not grow with the number of different pictures."""
    compiler = Compiler()
    request = FixedShapes(compiler, most=2).create_infer_request()
    for side in (8, 9, 8, 10, 8, 9):
        double(request, 1, side, side, 3)
    assert [shape[1] for shape in compiler.shapes] == [8, 9, 10, 9]


def test_shape_that_cannot_be_compiled_is_tried_again() -> None:
    """A device that was out of memory for a moment is not given up for that shape."""
    outcomes = iter([RuntimeError("no memory"), MadeNetwork((1, 8, 8, 3))])

    def compiled_for(shape: Shape) -> Any:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    request = FixedShapes(compiled_for).create_infer_request()
    with pytest.raises(RuntimeError, match="no memory"):
        double(request, 1, 8, 8, 3)
    double(request, 1, 8, 8, 3)


def rrdb(folder: Path) -> Model:
    """A small network, of two parts where shapes are not fixed."""
    write_random_rrdb(folder, "tiny-rrdb")
    return Catalogue.installed(folder).choose("tiny-rrdb", scale=4)


def compact() -> Model:
    """The installed network of one part."""
    return Catalogue.installed(Path("models")).choose("realesr-animevideov3", scale=4)


@pytest.mark.parametrize("kind", ["rrdb", "compact"])
def test_results_are_those_of_a_network_for_any_shape(tmp_path: Path, kind: str) -> None:
    """To two levels of 65,535, for tiles of several shapes, parts of them, and two streams at the same time."""
    model = rrdb(tmp_path) if kind == "rrdb" else compact()
    fixed = OpenVINORuntime(threads=2, has_fixed_shapes=True).make(model, "f32", 2)
    free = OpenVINORuntime(threads=2).make(model, "f32", 2)
    tiles = [
        (noise16(24, 24, 3), Rect.whole(24, 24)),
        (noise16(24, 31, 3), Rect(5, 4, 27, 20)),
        (noise16(40, 16, 3), Rect.whole(16, 40)),
        (noise16(24, 24, 3), Rect(2, 2, 20, 22)),
    ]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda tile: fixed.enlarge(*tile).samples, tiles))
    for tile, samples in zip(tiles, found, strict=True):
        expected = free.enlarge(*tile).samples
        assert samples.shape == expected.shape
        assert np.abs(samples.astype(int) - expected).max() <= 2


def test_nothing_is_cached_for_fixed_shapes(tmp_path: Path) -> None:
    """A file holds one network, not one for each shape."""
    model = rrdb(tmp_path)
    runtime = OpenVINORuntime(threads=1, cache_folder=tmp_path / "cache", has_fixed_shapes=True)
    with ThreadPoolExecutor(1) as executor:
        runtime.begin_to_read(model, "f32", executor)
    assert runtime.restore(model, "f32", 1) is None
    runtime.keep(model, "f32", runtime.make(model, "f32", 1))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("device", "fixed"),
    [("CPU", False), ("GPU", False), ("GPU.1", False), ("NPU", True), ("NPU.3720", True)],
)
def test_npu_needs_fixed_shapes(device: str, fixed: bool) -> None:
    """OpenVINO's list of features says so of no other device."""
    assert needs_fixed_shapes(device) is fixed


@pytest.mark.parametrize(
    ("device", "capabilities", "precisions"),
    [
        ("GPU", {"FP32", "FP16", "INT8", "BIN", "EXPORT_IMPORT"}, ("f16", "f32")),
        ("GPU.0", {"FP32", "INT8"}, ("f32",)),
        ("NPU", {"FP16", "INT8", "EXPORT_IMPORT"}, ("f16",)),
        ("CPU", {"FP32", "FP16"}, ("f32",)),
    ],
)
def test_precisions_of_a_device_follow_from_what_it_says(
    device: str, capabilities: set[str], precisions: tuple[str, ...]
) -> None:
    """The CPU's instructions say nothing of another device."""
    instructions = set() if device == "CPU" else {"avx512_vnni"}
    assert Processor(capabilities, instructions, device).precisions == precisions


class NPU:
    """What ``openvino.Core`` says of an NPU."""

    available_devices: ClassVar = ["CPU", "NPU"]

    def get_property(self, device: str, name: str) -> Any:
        """See ``Core``."""
        assert (device, name) == ("NPU", "SUPPORTED_PROPERTIES")
        return {"INFERENCE_PRECISION_HINT": "RW", "FULL_DEVICE_NAME": "RO"}


def test_device_gets_only_properties_that_it_knows() -> None:
    """Numbers of threads and streams are a CPU's."""
    wanted = {"INFERENCE_PRECISION_HINT": "f16", "NUM_STREAMS": 2, "ENABLE_CPU_PINNING": False}
    assert known_properties("NPU", wanted, core=NPU()) == {"INFERENCE_PRECISION_HINT": "f16"}


def test_cpu_knows_all_of_ours() -> None:
    """The real one."""
    config = OpenVINORuntime(threads=1)._config("f32", 1)
    assert known_properties("CPU", config) == config
