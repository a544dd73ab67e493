"""What ``enlarger serve`` prints once it is ready: a line to paste, which leaves a picture in the current folder."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from running import RunningService
from support.places import REPOSITORY

from enlarger.cli.serve import SAMPLE, paste_line

KEY = "a secret"
KEYS = f"alice:sha256-{hashlib.sha256(KEY.encode()).hexdigest()}"
README = (REPOSITORY / "README.md").read_text()


def printed_command(service: RunningService) -> str:
    """The line between the two empty ones."""
    assert service.process.stdout is not None
    lines = iter(service.process.stdout.readline, "")
    assert "" in (line.rstrip("\n") for line in lines)
    return next(lines).rstrip("\n")


@pytest.mark.parametrize(("has_curl", "keys"), [(True, KEYS), (False, "")])
def test_printed_command_leaves_a_picture(
    environment: dict[str, str], tmp_path: Path, has_curl: bool, keys: str
) -> None:
    """As it is printed, in any folder, also the second time; with one's own key where keys are needed.

    A service that found no curl prints a command of its own.
    """
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    settings = environment | {"NUM_SERVERS": "1", "ENLARGER_API_KEYS": keys}
    if not has_curl:
        settings["PATH"] = str(home)
    known = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
    with RunningService(home, settings) as service:
        command = printed_command(service)
        assert command.startswith("curl ") == has_curl
        for _ in range(2):  # the second time with the same result, which is there already
            done = subprocess.run(
                ["bash", "-c", command],  # noqa: S607 - whichever there is
                cwd=here,
                env={**known, "ENLARGER_API_KEY": KEY},
                capture_output=True,
                timeout=180,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
            assert [path.name for path in here.iterdir()] == ["cat-4x.png"], done.stderr
            with Image.open(SAMPLE) as before, Image.open(here / "cat-4x.png") as after:
                assert after.size == (4 * before.width, 4 * before.height)


def test_printed_command_is_as_short_as_the_one_of_the_readme() -> None:
    """It is the same one, but for where the picture is."""
    command = paste_line("http://localhost:8000", needs_key=False)
    assert re.sub("@[^ ]+", "@cat.jpg", command) in README
