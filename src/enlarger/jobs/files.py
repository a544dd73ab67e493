"""The files of jobs: pictures that came in, finished tiles, and previews."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from enlarger.geometry.rect import Rect
from enlarger.jobs.checkpoint import KeptTiles
from enlarger.jobs.event_streams import Shown
from enlarger.request import BytesSource
from enlarger.storage import Storage


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Keeps the files of jobs, all below ``{job}/``, until the job ends. Nobody else knows their keys.

    The result of a job is in ``ResultStore``.

    Raises:
        StorageFull, StorageUnavailable: from each call; the text says what to do.
    """

    storage: Storage

    async def keep_input(self, job_id: str, source: BytesSource) -> None:
        """Keep the picture that came with a request, with its digest, so that no gateway hashes it again."""
        sha256 = await asyncio.to_thread(lambda: source.sha256)
        await self.storage.put(_input(job_id), source.data, sha256=sha256)

    async def input(self, job_id: str) -> BytesSource | None:
        """Return the picture that came with a request; None if there is none any more."""
        found = await self.storage.get_with_digest(_input(job_id))
        return None if found is None else BytesSource(*found)

    async def keep_input_preview(self, job_id: str, data: bytes) -> None:
        """Keep the preview of a job's picture, a JPEG file."""
        await self.storage.put(_input_preview(job_id), data)

    async def input_preview(self, job_id: str) -> bytes | None:
        """Return the preview of a job's picture, a JPEG file; None if there is none."""
        return await self.storage.get(_input_preview(job_id))

    def tiles(self, job_id: str) -> KeptTiles:
        """Return a place for the finished tiles of a job that has none yet."""
        return KeptTiles(self.storage, _tiles(job_id))

    async def found_tiles(self, job_id: str) -> KeptTiles:
        """Return the finished tiles of a job, which another gateway may have made."""
        folder = _tiles(job_id)
        return KeptTiles(self.storage, folder, known=await self.storage.keys(folder))

    async def keep_preview(self, job_id: str, shown: Shown, data: bytes) -> None:
        """Keep the preview of a finished tile, which is a JPEG file. Its key states its place in the result."""
        place = shown.place
        sides = f"{place.left}-{place.top}-{place.width_px}-{place.height_px}"
        await self.storage.put(f"{_previews(job_id)}/{shown.index}/{sides}", data)

    async def preview(self, job_id: str, index: int) -> bytes | None:
        """Return the preview of a finished tile, a JPEG file; None if there is none."""
        keys = await self.storage.keys(f"{_previews(job_id)}/{index}")
        return await self.storage.get(keys[-1]) if keys else None

    async def previews(self, job_id: str) -> list[Shown]:
        """Return the finished tiles of a job that have a preview, whichever gateway made it, by their index."""
        found = {}
        for key in await self.storage.keys(_previews(job_id)):
            index, sides = key.split("/")[-2:]
            found[int(index)] = Rect.sized(*map(int, sides.split("-")))
        return [Shown(index, place) for index, place in sorted(found.items())]

    async def has_old_result(self, job_id: str) -> bool:
        """Return whether an earlier version kept the result of a job among these files."""
        return await self.storage.facts(_old_result(job_id)) is not None

    async def old_result(self, job_id: str, start: int, end: int) -> AsyncGenerator[bytes]:
        """Open that result, and return its bytes from ``start`` to before ``end`` in pieces; see ``Storage.open``."""
        return await self.storage.open(_old_result(job_id), start, end)

    async def delete(self, job_id: str) -> None:
        """Delete all files of a job."""
        await self.storage.delete_under(job_id)


def _old_result(job_id: str) -> str:
    return f"{job_id}/result"


def _work(job_id: str) -> str:
    return f"{job_id}/work"


def _input(job_id: str) -> str:
    return f"{_work(job_id)}/input"


def _input_preview(job_id: str) -> str:
    return f"{_work(job_id)}/input-preview"


def _tiles(job_id: str) -> str:
    return f"{_work(job_id)}/tiles"


def _previews(job_id: str) -> str:
    return f"{_work(job_id)}/previews"
