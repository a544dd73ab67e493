"""Finished pictures in ``UPLOAD_FOLDER``: unguessable names, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

import structlog

from enlarger.errors import ConfigError, StorageFull
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

_NAME = re.compile(r"upscaled_([0-9a-f]{32})\.(png|jpg|webp|avif|tif)")
_ASIDE = re.compile(r"\.enlarger_[0-9a-f]{32}")
_LEFT_OVER_AGE_S = 3600
"""A file being written is never this old. Counts where the file system has no locks."""

_COPIED_BYTES = 1 << 20
"""At once."""

_NO_ROOM = "no room for the result on the server's disk; ask the operator to make room"
_NOT_WRITABLE = "the server may not write into its folder of results; ask the operator to let it"
_NO_FOLDER = "where the server's folder of results should be is something else; ask the operator to mend that"
_WENT_AWAY = "the server's folder of results went away while the result was written; try again"
_OTHERWISE = "the result could not be written to the server's disk; its log says why"

_LOST = "the result went away before it could be sent; try again"

_TEXTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _NO_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NOT_WRITABLE),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), _NO_FOLDER),
    errno.ENOENT: _WENT_AWAY,
}
"""What the sender is told, by what the system says."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A finished picture on disk."""

    token: str
    """128 random bits as 32 hex digits: the permission to read it."""

    path: Path
    created_at: float
    """Seconds since the epoch."""

    size_bytes: int

    @property
    def url_path(self) -> str:
        """Where the gateway serves it."""
        return f"/files/{self.token}{self.path.suffix}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did."""

    deleted: int
    errors: tuple[str, ...]
    """Texts with file names only."""


class Store:
    """The folder of results. Several gateways may share it, where locks on files hold between them.

    A file's life is counted by the system's clock, since it outlives the process. When the clock is set forward,
    files expire early. When it is set back, files from the future live as if they were new, and the next sweep
    dates them anew: nobody loses a result for it, and no file stays for much longer than two lives.

    Args:
        folder: is made if missing, also later.
        max_age_s: life of a file.
        clock: seconds since the epoch.

    Raises:
        ConfigError: the folder cannot be made or written.
    """

    def __init__(
        self, folder: Path, *, max_age_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self.max_age_s = max_age_s
        self._clock = clock
        self._failures = Repeated()
        try:
            with self._aside():
                pass
        except OSError as error:
            reason = error.strerror
            if error.errno in (errno.EEXIST, errno.ENOTDIR):
                reason = "a file is in its place; name a folder"
            raise ConfigError(f"UPLOAD_FOLDER: cannot write to '{folder}': {reason}") from error

    def put(self, write: Callable[[Path], T], *, suffix: str) -> tuple[T, StoredFile]:
        """A new file; gives what ``write`` gave, and the file, which can be read from now on.

        Args:
            write: writes the file of this path, which is there and empty, without putting another one in its
                place. It is called once more if somebody removed the folder meanwhile.
            suffix: of the file's name.

        Raises:
            StorageFull: the disk is full, or the folder cannot be written. Nothing half-written stays.
        """
        try:
            try:
                return self._put(write, suffix)
            except FileNotFoundError:
                return self._put(write, suffix)
        except OSError as error:
            if (left_out := self._failures.occurred()) is not None:
                log.warning("result_not_written", reason=reason_of(error), left_out=left_out)
            raise StorageFull(_TEXTS.get(error.errno or 0, _OTHERWISE)) from error

    def _put(self, write: Callable[[Path], T], suffix: str) -> tuple[T, StoredFile]:
        token = secrets.token_hex(16)
        path = self.folder / f"upscaled_{token}{suffix}"
        with self._aside() as (aside, descriptor):
            written = write(aside)
            check_room(descriptor)
            aside.replace(path)
            facts = path.stat()
        return written, StoredFile(token, path, facts.st_mtime, facts.st_size)

    @contextmanager
    def _aside(self) -> Iterator[tuple[Path, int]]:
        """An empty file and its descriptor, locked: so a sweep knows that somebody writes it. Gone in the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".enlarger_{secrets.token_hex(16)}"
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            # Fails where there are no locks, and if a sweep was faster: then the file is gone, and written anew.
            with suppress(OSError):
                self._lock(descriptor)
            yield aside, descriptor
        finally:
            with suppress(OSError):  # a sweep removes what cannot be removed now
                aside.unlink()
            os.close(descriptor)

    def copy(self, stored: StoredFile) -> StoredFile | None:
        """Another file of the same bytes, with a name and a life of its own; None if it has expired.

        Raises:
            StorageFull: as ``put``.
        """
        if self.left_s(stored) <= 0:
            return None
        try:
            source = stored.path.open("rb")
        except OSError:  # swept, or the folder is gone: it is made anew
            return None

        def write(aside: Path) -> None:
            source.seek(0)
            with aside.open("wb") as target:
                shutil.copyfileobj(source, target, _COPIED_BYTES)

        with source:
            _, copy = self.put(write, suffix=stored.path.suffix)
        return copy

    def delete(self, file: StoredFile) -> None:
        """Nobody asks for it any more."""
        with suppress(OSError):  # a sweep removes what cannot be removed now
            file.path.unlink()

    def open(self, file: StoredFile) -> BufferedReader:
        """The bytes. From now on a sweep may delete its name, not what is open.

        Raises:
            StorageFull: it is gone before its time.
        """
        try:
            return file.path.open("rb")
        except OSError as error:
            log.warning("result_lost", reason=reason_of(error))
            raise StorageFull(_LOST) from error

    def find(self, name: str) -> StoredFile | None:
        """The file behind ``{token}.{ext}``, unless it is expired or was never there."""
        match = _NAME.fullmatch(f"upscaled_{name}")
        stored = self._stored(self.folder / match.group(0)) if match else None
        return None if stored is None or self.left_s(stored) <= 0 else stored

    def left_s(self, file: StoredFile) -> float:
        """Seconds it still lives, no more than a new one."""
        return min(self.max_age_s, file.created_at + self.max_age_s - self._clock())

    def files(self) -> list[StoredFile]:
        """Our files; those of other names are not ours."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except OSError:
            return []
        found = (self._stored(self.folder / name) for name in names if _NAME.fullmatch(name))
        return [file for file in found if file is not None]

    def sweep(self) -> Sweep:
        """Delete what has outlived its time, and what a sudden stop left half-written.

        Raises:
            OSError: the folder cannot be read.
        """
        deleted, errors = 0, []
        for name in [path.name for path in self.folder.iterdir()]:
            path = self.folder / name
            try:
                if _NAME.fullmatch(name):
                    deleted += self._sweep_result(path)
                elif _ASIDE.fullmatch(name) and self._is_left_over(path):
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                errors.append(f"{name}: {error.strerror}")
        return Sweep(deleted, tuple(errors))

    def _sweep_result(self, path: Path) -> bool:
        """Whether it was deleted."""
        now = self._clock()
        age_s = now - path.stat().st_mtime
        if age_s < 0:
            os.utime(path, (now, now))
        if age_s >= self.max_age_s:
            path.unlink()
        return age_s >= self.max_age_s

    def _is_left_over(self, aside: Path) -> bool:
        """Whether nobody writes it: its lock can be had then, since it ends with the process that held it."""
        descriptor = os.open(aside, os.O_RDWR)
        try:
            self._lock(descriptor)
        except BlockingIOError:
            return False
        except OSError:
            return self._clock() - os.fstat(descriptor).st_mtime >= _LEFT_OVER_AGE_S
        finally:
            os.close(descriptor)
        return True

    def _lock(self, descriptor: int) -> None:
        """Until it is closed, here and in processes that inherited it: none, of those that we start."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def _stored(path: Path) -> StoredFile | None:
        match = _NAME.fullmatch(path.name)
        try:
            facts = path.stat()
        except OSError:
            return None
        return StoredFile(match.group(1), path, facts.st_mtime, facts.st_size) if match else None


def check_room(descriptor: int) -> None:
    """Raise if the disk is full.

    An encoder's last write may have been cut short, of which Pillow's for JPEG says nothing. Then one byte
    more does not fit either.
    """
    size_bytes = os.fstat(descriptor).st_size
    os.pwrite(descriptor, b"\0", size_bytes)
    os.ftruncate(descriptor, size_bytes)


async def sweep_regularly(store: Store, *, interval_s: float) -> None:
    """Sweep now, to remove what an earlier run left, and every ``interval_s`` from then on."""
    failures = Repeated()
    while True:
        try:
            sweep = await asyncio.to_thread(store.sweep)
        except OSError as error:
            if (left_out := failures.occurred()) is not None:
                log.warning("sweep_failed", reason=reason_of(error), left_out=left_out)
        else:
            failures.over()
            if sweep.deleted or sweep.errors:
                log.info("sweep_done", deleted=sweep.deleted, errors=sweep.errors)
        await asyncio.sleep(interval_s)
