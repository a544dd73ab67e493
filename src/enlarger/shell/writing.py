"""Writes results to disk completely or not at all, and replaces other files only if the user allows it."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from enlarger.errors import UnwritableFile
from enlarger.shell import names

_WITHOUT_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
)
"""Errors of file systems without hard links, such as FAT and some network file systems."""


class AlreadyThereError(UnwritableFile):
    """Another program created the file during this run; it is not replaced."""

    def __init__(self, target: Path) -> None:
        super().__init__(
            f"cannot write '{names.shown(target)}': it is there already, and was not when the work began; "
            "--overwrite replaces it"
        )


@contextmanager
def written_aside(target: Path | None, *, overwrite: bool) -> Iterator[Path]:
    """Yield a file to write to, which becomes the target when the block succeeds, and otherwise disappears.

    Args:
        target: the file of the result, whose folder is created if necessary; None for standard output.
        overwrite: whether the target may be replaced. If it is a link, the file behind it is replaced.

    Raises:
        AlreadyThereError: the target was created while the block ran.
        UnwritableFile: the target cannot be written.
    """
    shown = "standard output" if target is None else names.shown(target)
    aside: Path | None = None
    try:
        if target is not None and overwrite and target.is_symlink():
            target = Path(names.real(target))
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        # The temporary name is short and unique, because the target's name may already be as long as names can be.
        folder = Path(tempfile.gettempdir()) if target is None else target.parent
        aside = folder / f".enlarger-{secrets.token_hex(8)}"
        yield aside
        if target is None:
            _copy_to_standard_output(aside)
        elif overwrite:
            with suppress(OSError):
                shutil.copymode(target, aside)
            aside.replace(target)
        else:
            _place(aside, target)
    except OSError as error:
        raise UnwritableFile(f"cannot write '{shown}': {error.strerror or error}") from error
    finally:
        if aside is not None:
            with suppress(OSError):
                aside.unlink()


def _place(aside: Path, target: Path) -> None:
    """Move a file to its name, unless the name is taken.

    Raises:
        AlreadyThereError: the name is taken.
    """
    try:
        try:
            os.link(aside, target)
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            # An empty file of ours reserves the name first, so that no other program's file can be replaced.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            aside.replace(target)
    except FileExistsError as error:
        raise AlreadyThereError(target) from error


def _copy_to_standard_output(file: Path) -> None:
    with file.open("rb") as source:
        shutil.copyfileobj(source, sys.stdout.buffer)
    sys.stdout.buffer.flush()
