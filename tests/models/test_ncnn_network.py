"""Reading any ncnn network: what a text states, and forty files that are broken or meant to do harm.

Each of these is refused in less than a second, with a ``WeightsError`` that names the file and what is wrong, and without
memory for what it claims.
"""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import WeightsError
from enlarger.models import operators as op
from enlarger.models.adding import recognised
from enlarger.models.network import MOST_NODES
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.models.readers.ncnn_network import read_network, read_weights

INPUT = "Input in 0 1 a"
CONVOLUTION = "Convolution c 1 1 a b 0=3 1=3 4=1 5=1 6=81"


def text(*lines: str) -> bytes:
    """A ``.param`` of these lines."""
    return "\n".join(["7767517", f"{len(lines)} 9999", *lines, ""]).encode()


def convolution(settings: str) -> bytes:
    """A network of one convolution with these settings."""
    return text(INPUT, f"Convolution c 1 1 a b {settings}")


def test_convolution_is_read_with_its_defaults() -> None:
    """Settings that differ by axis, and an activation, are read; what is left out is ncnn's default."""
    network = read_network("n", convolution("0=3 1=3 11=1 3=2 4=1 14=0 5=1 6=27 9=2 -23310=1,0.1"))

    assert network.nodes[1].operator == op.Convolve(
        outputs=3,
        inputs=3,
        kernel=(1, 3),
        stride=(2, 2),
        padding=(0, 0, 1, 1),
        has_bias=True,
        activation=op.Apply("relu", (0.1,)),
    )
    assert (network.input, network.output) == ("a", "b")


def test_weights_are_read_in_the_order_of_the_text() -> None:
    """Tagged arrays as f16 or f32, padded to four bytes, and arrays without a tag as f32."""
    network = read_network(
        "n", text(INPUT, "Convolution c 1 1 a b 0=1 1=1 5=1 6=3", "PReLU p 1 1 b c 0=1")
    )
    half = np.array([1, 2, 3], "<f2").tobytes() + b"\0\0"
    data = (0x01306B47).to_bytes(4, "little") + half + np.array([4, 5], "<f4").tobytes()

    weights = read_weights(network, data, source="n.bin")

    assert weights["b"][0].tolist() == [[[[1.0]], [[2.0]], [[3.0]]]]
    assert weights["b"][1].tolist() == [4.0]
    assert weights["c"][0].tolist() == [5.0]


def test_layers_of_one_name_have_weights_of_their_own() -> None:
    """Ncnn does not ask names to be unique."""
    network = read_network("n", text(INPUT, "PReLU p 1 1 a b 0=1", "PReLU p 1 1 b c 0=1"))
    weights = read_weights(network, np.array([1, 2], "<f4").tobytes(), source="n.bin")
    assert {name: float(arrays[0][0]) for name, arrays in weights.items()} == {"b": 1.0, "c": 2.0}


HOSTILE = {
    "empty": b"",
    "not text": b"\xff\xfe\x00\x01" * 100,
    "another magic": b"7767518\n1 1\n" + INPUT.encode(),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "no layers": text(),
    "no input": text("Sigmoid s 0 1 b"),
    "two inputs": text(INPUT, "Input two 0 1 b", "BinaryOp y 2 1 a b c"),
    "two outputs": text(INPUT, "Split s 1 2 a b c"),
    "a cycle": text(INPUT, "BinaryOp y 2 1 a c b", "Sigmoid s 1 1 b c"),
    "a layer that reads itself": text(INPUT, "BinaryOp y 2 1 a b b"),
    "a missing tensor": text(INPUT, "Sigmoid s 1 1 nowhere b"),
    "a tensor made twice": text(INPUT, "Split s 1 2 a b b"),
    "an unknown layer": text(INPUT, "Backdoor x 1 1 a b"),
    "an unknown layer with a long name": text(INPUT, f"{'A' * 100_000} x 1 1 a b"),
    "a kind that colours a terminal": text(INPUT, "F\x1b[31moo x 1 1 a b"),
    "a line without counts": text(INPUT, "Sigmoid"),
    "counts that are no numbers": text(INPUT, "Sigmoid s one 1 a b"),
    "negative counts": text(INPUT, "Sigmoid s -1 1 a b"),
    "counts beyond the line": text(INPUT, "Sigmoid s 1000000000 1 a b"),
    "a number beyond all size": text(INPUT, "Sigmoid s 1 1 a b 0=1e999"),
    "not a number": convolution("0=nan 1=3 6=81"),
    "infinite": convolution("0=inf 1=3 6=81"),
    "a key that is no number": convolution("zero=3"),
    "a key without a value": convolution("0="),
    "a list of another length": convolution("0=3 1=1 6=9 9=2 -23310=2,0.1"),
    "a list that is not there": convolution("0=3 1=1 6=9 9=2"),
    "no output channels": convolution("0=0 1=3 6=81"),
    "negative channels": convolution("0=-3 1=3 6=81"),
    "ten thousand million weights": convolution("0=3 1=3 6=10000000000"),
    "a million channels": convolution("0=1000000 1=1 6=3000000"),
    "weights that do not divide": convolution("0=3 1=3 6=82"),
    "no kernel": convolution("0=3 6=81"),
    "a kernel of a mile": convolution("0=3 1=1000000 6=81"),
    "no stride": convolution("0=3 1=3 3=0 6=81"),
    "negative padding": convolution("0=3 1=3 4=-1 6=81"),
    "int8 weights": convolution("0=3 1=3 6=81 8=1"),
    "an unknown activation": convolution("0=3 1=1 6=9 9=77"),
    "an unknown operation": text(INPUT, "BinaryOp y 1 1 a b 0=99 1=1"),
    "an interpolation of nothing": text(INPUT, "Interp i 1 1 a b 0=1 1=0 2=0"),
    "an interpolation to a stated size": text(INPUT, "Interp i 1 1 a b 0=1 3=100000 4=100000"),
    "a shuffle of a thousand": text(INPUT, "PixelShuffle s 1 1 a b 0=1000"),
    "an axis of four": text(INPUT, "Crop k 1 1 a b -23309=1,1 -23310=1,5 -23311=1,7"),
    "an order that there is not": text(INPUT, "Permute p 1 1 a b 0=9"),
    "numbers of a terabyte": text(
        INPUT, "MemoryData k 0 1 b 0=1000000 1=1000000", "BinaryOp y 2 1 a b c"
    ),
    "more layers than any network": text(
        INPUT, *(f"Sigmoid s 1 1 a{n or ''} a{n + 1}" for n in range(MOST_NODES))
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_text_is_refused(name: str) -> None:
    """Each is refused by name in less than a second, and with less than 50 MB."""
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(WeightsError, match=r"^net\.param: ") as refusal:
        read_network("net.param", HOSTILE[name])
    took_s = time.process_time() - started
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took_s < 1
    assert most_bytes < 50_000_000
    assert len(str(refusal.value)) < 1000
    assert str(refusal.value).isprintable()


HARMLESS_ALONE = {
    "names that are paths": text(INPUT, "Convolution ../../x 1 1 a ../b 0=3 1=1 6=9"),
    "sixty enlargements in a row": text(
        INPUT, *(f"Interp i 1 1 a{n or ''} a{n + 1} 0=1 1=16 2=16" for n in range(60))
    ),
    "channels that double forty times": text(
        INPUT,
        *(
            line
            for n in range(40)
            for line in (
                f"Split s 1 2 {f'c{n}' if n else 'a'} x{n} y{n}",
                f"Concat k 2 1 x{n} y{n} c{n + 1}",
            )
        ),
    ),
    "nine hundred results": text(
        INPUT, *(f"Split s 1 2 a{n or ''} b{n} a{n + 1}" for n in range(900))
    ),
}
"""Texts whose lines are right, or nearly so: what is wrong appears when they are put together, or with the weights."""


@pytest.mark.parametrize("name", [*HOSTILE, *HARMLESS_ALONE])
def test_broken_network_is_not_recognised(tmp_path: Path, name: str) -> None:
    """The whole way that files go when a model is added, with 10 GB of weights: refused, quickly and without reading them."""
    param, binary = tmp_path / "net.param", tmp_path / "net.bin"
    param.write_bytes((HOSTILE | HARMLESS_ALONE)[name])
    with binary.open("wb") as file:
        file.truncate(10_000_000_000)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(WeightsError, match=r"^net\.param is no network that can run here: "):
        recognised(NcnnFiles(param, binary))
    took_s = time.process_time() - started
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took_s < 1
    assert most_bytes < 50_000_000
    assert sorted(tmp_path.iterdir()) == [binary, param]


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", bytes(4 + 4 * 81), bytes(4 + 4 * 81 + 12 + 1), b"\x01\x02\x03\x04" + bytes(400)],
    ids=["empty", "a byte", "truncated", "a byte more", "another tag"],
)
def test_broken_weights_are_refused(data: bytes) -> None:
    """Weights that are shorter, longer, or stored otherwise than the text says are refused."""
    network = read_network("net.param", text(INPUT, CONVOLUTION))
    with pytest.raises(WeightsError, match=r"^net\.bin: "):
        read_weights(network, data, source="net.bin")


def test_weights_that_are_no_numbers_are_refused() -> None:
    """One NaN would make every picture black."""
    network = read_network("net.param", text(INPUT, CONVOLUTION))
    array = np.full(84, np.nan, "<f4")
    with pytest.raises(WeightsError, match="not all numbers"):
        read_weights(network, bytes(4) + array.tobytes(), source="net.bin")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_network_or_refused(data: bytes) -> None:
    """Nothing but ``WeightsError`` comes out of a text, whatever stands in it."""
    with suppress(WeightsError):
        read_network("net.param", b"7767517\n" + data)
    count = sum(1 for line in data.decode("latin-1").splitlines() if line.strip())
    with suppress(WeightsError):
        read_network("net.param", b"7767517\n%d 9999\n" % count + data)


@given(
    st.lists(
        st.sampled_from(
            [INPUT, CONVOLUTION, *"0123456789= -,.abc", "Split s 1 2 b c d", "233", "-233"]
        ),
        max_size=12,
    )
)
def test_any_words_are_a_network_or_refused(words: list[str]) -> None:
    """The same for what looks like a network."""
    with suppress(WeightsError):
        read_network("net.param", text(INPUT, " ".join(words)))
