"""Where results go: distinct names, and nothing replaced that must not be."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.unprivileged import is_held_to_permissions

from enlarger.errors import InvalidOption, UnwritableFile
from enlarger.shell import names
from enlarger.shell.arguments import Beside, File, Folder, Out, StandardOutput
from enlarger.shell.sources import Source, find
from enlarger.shell.targets import (
    Checked,
    Work,
    assign,
    check,
    check_file,
    check_folder,
    check_target,
    results_among,
)

OUT = Folder(Path("out"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*paths: str) -> None:
    """Files, each with its own name in it."""
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))


def placed(
    *inputs: str, out: Out = OUT, ending: str = ".png", suffix: str | None = None
) -> dict[str, str]:
    """Names of results by those of pictures."""
    found = find(inputs).sources
    work = assign([(source, ending[1:], ending) for source in found], out, suffix=suffix)
    return {item.source.name: str(item.target) for item in work}


def test_file_is_taken_as_it_is(folder: Path) -> None:
    """Whatever its format is called."""
    made("in.jpg")
    assert placed("in.jpg", out=File(Path("x.tiff")), ending=".webp") == {"in.jpg": "x.tiff"}


def test_result_keeps_name_and_place_of_its_picture(folder: Path) -> None:
    """With the ending of its own format; other endings are a part of the name."""
    made("album/cat.jpeg", "album/deep/dog.webp", "scan.v2")
    assert placed("album", "scan.v2") == {
        "album/cat.jpeg": "out/cat.png",
        "album/deep/dog.webp": "out/deep/dog.png",
        "scan.v2": "out/scan.v2.png",
    }


def test_suffix_stands_before_the_ending(folder: Path) -> None:
    """Beside the picture, or in a folder."""
    made("a/cat.jpg")
    assert placed("a/cat.jpg", out=Beside(), ending=".jpg", suffix="-4x") == {
        "a/cat.jpg": "a/cat-4x.jpg"
    }
    assert placed("a/cat.jpg", ending=".jpg", suffix="-4x") == {"a/cat.jpg": "out/cat-4x.jpg"}


def test_standard_output_has_no_name(folder: Path) -> None:
    """There is one result."""
    made("a.png")
    (source,) = find(["a.png"]).sources
    assert [item.target for item in assign([(source, "png", ".png")], StandardOutput())] == [None]


def test_names_that_would_meet_keep_their_endings(folder: Path) -> None:
    """Only these names keep their endings, and those that look like one that did."""
    made("x/cat.jpg", "x/cat.png", "x/cat.png.webp", "x/dog.png")
    assert placed("x", ending=".webp") == {
        "x/cat.jpg": "out/cat.jpg.webp",
        "x/cat.png": "out/cat.png.webp",
        "x/cat.png.webp": "out/cat.png.webp.webp",
        "x/dog.png": "out/dog.webp",
    }


def test_folders_whose_results_would_meet_keep_their_names(folder: Path) -> None:
    """As ``cp -r`` does with several."""
    made("day1/IMG_1.png", "day1/only.png", "day2/IMG_1.png")
    assert placed("day1", "day2") == {
        "day1/IMG_1.png": "out/day1/IMG_1.png",
        "day1/only.png": "out/only.png",
        "day2/IMG_1.png": "out/day2/IMG_1.png",
    }


def test_folders_of_one_name_keep_what_is_above(folder: Path) -> None:
    """As much as tells them apart; named files do as their folders."""
    made("a/pics/x.png", "b/pics/x.png")
    expected = ["out/a/pics/x.png", "out/b/pics/x.png"]
    assert list(placed("a/pics", "b/pics").values()) == expected
    assert list(placed("a/pics/x.png", "b/pics/x.png").values()) == expected


@pytest.mark.parametrize(
    ("one", "other"), [("Cat.png", "cat.png"), ("\u00e9t\u00e9.png", "e\u0301te\u0301.png")]
)
def test_names_are_compared_as_the_least_exact_system_does(
    folder: Path, one: str, other: str
) -> None:
    """Results may be copied to a disk where these are one name: they are told apart, or refused."""
    made(f"x/{one}", f"x/{other}", f"y/{one}", f"z/{other}")
    with pytest.raises(InvalidOption, match="would have one name on some disks"):
        placed("x")
    targets = placed("y", "z").values()
    assert len({names.key(Path(target)) for target in targets}) == 2


def test_result_is_no_folder_of_another(folder: Path) -> None:
    """A folder may be called like a picture."""
    made("x/cat.jpg", "x/cat.png/inner.jpg")
    assert placed("x") == {
        "x/cat.jpg": "out/cat.jpg.png",
        "x/cat.png/inner.jpg": "out/cat.png/inner.png",
    }


def test_thousands_of_names_that_meet_are_told_apart_in_few_looks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A telephone writes two pictures of one name. The work grows with them, not with their square."""
    looks = 0
    key = names.key

    def counted(path: PurePath) -> str:
        nonlocal looks
        looks += 1
        return key(path)

    monkeypatch.setattr(names, "key", counted)
    found = [
        Source(name, PurePath(name), Path("in", name), ("in",))
        for number in range(500)
        for name in (f"IMG_{number}.heic", f"IMG_{number}.jpg")
    ]
    work = assign([(source, "png", ".png") for source in found], OUT)
    assert len({item.target for item in work}) == 1000
    assert looks < 3 * 1000


PARTS = st.sampled_from(["a", "A", "b", "a.png", "day1", "day2", "a.jpg"])
PLACES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(
    places=st.lists(
        st.tuples(PARTS, PLACES, st.sampled_from([".png", ".jpg", ""])),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_results_are_always_distinct(places: list[tuple[str, str, str]]) -> None:
    """Or refused; whatever folders and names pictures have, no result is lost."""
    found = [
        Source(f"{root}/{place}{end}", Path(place + end), Path(root, place + end), (root, "home"))
        for root, place, end in places
    ]
    try:
        work = assign([(source, "png", ".png") for source in found], OUT)
    except InvalidOption:
        return
    targets = [names.key(item.target) for item in work if item.target is not None]
    assert len(set(targets)) == len(found)


# What is there already


def checked(
    *inputs: str, out: Out = OUT, overwrite: bool = False, skip_existing: bool = False
) -> Checked:
    """The answer for pictures whose results are PNG."""
    found = find(inputs).sources
    work = assign([(source, "png", ".png") for source in found], out)
    return check(work, found, overwrite=overwrite, skip_existing=skip_existing)


def sources_of(work: tuple[Work, ...]) -> list[str]:
    """Names of the pictures."""
    return [item.source.name for item in work]


def test_new_results_are_work(folder: Path) -> None:
    """Nothing is in their way."""
    made("a.png", "b.png")
    assert sources_of(checked("a.png", "b.png").work) == ["a.png", "b.png"]


def test_files_that_are_there_are_not_replaced(folder: Path) -> None:
    """The first five are named, and so is what to do."""
    for number in range(7):
        made(f"in/{number}.jpg", f"out/{number}.png")
    with pytest.raises(InvalidOption) as refused:
        checked("in")
    text = str(refused.value)
    assert text.startswith("7 files would be replaced: 'out/0.png', 'out/1.png', ")
    assert "'out/4.png' and 2 more" in text
    assert "out/5.png" not in text
    assert all(option in text for option in ("--overwrite", "--skip-existing", "--suffix TEXT"))


def test_files_that_are_there_are_replaced_if_asked(folder: Path) -> None:
    """Or left alone, with the others done."""
    made("in/a.jpg", "in/b.jpg", "out/a.png")
    assert sources_of(checked("in", overwrite=True).work) == ["in/a.jpg", "in/b.jpg"]
    skipping = checked("in", skip_existing=True)
    assert sources_of(skipping.work) == ["in/b.jpg"]
    assert sources_of(skipping.skipped) == ["in/a.jpg"]


@pytest.mark.parametrize("skip_existing", [True, False])
def test_picture_is_not_replaced_by_its_result(folder: Path, skip_existing: bool) -> None:
    """It is no result that could be skipped; all three options are explained."""
    made("pngs/a.png")
    with pytest.raises(InvalidOption) as refused:
        checked("pngs", out=Folder(Path("pngs")), skip_existing=skip_existing)
    text = str(refused.value)
    assert text.startswith(
        "1 picture would be replaced by the result: 'pngs/a.png'; nothing was done"
    )
    assert all(option in text for option in ("--overwrite", "--skip-existing", "--suffix TEXT"))


def test_picture_is_replaced_by_its_result_if_asked(folder: Path) -> None:
    """It was read whole before."""
    made("pngs/a.png")
    assert sources_of(checked("pngs", out=Folder(Path("pngs")), overwrite=True).work)


def test_picture_is_never_replaced_by_the_result_of_another(folder: Path) -> None:
    """It may not have been read yet: not even if asked, nor by a link to it."""
    made("in/cat.jpg", "album/x.png", "out/other.jpg")
    Path("out/cat.png").symlink_to("../album/x.png")
    with pytest.raises(InvalidOption, match="also a picture to upscale"):
        checked("in/cat.jpg", "album/x.png", overwrite=True)


def test_link_that_leads_nowhere_is_there(folder: Path) -> None:
    """It would be replaced."""
    made("in/a.jpg", "out/b.png")
    Path("out/a.png").symlink_to("nowhere.png")
    with pytest.raises(InvalidOption, match=r"1 file would be replaced: 'out/a.png'"):
        checked("in")


@pytest.mark.parametrize("overwrite", [True, False])
def test_folder_is_never_replaced(folder: Path, overwrite: bool) -> None:
    """Whatever was asked."""
    made("in/a.jpg", "out/a.png/precious.txt")
    with pytest.raises(InvalidOption, match=r"the name 'out/a.png', which is a folder"):
        checked("in", overwrite=overwrite)


def test_pipe_is_never_replaced(folder: Path) -> None:
    """A pipe is not a file that a user could want to replace."""
    made("in/a.jpg")
    (folder / "out").mkdir()
    os.mkfifo(folder / "out" / "a.png")
    with pytest.raises(InvalidOption, match="which is a folder, or no file"):
        checked("in", overwrite=True)


def test_results_of_an_earlier_run_are_told_from_pictures(folder: Path) -> None:
    """They have the names that this run gives to the results of others."""
    made("in/a.png", "in/a-4x.png", "in/b-4x.png")
    found = find(["in"]).sources
    work = assign([(source, "png", ".png") for source in found], Beside(), suffix="-4x")
    assert [source.name for source in results_among(work, found)] == ["in/a-4x.png"]


def test_only_file_is_looked_at_before_the_work(folder: Path) -> None:
    """As of ``jobs save``."""
    made("there.png")
    check_file(Path("new.png"), overwrite=False)
    check_file(Path("there.png"), overwrite=True)
    with pytest.raises(InvalidOption, match=r"'there.png' is there already; .* --overwrite"):
        check_file(Path("there.png"), overwrite=False)
    with pytest.raises(InvalidOption, match="is a folder"):
        check_file(folder, overwrite=True)
    with pytest.raises(UnwritableFile, match="its folder does not exist"):
        check_file(Path("nowhere/x.png"), overwrite=False)
    with pytest.raises(UnwritableFile, match="File name too long"):
        check_file(Path("x" * 260), overwrite=False)


# Folders


def test_folder_is_made_if_it_may_be(folder: Path) -> None:
    """With those above it."""
    check_target(Path("new/deep/x.png"), may_be_made=True)
    with pytest.raises(
        UnwritableFile, match=r"cannot write 'new/x.png': its folder does not exist"
    ):
        check_target(Path("new/x.png"), may_be_made=False)


def test_no_folder_lies_below_a_file(folder: Path) -> None:
    """Said before the work."""
    made("file")
    for path in ("file", "file/out", "file/out/deep"):
        with pytest.raises(UnwritableFile, match="'file' is not a folder"):
            check_folder(Path(path))


def test_name_that_is_too_long_is_refused_before_the_work(folder: Path) -> None:
    """By the system's own measure."""
    check_target(Path("x" * 251 + ".png"), may_be_made=True)
    with pytest.raises(UnwritableFile, match="File name too long"):
        check_target(Path("x" * 252 + ".png"), may_be_made=True)


@pytest.mark.skipif(
    not is_held_to_permissions(), reason="root may write anywhere: test_shell.py tries without"
)
def test_folder_without_permission_is_refused(folder: Path) -> None:
    """With the folder's name."""
    (folder / "locked").mkdir(mode=0o500)
    with pytest.raises(UnwritableFile, match="cannot write into 'locked': no permission"):
        check_folder(Path("locked/new"))
