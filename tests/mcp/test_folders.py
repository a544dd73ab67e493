"""Which files clients may name: nothing outside of the folders is read or written, by whatever name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.unprivileged import locked, run

from enlarger.errors import ConfigError, InvalidOption, InvalidUrl, UnwritableFile
from enlarger.mcp.folders import Folders


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A folder that may be used, with a picture; beside it lies a secret."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"a picture")
    (tmp_path / "secret.png").write_bytes(b"a secret")
    return folder


@pytest.fixture
def folders(inside: Path) -> Folders:
    """The folder, as clients may use it."""
    return Folders([inside])


@pytest.mark.parametrize("name", ["cat.jpg", "./cat.jpg", "../pictures/cat.jpg"])
def test_pictures_in_the_folder_are_found(name: str, folders: Folders, inside: Path) -> None:
    """By a relative path, which begins in the first folder, and by an absolute one."""
    assert folders.picture(name).path == inside / "cat.jpg"
    assert folders.picture(str(inside / name)).path == inside / "cat.jpg"


def test_urls_are_pictures(folders: Folders) -> None:
    """Those of http and https; a URL of a file is refused."""
    assert folders.picture("https://example.com/cat.jpg").path is None
    with pytest.raises(InvalidUrl, match="http and https"):
        folders.picture("file:///etc/passwd")


@pytest.mark.parametrize(
    "name", ["../secret.png", "../there-is-nothing", "/etc/passwd", "link.png"]
)
def test_nothing_outside_is_read(name: str, folders: Folders, inside: Path) -> None:
    """The error is the same whether anything is there or not; links are resolved first."""
    (inside / "link.png").symlink_to(inside.parent / "secret.png")
    with pytest.raises(
        InvalidOption, match=r"is outside of the folders that may be used: '.*pictures'"
    ):
        folders.picture(name)


def test_loop_of_links_hides_no_way_out(folders: Folders, inside: Path) -> None:
    """What follows a loop is not resolved by the system, and ``..`` would remove the loop from the text."""
    (inside / "loop").symlink_to(inside / "loop")
    (inside / "out").symlink_to(inside.parent)
    (inside / "detour").symlink_to("loop/../out")
    for way in ("loop/../out", "detour"):
        with pytest.raises(InvalidOption, match="outside of the folders"):
            folders.picture(f"{way}/secret.png")
        with pytest.raises(InvalidOption, match="outside of the folders"):
            folders.result(f"{way}/new.png")


def test_folders_that_are_links_are_resolved(inside: Path, tmp_path: Path) -> None:
    """The owner may name a link; a link inside that leads into another allowed folder is allowed as well."""
    (tmp_path / "more").mkdir()
    (tmp_path / "alias").symlink_to(inside)
    (inside / "other").symlink_to(tmp_path / "more")
    folders = Folders([tmp_path / "alias", tmp_path / "more"])
    assert folders.picture("cat.jpg").path == inside / "cat.jpg"
    assert folders.result("other/new.png") == (tmp_path / "more" / "new.png", "png")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is not a file"),
        ("dog.jpg", "is not there"),
        ("cat.jpg/dog.jpg", "is not there"),
        ("a\0b.jpg", "has a character that names of files cannot have"),
        ("a\ud800.jpg", "has a character that names of files cannot have"),
        (f"{'a' * 252}.jpg", "cannot be used: File name too long"),
        ("ä" * 126 + ".jpg", "cannot be used: File name too long"),
        ("x/" * 3000 + "cat.jpg", "cannot be used: File name too long"),
        ("loop.jpg", "cannot be used: Too many levels of symbolic links"),
        ("loop.jpg/cat.jpg", "cannot be used: Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_refused(name: str, why: str, folders: Folders, inside: Path) -> None:
    """A folder, a name of nothing, and names that the system refuses. The error says why, and has no endless name."""
    (inside / "loop.jpg").symlink_to(inside / "loop.jpg")
    with pytest.raises(InvalidOption, match=why) as caught:
        folders.picture(name)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "name", ["a\0b.png", "a\ud800.png", f"{'a' * 252}.png", "x/" * 3000 + "a.png"]
)
def test_results_whose_name_is_refused_are_told(name: str, folders: Folders) -> None:
    """Before any work is done."""
    with pytest.raises((InvalidOption, UnwritableFile), match=r"names of files|too long|not exist"):
        folders.result(name)


def test_folders_that_may_not_be_entered_are_told(inside: Path) -> None:
    """With the reason of the system."""
    (inside / "closed").mkdir()
    locked(inside / "closed")
    asked = "from enlarger.mcp.folders import *; Folders([Path('.')]).picture('closed/cat.jpg')"
    done = run([sys.executable, "-c", asked], inside)
    assert "Invalid picture: 'closed/cat.jpg' cannot be used: Permission denied" in done.stderr


def test_results_get_new_names_only(folders: Folders, inside: Path) -> None:
    """A file, and a link that leads nowhere, are there already."""
    assert folders.result("new.webp") == (inside / "new.webp", "webp")
    (inside / "dangling.png").symlink_to(inside / "elsewhere.png")
    for name in ("cat.jpg", "dangling.png"):
        with pytest.raises(InvalidOption, match="no file is replaced"):
            folders.result(name)


def test_results_stay_inside(folders: Folders, inside: Path) -> None:
    """Links to other folders, also dangling ones, are resolved first."""
    (inside / "out").symlink_to(inside.parent)
    (inside / "dangling.png").symlink_to(inside.parent / "new.png")
    for name in ("../new.png", "out/new.png", "dangling.png", "/tmp/new.png"):  # noqa: S108 - refused
        with pytest.raises(InvalidOption, match="outside of the folders"):
            folders.result(name)


def test_results_need_a_folder_and_a_format(folders: Folders) -> None:
    """Folders are not made, and the ending says the format."""
    with pytest.raises(UnwritableFile, match="its folder does not exist"):
        folders.result("new/cat.png")
    with pytest.raises(InvalidOption, match="must end in"):
        folders.result("cat.txt")


@example(["loop", "..", "out"])
@given(st.lists(st.sampled_from(["..", ".", "pictures", "out", "loop", "x.png"]), max_size=8))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    """Whatever the path is made of: a result that is accepted lies below the folder."""
    folder = tmp_path_factory.mktemp("any") / "pictures"
    folder.mkdir()
    (folder / "out").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    try:
        path, _ = Folders([folder]).result("/".join([*parts, "new.png"]))
    except (InvalidOption, UnwritableFile):
        return
    assert path.resolve().is_relative_to(folder)


def test_folders_must_be_there(tmp_path: Path) -> None:
    """The option is named, and what to do."""
    with pytest.raises(ConfigError, match=r"--allow: '.*gone' is not a folder"):
        Folders([tmp_path / "gone"])
    with pytest.raises(ConfigError, match="--allow ~/Pictures"):
        Folders([])
