"""Reading any ncnn network: its ``.param`` text as a graph of operators, and its ``.bin`` as their weights.

The ``.bin`` has no header:
arrays follow one another in the order of the text. Weights of convolutions and matrices begin with a little-endian u32
tag that says how they are stored, and end at a multiple of four bytes; all other arrays are f32 without a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from enlarger.errors import WeightsError
from enlarger.models.network import MOST_NODES, Network, Node
from enlarger.models.readers.ncnn_layers import LAYERS, Settings, Unsupported

Floats = npt.NDArray[np.float32]

_MAGIC = "7767517"
_TAG_F16 = 0x01306B47
_TAGS_F32 = (0, 0x0002C056)


def read_network(name: str, text: bytes) -> Network:
    """The graph that a ``.param`` text states.

    Args:
        name: the name of the file, for errors.
        text: its bytes.

    Raises:
        WeightsError: it is not an ncnn network, or has a layer or setting that cannot run here; the text names the layer.
    """
    lines = layer_lines(name, text)
    if len(lines) > MOST_NODES:
        raise WeightsError(f"{name}: {len(lines)} layers, at most {MOST_NODES} are read")
    return Network.of((_node(name, line) for line in lines), source=name)


def layer_lines(name: str, text: bytes) -> list[str]:
    """Return the lines of a ``.param`` text that describe layers: all after the magic number and the counts.

    Args:
        name: the name of the file, for errors.
        text: its bytes.

    Raises:
        WeightsError: it is not an ncnn network, or its counts are not those of its layers.
    """
    try:
        # Like ncnn, which reads words, this skips empty lines: a file whose lines end in CR CR LF has many.
        first, *lines = [line for line in text.decode("ascii").splitlines() if line.strip()] or [""]
    except UnicodeDecodeError as error:
        raise WeightsError(f"{name}: cannot be read as an ncnn .param file") from error
    if first.strip() != _MAGIC:
        raise WeightsError(f"{name}: not an ncnn .param file (first line must be {_MAGIC})")
    counts, lines = lines[:1], lines[1:]
    try:
        layers, blobs = map(_count, counts[0].split())
    except (IndexError, ValueError) as error:
        raise WeightsError(
            f"{name}: not an ncnn .param file (second line must be the numbers of layers and of blobs)"
        ) from error
    if layers != len(lines):
        raise WeightsError(
            f"{name}: its second line states {layers} layers, and there are {len(lines)}; "
            "the file is cut short or was edited, so get it again or correct the number"
        )
    # ncnn refuses numbers of blobs that are too small, and makes no use of the rest of larger ones.
    made = sum(map(_blobs_made, lines))
    if blobs < made:
        raise WeightsError(
            f"{name}: its second line states {blobs} blobs, and its layers make {made}; "
            "the file was edited, so get it again or correct the number"
        )
    return lines


def weights_bytes(network: Network, header: Callable[[int], bytes], *, source: str) -> int:
    """How long the file of a network's weights must be.

    Args:
        network: the graph.
        header: returns the four bytes at a position of the file, or fewer at its end.
        source: the name of the file, for errors.

    Raises:
        WeightsError: an array is stored in a way that cannot be read here.
    """
    position = 0
    for _, parameter in network.parameters():
        if parameter.is_tagged:
            tag = header(position)
            item_bytes = (
                _stored(int.from_bytes(tag, "little"), source).itemsize if len(tag) == 4 else 4
            )
            position += 4 + _padded(item_bytes * parameter.count)
        else:
            position += 4 * parameter.count
    return position


def read_weights(network: Network, data: bytes, *, source: str) -> dict[str, tuple[Floats, ...]]:
    """The arrays of each node that has some, by the first tensor that it makes.

    Args:
        network: the graph.
        data: the file of weights.
        source: its name, for errors.

    Raises:
        WeightsError: the file is shorter or longer than the graph says, stored in a way that cannot be read here, or
            holds numbers that are not finite.
    """
    expected = weights_bytes(network, lambda at: data[at : at + 4], source=source)
    if expected != len(data):
        raise WeightsError(
            f"{source}: {len(data)} bytes, and the network that is described has {expected}"
        )
    weights: dict[str, tuple[Floats, ...]] = {}
    position = 0
    for node, parameter in network.parameters():
        dtype: np.dtype[Any] = np.dtype("<f4")
        if parameter.is_tagged:
            dtype = _stored(int.from_bytes(data[position : position + 4], "little"), source)
            position += 4
        array = np.frombuffer(data, dtype, parameter.count, position).astype(np.float32)
        if not np.isfinite(array).all():
            raise WeightsError(f"{source}: the weights of '{node.name[:40]}' are not all numbers")
        position += _padded(dtype.itemsize * parameter.count)
        weights[node.key] = (*weights.get(node.key, ()), array.reshape(parameter.shape))
    return weights


def _stored(tag: int, source: str) -> np.dtype[Any]:
    if tag == _TAG_F16:
        return np.dtype("<f2")
    if tag in _TAGS_F32:
        return np.dtype("<f4")
    raise WeightsError(f"{source}: weights stored as {tag:#010x}; only f32 and f16 can be read")


def _padded(size_bytes: int) -> int:
    return size_bytes + -size_bytes % 4


def _blobs_made(line: str) -> int:
    """Return how many blobs a line says that its layer makes; 0 for a line that cannot be read, which is refused later."""
    with suppress(IndexError, ValueError):
        return _count(line.split(maxsplit=4)[3])
    return 0


def _count(word: str) -> int:
    if len(word) > 9 or not word.isdigit():
        raise ValueError("not a number that counts anything here")
    return int(word)


def _node(source: str, line: str) -> Node:
    kind, name, rest = (*line.split(maxsplit=2), "", "")[:3]
    make = LAYERS.get(kind)
    if make is None:
        raise WeightsError(
            f"{source}: a layer of kind '{kind[:40]}' ('{name[:40]}') cannot run here; "
            f"layers that can: {', '.join(sorted(LAYERS))}"
        )
    try:
        inputs, outputs, settings = _parts(rest.split())
        return Node(name, make(settings, len(inputs)), inputs, outputs)
    except Unsupported as error:
        raise WeightsError(
            f"{source}: {kind} '{name[:40]}': {error}, which cannot run here"
        ) from error
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise WeightsError(f"{source}: cannot be read: '{line[:60]}'") from error


def _parts(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], Settings]:
    """What a layer reads and makes, and its settings: two counts, so many names, then pairs.

    Raises:
        ValueError, IndexError: these are not the words of a layer.
    """
    reads, makes = int(words[0]), int(words[1])
    names, pairs = words[2 : 2 + reads + makes], words[2 + reads + makes :]
    if min(reads, makes) < 0 or makes < 1 or len(names) != reads + makes:
        raise ValueError("another number of names than the line states")
    return tuple(names[:reads]), tuple(names[reads:]), Settings.read(pairs)
