"""Results in a folder that a test may look into."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from enlarger.storage import ResultStore, Storage, StoredResult, storage_at
from enlarger.storage.faults import RESULTS

T = TypeVar("T")


class FolderResults(ResultStore):
    """Results in a folder that a test may look into."""

    def __init__(
        self,
        folder: Path,
        *,
        max_age_s: float = 300,
        shared: Storage | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        storage = storage_at(folder, RESULTS)
        super().__init__(storage, max_age_s=max_age_s, shared=shared, clock=clock)
        self.folder = folder
        self.shared = shared

    def path(self, stored: StoredResult) -> Path:
        """The file of a result."""
        return self.folder / stored.file_name


async def put(
    results: ResultStore, write: Callable[[Path], T], *, suffix: str = ".png"
) -> tuple[T, StoredResult]:
    """A new result, and what ``write`` returned."""
    draft = results.draft(write)
    return draft.written, await results.publish(draft, suffix=suffix)
