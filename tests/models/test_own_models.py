"""Rows of ``MODEL_DIR`` that cannot be used are found without computing anything, each named with what to do."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.networks import (
    param_text,
    random_layers,
    write_compact,
    write_nearest,
    write_random_rrdb,
)
from support.pictures import encoded, noise
from typer.testing import CliRunner

from enlarger import cli
from enlarger.errors import ConfigError, WeightsError
from enlarger.models import Catalogue
from enlarger.models.golden import GOLDEN_FOLDER
from enlarger.models.ranges import Ranges


def add(row: Path, line: str) -> None:
    """A line more."""
    row.write_text(f"{row.read_text()}{line}\n")


def change(row: Path, field: str, value: str) -> None:
    """Another value of a field, as it stands in TOML."""
    lines = [line for line in row.read_text().splitlines() if not line.startswith(f"{field} =")]
    row.write_text("\n".join([*lines, f"{field} = {value}", ""]))


def table(sha256: str, *, blocks: int = 3, channels: int = 192) -> Ranges:
    """Ranges of some network."""
    low, high, mean = (np.full((blocks, channels), value, np.float32) for value in (-1, 2, 0))
    return Ranges(sha256=sha256, low=low, high=high, mean=mean, in_float=())


def sha256_of(row: Path) -> str:
    """What a row says."""
    (line,) = (line for line in row.read_text().splitlines() if line.startswith("sha256"))
    return line.split("'")[1]


def _missing(row: Path) -> None:
    row.with_suffix(".bin").unlink()


def _missing_param(row: Path) -> None:
    row.with_suffix(".param").unlink()


def _missing_golden(row: Path) -> None:
    add(row, "golden = 'own.png'")


def _missing_ranges(row: Path) -> None:
    add(row, "ranges = 'own.npz'")


def _folder(row: Path) -> None:
    _missing(row)
    row.with_suffix(".bin").mkdir()


def _pipe(row: Path) -> None:
    _missing(row)
    os.mkfifo(row.with_suffix(".bin"))


def _dangling_link(row: Path) -> None:
    _missing(row)
    row.with_suffix(".bin").symlink_to("elsewhere.bin")


def _short(row: Path) -> None:
    binary = row.with_suffix(".bin")
    binary.write_bytes(binary.read_bytes()[:-4])


def _empty(row: Path) -> None:
    row.with_suffix(".bin").write_bytes(b"")


def _long(row: Path) -> None:
    binary = row.with_suffix(".bin")
    binary.write_bytes(binary.read_bytes() + bytes(4))


def _other_tags(row: Path) -> None:
    binary = row.with_suffix(".bin")
    binary.write_bytes(b"\1" + binary.read_bytes()[1:])


def _exchanged(row: Path) -> None:
    binary = row.with_suffix(".bin")
    binary.write_bytes(binary.read_bytes()[:-1] + b"\x7f")


def _other_architecture(row: Path) -> None:
    change(row, "architecture", "'compact'")


def _scale_2(row: Path) -> None:
    write_compact(row.parent, "own", random_layers(1, [(3, 8), (8, 12)]))


def _layers_that_do_not_meet(row: Path) -> None:
    write_compact(row.parent, "own", random_layers(1, [(3, 8), (9, 48)]))


def _append_layer(row: Path, line: str) -> None:
    param = row.with_suffix(".param")
    param.write_text(param_text([*param.read_text().splitlines()[2:], line]))


def _scale_2_by_halving(row: Path) -> None:
    write_nearest(row.parent, "own")
    _append_layer(row, "Interp half 1 1 output o 0=3 1=0.5 2=0.5")


def _text_in_place_of_param(row: Path) -> None:
    row.with_suffix(".param").write_text("not a network")


def _param_of_another_kind(row: Path) -> None:
    _append_layer(row, "LSTM l 1 1 a b 0=1")


def _counts_of_another_network(row: Path) -> None:
    param = row.with_suffix(".param")
    param.write_text(f"{param.read_text()}Split s 1 1 a b\n")


def _golden_of_another_size(row: Path) -> None:
    (row.parent / "own.png").write_bytes(encoded(noise(8, 8, 3)))
    add(row, "golden = 'own.png'")


def _golden_that_is_no_picture(row: Path) -> None:
    (row.parent / "own.png").write_text("a picture")
    add(row, "golden = 'own.png'")


def _golden_that_is_cut(row: Path) -> None:
    whole = (GOLDEN_FOLDER / "realesr-animevideov3.png").read_bytes()
    (row.parent / "own.png").write_bytes(whole[: len(whole) // 2])
    add(row, "golden = 'own.png'")


def _ranges_of_other_weights(row: Path) -> None:
    table("b" * 64).write(row.parent / "own.npz")
    add(row, "ranges = 'own.npz'")


def _ranges_of_a_longer_network(row: Path) -> None:
    table(sha256_of(row), blocks=6).write(row.parent / "own.npz")
    add(row, "ranges = 'own.npz'")


def _ranges_of_a_wider_network(row: Path) -> None:
    table(sha256_of(row), channels=256).write(row.parent / "own.npz")
    add(row, "ranges = 'own.npz'")


def _ranges_of_a_compact_network(row: Path) -> None:
    write_nearest(row.parent, "own")
    table(sha256_of(row)).write(row.parent / "own.npz")
    add(row, "ranges = 'own.npz'")


def _path_outside(row: Path) -> None:
    shutil.move(row.with_suffix(".bin"), row.parent.parent / "own.bin")
    change(row, "bin", "'../own.bin'")


def _absolute_path(row: Path) -> None:
    change(row, "bin", f"'{row.with_suffix('.bin')}'")


def _name_with_a_nul(row: Path) -> None:
    change(row, "bin", '"own\\u0000.bin"')


def _no_name(row: Path) -> None:
    change(row, "bin", "''")


def _name_that_is_too_long(row: Path) -> None:
    change(row, "bin", f"'{'x' * 300}.bin'")


def _id_twice(row: Path) -> None:
    shutil.copy(row, row.with_name("another.toml"))


def _deep_nesting(row: Path) -> None:
    row.write_text(f"id = {'[' * 100_000}")


def _slip_of_the_pen(row: Path) -> None:
    row.write_text(row.read_text().replace("licence =", "license ="))


Damage = Callable[[Path], None]

DAMAGES: dict[Damage, str] = {
    _missing: "own.toml: bin: there is no file 'own.bin' beside it; put it there",
    _missing_param: "own.toml: param: there is no file 'own.param' beside it; put it there",
    _missing_golden: "own.toml: golden: there is no file 'own.png' beside it; put it there",
    _missing_ranges: "own.toml: ranges: there is no file 'own.npz' beside it; put it there",
    _folder: "own.toml: bin: cannot read 'own.bin': it is a folder",
    _pipe: "own.toml: bin: cannot read 'own.bin': it is a pipe or a device",
    _dangling_link: "own.toml: bin: there is no file 'own.bin' beside it",
    _short: "own.toml: bin: own.bin: ends too early for own.param",
    _empty: "own.toml: bin: own.bin: ends too early for own.param",
    _long: "own.toml: bin: own.bin: 4 bytes more than own.param describes",
    _other_tags: "own.toml: bin: own.bin: weights stored as 0x0002c001; only f32 and f16",
    _exchanged: "own.toml: sha256: own.bin: SHA-256 is ",
    _other_architecture: "own.toml: param: own.param is no compact network that can run here: ",
    _scale_2: "own.toml: param: own.param is no compact network that can run here: it is a compact network of scale 2",
    _layers_that_do_not_meet: "own.toml: param: own.param is no compact network that can run here: convolution 2 is one of 9 to 48",
    _scale_2_by_halving: "own.toml: param: own.param is no compact network that can run here: it makes 2 times the size",
    _text_in_place_of_param: "own.toml: param: own.param: not an ncnn .param file",
    _counts_of_another_network: "own.toml: param: own.param: its second line states 22 layers, and there are 23",
    _param_of_another_kind: "own.toml: param: own.param: a layer of kind 'LSTM' cannot run here",
    _golden_of_another_size: "own.toml: golden: own.png: the golden picture has 8x8 px; it must have 96x64",
    _golden_that_is_no_picture: "own.toml: golden: own.png: cannot be read as a picture",
    _golden_that_is_cut: "own.toml: golden: own.png: cannot be read as a picture",
    _ranges_of_other_weights: "own.toml: ranges: own.npz: measured with the weights bbbbbbbbbbbb",
    _ranges_of_a_longer_network: "own.toml: ranges: own.npz: its tables have 6 x 192 numbers; this network has 3 x 192",
    _ranges_of_a_wider_network: "own.toml: ranges: own.npz: its tables have 3 x 256 numbers; this network has 3 x 192",
    _ranges_of_a_compact_network: "own.toml: ranges: compact networks have no int8; leave the line out",
    _path_outside: "own.toml: bin: it must name a file in MODEL_DIR",
    _absolute_path: "own.toml: bin: it must name a file in MODEL_DIR",
    _name_with_a_nul: "own.toml: bin: it must name a file in MODEL_DIR",
    _no_name: "own.toml: bin: it must name a file in MODEL_DIR",
    _name_that_is_too_long: "own.toml: bin: cannot read 'xxx",
    _id_twice: "own.toml: id: 'own' is the id of another.toml, too; take another one",
    _deep_nesting: "own.toml: is not TOML",
    _slip_of_the_pen: "own.toml: license: there is no such field; did you mean licence?",
}
"""By what is done to a row that is right, what is said of it."""

every_damage = pytest.mark.parametrize(
    "damage", DAMAGES, ids=lambda damage: damage.__name__.lstrip("_")
)


@pytest.fixture
def row(tmp_path: Path) -> Path:
    """One that is right, of an rrdb network, in a ``MODEL_DIR`` of its own."""
    models = tmp_path / "models"
    models.mkdir()
    return write_random_rrdb(models, "own")


@every_damage
def test_row_that_cannot_be_used_is_found_at_the_start(row: Path, damage: Damage) -> None:
    """By its file's name, its field, what is wrong and what to do; and never by an error of Python's."""
    damage(row)
    with pytest.raises(WeightsError) as found:
        Catalogue.installed(row.parent, hashed=True)
    text = str(found.value)
    assert text.startswith(DAMAGES[damage])
    assert text.endswith(f" (in MODEL_DIR, '{row.parent}')")
    assert "\n" not in text


@every_damage
def test_models_command_finds_the_same_and_lists_the_others(
    row: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models that can be used on stdout, a line for each fault on stderr, and exit status 2."""
    write_nearest(row.parent, "zebra")
    damage(row)
    monkeypatch.setenv("MODEL_DIR", str(row.parent))
    result = CliRunner().invoke(cli.app, ["models"])
    assert result.exit_code == ConfigError.exit_status
    assert {"realesrgan-x4plus", "zebra"} <= set(result.stdout.split())
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"enlarger: {DAMAGES[damage]}")


def test_all_faults_are_told_by_the_models_command(row: Path) -> None:
    """And counted where only the first is."""
    _missing(row)
    _missing(write_nearest(row.parent, "second"))
    _, faults = Catalogue.examined(row.parent)
    assert [fault.split(":")[0] for fault in faults] == ["own.toml", "second.toml"]
    with pytest.raises(WeightsError, match="`enlarger models` shows 1 more"):
        Catalogue.installed(row.parent)


def test_right_rows_pass(row: Path) -> None:
    """With all that may be named, also in a folder below, also by a link, also saved with a byte-order mark."""
    below = row.parent / "below"
    below.mkdir()
    row.with_suffix(".bin").rename(row.parent.parent / "elsewhere.bin")
    (below / "own.bin").symlink_to(row.parent.parent / "elsewhere.bin")
    change(row, "bin", "'below/own.bin'")
    shutil.copy(GOLDEN_FOLDER / "realesrgan-x4plus.png", row.parent / "own.png")
    table(sha256_of(row)).write(row.parent / "own.npz")
    add(row, "golden = 'own.png'")
    add(row, "ranges = 'own.npz'")
    row.write_bytes(b"\xef\xbb\xbf" + row.read_bytes())
    model = Catalogue.installed(row.parent, hashed=True).choose("own", scale=4)
    assert model.ranges == row.parent / "own.npz"


def test_hidden_files_are_no_rows(row: Path) -> None:
    """Editors and other systems leave some: ``.#own.toml``, ``._own.toml``."""
    (row.parent / "._own.toml").write_bytes(b"\0\5\x16\7")
    (row.parent / ".#own.toml").symlink_to("root@machine.1234")
    assert Catalogue.installed(row.parent).choose("own", scale=4).id == "own"


def test_weights_are_hashed_where_that_is_asked_for(row: Path) -> None:
    """The shell leaves it to the loading, which hashes those that are used."""
    _exchanged(row)
    Catalogue.installed(row.parent)
    with pytest.raises(WeightsError, match="SHA-256"):
        Catalogue.installed(row.parent, hashed=True)


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """It would be a folder without models in silence."""
    (tmp_path / "models").touch()
    with pytest.raises(ConfigError, match=r"^MODEL_DIR: '.*/models' is a file"):
        Catalogue.installed(tmp_path / "models")


@contextmanager
def as_another_user() -> Iterator[None]:
    """Not as root, who may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_may_not_be_read_is_refused() -> None:
    """The folder, and a file in it."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        row = write_nearest(folder, "own")
        row.with_suffix(".bin").chmod(0)
        with as_another_user(), pytest.raises(WeightsError) as unreadable:
            Catalogue.installed(folder)
        folder.chmod(0)
        with as_another_user(), pytest.raises(ConfigError) as refused:
            Catalogue.installed(folder)
        folder.chmod(0o755)
    assert str(unreadable.value).startswith(
        "own.toml: bin: cannot read 'own.bin': Permission denied"
    )
    assert str(refused.value).startswith(
        f"MODEL_DIR: cannot read '{folder}': Permission denied; let the user"
    )


def test_service_does_not_start_with_such_a_row(row: Path, tmp_path: Path) -> None:
    """One line, exit status 2, and nothing listens."""
    _missing(row)
    environment = {
        **os.environ,
        "MODEL_DIR": str(row.parent),
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
        "BASE_PORT": "0",
    }
    for command in (["serve", "--port", "0"], ["model-server", "--port", "0"]):
        run = subprocess.run(
            [sys.executable, "-m", "enlarger", *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == ConfigError.exit_status
        assert run.stderr.splitlines()[-1].startswith(f"enlarger: {DAMAGES[_missing]}")
        assert "Traceback" not in run.stdout + run.stderr
