"""Reading ncnn weights: what was packed comes back, and files that are something else are refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import TAG_F16, TAG_F32, TAG_RAW, layer_line, pack, random_layers

from enlarger.errors import WeightsError
from enlarger.models import Convolution, Layer, Slopes
from enlarger.models.layers import Outline
from enlarger.models.readers.ncnn import NcnnFiles, read_binary, read_graph
from enlarger.models.readers.ncnn_network import read_network

TAGS = {"f32": TAG_F32, "f16": TAG_F16, "raw": TAG_RAW}
CONVOLUTION = "Convolution c 1 1 a b 0=4 1=3 4=1 5=1 6=108"
"""A line that can be read: 3 channels to 4, which are 4 * 3 * 9 weights."""


def write(folder: Path, lines: Sequence[str], binary: bytes) -> tuple[Path, Path, str]:
    """A network's two files, and the hash of the second."""
    param, weights = folder / "net.param", folder / "net.bin"
    param.write_text("\n".join(["7767517", f"{len(lines) - lines.count('')} 99", *lines, ""]))
    weights.write_bytes(binary)
    return param, weights, hashlib.sha256(binary).hexdigest()


def read(folder: Path, lines: Sequence[str], binary: bytes) -> list[Layer]:
    """The layers of a network whose hash is right."""
    param, weights, sha256 = write(folder, lines, binary)
    return NcnnFiles(param, weights).layers(sha256)


def lines_of(layers: Sequence[Layer]) -> list[str]:
    """The ``.param`` lines of a chain of layers, after its input."""
    return [
        "Input data 0 1 blob_0",
        *(layer_line(layer, number) for number, layer in enumerate(layers)),
    ]


def sequence(*channels: int, seed: int = 0) -> list[Layer]:
    """Convolutions from each number of channels to the next, each with a bias and a PReLU behind it."""
    random = np.random.default_rng(seed)
    layers: list[Layer] = []
    for convolution in random_layers(seed, pairwise(channels)):
        outputs = convolution.bias.size
        layers += [
            Convolution(convolution.weight, random.normal(size=outputs).astype(np.float32)),
            Slopes(random.normal(size=outputs).astype(np.float32)),
        ]
    return layers


def assert_equal(found: Sequence[Layer], expected: Sequence[Layer], *, half: bool = False) -> None:
    """Same layers in the same order, every value the same; weights through half precision if so."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, Slopes):
            assert isinstance(one, Slopes)
            assert np.array_equal(one.slope, other.slope)
            assert one.slope.dtype == np.float32
            continue
        weight = other.weight.astype(np.float16).astype(np.float32) if half else other.weight
        assert isinstance(one, Convolution)
        assert np.array_equal(one.weight, weight)
        assert np.array_equal(one.bias, other.bias)
        assert one.weight.dtype == one.bias.dtype == np.float32


# What comes back


@pytest.mark.parametrize("kind", TAGS)
@given(channels=st.lists(st.integers(1, 7), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_packed_layers_come_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, channels: list[int], seed: int
) -> None:
    """Weights in OIHW order, bias and slopes, for each way in which ncnn stores weights."""
    layers = sequence(*channels, seed=seed)
    found = read(tmp_path_factory.mktemp("net"), lines_of(layers), pack(layers, tag=TAGS[kind]))
    assert_equal(found, layers, half=kind == "f16")


def test_odd_number_of_half_weights_is_padded(tmp_path: Path) -> None:
    """One channel to one has 9 weights of 2 bytes: 2 bytes of padding stand before the bias."""
    layers = sequence(1, 1)
    binary = pack(layers, tag=TAG_F16)
    assert len(binary) == 4 + 9 * 2 + 2 + 4 + 4
    assert_equal(read(tmp_path, lines_of(layers), binary), layers, half=True)


def test_weights_of_one_file_may_be_stored_in_several_ways(tmp_path: Path) -> None:
    """A file of ncnn may keep small layers in f32 beside larger ones in f16."""
    first, second = sequence(3, 4), sequence(4, 5, seed=1)
    binary = pack(first, tag=TAG_F32) + pack(second, tag=TAG_F16)
    found = read(tmp_path, lines_of([*first, *second]), binary)
    assert_equal(found[:2], first)
    assert_equal(found[2:], second, half=True)


def test_bytes_are_read_as_the_format_lays_them_out(tmp_path: Path) -> None:
    """By hand, from ncnn's modelbin.cpp: tag, weights output by output, bias, little-endian."""
    numbers = np.arange(18, dtype="<f4")
    binary = bytes([0x56, 0xC0, 0x02, 0x00]) + numbers.tobytes() + np.float32(-1).tobytes()
    (layer,) = read(tmp_path, ["Convolution c 1 1 a b 0=1 1=3 4=1 5=1 6=18"], binary)
    assert isinstance(layer, Convolution)
    assert layer.weight.shape == (1, 2, 3, 3)
    assert layer.weight[0, 1].tolist() == [[9, 10, 11], [12, 13, 14], [15, 16, 17]]
    assert layer.bias.tolist() == [-1]


def test_outline_is_that_of_the_text(tmp_path: Path) -> None:
    """Only layers with parameters, in their order, without a look at the weights."""
    param, _, _ = write(
        tmp_path,
        [
            "Input data 0 1 a",
            "Split split 1 2 a b c",
            "Convolution conv 1 1 b d 0=64 1=3 4=1 5=1 6=1728 9=2 -23310=1,2.000000e-01",
            "",
            "PReLU slopes 1 1 d e 0=64",
            "PixelShuffle shuffle 1 1 e f 0=4",
            "BinaryOp add 2 1 f c out",
        ],
        b"",
    )
    assert read_graph(param).outlines == (
        Outline("Convolution", 64, 1728, slope=0.2),
        Outline("PReLU", 64, 0),
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", " \t\n\n", "\r"])
def test_lines_may_end_in_any_white_space(tmp_path: Path, end: str) -> None:
    """As ncnn reads words, what is between lines does not matter."""
    param = tmp_path / "net.param"
    lines = ["7767517", "2 2", "Input data 0 1 a", "PReLU slopes 1 1 a b 0=64"]
    param.write_bytes(end.join([*lines, ""]).encode())
    assert read_graph(param).outlines == (Outline("PReLU", 64, 0),)
    assert len(read_network("net.param", param.read_bytes()).nodes) == 2


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ("1 2", "its second line states 1 layers, and there are 2"),
        ("3 2", "its second line states 3 layers, and there are 2"),
        ("2 1", "its second line states 1 blobs, and its layers make 2"),
        *((text, "second line must be the numbers") for text in ("2", "2 2 2", "-2 2", "2 b")),
        ("9" * 5000 + " 2", "second line must be the numbers"),
    ],
)
def test_counts_that_ncnn_would_not_read_are_refused(
    tmp_path: Path, counts: str, reason: str
) -> None:
    """By both readers. ncnn would leave out the rest of the layers, or refuse the file with a line of its own."""
    param = tmp_path / "net.param"
    param.write_text(f"7767517\n{counts}\nInput data 0 1 a\nPReLU slopes 1 1 a b 0=64\n")
    with pytest.raises(WeightsError, match=re.escape(reason)):
        read_graph(param)
    with pytest.raises(WeightsError, match=re.escape(reason)):
        read_network("net.param", param.read_bytes())


def test_more_blobs_than_layers_make_are_no_fault(tmp_path: Path) -> None:
    """The number only says how much room there must be, and ncnn reads such files, too."""
    param = tmp_path / "net.param"
    param.write_text("7767517\n2 9\nInput data 0 1 a\nPReLU slopes 1 1 a b 0=64\n")
    assert len(read_network("net.param", param.read_bytes()).nodes) == 2
    assert len(read_graph(param).outlines) == 1


@pytest.mark.parametrize("inputs", [0, 1, 3])
def test_names_of_blobs_are_no_parameters(tmp_path: Path, inputs: int) -> None:
    """As many words as the line says are names, whatever they look like."""
    names = " ".join(["0=9"] * inputs)
    line = f"Convolution c {inputs} 1 {names} 6=9 0=4 1=3 4=1 5=1 6=108"
    param, _, _ = write(tmp_path, [line], b"")
    assert read_graph(param).outlines == (Outline("Convolution", 4, 108),)


def test_keys_of_their_usual_values_may_be_there(tmp_path: Path) -> None:
    """Dilation 1, stride 1, and the same kernel, stride and padding for both axes."""
    line = f"{CONVOLUTION} 2=1 3=1 11=3 12=1 13=1 14=1 15=1 16=1 18=0.0"
    param, _, _ = write(tmp_path, [line], b"")
    assert read_graph(param).outlines == (Outline("Convolution", 4, 108),)


# What is refused


@pytest.mark.parametrize("kind", TAGS)
@pytest.mark.parametrize("cut", [1, 2, 4, 30, 10_000])
def test_weights_cut_short_are_refused(tmp_path: Path, kind: str, cut: int) -> None:
    """Whether the end is missing in a bias, in a weight or altogether."""
    layers = sequence(3, 4)[:1]
    binary = pack(layers, tag=TAGS[kind])
    with pytest.raises(WeightsError, match=r"net\.bin: ends too early"):
        read(tmp_path, lines_of(layers), binary[: max(0, len(binary) - cut)])


@pytest.mark.parametrize("more", [1, 4, 1000])
def test_weights_that_go_on_are_refused(tmp_path: Path, more: int) -> None:
    """They belong to another network."""
    layers = sequence(3, 4)
    with pytest.raises(WeightsError, match=rf"net\.bin: {more} bytes more than net\.param"):
        read(tmp_path, lines_of(layers), pack(layers) + bytes(more))


@pytest.mark.parametrize("tag", [1, 0x000D4B38, 0xFFFFFFFF])
def test_other_ways_to_store_weights_are_refused(tmp_path: Path, tag: int) -> None:
    """A table of 256 values, 8-bit integers, or nonsense; the text shows the tag."""
    layers = sequence(3, 4)
    with pytest.raises(WeightsError, match=rf"net\.bin: .*{tag:#010x}"):
        read(tmp_path, lines_of(layers), pack(layers, tag=tag))


def test_weights_of_another_hash_are_refused(tmp_path: Path) -> None:
    """One bit is enough, and the text gives both hashes."""
    layers = sequence(3, 4)
    param, weights, sha256 = write(tmp_path, lines_of(layers), pack(layers))
    damaged = bytearray(weights.read_bytes())
    damaged[20] ^= 1
    weights.write_bytes(damaged)
    found = hashlib.sha256(damaged).hexdigest()
    with pytest.raises(WeightsError, match=f"{found}.*{sha256}"):
        NcnnFiles(param, weights).layers(sha256)


@pytest.mark.parametrize(
    ("name", "size_bytes", "read_file"),
    [
        ("net.bin", 2**29, partial(read_binary, sha256="0" * 64)),
        ("net.param", 2**20, read_graph),
    ],
)
def test_file_longer_than_any_model_is_refused_unread(
    tmp_path: Path, name: str, size_bytes: int, read_file: Callable[[Path], object]
) -> None:
    """Its length is known before it takes memory."""
    with (tmp_path / name).open("wb") as file:
        file.truncate(size_bytes + 1)
    with pytest.raises(WeightsError, match=f"^{name}: {size_bytes + 1} bytes, at most"):
        read_file(tmp_path / name)


def test_missing_weights_are_refused_by_name(tmp_path: Path) -> None:
    """The file's name, and no folder of this machine."""
    with pytest.raises(WeightsError) as refused:
        read_binary(tmp_path / "net.bin", sha256="0" * 64)
    assert str(refused.value) == "net.bin: cannot be read"


def test_folder_in_place_of_weights_is_refused(tmp_path: Path) -> None:
    """As a file that is not there."""
    with pytest.raises(WeightsError, match=f"{tmp_path.name}: cannot be read"):
        read_binary(tmp_path, sha256="0" * 64)


def test_missing_text_is_refused_by_name(tmp_path: Path) -> None:
    """The same for the ``.param``."""
    with pytest.raises(WeightsError) as refused:
        read_graph(tmp_path / "net.param")
    assert str(refused.value) == "net.param: cannot be read as an ncnn .param file"


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"7767518\n1 1\n", b"77675170\n", b"{}", b"7767517 1\n", b"\x857767517\n"]
)
def test_text_of_another_kind_is_refused(tmp_path: Path, text: bytes) -> None:
    """The first line is ncnn's magic number; the binary form of ``.param`` is none."""
    param = tmp_path / "net.param"
    param.write_bytes(text)
    with pytest.raises(WeightsError, match=r"net\.param: .* an ncnn \.param file"):
        read_graph(param)


@pytest.mark.parametrize(
    "line",
    [
        "Convolution c 1 1 a b 0=4 1=5 4=1 5=1 6=300",
        "Convolution c 1 1 a b 0=4 1=1 4=1 5=1 6=12",
        "Convolution c 1 1 a b 0=4 1=3 3=2 4=1 5=1 6=108",
        "Convolution c 1 1 a b 0=4 1=3 4=0 5=1 6=108",
        "Convolution c 1 1 a b 0=4 1=3 5=1 6=108",
        "Convolution c 1 1 a b 0=4 1=3 4=1 5=0 6=108",
        "Convolution c 1 1 a b 0=4 1=3 4=1 6=108",
        "Convolution c 1 1 a b 0=4 4=1 5=1 6=108",
        f"{CONVOLUTION} 2=2",
        f"{CONVOLUTION} 11=5",
        f"{CONVOLUTION} 12=2",
        f"{CONVOLUTION} 13=2",
        f"{CONVOLUTION} 14=0",
    ],
    ids=[
        *("kernel-5", "kernel-1", "stride-2", "padding-0", "padding-unset"),
        *("bias-0", "bias-unset", "kernel-unset", "dilation-2"),
        *("kernel-height-5", "dilation-height-2", "stride-height-2", "padding-top-0"),
    ],
)
def test_other_convolutions_are_refused(tmp_path: Path, line: str) -> None:
    """A network with such a layer would make another picture here than at its author's."""
    param, _, _ = write(tmp_path, [line], b"")
    with pytest.raises(WeightsError, match=r"net\.param: only 3x3 convolutions"):
        read_graph(param)


@pytest.mark.parametrize(
    "line",
    [
        "ConvolutionDepthWise c 1 1 a b 0=4 1=3 4=1 5=1 6=36 7=4",
        "Deconvolution c 1 1 a b 0=4 1=3 4=1 5=1 6=108",
        "InnerProduct c 1 1 a b 0=4 1=1 2=12",
        "BatchNorm c 1 1 a b 0=4",
        "Sigmoid c 1 1 a b",
    ],
    ids=lambda line: line.split()[0],
)
def test_layer_of_a_kind_that_cannot_run_is_refused(tmp_path: Path, line: str) -> None:
    """Leaving it out would make another picture, with parameters or without."""
    param, _, _ = write(tmp_path, [line], b"")
    with pytest.raises(WeightsError, match=line.split()[0]):
        read_graph(param)


@pytest.mark.parametrize(
    "line",
    [
        "Convolution",
        "Convolution c",
        "Convolution c one 1 a b 0=4 1=3 4=1 5=1 6=108",
        "Convolution c 1 1 a b 1=3 4=1 5=1 6=108",
        "Convolution c 1 1 a b 0=4 1=3 4=1 5=1",
        "Convolution c 1 1 a b 0=four 1=3 4=1 5=1 6=108",
        "Convolution c 1 1 a b 0=4 1=3 4=1 5=1 6",
        "Convolution c 1 1 a b 0=0 1=3 4=1 5=1 6=0",
        "Convolution c 1 1 a b 0=-4 1=3 4=1 5=1 6=-108",
        "Convolution c 1 1 a b 0=4 1=3 4=1 5=1 6=100",
        "Convolution c 1 1 a b 0=5 1=3 4=1 5=1 6=108",
        "PReLU p 1 1 a b",
        "PReLU p 1 1 a b 0=x",
        "PReLU p 1 1 a b 0=0",
        "PReLU p 1 1 a b 0=-1",
    ],
    ids=[
        *("no-name", "no-counts", "count-in-words", "no-outputs", "no-weights", "outputs-in-words"),
        *("key-alone", "nothing", "negative", "weights-no-kernels", "outputs-do-not-divide"),
        *("prelu-no-slopes", "prelu-in-words", "prelu-nothing", "prelu-negative"),
    ],
)
def test_line_that_makes_no_sense_is_refused(tmp_path: Path, line: str) -> None:
    """It is shown, for the one who wrote it; weights would not save it."""
    with pytest.raises(WeightsError, match=r"net\.param: cannot be read: '\w+"):
        read(tmp_path, [line], bytes(1000))


def test_long_line_is_not_repeated_whole(tmp_path: Path) -> None:
    """A message stays readable."""
    param, _, _ = write(tmp_path, [f"PReLU p 1 1 a b 0={'x' * 5000}"], b"")
    with pytest.raises(WeightsError) as refused:
        read_graph(param)
    assert len(str(refused.value)) < 200
