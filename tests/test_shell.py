"""A shell user's folder of pictures: real runs of the command, each picture by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from fakes import nearest
from oracles import lanczos_to
from pictures import GRAY, RGB, encoded, noise, oriented, png
from PIL import Image

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
