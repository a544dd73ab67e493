"""Options of ``enlarger upscale`` for scripts: ``--quiet``, ``--no-recursive`` and ``--resume``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.pictures import encoded, noise


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder that has ``in`` with a good picture, a broken one, and a good one in a folder below."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/good.png", "in/deep/below.png"):
        (tmp_path / name).write_bytes(encoded(noise(20, 30, 3)))
    (tmp_path / "in" / "broken.png").write_bytes(encoded(noise(20, 30, 3))[:300])
    return tmp_path


def run(
    folder: Path, environment: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """What comes of ``enlarger upscale in out/``."""
    quick = ("--model", "realesr-animevideov3", "--scale", "2")
    return subprocess.run(
        [sys.executable, "-m", "enlarger", "upscale", "in", "out/", *quick, *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def results(folder: Path) -> set[str]:
    """The results below ``out``."""
    out = folder / "out"
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_quiet_prints_errors_alone(album: Path, environment: dict[str, str]) -> None:
    """One line for the broken picture; without it, nothing. The work and the exit status are the same."""
    done = run(album, environment, "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "broken.png" in line
    assert results(album) == {"good.png", "deep/below.png"}
    (album / "in" / "broken.png").unlink()
    done = run(album, environment, "-q", "--overwrite")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_folders_below_are_left_out_and_then_resumed(
    album: Path, environment: dict[str, str]
) -> None:
    """A later run with one option makes what is missing, and nothing anew."""
    done = run(album, environment, "--no-recursive")
    assert results(album) == {"good.png"}
    assert "1 upscaled, 1 skipped (1 a folder below), 1 failed" in done.stderr
    before = (album / "out" / "good.png").stat().st_mtime_ns
    done = run(album, environment, "--resume")
    assert results(album) == {"good.png", "deep/below.png"}
    assert "1 upscaled, 1 skipped (1 there already), 1 failed" in done.stderr
    assert (album / "out" / "good.png").stat().st_mtime_ns == before
