"""Reading weights from ncnn files: the layers with parameters, in network order, as float32 arrays.

Layout (Tencent/ncnn, src/modelbin.cpp and the layer sources): the ``.bin`` has no header; the buffers
follow one another in the layer order of the ``.param`` text. A convolution stores a little-endian u32
tag, its weights flat in OIHW order, then its bias as f32 without a tag; a PReLU stores f32 slopes
without a tag.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.errors import WeightsError

Floats = npt.NDArray[np.float32]

_MAGIC = "7767517"
_TAG_F16 = 0x01306B47
_TAGS_F32 = (0, 0x0002C056)

MOST_TEXT_BYTES = 1 << 20
_MOST_WEIGHTS_BYTES = 1 << 29
"""Of files that are read whole: fifteen times x4plus, which is the largest model here."""

_WITHOUT_PARAMETERS = {
    *("Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle", "ReLU"),
}
"""Layers whose work the architecture names already."""

_KERNEL = {"1": "3", "3": "1", "4": "1", "5": "1", "2": "1"}
"""Size, stride, padding, bias, dilation: what a convolution must state, but for the last, which is usually absent."""

_OTHER_AXIS = {"11": "3", "12": "1", "13": "1", "14": "1", "15": "1", "16": "1"}
"""The same for the other axis and sides, absent unless they differ."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 3x3 convolution with stride 1 and zero padding 1."""

    weight: Floats
    """Shape (out, in, 3, 3)."""

    bias: Floats
    """Shape (out,)."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """A PReLU: ``x if x > 0 else slope * x``, a slope per channel."""

    slope: Floats
    """Shape (channels,)."""


Layer = Convolution | Slopes


@dataclass(frozen=True, slots=True)
class Outline:
    """One parametrised layer as the ``.param`` text states it."""

    kind: str
    outputs: int
    weights: int
    """Number of weights of a convolution; 0 for a PReLU."""


@functools.cache
def read_outline(param: Path) -> tuple[Outline, ...]:
    """The parametrised layers in order, from the ``.param`` text alone.

    Raises:
        WeightsError: the text is not an ncnn network, or has a layer that we cannot run.
    """
    try:
        lines = read_bounded(param, MOST_TEXT_BYTES).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{param.name}: cannot be read as an ncnn .param file") from error
    if not lines or lines[0].strip() != _MAGIC:
        raise WeightsError(f"{param.name}: not an ncnn .param file (first line must be {_MAGIC})")
    return tuple(_outlines(param.name, lines[2:]))


def _outlines(name: str, lines: list[str]) -> Iterator[Outline]:
    for line in lines:
        if not line.strip():
            continue
        try:
            # kind, layer name, inputs, outputs, blob names, then key=value
            kind, _, inputs, outputs, *rest = line.split()
            values = dict(word.split("=", 1) for word in rest[int(inputs) + int(outputs) :])
            if kind == "Convolution":
                stated = {"1": "0", "2": "1", "3": "1", "4": "0", "5": "0"} | _OTHER_AXIS | values
                if any(stated[key] != usual for key, usual in (_KERNEL | _OTHER_AXIS).items()):
                    raise WeightsError(
                        f"{name}: only 3x3 convolutions, stride 1, padding 1, with bias can run here"
                    )
                outline = Outline("Convolution", int(values["0"]), int(values["6"]))
            elif kind == "PReLU":
                outline = Outline("PReLU", int(values["0"]), 0)
            elif kind in _WITHOUT_PARAMETERS:
                continue
            else:
                raise WeightsError(f"{name}: a layer of kind '{kind[:40]}' cannot run here")
        except (ValueError, KeyError) as error:
            raise WeightsError(f"{name}: cannot be read: '{line[:60]}'") from error
        least = 9 * outline.outputs if kind == "Convolution" else 0  # of weights: one input channel
        if outline.outputs < 1 or outline.weights < least or (least and outline.weights % least):
            raise WeightsError(f"{name}: cannot be read: '{line[:60]}'")
        yield outline


def read_layers(param: Path, binary: Path, *, sha256: str) -> list[Layer]:
    """The network's layers with their parameters.

    Args:
        param: the ``.param`` text.
        binary: the ``.bin`` file.
        sha256: what the ``.bin`` file must hash to.

    Raises:
        WeightsError: a file is missing, damaged, or another one.
    """
    buffer = read_binary(binary, sha256=sha256)
    reader = _Reader(buffer, binary.name)
    layers = [_layer(outline, reader) for outline in read_outline(param)]
    if reader.position != len(buffer):
        raise WeightsError(
            f"{binary.name}: {len(buffer) - reader.position} bytes more than {param.name} describes"
        )
    return layers


def read_binary(binary: Path, *, sha256: str) -> bytes:
    """The bytes of a weights file.

    Raises:
        WeightsError: the file is missing, damaged, or another one.
    """
    try:
        buffer = read_bounded(binary, _MOST_WEIGHTS_BYTES)
    except OSError as error:
        raise WeightsError(f"{binary.name}: cannot be read") from error
    found = hashlib.sha256(buffer).hexdigest()
    if found != sha256:
        raise WeightsError(f"{binary.name}: SHA-256 is {found}, the catalogue says {sha256}")
    return buffer


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read.
        WeightsError: it is longer than any such file.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > limit_bytes:
            raise WeightsError(f"{path.name}: {size_bytes} bytes, at most {limit_bytes} are read")
        return file.read(size_bytes)


def _layer(outline: Outline, reader: _Reader) -> Layer:
    if outline.kind == "PReLU":
        return Slopes(reader.take(np.dtype("<f4"), outline.outputs))
    tag = int(reader.take(np.dtype("<u4"), 1)[0])
    if tag == _TAG_F16:
        weight = reader.take(np.dtype("<f2"), outline.weights)
        reader.position += -reader.position % 4
    elif tag in _TAGS_F32:
        weight = reader.take(np.dtype("<f4"), outline.weights)
    else:
        raise WeightsError(
            f"{reader.name}: weights stored as {tag:#010x}; only f32 and f16 can be read"
        )
    bias = reader.take(np.dtype("<f4"), outline.outputs)
    return Convolution(
        weight.astype(np.float32).reshape(outline.outputs, -1, 3, 3), bias.astype(np.float32)
    )


class _Reader:
    """A position in a buffer."""

    def __init__(self, buffer: bytes, name: str) -> None:
        self.buffer = buffer
        self.name = name
        self.position = 0

    def take(self, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """The next ``count`` values."""
        if self.position + count * dtype.itemsize > len(self.buffer):
            raise WeightsError(f"{self.name}: ends too early")
        values = np.frombuffer(self.buffer, dtype, count, self.position)
        self.position += count * dtype.itemsize
        return values
