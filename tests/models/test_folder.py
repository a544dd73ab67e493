"""``MODEL_DIR`` while a process runs: what appears, changes, breaks or goes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.file_limits import no_more_open_files
from support.networks import random_layers, write_compact, write_nearest

from enlarger.errors import OpenFilesExhausted, WeightsError
from enlarger.models import Model
from enlarger.models.builtin import builtin_wheels
from enlarger.models.copies import UNUSED_S, Copies, Stamp
from enlarger.models.folder import ModelFolder


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """An empty one."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path, model_dir: Path) -> ModelFolder:
    """What a process knows of it after its start."""
    folder = ModelFolder(model_dir, Copies(tmp_path / "copies", model_dir))
    folder.start()
    return folder


def own(folder: ModelFolder) -> dict[str, Model]:
    """The models that are not installed."""
    installed = {row.id for wheel in builtin_wheels() for row in wheel.models}
    return {model.id: model for model in folder.catalogue if model.id not in installed}


def faults(folder: ModelFolder) -> dict[str, str | None]:
    """The rows that are left out, with the models that are still offered for them."""
    return {row.row: row.model for row in folder.left_out}


def write_other(model_dir: Path, model_id: str) -> Path:
    """Other weights for a model."""
    return write_compact(model_dir, model_id, random_layers(7, [(3, 8), (8, 48)]))


def test_model_that_appears_is_offered_once_it_is_complete(
    folder: ModelFolder, model_dir: Path
) -> None:
    """At the second look that finds it unchanged: its files may be half written at the first."""
    row = write_nearest(model_dir, "own")
    weights = row.with_suffix(".bin").read_bytes()
    row.with_suffix(".bin").write_bytes(weights[:100])
    assert not folder.look()
    row.with_suffix(".bin").write_bytes(weights)
    assert not folder.look()
    assert folder.look()
    assert set(own(folder)) == {"own"}
    assert folder.left_out == ()
    assert not folder.look()


def test_model_that_goes_is_offered_no_more(folder: ModelFolder, model_dir: Path) -> None:
    """At the first look. A running picture keeps the model, and its copy can still be loaded."""
    row = write_nearest(model_dir, "own")
    folder.look(), folder.look()
    model = own(folder)["own"]
    for file in model_dir.iterdir():
        file.unlink()
    assert folder.look()
    assert own(folder) == {}
    model.verify()
    assert model.layers()
    assert not row.exists()


def test_broken_newcomer_is_left_out(folder: ModelFolder, model_dir: Path) -> None:
    """With the reason; all others are offered."""
    write_nearest(model_dir, "own")
    (model_dir / "new.toml").write_text("junk")
    folder.look(), folder.look()
    assert set(own(folder)) == {"own"}
    (left_out,) = folder.left_out
    assert (left_out.row, left_out.model) == ("new.toml", None)
    assert left_out.reason.startswith("new.toml: is not TOML")
    (model_dir / "new.toml").unlink()
    assert folder.look()
    assert folder.left_out == ()


@pytest.mark.parametrize("name", ["own.toml", "own.param", "own.bin"])
def test_replaced_file_that_is_broken_leaves_the_version_before(
    folder: ModelFolder, model_dir: Path, name: str
) -> None:
    """It can be loaded though its files in the folder are broken. A file that is right again ends that."""
    row = write_nearest(model_dir, "own")
    folder.look(), folder.look()
    before, file = own(folder)["own"], model_dir / name
    right = file.read_bytes()
    file.write_bytes(right[: len(right) // 2])
    assert not folder.look()
    assert folder.look()
    assert own(folder) == {"own": before}
    assert faults(folder) == {"own.toml": "own"}
    before.verify()
    file.write_bytes(right)
    folder.look(), folder.look()
    assert folder.left_out == ()
    assert own(folder)["own"].sha256 == before.sha256
    assert row.exists()


def test_replaced_file_that_is_right_is_the_next_version(
    folder: ModelFolder, model_dir: Path
) -> None:
    """Another model value; the one before can still be loaded."""
    write_nearest(model_dir, "own")
    folder.look(), folder.look()
    before = own(folder)["own"]
    write_other(model_dir, "own")
    folder.look(), folder.look()
    after = own(folder)["own"]
    assert after.sha256 != before.sha256
    before.verify()
    after.verify()


def test_missing_files_of_this_process_are_no_fault_of_a_row(
    folder: ModelFolder, model_dir: Path
) -> None:
    """The models stay as they are, and what has changed meanwhile is seen when files can be opened again."""
    write_nearest(model_dir, "before")
    folder.look()
    assert folder.look()
    replaced = own(folder)["before"].sha256
    write_nearest(model_dir, "own")
    write_other(model_dir, "before")
    for _ in range(3):
        with no_more_open_files(), pytest.raises(OpenFilesExhausted):
            folder.look()
        assert (set(own(folder)), faults(folder)) == ({"before"}, {})
    folder.look()
    assert folder.look()
    assert (set(own(folder)), faults(folder)) == ({"before", "own"}, {})
    assert own(folder)["before"].sha256 != replaced


class TakesAFile(Copies):
    """Opens a file while a row is examined, as other threads of the process may."""

    def __init__(self, *folders: Path) -> None:
        super().__init__(*folders)
        self.taken: list[int] = []

    def find(self, path: Path, stamp: Stamp) -> Path | None:
        """Return what is there; before that, take the file."""
        self.taken.append(os.open(os.devnull, os.O_RDONLY))
        return super().find(path, stamp)


def test_weights_that_cannot_be_opened_now_are_examined_later(
    tmp_path: Path, model_dir: Path
) -> None:
    """The folder and the row could be read. A fault of the row would stay until its files change."""
    copies = TakesAFile(tmp_path / "copies", model_dir)
    folder = ModelFolder(model_dir, copies)
    folder.start()
    write_nearest(model_dir, "own")
    folder.look()
    with no_more_open_files(but=1), pytest.raises(OpenFilesExhausted):
        folder.look()
    assert len(copies.taken) == 1
    assert folder.look()
    assert (set(own(folder)), faults(folder)) == ({"own"}, {})
    for one in copies.taken:
        os.close(one)


def test_two_rows_of_one_id(folder: ModelFolder, model_dir: Path) -> None:
    """The first one is offered; once it has gone, the other."""
    row = write_nearest(model_dir, "own")
    shutil.copy(row, model_dir / "zebra.toml")
    folder.look(), folder.look()
    assert faults(folder) == {"zebra.toml": None}
    assert "zebra.toml: id: 'own' is the id of own.toml, too" in folder.left_out[0].reason
    row.unlink()
    assert folder.look()
    assert set(own(folder)) == {"own"}
    assert folder.left_out == ()


def test_folder_that_appears_later(tmp_path: Path) -> None:
    """It need not exist at the start; a file in its place leaves everything as it was."""
    model_dir = tmp_path / "later"
    folder = ModelFolder(model_dir)
    folder.start()
    assert not folder.look()
    model_dir.mkdir()
    write_nearest(model_dir, "own")
    folder.look(), folder.look()
    assert set(own(folder)) == {"own"}
    shutil.rmtree(model_dir)
    model_dir.touch()
    assert folder.look()
    assert set(own(folder)) == {"own"}
    assert "is a file" in folder.left_out[0].reason


def test_start_refuses_a_row_that_cannot_be_used(tmp_path: Path, model_dir: Path) -> None:
    """By its name, also if a copy of it in this very state is right."""
    row = write_nearest(model_dir, "own")
    copies = Copies(tmp_path / "copies", model_dir)
    ModelFolder(model_dir, copies).start()
    weights = row.with_suffix(".bin")
    facts = weights.stat()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    os.utime(weights, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(WeightsError, match=r"^own.toml: sha256: .* \(in MODEL_DIR"):
        ModelFolder(model_dir, copies).start()


def test_process_that_takes_the_place_of_another_has_the_version_before(
    folder: ModelFolder, tmp_path: Path, model_dir: Path
) -> None:
    """A model server that is started again must compute what the gateway still offers."""
    write_nearest(model_dir, "own")
    folder.look(), folder.look()
    (model_dir / "own.bin").write_bytes(b"junk")
    (model_dir / "new.toml").write_text("junk")
    again = ModelFolder(model_dir, Copies(tmp_path / "copies", model_dir))
    again.start_again()
    assert own(again) == own(folder)
    assert faults(again) == {"own.toml": "own", "new.toml": None}


def test_models_are_used_where_they_are_if_they_cannot_be_copied(
    tmp_path: Path, model_dir: Path
) -> None:
    """The folder of copies is a file here. That is logged once."""
    write_nearest(model_dir, "a")
    write_nearest(model_dir, "b")
    (tmp_path / "copies").touch()
    folder = ModelFolder(model_dir, Copies(tmp_path / "copies", model_dir))
    with capture_logs() as logged:
        folder.start()
    assert own(folder)["a"].files.paths[0] == model_dir / "a.param"
    assert [line["event"] for line in logged] == ["models_not_copied"]


def test_copy_of_files_that_change_meanwhile_is_not_kept(tmp_path: Path, model_dir: Path) -> None:
    """What is checked is the copy itself, before anybody can find it."""
    row = write_nearest(model_dir, "own")
    copies = Copies(tmp_path / "copies", model_dir)

    def check(copy: Path) -> None:
        assert copy.with_suffix(".bin").exists()
        raise WeightsError("own.bin: it changed")

    from enlarger.models.rows import read_row

    with pytest.raises(WeightsError, match="it changed"):
        copies.make(row, read_row(row), ("stamp",), check)
    assert copies.find(row, ("stamp",)) is None
    assert [file for file in (tmp_path / "copies").rglob("*") if file.is_file()] == []


def test_copies_that_nobody_uses_are_deleted(
    folder: ModelFolder, tmp_path: Path, model_dir: Path
) -> None:
    """Copies are deleted a day after their last use. Copies in use stay."""
    write_nearest(model_dir, "own")
    folder.look(), folder.look()
    before = own(folder)["own"].files.paths[0]
    write_other(model_dir, "own")
    folder.look(), folder.look()
    after = own(folder)["own"].files.paths[0]
    folder.use_copies()
    assert before.exists()
    long_ago = before.parent.stat().st_mtime - UNUSED_S - 1
    for path in (before, after):
        os.utime(path.parent, (long_ago, long_ago))
    folder.use_copies()
    assert after.exists()
    assert not before.exists()
