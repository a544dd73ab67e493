"""``make`` installs with a Python that is new enough, and mends what was begun with another one or interrupted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from support.places import REPOSITORY, TESTS
from support.stores import missing

# It says its version, makes an environment with a copy of itself, and takes all that pip is told for done.
_PYTHON = """#!/bin/sh
echo "{version} $*" >> "{log}"
[ "$1" = --version ] && echo "Python {version}" && exit
[ "$2" = venv ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit
[ "$2" = pip ] && [ -e "{folder}/fails" ] && exit 1
exit 0
"""


class Checkout:
    """The Makefile in a folder of its own, and Pythons that only say what they are asked to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(REPOSITORY / name, folder / name)
        self.log = folder / "log"

    def python(self, version: str) -> Path:
        """One of that version."""
        path = self.folder / f"python{version}"
        path.write_text(_PYTHON.format(version=version, log=self.log, folder=self.folder))
        path.chmod(0o755)
        return path

    def make(self, python: Path | str) -> subprocess.CompletedProcess[str]:
        """``make .venv/ready``."""
        self.log.write_text("")
        clean = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
        return subprocess.run(
            [shutil.which("make") or "make", f"PYTHON={python}", ".venv/ready"],
            cwd=self.folder,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )

    def change_project(self) -> None:
        """Write pyproject.toml, after all that is there."""
        later = time.time() + 2
        os.utime(self.folder / "pyproject.toml", (later, later))

    def installed(self) -> list[str]:
        """Versions of the Pythons whose pip installed the package."""
        lines = self.log.read_text().splitlines()
        return [line.split()[0] for line in lines if line.endswith("-e .")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """One in which nothing is installed."""
    if shutil.which("make") is None:
        missing("make")
    return Checkout(tmp_path)


@pytest.mark.parametrize("version", ["2.7.18", "3.6.9", "3.9.2", "3.10.13"])
def test_python_that_is_too_old_is_named_and_leaves_nothing(
    checkout: Checkout, version: str
) -> None:
    """With what it is, what is needed and what to type."""
    done = checkout.make(checkout.python(version))
    assert done.returncode != 0
    assert f"is Python {version}; enlarger needs Python 3.11 or newer: make PYTHON=" in done.stderr
    assert not (checkout.folder / ".venv").exists()
    assert checkout.make(checkout.python("3.12.1")).returncode == 0
    assert checkout.installed() == ["3.12.1"]


@pytest.mark.parametrize("version", ["3.11.0", "3.12.1", "3.13.0rc2", "3.14.0+"])
def test_python_that_is_new_enough_installs_once(checkout: Checkout, version: str) -> None:
    """The second time there is nothing to do."""
    python = checkout.python(version)
    for installed in ([version], []):
        assert checkout.make(python).returncode == 0
        assert checkout.installed() == installed


def test_python_that_is_missing_is_named(checkout: Checkout) -> None:
    """As one that is too old."""
    done = checkout.make("python-that-is-nowhere")
    assert "python-that-is-nowhere is not installed; enlarger needs Python 3.11" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize("is_ready", [True, False])
def test_environment_of_an_old_python_is_made_anew(checkout: Checkout, is_ready: bool) -> None:
    """However far its installation got; nothing of it stays."""
    binary = checkout.folder / ".venv" / "bin"
    binary.mkdir(parents=True)
    shutil.copy(checkout.python("3.9.2"), binary / "python")
    (binary / "left").touch()
    if is_ready:
        (checkout.folder / ".venv" / "ready").touch()
    assert checkout.make(checkout.python("3.12.1")).returncode == 0
    assert checkout.installed() == ["3.12.1"]
    assert not (binary / "left").exists()


def test_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    """As after an upgrade of the system."""
    assert checkout.make(checkout.python("3.11.9")).returncode == 0
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert checkout.make(checkout.python("3.12.1")).returncode == 0
    assert checkout.installed() == ["3.12.1"]


def test_installation_that_was_interrupted_is_begun_anew(checkout: Checkout) -> None:
    """The first one, or one that was to follow a change of pyproject.toml."""
    python = checkout.python("3.12.1")
    for _ in range(2):
        (checkout.folder / "fails").touch()
        assert checkout.make(python).returncode != 0
        (checkout.folder / ".venv" / "left").touch()
        (checkout.folder / "fails").unlink()
        assert checkout.make(python).returncode == 0
        assert checkout.installed() == ["3.12.1"]
        assert not (checkout.folder / ".venv" / "left").exists()
        checkout.change_project()


def test_change_of_the_project_keeps_the_environment(checkout: Checkout) -> None:
    """What it has need not be downloaded again."""
    python = checkout.python("3.12.1")
    assert checkout.make(python).returncode == 0
    (checkout.folder / ".venv" / "kept").touch()
    checkout.change_project()
    assert checkout.make(python).returncode == 0
    assert checkout.installed() == ["3.12.1"]
    assert (checkout.folder / ".venv" / "kept").exists()


def test_version_is_that_of_the_project() -> None:
    """The Makefile must know it before there is a Python that could read it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in (REPOSITORY / "Makefile").read_text()


def test_quick_tests_exist() -> None:
    """Each name in the list of ``make quick`` is a file or a folder of tests."""
    makefile = (REPOSITORY / "Makefile").read_text().replace("\\\n", " ")
    (names,) = re.findall(r"^QUICK := (.*)$", makefile, re.MULTILINE)
    assert [name for name in names.split() if not (TESTS / name).exists()] == []
