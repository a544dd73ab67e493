"""A shell user's folder of pictures: real runs of the command, each picture by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from fakes import NEAREST, NearestEngine, nearest
from oracles import lanczos_to
from pictures import GRAY, RGB, encoded, noise, oriented, png
from PIL import Image
from rich.console import Console

from enlarger.files import work_of
from enlarger.job import read_options
from enlarger.models import Catalogue
from enlarger.picture.workers import Decoders
from enlarger.shell.local import Shell
from enlarger.wire import Pixels

PHOTO = noise(20, 30, 3, seed=1)
DEEP = np.random.default_rng(2).integers(0, 65536, (12, 9, 3)).astype(np.uint16)
ORIENTATION, SOFTWARE, USER_COMMENT, EXIF_IFD = 0x0112, 0x0131, 0x9286, 0x8769


@pytest.fixture(scope="module")
def environment(model_dir: Path, cache_folder: Path) -> dict[str, str]:
    """Of a user with the made models."""
    return {**os.environ, "MODEL_DIR": str(model_dir), "ENLARGER_CACHE_DIR": str(cache_folder)}


def run(
    folder: Path, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """``enlarger upscale`` with the model that repeats pixels."""
    return subprocess.run(
        [sys.executable, "-m", "enlarger", "upscale", *arguments, "--model", "nearest"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


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
    assert lines[-1].startswith("3 enlarged, 0 skipped, 1 failed, ")
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
    assert again.stderr.strip().splitlines()[-1].startswith("0 enlarged, 3 skipped, 1 failed, ")
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
def begun() -> list[tuple[str, int]]:
    """Models that were to be loaded ahead, and for how many tiles."""
    return []


@pytest.fixture
async def shell(
    tmp_path: Path, model_dir: Path, begun: list[tuple[str, int]]
) -> AsyncIterator[Run]:
    """Enlarges files of a folder in this process; gives the exit status and what was said."""
    catalogue = Catalogue.installed(model_dir)
    model = catalogue.choose("nearest", scale=4)
    facts = replace(NEAREST, sha256=model.sha256)
    with ThreadPoolExecutor(2) as executor:
        async with Decoders(1) as decoders:

            async def run(source: str, target: str, **fields: object) -> tuple[int, str]:
                said = StringIO()
                given = {"scale": 4, "model": "nearest", **fields}
                work = work_of([tmp_path / source], tmp_path / target, is_folder="." not in target)
                status = await Shell(
                    engine=NearestEngine([facts]),
                    catalogue=catalogue,
                    decoders=decoders,
                    executor=executor,
                    console=Console(file=said),
                    begin_to_load=lambda model_id, tiles: begun.append((model_id, tiles)),
                ).run(work, read_options(given, strict=False), skip_existing=False)
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
    shell: Run, tmp_path: Path, begun: list[tuple[str, int]], size: tuple[int, int]
) -> None:
    """As the line about the result says."""
    (tmp_path / "in.png").write_bytes(encoded(noise(*size, 3)))
    status, said = await shell("in.png", "out.png")
    assert status == 0, said
    ((model_id, tiles),) = begun
    assert model_id == "nearest"
    assert (tiles == 1) == (", 1 tiles, " in said)


async def test_model_is_loaded_while_the_picture_is_decoded(
    shell: Run, tmp_path: Path, begun: list[tuple[str, int]]
) -> None:
    """From the header on, also of a picture that turns out to be broken."""
    (tmp_path / "in.png").write_bytes(encoded(noise(60, 60, 3))[:2000])
    status, _ = await shell("in.png", "out.png")
    assert status != 0
    assert [model_id for model_id, _ in begun] == ["nearest"]


async def test_nothing_is_loaded_ahead_where_alpha_may_double_the_only_tile(
    shell: Run, tmp_path: Path, begun: list[tuple[str, int]]
) -> None:
    """Nobody knows yet whether there will be one tile or two, which may want another network."""
    (tmp_path / "in.png").write_bytes(encoded(noise(1, 1, 4)))
    status, said = await shell("in.png", "out.png")
    assert status == 0, said
    assert begun == []
