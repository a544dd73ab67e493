"""What the arguments of ``enlarger upscale`` mean: which are pictures, and where results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from enlarger.errors import InvalidOption
from enlarger.shell.arguments import Beside, File, Folder, Out, StandardOutput, asked_of


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``a.jpg``, ``b.jpg``, and folders ``day1``, ``day2`` with a picture each, in the current folder."""
    for name in ("a.jpg", "b.jpg", "day1/x.png", "day2/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)


FORMS: list[tuple[str, str | None, str | None, list[str], Out]] = [
    ("a.jpg out.png", None, None, ["a.jpg"], File(Path("out.png"))),
    ("a.jpg out/", None, None, ["a.jpg"], Folder(Path("out"))),
    ("a.jpg day2", None, None, ["a.jpg"], Folder(Path("day2"))),
    ("a.jpg .", None, None, ["a.jpg"], Folder(Path())),
    ("a.jpg b.jpg out", None, None, ["a.jpg", "b.jpg"], Folder(Path("out"))),
    ("a.jpg b.jpg out.png/", None, None, ["a.jpg", "b.jpg"], Folder(Path("out.png"))),
    ("day1 out", None, None, ["day1/x.png"], Folder(Path("out"))),
    ("*.jpg out", None, None, ["a.jpg", "b.jpg"], Folder(Path("out"))),
    ("a*.jpg out.png", None, None, ["a.jpg"], File(Path("out.png"))),
    ("- -", None, None, ["-"], StandardOutput()),
    ("- out.png", None, None, ["-"], File(Path("out.png"))),
    ("a.jpg b.jpg", "out", None, ["a.jpg", "b.jpg"], Folder(Path("out"))),
    ("a.jpg", "b.jpg", None, ["a.jpg"], File(Path("b.jpg"))),
    ("a.jpg", "-", None, ["a.jpg"], StandardOutput()),
    ("a.jpg", None, "-4x", ["a.jpg"], Beside()),
    ("a.jpg b.jpg", None, "-4x", ["a.jpg", "b.jpg"], Beside()),
    ("day1", None, "-4x", ["day1/x.png"], Beside()),
    ("*.jpg", None, "-4x", ["a.jpg", "b.jpg"], Beside()),
    ("a.jpg day2", None, "-4x", ["a.jpg"], Folder(Path("day2"))),
    ("a.jpg new/", None, "-4x", ["a.jpg"], Folder(Path("new"))),
    ("day1 new", None, "-4x", ["day1/x.png"], Folder(Path("new"))),
    ("day1", "day2", "-4x", ["day1/x.png"], Folder(Path("day2"))),
]


@pytest.mark.parametrize(("typed", "output", "suffix", "names", "out"), FORMS)
def test_arguments_mean(
    typed: str, output: str | None, suffix: str | None, names: list[str], out: Out
) -> None:
    """The last argument is OUT, unless ``-o`` names it, or a suffix makes it needless and it is a picture."""
    asked = asked_of(typed.split(), output, suffix=suffix)
    assert [source.name for source in asked.found.sources] == names
    assert asked.out == out


REFUSED = [
    ("a.jpg", None, None, "an input and an output are needed"),
    ("", "out", None, "an input and an output are needed"),
    ("a.jpg b.jpg out.png", None, None, "'out.png' is the name of a picture"),
    ("day1 out.JPG", None, None, "'out.JPG' is the name of a picture"),
    ("a.jpg day1 b.jpg", None, None, "'b.jpg' is a file, and several pictures need a folder"),
    ("a.jpg b.jpg -", None, None, "standard output takes one result"),
    ("a.jpg https://a.example/x.png", None, None, "results go into a file or a folder"),
    ("a.jpg out.png", None, "-4x", "with --suffix results are named after their pictures"),
    ("a.jpg", "out.png", "-4x", "with --suffix results are named after their pictures"),
    ("day1 day2", None, "-4x", "'day2' may be a folder of pictures or the one for results"),
    ("a.jpg", None, "", "--suffix: it must be a part of a file's name"),
    ("a.jpg", None, "../x", "--suffix: it must be a part of a file's name"),
    ("-", None, "-4x", "'standard input' lies in no folder here"),
    ("https://a.example/x.png", None, "-4x", "lies in no folder here"),
]


@pytest.mark.parametrize(("typed", "output", "suffix", "text"), REFUSED)
def test_arguments_that_do_not_fit_together_are_refused(
    typed: str, output: str | None, suffix: str | None, text: str
) -> None:
    """Before any work, with what to type."""
    with pytest.raises(InvalidOption, match=text) as refused:
        asked_of(typed.split(), output, suffix=suffix)
    assert refused.value.exit_status == 2


def test_empty_output_is_refused() -> None:
    """As a variable that was not set leaves it."""
    with pytest.raises(InvalidOption, match="OUT is empty"):
        asked_of(["a.jpg", ""], None)


@pytest.mark.parametrize("typed", ["skip_existing", "resume"])
def test_overwriting_and_skipping_contradict_each_other(typed: str) -> None:
    """A file that is there is either replaced or left alone. The error names the option that was typed."""
    option = f"--{typed.replace('_', '-')}"
    with pytest.raises(InvalidOption, match=f"--overwrite and {option} contradict"):
        asked_of(
            ["a.jpg", "out.png"],
            None,
            overwrite=True,
            skip_existing=typed == "skip_existing",
            resume=typed == "resume",
        )


def test_folder_of_results_is_left_out_of_the_search() -> None:
    """It lies in the one that is searched."""
    Path("day1/out").mkdir()
    Path("day1/out/x.png").write_bytes(b"")
    assert [source.name for source in asked_of(["day1", "day1/out"], None).found.sources] == [
        "day1/x.png"
    ]
