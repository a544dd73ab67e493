"""Which files the shell command takes, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from enlarger.files import READ, work_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, a folder with more of them, and what is none."""
    for name in ("b.jpg", "a.PNG", "notes.txt", "deep/c.webp", "deep/a.png", ".hidden"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def places(sources: list[Path], target: Path, *, is_folder: bool = False) -> list[tuple[str, str]]:
    """Names of sources, and of results that are PNG, from the folder of ``target``."""
    return [
        (item.source.name, str(item.target(".png").relative_to(target)))
        for item in work_of(sources, target, is_folder=is_folder)
    ]


def test_one_file_goes_where_it_is_told(tmp_path: Path) -> None:
    """The name of the result is as it was given, whatever its format is called."""
    (item,) = work_of([tmp_path / "in.jpg"], tmp_path / "out.png", is_folder=False)
    assert (item.source, item.target(".webp")) == (tmp_path / "in.jpg", tmp_path / "out.png")
    assert not item.into_folder


def test_one_file_into_a_folder_keeps_its_name(tmp_path: Path) -> None:
    """With the suffix of the result's format."""
    (item,) = work_of([Path("x/cat.jpeg")], tmp_path, is_folder=True)
    assert item.target(".avif") == tmp_path / "cat.avif"


def test_folder_is_searched_to_the_bottom(folder: Path, tmp_path: Path) -> None:
    """In order; what has the name of no picture is left out; places below the folder are kept."""
    assert places([folder], tmp_path / "out") == [
        ("a.PNG", "a.png"),
        ("b.jpg", "b.png"),
        ("a.png", "deep/a.png"),
        ("c.webp", "deep/c.png"),
    ]


def test_several_sources_go_into_a_folder(folder: Path, tmp_path: Path) -> None:
    """Files and folders together, each under its own name."""
    found = places([folder / "b.jpg", folder / "deep"], tmp_path / "out")
    assert found == [("b.jpg", "b.png"), ("a.png", "a.png"), ("c.webp", "c.png")]


def test_names_that_would_meet_keep_their_suffixes(tmp_path: Path) -> None:
    """No result takes the place of another."""
    sources = [Path("x/cat.jpg"), Path("x/cat.png"), Path("x/dog.png")]
    assert places(sources, tmp_path) == [
        ("cat.jpg", "cat.jpg.png"),
        ("cat.png", "cat.png.png"),
        ("dog.png", "dog.png"),
    ]


def test_pattern_that_the_shell_left_is_resolved(folder: Path, tmp_path: Path) -> None:
    """As in quotes, or where the shell knows none."""
    assert places([folder / "*.jpg"], tmp_path, is_folder=True) == [("b.jpg", "b.png")]
    assert [name for name, _ in places([folder / "**" / "*.png"], tmp_path, is_folder=True)] == [
        "a.png"
    ]


def test_file_that_is_called_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    """Brackets in names are common."""
    (tmp_path / "cat[1].png").write_bytes(b"")
    assert places([tmp_path / "cat[1].png"], tmp_path, is_folder=True) == [
        ("cat[1].png", "cat[1].png")
    ]


def test_file_that_is_not_there_is_work_all_the_same(tmp_path: Path) -> None:
    """Whoever reads it says so; it must not vanish from the list."""
    assert places([Path("none.png"), Path("b.png")], tmp_path)[0] == ("none.png", "none.png")


def test_pattern_without_a_match_is_no_work(tmp_path: Path) -> None:
    """The caller says that there is nothing to do."""
    assert work_of([tmp_path / "*.png"], tmp_path, is_folder=True) == []


def test_every_format_is_searched_for() -> None:
    """By the usual names of what is read."""
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"} == set(READ)
