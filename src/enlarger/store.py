"""Finished pictures in ``UPLOAD_FOLDER``: unguessable names, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from enlarger.errors import ConfigError, StorageFull

log = structlog.get_logger()

_NAME = re.compile(r"upscaled_([0-9a-f]{32})\.(png|jpg|webp|avif|tif)")
_ASIDE = re.compile(r"\.enlarger_[0-9a-f]{32}")
_LEFT_OVER_AGE_S = 3600
"""A file being written is never this old."""


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
    """The folder of results.

    Raises:
        ConfigError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, max_age_s: float) -> None:
        self.folder = folder
        self.max_age_s = max_age_s
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".enlarger_{secrets.token_hex(16)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"UPLOAD_FOLDER: cannot write to '{folder}': {error.strerror}"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A path to write a picture to; on leaving without ``publish`` the file is gone.

        Raises:
            StorageFull: the disk is full, or the folder is gone or read-only.
        """
        aside = self.folder / f".enlarger_{secrets.token_hex(16)}"
        try:
            yield aside
        except OSError as error:
            log.warning("result_not_written", reason=error.strerror)
            raise StorageFull(
                "no room for the result on the server's disk; try again later"
            ) from error
        finally:
            with suppress(OSError):  # a sweep removes what cannot be removed now
                aside.unlink()

    def publish(self, aside: Path, *, suffix: str) -> StoredFile:
        """Give a written file its name; from now on it can be read."""
        token = secrets.token_hex(16)
        path = self.folder / f"upscaled_{token}{suffix}"
        aside.replace(path)
        facts = path.stat()
        return StoredFile(token, path, facts.st_mtime, facts.st_size)

    def copy(self, stored: StoredFile) -> StoredFile | None:
        """Another file of the same bytes, with a name and a life of its own; None if it has expired.

        Raises:
            StorageFull: the disk is full, or the folder is gone or read-only.
        """
        if self.left_s(stored) <= 0:
            return None
        with self.writing() as aside:
            try:
                shutil.copyfile(stored.path, aside)
            except FileNotFoundError:
                return None
            return self.publish(aside, suffix=stored.path.suffix)

    def find(self, name: str) -> StoredFile | None:
        """The file behind ``{token}.{ext}``, unless it is expired or was never there."""
        match = _NAME.fullmatch(f"upscaled_{name}")
        stored = self._stored(self.folder / match.group(0)) if match else None
        return None if stored is None or self.left_s(stored) <= 0 else stored

    def left_s(self, file: StoredFile) -> float:
        """Seconds it still lives."""
        return file.created_at + self.max_age_s - time.time()

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
        now = time.time()
        for name in [path.name for path in self.folder.iterdir()]:
            ours, aside = _NAME.fullmatch(name), _ASIDE.fullmatch(name)
            if not ours and not aside:
                continue
            try:
                age_s = now - (self.folder / name).stat().st_mtime
                if age_s >= (self.max_age_s if ours else _LEFT_OVER_AGE_S):
                    (self.folder / name).unlink()
                    deleted += bool(ours)
            except FileNotFoundError:
                continue
            except OSError as error:
                errors.append(f"{name}: {error.strerror}")
        return Sweep(deleted, tuple(errors))

    @staticmethod
    def _stored(path: Path) -> StoredFile | None:
        match = _NAME.fullmatch(path.name)
        try:
            facts = path.stat()
        except OSError:
            return None
        return StoredFile(match.group(1), path, facts.st_mtime, facts.st_size) if match else None


async def sweep_regularly(store: Store, *, interval_s: float) -> None:
    """Sweep now, to remove what an earlier run left, and every ``interval_s`` from then on."""
    while True:
        try:
            sweep = await asyncio.to_thread(store.sweep)
        except OSError as error:
            log.warning("sweep_failed", reason=error.strerror)
        else:
            if sweep.deleted or sweep.errors:
                log.info("sweep_done", deleted=sweep.deleted, errors=sweep.errors)
        await asyncio.sleep(interval_s)


def etag(data: bytes) -> str:
    """Strong entity tag of a file's bytes."""
    return f'"sha256-{hashlib.sha256(data).hexdigest()}"'
