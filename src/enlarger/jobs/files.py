"""The files of jobs: pictures that came in, finished tiles, previews, and results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from enlarger.jobs.blobs import Blobs
from enlarger.jobs.checkpoint import KeptTiles


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Keeps the files of jobs among the blobs. Nobody else knows their keys.

    ``{job}/result`` lives as long as the result; all below ``{job}/work`` is deleted when the job ends.

    Raises:
        StorageFull, StorageUnavailable: from each call; the text says what to do.
    """

    blobs: Blobs

    async def keep_input(self, job_id: str, data: bytes) -> None:
        """Keep the picture that came with a request."""
        await self.blobs.put(_input(job_id), data)

    async def input(self, job_id: str) -> bytes | None:
        """Return the picture that came with a request; None if there is none any more."""
        return await self.blobs.get(_input(job_id))

    def tiles(self, job_id: str) -> KeptTiles:
        """Return a place for the finished tiles of a job that has none yet."""
        return KeptTiles(self.blobs, _tiles(job_id))

    async def found_tiles(self, job_id: str) -> KeptTiles:
        """Return the finished tiles of a job, which another gateway may have made."""
        folder = _tiles(job_id)
        return KeptTiles(self.blobs, folder, known=await self.blobs.keys(folder))

    async def keep_preview(self, job_id: str, index: int, data: bytes) -> None:
        """Keep a finished tile as a small JPEG file."""
        await self.blobs.put(_preview(job_id, index), data)

    async def preview(self, job_id: str, index: int) -> bytes | None:
        """Return a finished tile as a small JPEG file; None if there is none."""
        return await self.blobs.get(_preview(job_id, index))

    async def keep_result(self, job_id: str, file: Path) -> None:
        """Keep a copy of this file as the result."""
        await self.blobs.put_file(_result(job_id), file)

    def result(self, job_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes of the result from ``start`` to before ``end``."""
        return self.blobs.stream(_result(job_id), start, end)

    async def delete_work(self, job_id: str) -> None:
        """Delete all but the result."""
        await self.blobs.delete_under(_work(job_id))

    async def delete(self, job_id: str) -> None:
        """Delete all files of a job."""
        await self.blobs.delete_under(job_id)


def _work(job_id: str) -> str:
    return f"{job_id}/work"


def _input(job_id: str) -> str:
    return f"{_work(job_id)}/input"


def _tiles(job_id: str) -> str:
    return f"{_work(job_id)}/tiles"


def _preview(job_id: str, index: int) -> str:
    return f"{_work(job_id)}/pieces/{index}"


def _result(job_id: str) -> str:
    return f"{job_id}/result"
