"""One run of ``enlarger upscale`` in this process: animations, loading ahead, precision and dry runs."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.fakes import NEAREST, NearestEngine, nearest
from support.pictures import RGB, encoded, noise, png
from support.shell_runs import DEEP, PHOTO, read, run, tree
from support.sites import Site, page

from enlarger.errors import EnlargerError
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.options import read_options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.shell import run as shell_run
from enlarger.shell.arguments import asked_of
from enlarger.shell.local import LocalWorker
from enlarger.shell.sources import Reader


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user with the models and settings of the tests."""
    return {**os.environ, **environment}


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
