"""The manual page has all commands and options, in a form that groff takes."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import typer.main
from typer.testing import CliRunner

from enlarger import __version__, cli


@pytest.fixture(scope="module")
def page() -> str:
    """What ``enlarger man`` prints."""
    result = CliRunner().invoke(cli.app, ["man"])
    assert result.exit_code == 0, result.output
    return result.output


def options_of(command: object) -> set[str]:
    """All names of options that a command, or a command of a group, shows in its help."""
    found = {
        name
        for parameter in command.params  # type: ignore[attr-defined]
        if not getattr(parameter, "hidden", False)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }
    return found.union(*map(options_of, getattr(command, "commands", {}).values()))


def test_page_has_all_commands_and_options(page: str) -> None:
    """Those that are hidden are for the program itself."""
    plain = page.replace("\\-", "-")
    root = typer.main.get_command(cli.app)
    for name in root.commands:  # type: ignore[attr-defined]
        assert f'.SS "enlarger {name} ' in plain
    assert '.SS "enlarger jobs submit ' in plain
    shown = set(re.findall(r"--[a-z][a-z-]*", plain))
    assert options_of(root) - {"--help"} <= shown
    assert "--exit-with-parent" not in shown
    assert __version__ in plain.splitlines()[0]


def test_groff_takes_the_page(page: str) -> None:
    """With all its warnings switched on it has none."""
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww"], input=page.encode(), capture_output=True, check=True
    )
    assert done.stderr == b""
    # Bold is overstruck, or an escape sequence, by the version of groff.
    shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout.decode())
    assert "EXIT STATUS" in shown
    assert "--no-recursive" in shown
