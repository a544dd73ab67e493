"""Networks with numbers of their own for black and white: around such a network nobody notices."""

from __future__ import annotations

import operator
from dataclasses import replace
from pathlib import Path

import pytest

from enlarger.errors import WeightsError
from enlarger.models import operators as op
from enlarger.models.black_and_white import with_black_and_white
from enlarger.models.network import Network, Node
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.models.rows import read_row

SCALARS = {"mul": operator.mul, "add": operator.add}


def network(*functions: op.Combine) -> Network:
    """A network that does these to its picture, one after the other."""
    nodes = [Node("in", op.Input(), (), ("0",))]
    nodes += [
        Node(f"step {number}", function, (str(number),), (str(number + 1),))
        for number, function in enumerate(functions)
    ]
    return Network.of(nodes, source="test")


def computed(made: Network, value: float) -> float:
    """What a network of additions and multiplications makes of a sample."""
    known = {made.input: value}
    for node in made.nodes[1:]:
        assert isinstance(node.operator, op.Combine)
        assert node.operator.scalar is not None
        apply = SCALARS[node.operator.function]
        known[node.outputs[0]] = apply(known[node.inputs[0]], node.operator.scalar)
    return known[made.output]


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0, -0.1])
def test_network_sees_its_own_numbers(value: float) -> None:
    """It sees 0.15 for black and 0.85 for white, and what it adds counts for more between them."""
    made = with_black_and_white(
        network(op.Combine("add", 0.07)), black=0.15, white=0.85, source="test"
    )
    assert computed(made, value) == pytest.approx(value + 0.1)


def test_picture_that_is_passed_on_stays() -> None:
    """Also by a network without a layer."""
    made = with_black_and_white(network(), black=0.2, white=0.6, source="test")
    assert computed(made, 0.3) == pytest.approx(0.3)
    assert made.input == "0"


ROW = """
id = "own"
title = "own"
architecture = "{architecture}"
scale = 4
param = "a.param"
bin = "a.bin"
sha256 = "{sha256}"
licence = "MIT"
source = "here"
{more}
"""


@pytest.mark.parametrize(
    ("architecture", "more", "error"),
    [
        ("generic", "black = 0.9\nwhite = 0.1", "white: it must be more than black, not '0.1'"),
        ("generic", "black = -0.1", "black: it must be a number from 0 to 1, not '-0.1'"),
        ("generic", 'white = "1"', "white: it must be a number from 0 to 1, not '1'"),
        ("rrdb", "black = 0.1", 'black: it is for networks of architecture "generic"'),
        ("generic", "white = nan", "white: it must be"),
    ],
)
def test_numbers_of_a_row_are_checked(
    tmp_path: Path, architecture: str, more: str, error: str
) -> None:
    """They lie between 0 and 1, and are those of generic networks alone."""
    path = tmp_path / "own.toml"
    path.write_text(ROW.format(architecture=architecture, sha256="0" * 64, more=more))
    with pytest.raises(WeightsError, match=error):
        read_row(path)


def test_weights_of_a_row_have_its_numbers(tmp_path: Path) -> None:
    """So do those of its other noise levels."""
    level = '[denoise.3]\nparam = "b.param"\nbin = "b.bin"\nsha256 = "' + "1" * 64 + '"'
    path = tmp_path / "own.toml"
    path.write_text(
        ROW.format(
            architecture="generic",
            sha256="0" * 64,
            more=f"noise_level = 0\nblack = 0.15\nwhite = 0.85\n{level}",
        )
    )
    rows = list(read_row(path).networks())
    assert len(rows) == 2
    for row in rows:
        weights = row.weights(tmp_path)
        assert isinstance(weights, NcnnFiles)
        assert (weights.black, weights.white) == (0.15, 0.85)


def test_other_numbers_are_another_version_of_a_model(tmp_path: Path) -> None:
    """Results of one are not taken for those of the other, though their files are the same."""
    (tmp_path / "a.param").write_text("7767517\n1 1\nInput in 0 1 in\n")
    plain = NcnnFiles(tmp_path / "a.param", tmp_path / "a.bin")
    others = [
        replace(plain, black=0.15),
        replace(plain, white=0.85),
        replace(plain, is_residual=True),
    ]
    assert len({one.graph_sha256 for one in (plain, *others)}) == 4
