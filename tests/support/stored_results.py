"""Stored results for tests."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from enlarger.storage import (
    StoredResult,
)
from support.results import FolderResults, put

MAX_AGE_S = 300
TOKEN = "0123456789abcdef" * 2
"""The form of a name, for files that a test plants."""


async def stored(
    store: FolderResults, data: bytes = b"picture", *, age_s: float = 0
) -> StoredResult:
    """A result that was written ``age_s`` ago."""
    _, file = await put(store, lambda aside: aside.write_bytes(data), suffix=".png")
    if age_s:
        os.utime(store.path(file), (time.time() - age_s,) * 2)
    return replace(file, created_at=store.path(file).stat().st_mtime)


def planted(store: FolderResults, name: str, *, age_s: float) -> Path:
    """Put a file of this age into the folder, as if a user had."""
    path = store.folder / name
    path.write_bytes(b"planted")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def names(store: FolderResults) -> list[str]:
    """Return the names of all files in the folder."""
    return sorted(path.name for path in store.folder.iterdir())


KINDS = ("png", "jpeg", "webp", "avif", "tiff")


class Clock:
    """The system's, set forward or back."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead_s
