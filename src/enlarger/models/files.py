"""Reads the files of a model: with a size limit, and never a pipe or a device."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from enlarger.errors import WeightsError

MOST_TEXT_BYTES = 1 << 20


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: the file cannot be read.
        WeightsError: the file is longer than ``limit_bytes``.
    """
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > limit_bytes:
            raise WeightsError(f"{path.name}: {size_bytes} bytes, at most {limit_bytes} are read")
        return file.read(size_bytes)


def open_regular(path: Path, *, buffering: int = -1) -> BinaryIO:
    """Open a file for reading. A pipe is refused, because opening it would wait for a writer.

    Raises:
        OSError: the file cannot be read, or is a folder, a pipe or a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device")
    return path.open("rb", buffering=buffering)


def stamp_of(path: Path | None) -> tuple[int, int, int] | None:
    """Return a value that changes when a file does; None if there is no such file."""
    try:
        facts = path.stat() if path is not None else None
    except (OSError, ValueError):
        return None
    return None if facts is None else (facts.st_ino, facts.st_size, facts.st_mtime_ns)
