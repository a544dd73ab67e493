"""Commands that are held to the permissions of files, also where tests run as root, as CI does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NOBODY = 65534
"""The user that owns what a command is to be locked out of."""

_PERMISSIONS = "-dac_override,-dac_read_search,-fowner"
"""What lets root pass over permissions (capabilities(7)). Without it root is like any other user."""


def is_held_to_permissions() -> bool:
    """Whether permissions count for this process."""
    return os.geteuid() != 0


def held_to_permissions(command: list[str]) -> list[str]:
    """The command, run so that permissions count for it. Root drops the rights to pass over them."""
    if is_held_to_permissions():
        return command
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv of util-linux is missing"
    return [setpriv, "--bounding-set", _PERMISSIONS, "--inh-caps", _PERMISSIONS, *command]


def locked(path: Path) -> Path:
    """A file or folder that such a command may neither read nor write nor enter."""
    if not is_held_to_permissions():
        os.chown(path, NOBODY, NOBODY)
    path.chmod(0)
    return path


def unwritable(folder: Path) -> Path:
    """A folder that such a command may read and enter, and not write."""
    if not is_held_to_permissions():
        os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o555)
    return folder


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What comes of such a command."""
    return subprocess.run(
        held_to_permissions(command),
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
