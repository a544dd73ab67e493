"""Adding a network to ``MODEL_DIR`` and removing it, without computing anything."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import (
    param_text,
    random_layers,
    write_compact,
    write_nearest,
    write_random_rrdb,
)

from enlarger.errors import ConfigError, UnknownModel, WeightsError
from enlarger.models import Catalogue
from enlarger.models.adding import Recognised, draft, id_of, recognised, removable_in, remove
from enlarger.models.readers.ncnn import NcnnFiles

FIELDS = {"title": "made in a test", "licence": "none", "source": 'here, "quoted" \\ é'}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a folder, outside the models' folder, for a user's own network files."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def files_of(row: Path) -> NcnnFiles:
    """The files that a row names."""
    return NcnnFiles(row.with_suffix(".param"), row.with_suffix(".bin"))


def add(model_dir: Path, row: Path, model_id: str) -> None:
    """Add the network of a row under another id."""
    files = files_of(row)
    kind = recognised(files)
    with draft(model_dir, param=files.param, binary=files.binary, id=model_id, **FIELDS) as adding:
        adding.write(architecture=kind.architecture, scale=kind.scale)
        adding.publish()


def test_kind_is_recognised_from_the_graph(here: Path) -> None:
    """The fastest kind that fits."""
    assert recognised(files_of(write_nearest(here, "own"))) == Recognised("compact", 4)
    assert recognised(files_of(write_random_rrdb(here, "rrdb"))) == Recognised("rrdb", 4)
    doubles = here / "doubles.param"
    doubles.write_text(param_text(["Input in 0 1 in", "Interp up 1 1 in out 0=2 1=2.0 2=2.0"]))
    doubles.with_suffix(".bin").touch()
    assert recognised(NcnnFiles(doubles, doubles.with_suffix(".bin"))) == Recognised("generic", 2)


def test_network_that_cannot_run_is_refused_with_the_reason(here: Path) -> None:
    """Also where the weights are those of another network."""
    row = write_nearest(here, "own")
    row.with_suffix(".bin").write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"own\.param is no network that can run here: own\.bin"):
        recognised(files_of(row))
    row.with_suffix(".param").write_text("junk")
    with pytest.raises(WeightsError, match=r"not an ncnn \.param file"):
        recognised(files_of(row))
    with pytest.raises(WeightsError, match=r"none\.param"):
        recognised(NcnnFiles(here / "none.param", here / "none.bin"))


def test_added_model_is_in_the_catalogue_and_goes_without_trace(here: Path, tmp_path: Path) -> None:
    """Under its hash, beside a row that has every text as it was given."""
    model_dir = tmp_path / "models"
    add(model_dir, write_nearest(here, "own"), "mine")
    model = Catalogue.installed(model_dir, hashed=True).choose("mine", scale=4)
    assert model.source == FIELDS["source"]
    stem = f"mine-{model.sha256[:12]}"
    expected = ["mine.toml", f"{stem}.bin", f"{stem}.param"]
    assert sorted(path.name for path in model_dir.iterdir()) == sorted(expected)
    assert sorted(remove(model_dir, "mine")) == sorted(expected)
    assert list(model_dir.iterdir()) == []


def test_model_that_is_added_again_takes_the_place_of_the_first(here: Path, tmp_path: Path) -> None:
    """Files that no row names any more are deleted."""
    model_dir = tmp_path / "models"
    add(model_dir, write_nearest(here, "own"), "mine")
    other = write_compact(here, "other", random_layers(7, [(3, 8), (8, 48)]))
    add(model_dir, other, "mine")
    assert len(list(model_dir.iterdir())) == 3
    Catalogue.installed(model_dir, hashed=True)


def test_draft_that_fails_leaves_nothing(here: Path, tmp_path: Path) -> None:
    """Nor does one that is not published."""
    model_dir = tmp_path / "models"
    files = files_of(write_nearest(here, "own"))
    with draft(model_dir, param=files.param, binary=files.binary, id="mine", **FIELDS) as adding:
        adding.write(architecture="compact", scale=4)
    assert list(model_dir.iterdir()) == []
    with (
        pytest.raises(ConfigError, match=r"cannot add 'none\.param': No such file"),
        draft(model_dir, param=Path("none.param"), binary=here / "none", id="mine", **FIELDS),
    ):
        pass
    with (
        pytest.raises(WeightsError, match=r"id: it must be 1 to 64"),
        draft(model_dir, param=files.param, binary=files.binary, id="no way", **FIELDS) as adding,
    ):
        adding.write(architecture="compact", scale=4)


@pytest.mark.parametrize("model_id", ["../evil", "a/b", "a" * 65, "", "Auto", "detect", ".a"])
def test_id_that_no_row_may_have_is_refused_before_anything_is_written(
    here: Path, tmp_path: Path, model_id: str
) -> None:
    """The id is a part of the names of files: one with a slash would point out of the folder."""
    files = files_of(write_nearest(here, "own"))
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(WeightsError, match=r"^id: "),
        draft(tmp_path / "m", param=files.param, binary=files.binary, id=model_id, **FIELDS),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_id_of_another_row_is_refused(here: Path, tmp_path: Path) -> None:
    """Else no service would start with both."""
    model_dir = tmp_path / "models"
    model_dir.mkdir()
    write_nearest(model_dir, "mine").rename(model_dir / "by-hand.toml")
    with pytest.raises(WeightsError, match=r"'mine' is the id of by-hand\.toml, too"):
        add(model_dir, write_nearest(here, "own"), "mine")
    assert not list(model_dir.glob("mine-*"))


def test_folder_in_the_place_of_a_row_is_refused_before_anything_is_written(
    here: Path, tmp_path: Path
) -> None:
    """The folder is left as it is."""
    (tmp_path / "models" / "mine.toml").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"mine\.toml' is a folder, and the model's row belongs"):
        add(tmp_path / "models", write_nearest(here, "own"), "mine")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine.toml"]


def test_model_that_cannot_be_published_leaves_nothing(here: Path, tmp_path: Path) -> None:
    """Whatever stands in the way of one of its files, those that were moved before are deleted."""
    model_dir, row = tmp_path / "models", write_nearest(here, "own")
    sha256 = hashlib.sha256(row.with_suffix(".bin").read_bytes()).hexdigest()
    in_the_way = model_dir / f"mine-{sha256[:12]}.bin"
    in_the_way.mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot add"):
        add(model_dir, row, "mine")
    assert list(model_dir.iterdir()) == [in_the_way]


def test_drafts_of_killed_processes_are_deleted_after_an_hour(here: Path, tmp_path: Path) -> None:
    """Not those that may be in use, nor hidden folders of other programs."""
    model_dir = tmp_path / "models"
    for name, age_s in ((".adding-old", 3700), (".adding-new", 3000), (".git", 10**6)):
        (model_dir / name).mkdir(parents=True)
        (model_dir / name / "own.bin").touch()
        os.utime(model_dir / name, (time.time() - age_s,) * 2)
    add(model_dir, write_nearest(here, "own"), "mine")
    hidden = {path.name for path in model_dir.iterdir() if path.name[0] == "."}
    assert hidden == {".adding-new", ".git"}


@pytest.mark.parametrize("damage", ["junk = ", 'id = "No way"\n', "", "scale = 7\n"])
def test_row_that_cannot_be_read_is_removed_with_its_files(
    here: Path, tmp_path: Path, damage: str
) -> None:
    """By the name of its file: no service starts with such a row."""
    model_dir = tmp_path / "models"
    add(model_dir, write_nearest(here, "own"), "mine")
    add(model_dir, here / "own.toml", "mine-2")
    others = {path.name for path in model_dir.glob("mine-2*")}
    (model_dir / "mine.toml").write_text(damage)
    assert "mine" in removable_in(model_dir)
    removed = remove(model_dir, "mine")
    assert [Path(name).suffix for name in removed] == [".toml", ".bin", ".param"]
    assert {path.name for path in model_dir.iterdir()} == others


@pytest.mark.parametrize("more", ["", "damaged"])
def test_files_that_another_row_names_are_kept(here: Path, tmp_path: Path, more: str) -> None:
    """Also if that row cannot be read, and if a model is added again with other weights."""
    model_dir = tmp_path / "models"
    add(model_dir, write_nearest(here, "own"), "a")
    row = (model_dir / "a.toml").read_text()
    (model_dir / "a2.toml").write_text(row.replace('id = "a"', 'id = "a2"') + more)
    stored = {path.name for path in model_dir.iterdir()} - {"a.toml", "a2.toml"}
    other = write_compact(here, "other", random_layers(7, [(3, 8), (8, 48)]))
    add(model_dir, other, "a")
    assert stored <= {path.name for path in model_dir.iterdir()}
    remove(model_dir, "a")
    assert {path.name for path in model_dir.iterdir()} == stored | {"a2.toml"}
    (model_dir / "a.toml").write_text(row)
    assert remove(model_dir, "a") == ["a.toml"]
    assert {path.name for path in model_dir.iterdir()} == stored | {"a2.toml"}


def test_files_of_somebody_elses_names_are_left_alone(tmp_path: Path) -> None:
    """They may be the only ones."""
    row = write_nearest(tmp_path, "own")
    assert remove(tmp_path, "own") == ["own.toml"]
    assert row.with_suffix(".bin").exists()
    with pytest.raises(UnknownModel, match=r"'own' is no model of MODEL_DIR.*; it has none"):
        remove(tmp_path, "own")


@given(name=st.text(max_size=80))
def test_every_file_name_suggests_an_id(name: str) -> None:
    """One that rows may have."""
    found = id_of(Path("/folder") / (name.replace("/", "").replace("\0", "") + ".param"))
    assert 1 <= len(found) <= 64
    assert found[0].isalnum()
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
