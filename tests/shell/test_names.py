"""File names of the shell command: how they are shown, compared, and split."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.picture.values import FORMATS
from enlarger.shell import names


@pytest.mark.parametrize("kind", FORMATS)
def test_names_of_every_format_that_is_read_are_known(kind: str) -> None:
    """By the format's own name, in small and capital letters."""
    assert names.is_picture_name(f"cat.{kind}")
    assert names.is_picture_name(f"cat.{kind.upper()}")


@pytest.mark.parametrize(
    "name", ["a.jfif", "a.jpe", "a.jif", "a.JPG", "a.heic", "a.nef", "a.dng", "a.psd", "a.jxl"]
)
def test_names_of_pictures_are_pictures_whether_they_are_read_or_not(name: str) -> None:
    """A folder's user wants to know of each that could not be enlarged."""
    assert names.is_picture_name(name)


@pytest.mark.parametrize("name", ["a.txt", "a.mov", "png", ".png", "a", "a.png.part"])
def test_other_names_are_not(name: str) -> None:
    """Also those that only begin like one."""
    assert not names.is_picture_name(name)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("cat.png", "cat"), ("cat.png.webp", "cat.png"), ("scan.v2", "scan.v2"), (".png", ".png")],
)
def test_stem_is_the_name_without_the_ending_of_a_picture(name: str, stem: str) -> None:
    """Other endings are a part of the name, and a name is never empty."""
    assert names.stem(name) == stem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cat.png", "cat.PNG"),
        ("\u00e9t\u00e9.png", "e\u0301te\u0301.png"),
        ("stra\u00dfe.png", "STRASSE.png"),
    ],
)
def test_names_that_some_system_takes_for_one_have_one_key(one: str, other: str) -> None:
    """In letter case and in composed accents, also below folders."""
    assert names.key(PurePath(one)) == names.key(PurePath(other))
    assert names.key(PurePath("a", one)) == names.key(PurePath("A", other))


def test_names_that_differ_have_different_keys() -> None:
    """Nothing else is taken for one."""
    assert names.key(PurePath("cat1.png")) != names.key(PurePath("cat2.png"))


@pytest.mark.parametrize("name", [":cat:.png", "[red]x[/red].png", "übung äé.png", "a b'c.png"])
def test_usual_names_are_shown_as_they_are(name: str) -> None:
    """Nothing in them is a code."""
    assert names.shown(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.png", "a\\nb.png"),
        ("\x1b[31mred.png", "\\x1b[31mred.png"),
        ("\udce9.png", "\\udce9.png"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_as_text(name: str, shown: str) -> None:
    """Line breaks, escape sequences, and bytes that are no text."""
    assert names.shown(name) == shown


@given(name=st.text())
def test_shown_names_are_one_printable_line(name: str) -> None:
    """Whatever a file is called."""
    shown = names.shown(name)
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    "name", ["._a.png", ".DS_Store", ".git", "Thumbs.db", "desktop.ini", "__MACOSX"]
)
def test_what_systems_leave_in_folders_is_hidden(name: str) -> None:
    """On any system, since folders travel."""
    assert names.is_hidden(name)


def test_urls_are_told_from_paths() -> None:
    """By their scheme; a letter alone is a drive."""
    assert all(map(names.is_url, ["https://a.example/b.png", "ftp://x/y", "FILE:///x"]))
    assert not any(map(names.is_url, ["c:/x.png", "a/b://c.png", "http:/x", "cat.png"]))


def test_folder_that_cannot_be_seen_is_none(tmp_path: Path) -> None:
    """And is no error either."""
    assert names.is_folder(tmp_path)
    assert not names.is_folder(tmp_path / "nowhere" / "x")
    assert not names.is_folder("a\0b")
