"""Real runs of ``enlarger upscale`` for tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from enlarger.geometry.rect import Pixels
from support.pictures import noise

PHOTO = noise(20, 30, 3, seed=1)
DEEP = np.random.default_rng(2).integers(0, 65536, (12, 9, 3)).astype(np.uint16)


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


def read(path: Path) -> Pixels:
    """A file's samples, by a decoder that is not ours."""
    with Image.open(path) as image:
        return np.asarray(image)
