"""Results of jobs: as long as they live, and how they are deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

import structlog

from enlarger.errors import (
    EnlargerError,
    JobNotFinished,
    JobWithoutResult,
    NotFound,
    ResultExpired,
    ResultLost,
    TilesGone,
)
from enlarger.jobs.event_streams import EventStreams, Shown
from enlarger.jobs.facts import ResultFacts
from enlarger.jobs.files import JobFiles
from enlarger.jobs.job import Job
from enlarger.jobs.rows import Rows
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.storage import ResultStore, StoredResult

log = structlog.get_logger()

SWEEP_S = 30.0
"""Between two sweeps."""

KEPT_S = 86_400.0
"""What is known of a job is kept so much longer than its result."""

_DELETED = "the result was kept for its time and is deleted; ask for it again"

OpenPart = Callable[[int, int], Awaitable[AsyncGenerator[bytes]]]
"""Opens a file, and returns its bytes from the first number to before the second in pieces."""


class Results:
    """Has what jobs made, and deletes it when its time is over.

    Args:
        rows: where jobs are.
        files: where their files are.
        event_streams: told when a result is deleted.
        store: where results are.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        files: JobFiles,
        event_streams: EventStreams,
        store: ResultStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._files = files
        self._event_streams = event_streams
        self._store = store
        self._clock = clock

    def of(self, job: Job) -> ResultFacts:
        """Return what is known of the result, which is there.

        Raises:
            JobNotFinished, JobWithoutResult, ResultExpired: it is not.
        """
        if job.result is not None and job.has_result(self._clock()):
            return job.result
        if job.state in ("succeeded", "expired"):
            raise ResultExpired(_DELETED)
        if not job.is_ended:
            raise JobNotFinished(
                f"the job is {job.state}; its result comes when it has succeeded", retry_after_s=1
            )
        raise JobWithoutResult(f"the job has {job.state}, so there is no result")

    async def stored(self, job: Job) -> StoredResult:
        """Return where the result is, which is there.

        Raises:
            JobNotFinished, JobWithoutResult, ResultExpired: it is not.
        """
        self.of(job)
        stored = await self._store.find(job.file_name or "")
        if stored is None:
            raise ResultExpired("the result is deleted; ask for it again")
        return stored

    def left_s(self, job: Job) -> float:
        """Return the seconds that a result still lives."""
        return job.left_s(self._clock())

    async def find(self, job: Job) -> OpenPart:
        """Find the file of a result; returns the function that opens it.

        Raises:
            JobNotFinished, JobWithoutResult, ResultExpired: There is no result, or its file was deleted.
            StorageUnavailable: The bucket cannot be reached.
        """
        sha256 = self.of(job).sha256
        stored = await self._store.find(job.file_name or "", sha256=sha256)
        if stored is not None:
            opens: OpenPart = partial(self._store.open, stored)
        elif await self._files.has_old_result(job.id):
            opens = partial(self._files.old_result, job.id)
        else:
            raise ResultExpired(_DELETED)

        async def opened(start: int, end: int) -> AsyncGenerator[bytes]:
            try:
                return await opens(start, end)
            except ResultLost as error:
                raise ResultExpired(_DELETED) from error

        return opened

    async def tile(self, job: Job, index: int) -> bytes:
        """Return a finished tile of a running job, as a JPEG file.

        Raises:
            NotFound: there is none, or none any more.
        """
        data = await self._files.preview(job.id, index)
        if data is None:
            raise NotFound("there is no such tile; tiles are kept as long as their job runs")
        return data

    async def tiles(self, job: Job) -> list[Shown]:
        """Return the finished tiles of an unfinished job, by their index; none if its picture has only one tile.

        Raises:
            TilesGone: the job has ended.
        """
        if job.is_ended:
            raise TilesGone("the job has ended; its tiles were kept until then")
        return await self._files.previews(job.id)

    async def expire(self, job: Job) -> Job | None:
        """Delete a result before its time; return the job as it is then, or None if it has no result."""
        expired = await self._rows.jobs.update(job.id, states=("succeeded",), state="expired")
        if expired is not None:
            await self._delete(expired)
        return expired

    async def sweep_regularly(self) -> None:
        """Delete results that have outlived their time, and forget jobs a day later."""
        away = Repeated()
        while True:
            try:
                await self.sweep()
                away.over()
            except EnlargerError as error:
                if (left_out := away.occurred()) is not None:
                    log.warning("jobs_not_swept", reason=reason_of(error), left_out=left_out)
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Do that once."""
        now = self._clock()
        for job in await self._rows.jobs.expire(now):
            await self._delete(job)
        before = now - self._store.max_age_s - KEPT_S
        for job_id in await self._rows.jobs.ended_before(before):
            # First the files: without its row nobody would know of them.
            await self._files.delete(job_id)
        await self._rows.forget(before)
        await self._rows.results.forget(now)
        await self._rows.gateways.forget(now)

    async def _delete(self, job: Job) -> None:
        self._event_streams.tell(job)
        await self._files.delete(job.id)
        if job.file_name:
            await self._store.delete(job.file_name)
