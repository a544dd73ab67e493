"""Commands that need Ray where it is not installed, and what the page about Ray tells its reader to type."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer.main
from support.doc_blocks import commands_on
from support.places import REPOSITORY

from enlarger import cli
from enlarger.config.settings import FIELD_OF
from enlarger.installation import install_command

PAGE = REPOSITORY / "docs" / "how-to" / "ray.md"

# None takes the place of the module, so that importing it fails as if it were not installed.
WITHOUT_RAY = (
    "import sys; sys.modules['ray'] = None; from enlarger.__main__ import main; sys.exit(main())"
)


@pytest.mark.parametrize("command", ["ray status", "ray down", "serve --engine ray --port 0"])
def test_without_ray_one_line_says_how_to_install_it(command: str) -> None:
    """And nothing is started."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, *command.split()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("enlarger: ")
    assert install_command("ray") in last
    assert "Traceback" not in done.stderr


COMMANDS = [
    line
    for text in commands_on(PAGE)
    for line in text.splitlines()
    if re.search(r"\benlarger (ray|serve)\b", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_page_has_commands_and_settings_that_exist(line: str) -> None:
    """Their effect is tested on a real cluster, in tests/cluster/test_ray.py."""
    words = shlex.split(line)
    begin = words.index("enlarger")
    for setting in words[:begin]:
        assert setting.partition("=")[0] in FIELD_OF
    command: Any = typer.main.get_command(cli.app)
    rest = words[begin + 1 :]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    assert not hasattr(command, "commands")
    command.make_context("enlarger", rest)
