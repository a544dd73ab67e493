"""Which layers make a network that can run here, told from the ``.param`` text alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import param_text, random_layers, write_compact, write_random_rrdb

from enlarger.models import Catalogue
from enlarger.models.architectures import KINDS
from enlarger.models.architectures.rrdb import dense_blocks, growth
from enlarger.models.layers import Graph, Operation, Outline
from enlarger.models.readers.ncnn import read_graph


def convolution(inputs: int, outputs: int, *, slope: float = 1.0) -> Outline:
    """One layer."""
    return Outline("Convolution", outputs, 9 * inputs * outputs, slope)


def compact(*channels: int) -> list[Outline]:
    """From each number of channels to the next, with a PReLU between any two."""
    layers: list[Outline] = []
    for inputs, outputs in pairwise(channels):
        layers += [convolution(inputs, outputs), Outline("PReLU", outputs, 0)]
    return layers[:-1]


def rrdb(blocks: int, *, inputs: int = 3, grown: int = 32, leak: float = 0.2) -> list[Outline]:
    """RRDBNet, written down from its paper."""
    dense = [convolution(64 + n * grown, grown, slope=leak) for n in range(4)]
    dense.append(convolution(64 + 4 * grown, 64))
    tail = [convolution(64, 64, slope=leak)] * 3
    return [
        convolution(inputs, 64),
        *(dense * 3 * blocks),
        convolution(64, 64),
        *tail,
        convolution(64, 3),
    ]


def written(folder: Path, lines: Sequence[str]) -> Path:
    """A ``.param`` file of these lines."""
    path = folder / "net.param"
    path.write_text(param_text(lines))
    return path


@pytest.mark.parametrize(
    "model_id", ["realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3"]
)
def test_installed_models_fit(tmp_path: Path, model_id: str) -> None:
    """Each is of the architecture that its row says, and not of the other one; its graph makes four times the size."""
    model = Catalogue.installed(tmp_path).choose(model_id, scale=4)
    graph = model.files.graph
    for name in ("rrdb", "compact"):
        kind = KINDS[name]
        assert (kind.misfit(graph) is None) == (name == model.architecture)
    assert graph.scale == 4


@given(body=st.lists(st.integers(1, 64), min_size=1, max_size=8))
def test_compact_network_of_any_width_fits(body: list[int]) -> None:
    """Whose layers take what those before them make."""
    assert KINDS["compact"].misfit(Graph(tuple(compact(3, *body, 48)))) is None


@given(blocks=st.integers(1, 4), grown=st.integers(1, 64))
def test_rrdb_network_of_any_length_fits(blocks: int, grown: int) -> None:
    """And of any growth; its shape is read from it."""
    layers = rrdb(blocks, grown=grown)
    assert KINDS["rrdb"].misfit(Graph(tuple(layers))) is None
    assert (dense_blocks(layers), growth(layers)) == (3 * blocks, grown)


@given(data=st.data(), architecture=st.sampled_from(["rrdb", "compact"]))
def test_no_layer_may_be_another(data: st.DataObject, architecture: str) -> None:
    """One that is missing, is there twice, has other channels or another activation is found."""
    layers = rrdb(1) if architecture == "rrdb" else compact(3, 8, 8, 48)
    number = data.draw(st.integers(0, len(layers) - 1))
    one = layers[number]
    changed = data.draw(
        st.sampled_from(
            [
                [],
                [one, one],
                [replace(one, outputs=one.outputs + 1)],
                [replace(one, weights=one.weights + 9 * one.outputs)],
                [replace(one, slope=0.1)],
                [replace(one, kind="PReLU" if one.kind == "Convolution" else "Convolution")],
            ]
        )
    )
    if one.kind == "PReLU" and changed and changed[0].outputs == one.outputs:
        return  # it has slopes for each channel, and nothing else that counts
    layers[number : number + 1] = changed
    assert KINDS[architecture].misfit(Graph(tuple(layers))) is not None


@pytest.mark.parametrize(
    ("layers", "architecture", "says"),
    [
        (compact(3, 8, 12), "compact", "compact network of scale 2"),
        (compact(3, 8, 27), "compact", "compact network of scale 3"),
        (rrdb(1, inputs=12), "rrdb", "rrdb network of scale 2"),
        (rrdb(1)[:-2] + rrdb(1)[-1:], "rrdb", "20 convolutions"),
        (compact(3, 8, 48), "rrdb", "PReLU"),
        (rrdb(1), "compact", "PReLU"),
        (rrdb(1, leak=1.0), "rrdb", "with a leak of 0.2"),
        ([], "rrdb", "0 convolutions"),
        ([], "compact", "PReLU"),
    ],
)
def test_misfit_says_what_is_there(layers: list[Outline], architecture: str, says: str) -> None:
    """And what would fit."""
    found = KINDS[architecture].misfit(Graph(tuple(layers)))
    assert found is not None
    assert says in found


def test_activation_counts_whether_it_stands_in_the_line_or_after_it(tmp_path: Path) -> None:
    """Both forms are converters' usual ones."""
    row = write_random_rrdb(tmp_path, "own")
    text = row.with_suffix(".param").read_text()
    fused = read_graph(row.with_suffix(".param"))
    lines: list[str] = []
    for line in text.splitlines()[2:]:
        if " 9=2" not in line:
            lines.append(line)
            continue
        kind, name, inputs, outputs, taken, made, *values = line.split()
        lines += [
            " ".join([kind, name, inputs, outputs, taken, f"{made}_raw", *values[:-2]]),
            f"ReLU relu_{name} 1 1 {made}_raw {made} 0=2.000000e-01",
        ]
    apart = read_graph(written(tmp_path, lines))
    assert apart == fused
    assert KINDS["rrdb"].misfit(apart) is None


def test_scale_is_that_of_the_whole_graph(tmp_path: Path) -> None:
    """A network of 4x whose result is halved again, as that of animevideov3 for 2x, is one of 2x."""
    row = write_compact(tmp_path, "own", random_layers(1, [(3, 8), (8, 48)]))
    lines = row.with_suffix(".param").read_text().splitlines()[2:]
    assert read_graph(row.with_suffix(".param")).scale == 4
    halved = [*lines, "Interp half 1 1 output out 0=3 1=5.000000e-01 2=5.000000e-01"]
    assert read_graph(written(tmp_path, halved)).scale == 2


@pytest.mark.parametrize("file", ["REALESRGAN_ANIMAVIDEOV3_UP2X", "REALESRGAN_ANIMAVIDEOV3_UP3X"])
def test_network_that_ends_in_a_reduction_is_none_of_its_kind(file: str, tmp_path: Path) -> None:
    """The wheel's networks for 2x and 3x reduce their result last: what builds a compact network has no such step."""
    model = Catalogue.installed(tmp_path).choose("realesr-animevideov3", scale=4)
    (param, _) = model.files.paths
    found = KINDS["compact"].misfit(read_graph(param.with_name(f"{file}.param")))
    assert found is not None
    assert "'Interp " in found


_RRDB = rrdb(1)
_COMPACT = compact(3, 8, 48)


@pytest.mark.parametrize(
    ("kind", "outlines", "operation"),
    [
        ("compact", _COMPACT, Operation("Interp", (("0", "2"), ("1", "4"), ("2", "4")))),
        ("compact", _COMPACT, Operation("Interp", (("0", "1"), ("1", "2"), ("2", "2")))),
        ("compact", _COMPACT, Operation("BinaryOp", (("0", "2"),))),
        ("compact", _COMPACT, Operation("Concat")),
        ("compact", _COMPACT, Operation("Eltwise", (("0", "1"),))),
        ("compact", _COMPACT, Operation("PixelShuffle", (("0", "2"),))),
        ("rrdb", _RRDB, Operation("PixelShuffle", (("0", "4"),))),
        ("rrdb", _RRDB, Operation("Eltwise", (("-23301", "2,0.5,1"), ("0", "1")))),
        ("rrdb", _RRDB, Operation("Interp", (("0", "1"), ("1", "4"), ("2", "4")))),
        ("rrdb", _RRDB, Operation("Concat", (("0", "1"),))),
    ],
)
def test_operation_that_would_be_left_out_is_named(
    kind: str, outlines: list[Outline], operation: Operation
) -> None:
    """What builds the network puts in the operations of its architecture, and no other: so no other may stand there."""
    assert KINDS[kind].misfit(Graph(tuple(outlines))) is None
    found = KINDS[kind].misfit(Graph(tuple(outlines), (operation,)))
    assert found is not None
    assert f"'{operation.kind}" in found


def test_operations_count() -> None:
    """A second skip connection would be left out, too; numbers may be written in any form."""
    skip = Operation("Interp", (("0", "1"), ("1", "4.000000e+00"), ("2", "4")))
    kind = KINDS["compact"]
    assert kind.misfit(Graph(tuple(_COMPACT), (skip,))) is None
    assert "more layers" in (kind.misfit(Graph(tuple(_COMPACT), (skip, skip))) or "")


def test_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    """What a text states is kept by its content, not by its path."""
    path = written(tmp_path, ["Input data 0 1 data"])
    assert read_graph(path).outlines == ()
    row = write_compact(tmp_path, "own", random_layers(1, [(3, 8), (8, 48)]))
    row.with_suffix(".param").replace(path)
    assert len(read_graph(path).outlines) == 3
