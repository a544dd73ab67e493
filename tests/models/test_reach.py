"""What follows from a network for tiles: sizes that fit, and a reach that is exact.

The reach is held against the network itself: a change of a pixel that is farther away changes nothing, and a change of one
that is as far as the reach changes something.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.ncnn_networks import (
    FIRST,
    LAST,
    by_us,
    param_text,
    picture,
    random_weights,
    wheel_networks,
)

from enlarger.errors import WeightsError
from enlarger.models.reach import Geometry, geometry
from enlarger.models.readers.ncnn_network import read_network

TRUNKS = {
    "plain": (["Sigmoid s 1 1 a z"], 1),
    "dilated": (["Convolution m 1 1 a z 0=8 1=3 2=3 4=3 5=1 6=576"], 1),
    "down and up": (
        [
            "Convolution m 1 1 a b 0=8 1=2 3=2 5=1 6=256",
            "Deconvolution n 1 1 b z 0=8 1=2 3=2 5=1 6=256",
        ],
        1,
    ),
    "shuffled": (
        ["Convolution m 1 1 a b 0=32 1=3 4=1 5=1 6=2304", "PixelShuffle s 1 1 b z 0=2"],
        2,
    ),
    "nearest": (["Interp i 1 1 a z 0=1 1=3 2=3"], 3),
    "bilinear": (["Interp i 1 1 a z 0=2 1=2 2=2"], 2),
    "bicubic": (["Interp i 1 1 a z 0=3 1=4 2=4"], 4),
    "deconvolved": (["Deconvolution n 1 1 a z 0=8 1=4 3=2 4=1 5=1 6=1024"], 2),
    "valid": (["Convolution m 1 1 a b 0=8 1=3 5=1 6=576", "Interp i 1 1 b z 0=1 1=2 2=2"], 2),
    "pooled": (
        ["Pooling p 1 1 a b 0=0 1=2 2=2", "Interp i 1 1 b z 0=1 1=2 2=2"],
        1,
    ),
    "cropped": (
        [
            "Split s 1 2 a b c",
            "Convolution m 1 1 c d 0=8 1=5 5=1 6=1600",
            "Crop k 1 1 b e -23309=2,2,2 -23310=2,-2,-2 -23311=2,-2,-1",
            "BinaryOp y 2 1 d e z 0=0",
        ],
        1,
    ),
    "sliced and joined": (
        [
            "Slice v 1 2 a b c -23300=2,4,-233",
            "Convolution m 1 1 b d 0=4 1=3 4=1 5=1 6=144",
            "Concat j 2 1 d c z",
        ],
        1,
    ),
}
"""Lines between two 3x3 convolutions, and the scale they make."""


def input_px(found: Geometry, side_px: int) -> int:
    """The side of the network's input for one of the picture."""
    return side_px + sum(found.frame.around_px(side_px))


@pytest.mark.parametrize("name", TRUNKS)
def test_reach_is_exact(name: str) -> None:
    """Nothing farther away than the reach changes a pixel, and something as far away does."""
    lines, scale = TRUNKS[name]
    network = read_network("n", param_text(lines))
    weights = random_weights(network)
    found = geometry(network, source="n")
    assert found.scale == scale
    assert found.is_local

    side, place = 48, 24
    before = picture(input_px(found, side), input_px(found, side))
    after = before.copy()
    place_given = place + found.frame.margin_px
    for channel in range(3):
        after[channel, place_given, place_given] = 0.5 + 0.5 * (
            after[channel, place_given, place_given] < 0.5
        )
    changed = np.abs(by_us(network, weights, before) - by_us(network, weights, after)).max(0) > 1e-9
    trim, factor = found.frame.trim_px, found.scale
    changed = changed[trim : trim + factor * side, trim : trim + factor * side]
    rows, columns = (np.flatnonzero(changed.any(axis)) // factor for axis in (1, 0))

    farthest = max(
        place - rows.min(), rows.max() - place, place - columns.min(), columns.max() - place
    )
    assert farthest <= found.reach_px
    # A phase of the strides that this place has not may see a little farther.
    assert farthest >= found.reach_px - found.frame.multiple_px


def test_global_pooling_is_not_local() -> None:
    """A network that looks at the mean of the whole picture says so."""
    lines = [
        "Split s 1 2 a b c",
        "Pooling p 1 1 c d 0=1 4=1",
        "BinaryOp y 2 1 b d z 0=2",
    ]
    found = geometry(read_network("n", param_text(lines)), source="n")
    assert (found.is_local, found.reach_px) == (False, 2)


def test_valid_convolutions_take_a_margin() -> None:
    """A network that makes less than its scale says how much context it takes, and where its picture begins."""
    lines = ["Convolution m 1 1 a b 0=8 1=3 5=1 6=576", "PixelShuffle s 1 1 c z 0=1"]
    lines[1] = "Interp i 1 1 b z 0=1 1=2 2=2"
    found = geometry(read_network("n", param_text(lines)), source="n")
    assert (found.scale, found.frame.margin_px, found.frame.trim_px) == (2, 1, 0)
    assert input_px(found, 10) == 12


def test_strides_take_a_multiple() -> None:
    """A network that halves the picture twice takes sides that can be halved twice."""
    lines = [
        "Convolution m 1 1 a b 0=8 1=2 3=2 5=1 6=256",
        "Convolution n 1 1 b c 0=8 1=2 3=2 5=1 6=256",
        "Interp i 1 1 c z 0=1 1=4 2=4",
    ]
    found = geometry(read_network("n", param_text(lines)), source="n")
    assert (found.frame.multiple_px, found.frame.remainder_px) == (4, 0)
    assert [input_px(found, side) for side in (1, 4, 5)] == [4, 4, 8]


SHIPPED = {
    "REALESRGAN_ANIMAVIDEOV3_UP2X": (2, 19),
    "REALESRGAN_ANIMAVIDEOV3_UP3X": (3, 19),
    "REALESRGAN_ANIMAVIDEOV3_UP4X": (4, 18),
    "REALESRGAN_X4PLUSANIME_UP4X": (4, 94),
    "REALESRGAN_X4PLUS_UP4X": (4, 349),
}
"""Scale and reach: what was known of the three models of 4x before, and those that end in an interpolation."""


def test_networks_of_the_wheel() -> None:
    """The networks of the wheel have the scale and the reach that their builders state."""
    found: dict[str, Geometry] = {}
    for param in wheel_networks():
        found[param.stem] = geometry(
            read_network(param.name, param.read_bytes()), source=param.name
        )
    assert {name: (one.scale, one.reach_px) for name, one in found.items()} == SHIPPED
    assert found["REALESRGAN_X4PLUS_UP4X"].mflop_per_px == pytest.approx(35.85, abs=0.01)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["Interp i 1 1 a z 0=1 1=1.5 2=1.5"], "whole number"),
        (["Crop k 1 1 a z 3=4 4=4"], "whole number"),
        (["Convolution m 1 1 a z 0=8 1=2 5=1 6=256"], "even edges"),
        (["Convolution m 1 1 a z 0=9 1=1 6=72"], "'last' takes 8 channels, not 9"),
    ],
)
def test_network_that_is_no_upscaler_is_refused(lines: list[str], reason: str) -> None:
    """A network that makes no whole multiple of its input's size, or does not fit together, is refused in words."""
    network = read_network("net.param", param_text(lines))
    with pytest.raises(WeightsError, match=rf"^net\.param: .*{reason}"):
        geometry(network, source="net.param")


def test_network_without_rgb_is_refused() -> None:
    """A result of one channel is no picture."""
    text = b"\n".join(
        [b"7767517", b"3 3", b"Input in 0 1 in", FIRST.encode(), b"Sigmoid s 1 1 a out"]
    )
    assert LAST
    with pytest.raises(WeightsError, match="not an RGB picture"):
        geometry(read_network("n", text), source="n")


def test_network_that_stretches_is_refused() -> None:
    """One that enlarges width and height by different factors."""
    network = read_network("net.param", param_text(["Interp i 1 1 a z 0=1 1=2 2=3"]))
    with pytest.raises(WeightsError, match=r"1536x1024 px of 512x512; it must scale .* alike"):
        geometry(network, source="net.param")


LONG = [f"Sigmoid s{n} 1 1 {f's{n - 1}' if n else 'a'} s{n}" for n in range(3_900)]
END = "s3899"


@pytest.mark.parametrize(
    "lines",
    [
        [*LONG, f"Pooling p 1 1 {END} p 0=0 1=2 2=2", f"BinaryOp b 2 1 p {END} z 0=0"],
        [
            *LONG,
            *(f"Pooling p{n} 1 1 {f'p{n - 1}' if n else END} p{n} 0=0 1=2 2=2" for n in range(6)),
            *(
                f"Interp i{n} 1 1 {f'i{n - 1}' if n else 'p5'} {f'i{n}' if n < 5 else 'z'} 0=1 1=2 2=2"
                for n in range(6)
            ),
        ],
    ],
    ids=["no size fits", "a multiple of 64"],
)
def test_network_that_takes_long_to_examine_is_refused(lines: list[str]) -> None:
    """Many layers, each of which would be looked at hundreds of times."""
    network = read_network("net.param", param_text(lines))
    begin = time.process_time()
    with pytest.raises(WeightsError, match="layers are too many"):
        geometry(network, source="net.param")
    assert time.process_time() - begin < 1
