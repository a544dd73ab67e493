"""Reads weights from ncnn files: the layers with parameters, in network order, as float32 arrays.

The layout is that of Tencent/ncnn, src/modelbin.cpp and the layer sources. The ``.bin`` has no header. Its buffers
follow one another in the layer order of the ``.param`` text. A convolution stores a little-endian u32 tag, its
weights flat in OIHW order, then its bias as f32 without a tag. A PReLU stores f32 slopes without a tag.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.errors import WeightsError
from enlarger.models.black_and_white import with_black_and_white
from enlarger.models.files import MOST_TEXT_BYTES, open_regular, read_bounded
from enlarger.models.layers import Convolution, Floats, Graph, Layer, Operation, Outline, Slopes
from enlarger.models.network import Network
from enlarger.models.reach import Geometry, geometry
from enlarger.models.readers.ncnn_network import (
    layer_lines,
    read_network,
    read_weights,
    weights_bytes,
)
from enlarger.models.residual import with_picture_added

_TAG_F16 = 0x01306B47
_TAGS_F32 = (0, 0x0002C056)

_MOST_WEIGHTS_BYTES = 1 << 29
"""The limit for files that are read completely: fifteen times x4plus, the largest model here."""

_WITHOUT_PARAMETERS = {
    *("Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle"),
}
"""Layers without parameters. The architecture decides which of them are supported."""

_FACTOR = {"Interp": "1", "PixelShuffle": "0"}
"""The key of the factor by which a layer's result is larger, for layers that change the size."""

_ACTIVATION, _ACTIVATION_VALUES = "9", "-23310"
"""Keys of a convolution that ends with an activation: its type, and a list of its length and its values."""

_KERNEL = {"1": "3", "3": "1", "4": "1", "5": "1", "2": "1"}
"""Required values of a convolution: size, stride, padding, bias, dilation. The last one is usually absent."""

_OTHER_AXIS = {"11": "3", "12": "1", "13": "1", "14": "1", "15": "1", "16": "1"}
"""Required values for the other axis and sides, which are absent unless they differ."""


@dataclass(frozen=True, slots=True)
class NcnnFiles:
    """A network in two files. The text is read once for each instance."""

    param: Path
    """The text: layers and their connections."""

    binary: Path
    """The weights."""

    is_residual: bool = False
    """Whether the picture, enlarged by repeating pixels, is to be added to what the network makes."""

    black: float = 0.0
    white: float = 1.0
    """The numbers that the network takes, and makes, for black and for white."""

    _hashes: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _known: list[Graph] = field(default_factory=list, init=False, repr=False, compare=False)
    _networks: list[tuple[Network, Geometry]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the network is read from."""
        return self.param, self.binary

    @property
    def size_bytes(self) -> int | None:
        """Size of the weights in bytes; None if the file is missing."""
        try:
            return self.binary.stat().st_size
        except OSError:
            return None

    @property
    def graph_sha256(self) -> str:
        """See ``WeightFiles``."""
        if not self._hashes:
            around = repr((self.is_residual, self.black, self.white)).encode()
            self._hashes.append(hashlib.sha256(read_text(self.param) + around).hexdigest())
        return self._hashes[0]

    @property
    def graph(self) -> Graph:
        """Return the layers without their weights.

        Raises:
            WeightsError: the text is not an ncnn network, or has a layer that is not supported.
        """
        if not self._known:
            self._known.append(read_graph(self.param))
        return self._known[0]

    @property
    def network(self) -> Network:
        """The network as a graph of any operators.

        Raises:
            WeightsError: the text does not describe a network, or describes one with a layer that is not supported.
        """
        return self._network[0]

    @property
    def geometry(self) -> Geometry:
        """See ``WeightFiles``."""
        return self._network[1]

    @property
    def _network(self) -> tuple[Network, Geometry]:
        if not self._networks:
            name = self.param.name
            network = read_network(name, read_text(self.param))
            facts = geometry(network, source=name)
            if (self.black, self.white) != (0.0, 1.0):
                network = with_black_and_white(
                    network, black=self.black, white=self.white, source=name
                )
            if self.is_residual:
                network = with_picture_added(network, facts, source=name)
            self._networks.append((network, facts))
        return self._networks[0]

    def arrays(self, sha256: str) -> dict[str, tuple[Floats, ...]]:
        """See ``WeightFiles``."""
        data = read_binary(self.binary, sha256=sha256)
        return read_weights(self.network, data, source=self.binary.name)

    def check_arrays(self) -> None:
        """See ``WeightFiles``."""
        with open_regular(self.binary, buffering=0) as file:
            size_bytes = os.fstat(file.fileno()).st_size

            def header(position: int) -> bytes:
                file.seek(position)
                return file.read(4)

            expected = weights_bytes(self.network, header, source=self.binary.name)
        if size_bytes != expected:
            raise WeightsError(
                f"{self.binary.name}: {size_bytes} bytes, and the network that {self.param.name} describes has {expected}"
            )

    def verify(self, sha256: str) -> None:
        """Raise ``WeightsError`` unless the weights exist and have this hash."""
        read_binary(self.binary, sha256=sha256)

    def layers(self, sha256: str) -> list[Layer]:
        """Return the layers with their parameters.

        Args:
            sha256: hash that the weights must have.

        Raises:
            WeightsError: a file is missing or damaged, or has another hash.
        """
        return read_layers(self.graph, self.param.name, self.binary, sha256=sha256)

    def check_size(self) -> None:
        """Compare the length of the weights with the description in the text; see ``check_size``."""
        check_size(self.graph, self.param.name, self.binary)


def read_graph(param: Path) -> Graph:
    """Return the network that a ``.param`` text describes.

    Raises:
        WeightsError: the text is not an ncnn network, or has a layer that is not supported.
    """
    return _parsed(param.name, read_text(param))


def read_text(param: Path) -> bytes:
    """Return the bytes of a ``.param`` file.

    Raises:
        WeightsError: the file cannot be read, or is longer than any such file.
    """
    try:
        return read_bounded(param, MOST_TEXT_BYTES)
    except OSError as error:
        raise WeightsError(f"{param.name}: cannot be read as an ncnn .param file") from error


@functools.lru_cache(maxsize=16)
def _parsed(name: str, data: bytes) -> Graph:
    graph = _Reading(name)
    for line in layer_lines(name, data):
        graph.add(line)
    return Graph(
        tuple(graph.outlines), tuple(graph.operations), graph.scale if graph.resizes else None
    )


class _Reading:
    """Parses the layers of a text, one line after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.outlines: list[Outline] = []
        self.operations: list[Operation] = []
        self.scale = 1.0
        """The scale of the last layer's result, relative to the input."""

        self.resizes = False
        self._maker: dict[str, int] = {}
        """The layer with parameters that produced each blob."""

        self._scales: dict[str, float] = {}
        """The scale of each blob, relative to the input."""

    def add(self, line: str) -> None:
        """Parse a line.

        Raises:
            WeightsError: the line does not describe a layer, or describes one that is not supported.
        """
        try:
            # type, layer name, inputs, outputs, blob names, then key=value
            kind, _, input_count, output_count, *rest = line.split()
            inputs, end = int(input_count), int(input_count) + int(output_count)
            values = dict(word.split("=", 1) for word in rest[end:])
            taken, made = rest[:inputs], rest[inputs:end]
            self._resize(kind, values, taken, made)
            if kind == "ReLU":
                number = self._maker[
                    taken[0]
                ]  # the result of any other layer has no activation here
                slope = float(values.get("0", 0))
                self.outlines[number] = replace(self.outlines[number], slope=slope)
                self._maker[made[0]] = number
                return
            if kind in _WITHOUT_PARAMETERS:
                self.operations.append(Operation(kind, tuple(sorted(values.items()))))
                return
            outline = _outline(self._name, kind, values)
        except (ValueError, KeyError, IndexError) as error:
            raise WeightsError(f"{self._name}: cannot be read: '{line[:60]}'") from error
        least = (
            9 * outline.outputs if kind == "Convolution" else 0
        )  # number of weights for one input channel
        if outline.outputs < 1 or outline.weights < least or (least and outline.weights % least):
            raise WeightsError(f"{self._name}: cannot be read: '{line[:60]}'")
        self._maker.update(dict.fromkeys(made, len(self.outlines)))
        self.outlines.append(outline)

    def _resize(self, kind: str, values: dict[str, str], taken: list[str], made: list[str]) -> None:
        factor = 1.0
        if kind in _FACTOR:
            factor, self.resizes = float(values[_FACTOR[kind]]), True
        self.scale = factor * (self._scales.get(taken[0], 1.0) if taken else 1.0)
        self._scales.update(dict.fromkeys(made, self.scale))


def _outline(name: str, kind: str, values: dict[str, str]) -> Outline:
    """Return a layer with parameters.

    Raises:
        WeightsError: the layer is not supported.
        ValueError, KeyError: a value is missing, or is not a number.
    """
    if kind == "PReLU":
        return Outline(kind, int(values["0"]), 0)
    if kind != "Convolution":
        raise WeightsError(f"{name}: a layer of kind '{kind[:40]}' cannot run here")
    stated = {"1": "0", "2": "1", "3": "1", "4": "0", "5": "0"} | _OTHER_AXIS | values
    if any(stated[key] != usual for key, usual in (_KERNEL | _OTHER_AXIS).items()):
        raise WeightsError(
            f"{name}: only 3x3 convolutions, stride 1, padding 1, with bias can run here"
        )
    return Outline(kind, int(values["0"]), int(values["6"]), _slope(name, values))


def _slope(name: str, values: dict[str, str]) -> float:
    """Return the value for ``Outline.slope``."""
    activation = int(values.get(_ACTIVATION, "0"))
    if activation not in (0, 1, 2):
        raise WeightsError(f"{name}: an activation of kind {activation} cannot run here")
    if activation == 2:
        return float(values[_ACTIVATION_VALUES].split(",")[1])
    return 1.0 if activation == 0 else 0.0


def read_layers(graph: Graph, param_name: str, binary: Path, *, sha256: str) -> list[Layer]:
    """Return the network's layers with their parameters.

    Args:
        graph: the description from the ``.param`` text.
        param_name: name of the ``.param`` file, for error messages.
        binary: the ``.bin`` file.
        sha256: hash that the ``.bin`` file must have.

    Raises:
        WeightsError: the ``.bin`` file is missing or damaged, or has another hash.
    """
    buffer = read_binary(binary, sha256=sha256)
    reader = _Reader(buffer, binary.name)
    layers = [_layer(outline, reader) for outline in graph.outlines]
    if reader.position != len(buffer):
        raise WeightsError(
            f"{binary.name}: {len(buffer) - reader.position} bytes more than {param_name} describes"
        )
    return layers


def read_binary(binary: Path, *, sha256: str) -> bytes:
    """Return the bytes of a weights file.

    Raises:
        WeightsError: the file is missing or damaged, or has another hash.
    """
    try:
        buffer = read_bounded(binary, _MOST_WEIGHTS_BYTES)
    except OSError as error:
        raise WeightsError(f"{binary.name}: cannot be read") from error
    found = hashlib.sha256(buffer).hexdigest()
    if found != sha256:
        raise WeightsError(f"{binary.name}: SHA-256 is {found}, the catalogue says {sha256}")
    return buffer


def check_size(graph: Graph, param_name: str, binary: Path) -> None:
    """Compare the length of a ``.bin`` file with the description in the ``.param`` text. Only tags are read.

    Raises:
        OSError: the file cannot be read.
        WeightsError: the file is too short or too long, or stores its weights in a way that is not supported.
    """
    with open_regular(binary, buffering=0) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > _MOST_WEIGHTS_BYTES:
            raise WeightsError(
                f"{binary.name}: {size_bytes} bytes, at most {_MOST_WEIGHTS_BYTES} are read"
            )
        position = 0
        for outline in graph.outlines:
            if outline.kind == "Convolution":
                file.seek(position)
                tag = file.read(4)
                if len(tag) == 4:
                    weight_bytes = _stored(int.from_bytes(tag, "little"), binary.name).itemsize
                    position += 4 + _padded(weight_bytes * outline.weights)
            position += 4 * outline.outputs
            if position > size_bytes:
                raise WeightsError(f"{binary.name}: ends too early for {param_name}")
        if position != size_bytes:
            raise WeightsError(
                f"{binary.name}: {size_bytes - position} bytes more than {param_name} describes"
            )


def _stored(tag: int, name: str) -> np.dtype[Any]:
    """Return the type of the weights that follow a tag."""
    if tag == _TAG_F16:
        return np.dtype("<f2")
    if tag in _TAGS_F32:
        return np.dtype("<f4")
    raise WeightsError(f"{name}: weights stored as {tag:#010x}; only f32 and f16 can be read")


def _padded(size_bytes: int) -> int:
    """Return the size rounded up to a multiple of four bytes, where stored weights end."""
    return size_bytes + -size_bytes % 4


def _layer(outline: Outline, reader: _Reader) -> Layer:
    if outline.kind == "PReLU":
        return Slopes(reader.take(np.dtype("<f4"), outline.outputs))
    dtype = _stored(int(reader.take(np.dtype("<u4"), 1)[0]), reader.name)
    weight = reader.take(dtype, outline.weights)
    reader.position = _padded(reader.position)
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
        """Return the next ``count`` values."""
        if self.position + count * dtype.itemsize > len(self.buffer):
            raise WeightsError(f"{self.name}: ends too early")
        values = np.frombuffer(self.buffer, dtype, count, self.position)
        self.position += count * dtype.itemsize
        return values
