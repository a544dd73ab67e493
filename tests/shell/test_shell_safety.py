"""Real runs of the command never destroy what belongs to the user."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.pictures import encoded, noise
from support.shell_runs import PHOTO, read, run, tree


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user with the models and settings of the tests."""
    return {**os.environ, **environment}


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.png", "b.png"],
        ["a.png", "b.png", "c.png"],
        ["a.png", "a.png"],
        ["pngs", "pngs"],
        ["pngs/", "pngs/"],
        ["pngs", "out", "--format", "auto"],
        ["a.png", "pngs", "out.png"],
        ["a.png", "b.png", "file.txt/out/"],
        ["a.png", "b.png", "file.txt"],
        ["day1/IMG.png", "day1/IMG.webp", "day1", "--overwrite", "--format", "webp"],
    ],
)
def test_run_that_would_destroy_something_does_nothing(
    tmp_path: Path, environment: dict[str, str], arguments: list[str]
) -> None:
    """It ends before any work, in one line; originals and earlier results are as they were."""
    for name in ("a.png", "b.png", "c.png", "pngs/a.png", "out/a.png", "day1/IMG.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(PHOTO))
    (tmp_path / "day1" / "IMG.webp").write_bytes(encoded(PHOTO, "WEBP", lossless=True))
    (tmp_path / "file.txt").write_text("a text")
    if arguments[0] == "day1/IMG.png":  # two results that would have the names of two pictures
        (tmp_path / "day1" / "IMG.png.webp").symlink_to("IMG.webp")
    before = tree(tmp_path)
    done = run(tmp_path, environment, *arguments)
    assert tree(tmp_path) == before
    assert done.returncode == (1 if "file.txt/out/" in arguments else 2)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("enlarger: ")


def test_picture_that_cannot_be_read_is_not_replaced_either(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """It is the user's, and may be mended; its header is read first where it decides the format."""
    for name in ("x", "y", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "x" / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "y" / "a.png").write_bytes(encoded(PHOTO)[:30])
    (tmp_path / "out" / "a.png").symlink_to("../y/a.png")
    before = tree(tmp_path)
    inputs = ["x/a.png", "y/a.png", "-o", "out", "--format", "auto", "--overwrite"]
    done = run(tmp_path, environment, *inputs)
    assert done.returncode == 2
    assert "'y/a.png', which is also a picture to upscale" in done.stderr
    assert tree(tmp_path) == before


def test_folders_with_equal_names_lose_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    """Two results are reported, and two are there; a second run skips both."""
    for day in (1, 2):
        (tmp_path / f"day{day}").mkdir()
        (tmp_path / f"day{day}" / "IMG_1.png").write_bytes(encoded(noise(5, 6, 3, seed=day)))
    done = run(tmp_path, environment, "day1", "day2", "out/")
    assert done.returncode == 0, done.stderr
    for day in (1, 2):
        assert read(tmp_path / "out" / f"day{day}" / "IMG_1.png").shape == (20, 24, 3)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2
    again = run(tmp_path, environment, "day1", "day2", "out/", "--skip-existing")
    assert "0 upscaled, 2 skipped (2 there already), 0 failed" in again.stderr


def test_results_lie_beside_their_pictures(tmp_path: Path, environment: dict[str, str]) -> None:
    """With a suffix, in the pictures' own formats; a second run replaces nothing."""
    (tmp_path / "cat.jpg").write_bytes(encoded(PHOTO, "JPEG"))
    (tmp_path / "dog.png").write_bytes(encoded(PHOTO))
    before = tree(tmp_path)
    done = run(tmp_path, environment, "cat.jpg", "dog.png", "--suffix=-4x", "-s", "4")
    assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path)) == {"cat.jpg", "cat-4x.jpg", "dog.png", "dog-4x.png"}
    assert before.items() <= tree(tmp_path).items()
    assert run(tmp_path, environment, "cat.jpg", "dog.png", "--suffix=-4x").returncode == 2


def test_picture_is_replaced_by_its_own_result_if_asked(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Whole: it is the enlarged one, and nothing else is in the folder."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    done = run(tmp_path, environment, "a.png", "a.png", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "a.png").shape == (80, 120, 3)
    assert set(tree(tmp_path)) == {"a.png"}


@pytest.mark.parametrize("option", ["--skip-existing", "--overwrite"])
@pytest.mark.parametrize("inputs", [["pics"], ["pics/a.png", "pics/b.jpg", "pics/a-4x.png"]])
def test_run_with_a_suffix_can_go_on(
    tmp_path: Path, environment: dict[str, str], option: str, inputs: list[str]
) -> None:
    """What an earlier run made lies among the pictures, and is not enlarged again."""
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "pics" / "b.jpg").write_bytes(encoded(PHOTO, "JPEG"))
    (tmp_path / "pics" / "a-4x.png").write_bytes(b"of an earlier run")
    done = run(tmp_path, environment, *inputs, "--suffix=-4x", option)
    assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path / "pics")) == {"a.png", "a-4x.png", "b.jpg", "b-4x.jpg"}
    assert "1 a result of an earlier run" in done.stderr
    is_old = (tmp_path / "pics" / "a-4x.png").read_bytes() == b"of an earlier run"
    assert is_old == (option == "--skip-existing")


def test_two_runs_share_a_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    """What the other one made is skipped, also where it came while this one was at it."""
    (tmp_path / "in").mkdir()
    for number in range(6):
        (tmp_path / "in" / f"{number}.png").write_bytes(encoded(noise(60, 60, 3, seed=number)))
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(run, tmp_path, environment, "in", "out/", "--skip-existing")
            for _ in range(2)
        ]
    for done in (one.result() for one in runs):
        assert done.returncode == 0, done.stderr
        assert " 0 failed, " in done.stderr
    assert len(tree(tmp_path / "out")) == 6


def test_folder_inside_the_one_that_is_enlarged_is_left_out(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """So a second run does not enlarge results."""
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "a.png").write_bytes(encoded(PHOTO))
    for arguments in (["pics", "pics/large"], ["pics", "pics/large", "--overwrite"]):
        done = run(tmp_path, environment, *arguments)
        assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path)) == {"pics/a.png", "pics/large/a.png"}


def test_picture_goes_through_pipes(tmp_path: Path, environment: dict[str, str]) -> None:
    """From standard input to standard output, with all that is said on the other stream."""
    done = run(tmp_path, environment, "--format", "jpg", "-", "-", stdin=encoded(PHOTO))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\xff\xd8\xff")  # type: ignore[arg-type]
    assert done.stderr.startswith("standard output: 30x20 to 120x80, nearest ")
    assert tree(tmp_path) == {}


def test_output_may_be_named_by_an_option(tmp_path: Path, environment: dict[str, str]) -> None:
    """Then all arguments are pictures."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(PHOTO))
    done = run(tmp_path, environment, "-o", "new/", "a.png", "b.png")
    assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path / "new")) == {"a.png", "b.png"}
