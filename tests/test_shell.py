"""A shell user's folder of pictures: real runs of the command, each picture by itself."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import unprivileged
from fakes import NEAREST, NearestEngine, nearest
from oracles import lanczos_to
from pictures import GRAY, RGB, encoded, noise, oriented, png
from PIL import Image
from rich.console import Console
from sites import Site, page

from enlarger.errors import EnlargerError
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.options import read_options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.shell import run as shell_run
from enlarger.shell.arguments import asked_of
from enlarger.shell.local import LocalWorker
from enlarger.shell.sources import Reader

PHOTO = noise(20, 30, 3, seed=1)
DEEP = np.random.default_rng(2).integers(0, 65536, (12, 9, 3)).astype(np.uint16)
ORIENTATION, SOFTWARE, USER_COMMENT, EXIF_IFD = 0x0112, 0x0131, 0x9286, 0x8769


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Of a user with the made models and the settings of all tests."""
    return {**os.environ, **environment}


def command(*arguments: str) -> list[str]:
    """``enlarger upscale`` with the model that repeats pixels."""
    return [sys.executable, "-m", "enlarger", "upscale", *arguments, "--model", "nearest"]


def run(
    folder: Path, environment: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """What comes of the command, in a folder."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment,
        capture_output=True,
        input=stdin,
        timeout=120,
        check=False,
    )
    # What is read of standard output as bytes is a picture, and of the rest a text.
    text = done.stdout if arguments[-1] == "-" else done.stdout.decode()
    return subprocess.CompletedProcess(
        done.args,
        done.returncode,
        text,  # type: ignore[arg-type]
        done.stderr.decode(),
    )


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder with what they hold, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``album`` with pictures of several kinds, one that is none, and a text."""
    folder = tmp_path_factory.mktemp("shell")
    album = folder / "album"
    (album / "deep").mkdir(parents=True)
    (album / "a.png").write_bytes(encoded(PHOTO))
    (album / "b.webp").write_bytes(encoded(PHOTO, "WEBP", lossless=True))
    (album / "broken.png").write_bytes(encoded(PHOTO)[:300])
    (album / "deep" / "wide.png").write_bytes(png(DEEP, colour=RGB, depth_bits=16))
    (album / "readme.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def album(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The whole album, each picture in its own format."""
    return run(folder, environment, "album", "large", "--format", "auto", "--quality", "100")


def read(path: Path) -> Pixels:
    """A file's samples, by a decoder that is not ours."""
    with Image.open(path) as image:
        return np.asarray(image)


def test_one_bad_file_never_stops_the_rest(
    folder: Path, album: subprocess.CompletedProcess[str]
) -> None:
    """All others are there; the failure is named, counted, and seen in the exit status."""
    found = {str(path.relative_to(folder / "large")) for path in (folder / "large").rglob("*.*")}
    assert found == {"a.png", "b.webp", "deep/wide.png"}
    lines = album.stderr.strip().splitlines()
    assert "enlarger: 'album/broken.png': the file is broken or cut short" in lines
    assert "skipped, not a picture: album/readme.txt" in lines
    assert lines[-1].startswith("3 enlarged, 1 skipped (1 not a picture), 1 failed, ")
    assert (album.returncode, album.stdout) == (1, "")


def test_results_have_their_pictures_depth(
    folder: Path, album: subprocess.CompletedProcess[str]
) -> None:
    """8 bits and 16 bits, exactly, from file to file."""
    assert np.array_equal(read(folder / "large" / "a.png"), nearest(PHOTO, 4))
    wide = imagecodecs.png_decode((folder / "large" / "deep" / "wide.png").read_bytes())
    assert np.array_equal(wide, nearest(DEEP, 4))


def test_results_that_are_there_are_skipped_if_asked(
    folder: Path, album: subprocess.CompletedProcess[str], environment: dict[str, str]
) -> None:
    """So a run that was stopped can go on."""
    before = (folder / "large" / "a.png").stat().st_mtime_ns
    again = run(folder, environment, "album", "large", "--format", "auto", "--skip-existing")
    assert (
        again.stderr.strip()
        .splitlines()[-1]
        .startswith("0 enlarged, 4 skipped (3 there already, 1 not a picture), 1 failed, ")
    )
    assert (folder / "large" / "a.png").stat().st_mtime_ns == before


def test_size_format_and_metadata_are_as_asked(tmp_path: Path, environment: dict[str, str]) -> None:
    """A turned photo by its long side: upright, of exactly that size, its EXIF kept, with where it came from."""
    (tmp_path / "in.png").write_bytes(oriented(PHOTO, 6, "PNG"))
    done = run(tmp_path, environment, "in.png", "out.tiff", "--long-side", "77", "--provenance")
    assert done.returncode == 0, done.stderr
    upright = np.rot90(PHOTO, -1)
    expected = lanczos_to(nearest(upright, 4), 51, 77)
    assert np.abs(read(tmp_path / "out.tiff") - expected).max() <= 0.51
    with Image.open(tmp_path / "out.tiff") as image:
        exif = image.getexif()
        assert exif.get(ORIENTATION, 1) == 1
        comment = exif.get_ifd(EXIF_IFD)[USER_COMMENT]
    facts = json.loads(comment[comment.index(b"{") :].decode())
    assert (facts["model"], facts["width"], facts["height"]) == ("nearest", 51, 77)


def test_region_is_cut_out(tmp_path: Path, environment: dict[str, str]) -> None:
    """With the pixels of the whole."""
    (tmp_path / "in.png").write_bytes(png(PHOTO[:, :, :1], colour=GRAY, depth_bits=8))
    done = run(tmp_path, environment, "in.png", "out.png", "--region", "5,4,10,8")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read(tmp_path / "out.png"), nearest(PHOTO[4:12, 5:15, 0], 4))


def test_alpha_into_jpeg_needs_a_background(tmp_path: Path, environment: dict[str, str]) -> None:
    """Refused before the work, with what to do; and done when it is there."""
    clear = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 128, np.uint8)])
    (tmp_path / "in.png").write_bytes(encoded(clear))
    refused = run(tmp_path, environment, "in.png", "out.jpg")
    assert refused.returncode == 2
    assert "Invalid background" in refused.stderr
    assert "#ffffff" in refused.stderr
    assert not (tmp_path / "out.jpg").exists()
    done = run(
        tmp_path, environment, "in.png", "out.jpg", "--background", "#ffffff", "--quality", "100"
    )
    assert done.returncode == 0, done.stderr
    mixed = nearest((PHOTO.astype(int) + 255) // 2, 4)
    assert np.abs(read(tmp_path / "out.jpg").astype(int) - mixed).mean() < 2


def animation(kind: str) -> bytes:
    """Three frames of 30 x 20 px in few colours."""
    frames = [Image.fromarray(noise(20, 30, seed=seed) & 0xE0) for seed in range(3)]
    return encoded(
        frames[0],
        kind,
        save_all=True,
        append_images=frames[1:],
        duration=[50, 60, 70],
        loop=0,
    )


Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def begun() -> list[tuple[str, int, str]]:
    """Models that were to be loaded ahead, for how many tiles, and in which precision."""
    return []


@pytest.fixture
async def shell(
    tmp_path: Path, model_dir: Path, begun: list[tuple[str, int, str]]
) -> AsyncIterator[Run]:
    """Enlarges files of a folder in this process; gives the exit status and what was said."""
    catalogue = Catalogue.installed(model_dir)
    model = catalogue.choose("nearest", scale=4)
    facts = replace(NEAREST, sha256=model.sha256, max_tile_px=model.max_tile_px)
    with ThreadPoolExecutor(2) as executor:
        async with Decoders(1) as decoders:

            def begin_to_load(model_id: str, tiles: int, precision: str) -> Future[object]:
                begun.append((model_id, tiles, precision))
                loaded: Future[object] = Future()
                loaded.set_result(None)
                return loaded

            async def run(
                source: str,
                target: str,
                *,
                mflop_per_s: float | None = None,
                precisions: tuple[str, ...] = NEAREST.precisions,
                setting: str = "auto",
                dry_run: bool = False,
                **fields: object,
            ) -> tuple[int, str]:
                said = StringIO()
                given = {"scale": 4, "model": "nearest", **fields}
                worker = LocalWorker(
                    engine=NearestEngine(
                        [replace(facts, precisions=precisions)], mflop_per_s=mflop_per_s
                    ),
                    catalogue=catalogue,
                    decoders=decoders,
                    executor=executor,
                    reader=Reader(),
                    precision=setting,
                    begin_to_load=begin_to_load,
                )
                try:
                    status = await shell_run.run(
                        asked_of(
                            [str(tmp_path / source), str(tmp_path / target)], None, dry_run=dry_run
                        ),
                        read_options(given, strict=False),
                        worker,
                        Console(file=said),
                        output=lambda line: print(line, file=said),
                    )
                except EnlargerError as error:
                    return error.exit_status, f"{said.getvalue()}{error}"
                return status, said.getvalue()

            yield run


def shown(path: Path) -> list[tuple[float, Pixels]]:
    """Each frame with its duration, in gray, as a decoder that is not ours has it."""
    frames = []
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            frames.append(
                (image.info.get("duration", 0), np.asarray(image.convert("L")).astype(int))
            )
    return frames


@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.avif"])
async def test_animation_moves_where_the_name_can(shell: Run, tmp_path: Path, name: str) -> None:
    """By default in all its frames, at their times; the line says how many there are."""
    (tmp_path / "in.gif").write_bytes(animation("GIF"))
    status, said = await shell("in.gif", name, quality="100")
    assert status == 0, said
    assert " to 120x80, 3 frames, nearest f32, " in said
    for number, (duration_ms, frame) in enumerate(shown(tmp_path / name)):
        error = np.abs(frame - nearest(noise(20, 30, seed=number) & 0xE0, 4))
        assert duration_ms == 50 + 10 * number
        assert error.mean() < (0.01 if name.endswith("png") else 3)
    assert len(shown(tmp_path / name)) == 3


@pytest.mark.parametrize(
    ("name", "frames"),
    [("out.jpg", None), ("out.tiff", None), ("out.png", "first"), ("out.png", "1")],
)
async def test_animation_is_its_first_frame_where_the_name_cannot(
    shell: Run, tmp_path: Path, name: str, frames: str | None
) -> None:
    """Or where that is asked for; with a note."""
    (tmp_path / "in.gif").write_bytes(animation("GIF"))
    status, said = await shell("in.gif", name, frames=frames)
    assert status == 0, said
    assert codes(said) == ["first_frame_only"]
    ((_, frame),) = shown(tmp_path / name)
    assert np.abs(frame - nearest(noise(20, 30) & 0xE0, 4)).mean() < 3


async def test_so_many_frames_as_asked_are_taken(shell: Run, tmp_path: Path) -> None:
    """The rest is told of."""
    (tmp_path / "in.gif").write_bytes(animation("GIF"))
    status, said = await shell("in.gif", "out.png", frames="2")
    assert status == 0, said
    assert "  frames_left_out: the first 2 of 3 were taken" in said
    assert len(shown(tmp_path / "out.png")) == 2


async def test_file_is_as_small_as_asked(shell: Run, tmp_path: Path) -> None:
    """Its quality, or its size too, are lowered for it, and that is told."""
    (tmp_path / "in.gif").write_bytes(animation("GIF"))
    status, said = await shell("in.gif", "out.webp", max_bytes="2500")
    assert status == 0, said
    assert (tmp_path / "out.webp").stat().st_size <= 2500
    assert codes(said)[0] == "quality_lowered"
    assert len(shown(tmp_path / "out.webp")) == 3


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("out.jpg", {"frames": "all"}, "Invalid format: jpeg holds one picture"),
        ("out.tiff", {"frames": "2"}, "Invalid format: tiff holds one picture"),
        ("out.png", {"max_bytes": "60"}, "Invalid max_bytes: png needs "),
    ],
)
async def test_what_cannot_be_done_with_an_animation_is_refused(
    shell: Run, tmp_path: Path, name: str, options: dict[str, str], text: str
) -> None:
    """In words, with the status of a bad option, and nothing is left behind."""
    (tmp_path / "in.gif").write_bytes(animation("GIF"))
    status, said = await shell("in.gif", name, **options)
    assert status == 2
    assert text in said
    assert names(tmp_path) == {"in.gif"}


async def test_pages_of_a_tiff_are_no_animation(shell: Run, tmp_path: Path) -> None:
    """The first one is taken, unless all are asked for."""
    pages = [Image.fromarray(noise(20, 30, seed=seed)) for seed in range(3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    (tmp_path / "in.tiff").write_bytes(data)
    status, said = await shell("in.tiff", "out.png")
    assert (status, codes(said)) == (0, ["first_frame_only"])
    status, said = await shell("in.tiff", "all.png", frames="all")
    assert status == 2
    assert "Invalid frames: the 3 pages of a tiff are no animation" in said


async def test_folder_of_animations_moves_in_its_own_formats(shell: Run, tmp_path: Path) -> None:
    """A GIF becomes a PNG that moves, and a WebP stays one."""
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.gif").write_bytes(animation("GIF"))
    (tmp_path / "album" / "b.webp").write_bytes(animation("WEBP"))
    status, said = await shell("album", "large", format="auto")
    assert status == 0, said
    assert names(tmp_path / "large") == {"a.png", "b.webp"}
    assert len(shown(tmp_path / "large" / "a.png")) == 3
    assert len(shown(tmp_path / "large" / "b.webp")) == 3


def names(folder: Path) -> set[str]:
    """All that is in a folder."""
    return {path.name for path in folder.iterdir()}


def codes(said: str) -> list[str]:
    """The notes that were told."""
    return [line.strip().split(":")[0] for line in said.splitlines() if line.startswith("  ")]


def test_options_of_animations_are_those_of_the_command(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """``--frames`` and ``--max-bytes``, in one command."""
    (tmp_path / "in.gif").write_bytes(animation("GIF"))
    done = run(tmp_path, environment, "in.gif", "out.webp", "--frames", "2", "--max-bytes", "2500")
    assert done.returncode == 0, done.stderr
    assert len(shown(tmp_path / "out.webp")) == 2
    assert (tmp_path / "out.webp").stat().st_size <= 2500


@pytest.mark.parametrize("size", [(1, 1), (20, 30), (90, 200)])
async def test_model_is_loaded_ahead_for_one_tile_or_several(
    shell: Run, tmp_path: Path, begun: list[tuple[str, int, str]], size: tuple[int, int]
) -> None:
    """As the line about the result says."""
    (tmp_path / "in.png").write_bytes(encoded(noise(*size, 3)))
    status, said = await shell("in.png", "out.png")
    assert status == 0, said
    ((model_id, tiles, _),) = begun
    assert model_id == "nearest"
    assert (tiles == 1) == (", 1 tiles, " in said)


async def test_model_is_loaded_while_the_picture_is_decoded(
    shell: Run, tmp_path: Path, begun: list[tuple[str, int, str]]
) -> None:
    """From the header on, also of a picture that turns out to be broken."""
    (tmp_path / "in.png").write_bytes(encoded(noise(60, 60, 3))[:2000])
    status, _ = await shell("in.png", "out.png")
    assert status != 0
    assert [model_id for model_id, _, _ in begun] == ["nearest"]


async def test_nothing_is_loaded_ahead_where_alpha_may_double_the_only_tile(
    shell: Run, tmp_path: Path, begun: list[tuple[str, int, str]]
) -> None:
    """Nobody knows yet whether there will be one tile or two, which may want another network."""
    (tmp_path / "in.png").write_bytes(encoded(noise(1, 1, 4)))
    status, said = await shell("in.png", "out.png")
    assert status == 0, said
    assert begun == []


# Nothing of the user's is lost


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
    assert "'y/a.png', which is a picture that is to be enlarged, too" in done.stderr
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
    assert "0 enlarged, 2 skipped (2 there already), 0 failed" in again.stderr


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


# One picture never stops the others, and none is passed over in silence


def test_every_file_is_counted(tmp_path: Path, environment: dict[str, str]) -> None:
    """Pictures by names that are less usual, pictures that are not read, and what is no picture."""
    for name in ("a.jfif", "b.jpe", "c.JIF"):
        (tmp_path / name).write_bytes(encoded(PHOTO, "JPEG"))
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    for name in ("._a.jfif", ".DS_Store", "notes.txt", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something else")
    (tmp_path / "lost.png").symlink_to("nowhere")
    done = run(tmp_path, environment, ".", "out/")
    lines = done.stderr.splitlines()
    assert set(tree(tmp_path / "out")) == {"a.png", "b.png", "c.png"}
    assert any(line.startswith("enlarger: 'd.heic': ") for line in lines)
    assert "enlarger: cannot read 'lost.png': No such file or directory" in lines
    assert lines[-1].startswith("3 enlarged, 4 skipped (3 hidden, 1 not a picture), 2 failed, ")
    assert done.returncode == 1


def test_folder_without_a_picture_says_so(tmp_path: Path, environment: dict[str, str]) -> None:
    """With what was met instead."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("a text")
    done = run(tmp_path, environment, "docs", "out/")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "skipped, not a picture: docs/a.txt"
    assert done.stderr.splitlines()[-1] == "enlarger: there is no picture to enlarge"


def test_one_locked_picture_never_stops_the_rest(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """A file, and a folder, that this user may not read."""
    for name in ("a.png", "locked.png", "sub/x.png", "b.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO))
    unprivileged.locked(tmp_path / "in" / "locked.png")
    unprivileged.locked(tmp_path / "in" / "sub")
    for inputs in (["in"], ["in/a.png", "in/locked.png", "in/sub/x.png", "in/b.png"]):
        out = tmp_path / f"out{len(inputs)}"
        done = unprivileged.run(command(*inputs, f"{out}/"), tmp_path, **environment)
        assert set(tree(out)) == {"a.png", "b.png"}
        assert "Traceback" not in done.stderr
        assert "enlarger: cannot read 'in/locked.png': Permission denied" in done.stderr
        assert "in/sub" in done.stderr
        assert "2 enlarged, 0 skipped, 2 failed" in done.stderr
        assert done.returncode == 1


def test_folder_that_may_not_be_written_is_said_before_the_work(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """That of all results ends the run; that of one picture's result costs that one."""
    for name in ("a/x.png", "b/y.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(PHOTO))
    (tmp_path / "full").mkdir()
    unprivileged.unwritable(tmp_path / "full")
    done = unprivileged.run(command("a", "b", "full/new/"), tmp_path, **environment)
    assert done.returncode == 1
    assert done.stderr == "enlarger: cannot write into 'full': no permission to do so\n"
    unprivileged.unwritable(tmp_path / "a")
    done = unprivileged.run(command("a/x.png", "b/y.png", "--suffix=-4x"), tmp_path, **environment)
    assert done.returncode == 1
    assert "cannot write into 'a': no permission to do so" in done.stderr
    assert "1 enlarged, 0 skipped, 1 failed" in done.stderr
    assert (tmp_path / "b" / "y-4x.png").exists()


def test_disk_that_is_mounted_read_only_is_said_before_the_work(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """In one line."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "disk").mkdir()
    unshare = [shutil.which("unshare") or "unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o ro tmpfs disk"
    if subprocess.run([*unshare, mount], cwd=tmp_path, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    typed = " ".join(command("a.png", "disk/new/"))
    done = subprocess.run(
        [*unshare, f"{mount} && {typed}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "enlarger: cannot write into 'disk': it is on a disk that is mounted read-only\n"
    )


def test_longest_names_are_written(tmp_path: Path, environment: dict[str, str]) -> None:
    """And one that would be longer than names can be costs that picture alone."""
    long = "x" * 251
    for name in (f"{long}.png", f"{long}.bmp"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO, name[-3:].upper()))
    done = run(tmp_path, environment, f"in/{long}.png", "out/")
    assert done.returncode == 0, done.stderr
    done = run(
        tmp_path, environment, "in", "other/"
    )  # both keep their endings, which makes them longer
    assert done.returncode == 1
    assert done.stderr.count("File name too long") == 2
    assert "0 enlarged, 0 skipped, 2 failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_are_printed_as_they_are(tmp_path: Path, environment: dict[str, str]) -> None:
    """No emoji, no markup; what a terminal would act on is shown as text."""
    odd = [":cat:.png", "[red]x[bold].png", "a\x1b[31m.png", "b\nc.png"]
    (tmp_path / "in").mkdir()
    for name in odd:
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO))
    (tmp_path / "in" / ":dog:.png").write_bytes(b"broken")
    done = run(tmp_path, environment, "in", "out/")
    lines = done.stderr.splitlines()
    for shown_name in (":cat:.png", "[red]x[bold].png", "a\\x1b[31m.png", "b\\nc.png"):
        assert any(line.startswith(f"out/{shown_name}: 30x20") for line in lines), shown_name
    assert any("'in/:dog:.png': " in line for line in lines)


# Precision


@pytest.mark.parametrize(
    ("samples", "setting", "expected", "is_limited"),
    [
        (PHOTO, "auto", "bf16", False),
        (DEEP, "auto", "f32", False),
        (PHOTO, "bf16", "bf16", False),
        (DEEP, "bf16", "bf16", True),
        (DEEP, "int8", "int8", True),
        (DEEP, "f32", "f32", False),
    ],
    ids=["8 auto", "16 auto", "8 bf16", "16 bf16", "16 int8", "16 f32"],
)
async def test_sixteen_bits_are_computed_in_f32_unless_another_one_is_named(
    shell: Run,
    tmp_path: Path,
    begun: list[tuple[str, int, str]],
    samples: Pixels,
    setting: str,
    expected: str,
    is_limited: bool,
) -> None:
    """As in the service: the estimate, what is loaded and the line below the result name it, and what it loses."""
    depth_bits = 8 * samples.itemsize
    (tmp_path / "in.png").write_bytes(png(samples, colour=RGB, depth_bits=depth_bits))
    has = {"precisions": ("bf16", "f32", "int8"), "setting": setting}
    status, said = await shell("in.png", "out.png", dry_run=True, **has)
    assert status == 0, said
    assert f" png in {expected}, " in " ".join(said.split())
    status, said = await shell("in.png", "out.png", **has)
    assert status == 0, said
    assert f", nearest {expected}, " in " ".join(said.split())
    assert ("depth_limited: " in said) is is_limited
    assert {precision for _, _, precision in begun} == {expected}


# Before the work


def test_dry_run_says_what_would_be(tmp_path: Path, environment: dict[str, str]) -> None:
    """Per picture and in total, on standard output; nothing is written; a broken picture is one line."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    before = tree(tmp_path)
    done = run(tmp_path, environment, "--dry-run", "in", "out/", "--scale", "2")
    assert tree(tmp_path) == before
    line, total = done.stdout.splitlines()
    amount = r"about 1 s, up to \d+ MB of memory, about [\d.]+ kB on disk"
    assert re.fullmatch(rf"in/a.png -> out/a.png: 30x20 to 60x40 png in f32, {amount}", line)
    assert re.fullmatch(rf"in total: 1 picture, 0.0 megapixels, {amount}; nothing was done", total)
    assert "in/b.png" in done.stderr
    assert done.returncode == 1


async def test_picture_that_takes_long_says_so_before_it_starts(shell: Run, tmp_path: Path) -> None:
    """By the engine's own speed."""
    (tmp_path / "in.png").write_bytes(encoded(noise(100, 100, 3)))
    status, said = await shell("in.png", "out.png", mflop_per_s=0.01)
    assert status == 0, said
    assert re.match(r"in\.png: this will take about \d+ h", said)
    status, said = await shell("in.png", "quick.png", mflop_per_s=1e9)
    assert "will take" not in said


async def test_url_is_fetched_by_the_rules_of_the_service(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Where it is allowed; else it is refused as a URL, and not as a file that is not there."""
    async with Site({"/a/cat.png": page(encoded(PHOTO))}) as site:
        url = site.url("/a/cat.png")
        allowed = {**environment, "ENLARGER_FETCH": site.address}
        done = await asyncio.to_thread(run, tmp_path, allowed, url, "out/")
        assert done.returncode == 0, done.stderr
        refused = await asyncio.to_thread(run, tmp_path, environment, url, "no/")
    assert np.array_equal(read(tmp_path / "out" / "cat.png"), nearest(PHOTO, 4))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"enlarger: '{url}': port ")
    assert refused.stderr.endswith(" is not allowed by ENLARGER_FETCH\n")


# However it is started and ended


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_closed_streams_cost_no_picture(
    tmp_path: Path, environment: dict[str, str], closed: str
) -> None:
    """As daemons and scripts start it, or with a log on a full disk."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(command('in', 'out/'))} {closed}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path / "out")) == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("a.png - >&-", "cannot write 'standard output': "),
        ("a.png - >/dev/full", "cannot write 'standard output': No space left on device"),
        ("--dry-run a.png b.png >/dev/full", "cannot write to standard output: No space left"),
        ("- b.png <&-", "cannot read standard input: "),
        ("/dev/zero b.png", "it is a device, not a file"),
    ],
)
def test_streams_that_fail_are_one_line(
    tmp_path: Path, environment: dict[str, str], typed: str, text: str
) -> None:
    """Where the result, or the picture, goes through them."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(command())} {typed}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert text in done.stderr.splitlines()[-1]


def test_current_folder_that_was_removed_is_one_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Absolute paths work in it."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "gone").mkdir()
    for typed, status in (
        (". out/", 1),
        (f"{tmp_path}/a.png out/", 1),
        (f"{tmp_path}/a.png {tmp_path}/out/", 0),
    ):
        done = subprocess.run(
            [
                "/bin/sh",
                "-c",
                f"mkdir -p {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; {shlex.join(command())} {typed}",
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
    assert set(tree(tmp_path / "out")) == {"a.png"}


def test_limit_of_memory_that_the_user_set_is_kept(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """A decoder takes no more than it may, and works within it."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -v 3500000; {shlex.join(command('a.png', 'b.png'))}"],
        cwd=tmp_path,
        env={**environment, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("source", ["-", "in"])
def test_signals_end_it_and_leave_nothing_half_written(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals, source: str
) -> None:
    """While it waits for a picture, and while it makes some; the status is that of shells."""
    (tmp_path / "in").mkdir()
    for index in range(40):
        (tmp_path / "in" / f"{index}.png").write_bytes(encoded(noise(80, 80, 3, seed=index)))
    with subprocess.Popen(
        command(source, "out/"),
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        if source == "in":
            process.stderr.readline()  # the first result is there
        else:
            time.sleep(4)
        process.send_signal(number)
        _, said = (
            process.communicate(timeout=30) if source == "in" else (None, process.stderr.read())
        )
        process.wait(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    left = tree(tmp_path / "out") if (tmp_path / "out").exists() else {}
    assert not [name for name in left if name.startswith(".")]
    for name in left:
        assert read(tmp_path / "out" / name).shape == (320, 320, 3)
