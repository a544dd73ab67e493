"""Compiled networks that are kept between runs, and networks that must not run."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.fakes import nearest
from support.networks import (
    random_layers,
    write_compact,
    write_nearest,
    write_random_rrdb,
)
from support.openvino_tiles import (
    enlarged,
    names,
    read,
)
from support.pictures import encoded, noise

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.errors import (
    WeightsError,
    WrongOutput,
)
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model
from enlarger.models.golden import GOLDEN_FOLDER
from enlarger.models.readers.ncnn import NcnnFiles

# Compiled networks kept between runs


async def result_with_cache(
    folder: Path, catalogue: Catalogue, pixels: Pixels, model_id: str = "realesr-animevideov3"
) -> Pixels:
    """What a new engine makes that keeps its compiled networks in ``folder``."""
    async with OpenVINOEngine(catalogue, threads=2, precision="f32", cache_folder=folder) as engine:
        return await enlarged(engine, model_id, pixels)


def _cut(blob: bytes) -> bytes:
    return blob[: len(blob) // 3]


def _zero_page(blob: bytes) -> bytes:
    middle = len(blob) // 2
    return blob[:middle] + bytes(4096) + blob[middle + 4096 :]


def _flip_bit(blob: bytes) -> bytes:
    damaged = bytearray(blob)
    damaged[len(blob) // 2 + 3] ^= 0x40
    return bytes(damaged)


@pytest.mark.parametrize("content", [b"", b"junk", bytes(1 << 20)], ids=["empty", "short", "long"])
async def test_file_without_a_name_in_the_current_folder_is_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """OpenVINO takes ``.bin`` for the weights of what it imports, and computes with them where they are long enough."""
    write_nearest(tmp_path, "own")
    catalogue, pixels = Catalogue.installed(tmp_path), noise(20, 20, 3)
    await result_with_cache(tmp_path / "cache", catalogue, pixels, "own")
    (tmp_path / ".bin").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with capture_logs() as logs:
        for folder in ("cache", "another"):  # read from the cache, and compiled
            made = await result_with_cache(tmp_path / folder, catalogue, pixels, "own")
            assert np.array_equal(made, nearest(pixels, 4))
    assert "compiled_network_not_imported" in {entry["event"] for entry in logs}


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip_bit, _zero_page, lambda _: b"", lambda _: b"text"],
    ids=["cut", "flipped-bit", "zeroed-page", "empty", "text"],
)
async def test_damaged_compiled_network_is_survived(
    catalogue: Catalogue, tmp_path: Path, photo: Pixels, damage: Callable[[bytes], bytes]
) -> None:
    """A full disk or a bad sector costs a second, and never changes a picture."""
    pixels = photo[100:124, 200:224]
    expected = await result_with_cache(tmp_path, catalogue, pixels)
    kept = tmp_path / names(tmp_path)[0]
    damaged = damage(kept.read_bytes())
    kept.write_bytes(damaged)
    assert np.array_equal(await result_with_cache(tmp_path, catalogue, pixels), expected)
    assert kept.read_bytes() != damaged  # made anew, for the next run


@pytest.mark.parametrize("half", ["trunk", "tail"])
async def test_either_half_may_be_damaged(
    catalogue: Catalogue, tmp_path: Path, photo: Pixels, half: str
) -> None:
    """An RRDB network is two files; both are made anew when one cannot be used."""
    pixels = photo[100:120, 200:220]
    expected = await result_with_cache(tmp_path, catalogue, pixels, "tiny-rrdb")
    assert len(names(tmp_path)) == 2
    (name,) = (name for name in names(tmp_path) if f"-{half}-" in name)
    kept = tmp_path / name
    damaged = _cut(kept.read_bytes())
    kept.write_bytes(damaged)
    made = await result_with_cache(tmp_path, catalogue, pixels, "tiny-rrdb")
    assert np.array_equal(made, expected)
    assert kept.read_bytes() != damaged


async def test_network_that_was_read_ahead_is_not_read_again(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Nor compiled: here its file is gone by the time that the first tile comes."""
    pixels = noise(4, 4, 3)
    expected = await result_with_cache(tmp_path, catalogue, pixels, "nearest")
    async with OpenVINOEngine(
        catalogue, threads=1, precision="f32", cache_folder=tmp_path
    ) as engine:
        engine.begin_to_read("nearest")
        await asyncio.get_running_loop().run_in_executor(engine._executor, int)  # after it
        (kept,) = names(tmp_path)
        (tmp_path / kept).unlink()
        assert np.array_equal(await enlarged(engine, "nearest", pixels), expected)
    assert not names(tmp_path)  # one that is compiled is kept


async def test_reading_ahead_may_find_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    """The network is compiled then, and kept."""
    async with OpenVINOEngine(
        catalogue, threads=1, precision="f32", cache_folder=tmp_path
    ) as engine:
        engine.begin_to_read("nearest")
        await engine.load("nearest")
    assert len(names(tmp_path)) == 1


async def test_reading_that_was_begun_too_late_is_not_waited_for(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """It would wait for the thread that loads, where there is one thread."""
    pixels, gate = noise(4, 4, 3), threading.Event()
    async with (
        asyncio.timeout(60),
        OpenVINOEngine(catalogue, threads=1, precision="f32", cache_folder=tmp_path) as engine,
    ):
        engine._executor.submit(gate.wait)
        engine.begin_to_load("nearest")
        engine.begin_to_read("nearest")
        gate.set()
        assert np.array_equal(await enlarged(engine, "nearest", pixels), nearest(pixels, 4))


async def test_only_newest_compiled_network_is_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    """Those of earlier versions go; files of other names are not ours."""
    old = tmp_path / f"realesr-animevideov3-f32-whole-{'0' * 16}.blob"
    others = [
        tmp_path / name
        for name in (f"realesr-animevideov3-bf16-whole-{'0' * 16}.blob", "notes.txt")
    ]
    for path in (old, *others):
        path.touch()
    await result_with_cache(tmp_path, catalogue, noise(4, 4, 3))
    assert not old.exists()
    assert all(path.exists() for path in others)
    assert len(names(tmp_path)) == 3


async def test_cache_folder_that_cannot_be_made_is_no_fault(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Here a file stands in its way."""
    (tmp_path / "file").touch()
    made = await result_with_cache(tmp_path / "file" / "cache", catalogue, noise(4, 4, 3))
    assert made.shape == (16, 16, 3)


async def test_weights_are_checked_even_when_the_compiled_network_is_kept(tmp_path: Path) -> None:
    """A model whose file was exchanged does not run under the old name."""
    models = tmp_path / "models"
    models.mkdir()
    write_nearest(models, "own")
    catalogue = Catalogue.installed(models)
    for run in ("first", "second"):
        async with OpenVINOEngine(
            catalogue, threads=1, precision="f32", cache_folder=tmp_path / "cache"
        ) as engine:
            if run == "first":
                await engine.load("own")
                (models / "own.bin").write_bytes(b"exchanged")
            else:
                with pytest.raises(WeightsError, match=r"own\.bin: SHA-256"):
                    await engine.load("own")


# Networks that must not run


async def load_own(folder: Path) -> None:
    """Load the model ``own`` of a ``MODEL_DIR``."""
    async with OpenVINOEngine(Catalogue.installed(folder), threads=1, precision="f32") as engine:
        await engine.load("own")


async def test_network_that_misses_its_golden_picture_is_refused(tmp_path: Path) -> None:
    """A row may bring the picture that its network must make."""
    convolutions = random_layers(1, [(3, 8), (8, 48)], gain=0.1)
    (tmp_path / "right.png").write_bytes(encoded(nearest(read(GOLDEN_FOLDER / "input.png"), 4)))
    write_compact(tmp_path, "own", convolutions, golden="right.png")
    with pytest.raises(WrongOutput, match="differs from its golden picture"):
        await load_own(tmp_path)


async def test_network_of_numbers_that_are_none_is_refused(tmp_path: Path) -> None:
    """One NaN among the weights spoils every picture."""
    first, last = random_layers(1, [(3, 8), (8, 48)])
    last.bias[7] = np.nan
    write_compact(tmp_path, "own", [first, last])
    with pytest.raises(WrongOutput, match="not numbers"):
        await load_own(tmp_path)


async def test_network_whose_output_is_constant_is_refused(tmp_path: Path) -> None:
    """An RRDB network whose last convolution is zero makes gray of everything."""
    write_random_rrdb(tmp_path, "own", last_gain=0)
    with pytest.raises(WrongOutput, match="constant"):
        await load_own(tmp_path)


def unchecked(row: Path, architecture: str) -> Model:
    """A model of a row that the catalogue would refuse."""
    return Model(
        id=row.stem,
        title="",
        scale=4,
        architecture=architecture,
        files=NcnnFiles(row.with_suffix(".param"), row.with_suffix(".bin")),
        sha256=hashlib.sha256(row.with_suffix(".bin").read_bytes()).hexdigest(),
        licence="",
        source="",
    )


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """The engine looks, too: whatever the catalogue let pass, the weights are rrdb's and not compact's, or the reverse."""
    with pytest.raises(WeightsError):
        graphs.build(unchecked(write_nearest(tmp_path, "one"), "rrdb"))
    with pytest.raises(WeightsError):
        graphs.build(unchecked(write_random_rrdb(tmp_path, "other"), "compact"))


@pytest.mark.parametrize("shapes", [[(3, 8), (9, 48)], [(3, 8), (8, 12)]])
def test_layers_that_do_not_fit_one_another_are_refused(
    tmp_path: Path, shapes: list[tuple[int, int]]
) -> None:
    """A convolution that takes more channels than the one before it gives; one that makes a picture of scale 2."""
    row = write_compact(tmp_path, "own", random_layers(1, shapes))
    with pytest.raises(WeightsError, match="compact"):
        graphs.build(unchecked(row, "compact"))


_WATCHED_IMPORT = """
import sys

def watch(event, arguments):
    if event in {"os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"}:
        seen.append(event)

seen = []
sys.addaudithook(watch)
import enlarger.engine.openvino.runtime
import threading
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
print(seen)
"""


def test_runtime_sends_nothing_home(tmp_path: Path) -> None:
    """Importing the runtime starts no process, opens no connection, and writes nothing into the home folder."""
    ran = subprocess.run(
        [sys.executable, "-c", _WATCHED_IMPORT],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []
