"""Files that are being written: under a name that nobody reads, locked, and gone if they are not finished."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

_NAME = re.compile(r"\.enlarger_[0-9a-f]{32}")

_LEFT_OVER_AGE_S = 3600
"""A file that is being written is never this old. The age counts only on file systems without locks."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Draft(Generic[T_co]):
    """A finished file that has no name of its own yet."""

    path: Path

    written: T_co
    """What the function that wrote it returned."""

    size_bytes: int

    sha256: str
    """64 hexadecimal digits."""

    descriptor: int
    """Holds the lock."""

    def discard(self) -> None:
        """Delete the file, unless it was moved away, and release its lock."""
        _discard(self.path, self.descriptor)


class Drafts:
    """The drafts in one folder. Several processes may share it.

    Args:
        folder: It is made if it is missing, also later.
        is_private: Whether other users share the folder: nobody else reads the drafts then, and a sweep leaves the
            files of others alone.
    """

    def __init__(self, folder: Path, *, is_private: bool = False) -> None:
        self.folder = folder
        self._is_private = is_private

    def write(self, write: Callable[[Path], T], *, sha256: str | None = None) -> Draft[T]:
        """Write a draft.

        Args:
            write: Writes the file of this path, which is there and empty, in place. It is called a second time if
                the folder was removed meanwhile.
            sha256: The digest of what will be written, where it is known; None: the file is hashed.

        Raises:
            OSError: The disk is full, or the folder cannot be written. Nothing half-written stays.
        """
        try:
            return self._write(write, sha256)
        except FileNotFoundError:
            return self._write(write, sha256)

    def _write(self, write: Callable[[Path], T], sha256: str | None) -> Draft[T]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".enlarger_{secrets.token_hex(16)}"
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600 if self._is_private else 0o666
        )
        try:
            # The lock fails on file systems without locks, and if a sweep was faster: it deletes the file, which is
            # written once more then.
            with suppress(OSError):
                self._lock(descriptor)
            written = write(path)
            check_room(descriptor)
            with path.open("rb") as file:
                sha256 = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
                return Draft(path, written, os.fstat(file.fileno()).st_size, sha256, descriptor)
        except BaseException:
            _discard(path, descriptor)
            raise

    def sweep(self, now: float) -> list[str]:
        """Delete the drafts that a sudden stop left; returns what went wrong, by file name.

        Args:
            now: Seconds since the epoch.
        """
        errors = []
        for path in [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]:
            try:
                if self._is_left_over(path, now):
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                errors.append(f"{path.name}: {error.strerror}")
        return errors

    def _is_left_over(self, path: Path, now: float) -> bool:
        """Whether it is ours and nobody writes it. A lock ends with the process that held it, so it can be taken then."""
        if self._is_private and path.stat().st_uid != os.geteuid():
            return False
        descriptor = os.open(path, os.O_RDWR)
        try:
            self._lock(descriptor)
        except BlockingIOError:
            return False
        except OSError:
            return now - os.fstat(descriptor).st_mtime >= _LEFT_OVER_AGE_S
        finally:
            os.close(descriptor)
        return True

    def _lock(self, descriptor: int) -> None:
        """Lock until the descriptor is closed here and in processes that inherited it, of which there are none."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _discard(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # a sweep deletes what cannot be deleted now
        path.unlink()
    os.close(descriptor)


def check_room(descriptor: int) -> None:
    """Raise an ``OSError`` if the disk is full.

    The last write of an encoder may have been cut short, which Pillow's writer of JPEG does not report. Then one more
    byte does not fit either.
    """
    size_bytes = os.fstat(descriptor).st_size
    os.pwrite(descriptor, b"\0", size_bytes)
    os.ftruncate(descriptor, size_bytes)
