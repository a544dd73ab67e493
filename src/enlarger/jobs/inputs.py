"""Previews of the pictures that jobs enlarge: the "before" of a comparison, also after the picture itself is deleted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Self

from enlarger.errors import EnlargerError, JobNotFinished, NotFound
from enlarger.jobs.files import JobFiles
from enlarger.jobs.job import Job
from enlarger.jobs.results import Results
from enlarger.request import BytesSource
from enlarger.storage import ResultStore
from enlarger.threads import dropped

Make = Callable[[bytes], Awaitable[bytes]]
"""Returns the preview of a file, which is a JPEG file."""


class InputPreview:
    """Makes the preview of one job's picture while the job runs. One that cannot be made is left out.

    Args:
        job_id: the job.
        files: where the preview is kept until the job ends.
        make: makes it.
    """

    def __init__(self, job_id: str, files: JobFiles, make: Make) -> None:
        self._job_id = job_id
        self._files = files
        self._make = make
        self._task: asyncio.Task[bytes | None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await dropped(self._task)

    def begin(self, source: BytesSource) -> None:
        """Make the preview of this picture."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(source))

    async def made(self) -> bytes | None:
        """Wait for the preview and return it; None if there is none."""
        return None if self._task is None else await self._task

    async def _keep(self, source: BytesSource) -> bytes | None:
        with contextlib.suppress(EnlargerError):
            return await made_and_kept(self._job_id, source, self._files, self._make)
        return None


class InputPreviews:
    """Returns the previews of the pictures of jobs.

    Until a job ends, its preview is among its files. From then on it is beside the result, as long as the result exists.

    Args:
        files: the files of jobs.
        results: the results of jobs.
        store: where results are.
        make: makes the preview of a picture that waits in the queue.
    """

    def __init__(
        self, *, files: JobFiles, results: Results, store: ResultStore, make: Make
    ) -> None:
        self._files = files
        self._results = results
        self._store = store
        self._make = make

    async def of(self, job: Job) -> bytes:
        """Return the preview of a job's picture, a JPEG file.

        Raises:
            JobNotFinished: the picture is not here yet.
            JobWithoutResult, ResultExpired: the job has ended, and there is no result.
            NotFound: the preview was not kept.
            RequestError: the picture cannot be read.
        """
        if job.is_ended:
            data = await self._store.preview(await self._results.stored(job), "input")
            if data is None:
                raise NotFound("no preview of the picture was kept")
            return data
        data = await self._files.input_preview(job.id)
        if data is not None:
            return data
        source = await self._files.input(job.id)
        if source is None:
            raise JobNotFinished("the picture has not been fetched yet", retry_after_s=1)
        return await made_and_kept(job.id, source, self._files, self._make)


async def made_and_kept(job_id: str, source: BytesSource, files: JobFiles, make: Make) -> bytes:
    """Make the preview of a picture, keep it among the files of its job if that is possible, and return it.

    Raises:
        RequestError: the picture cannot be read.
    """
    data = await make(source.data)
    with contextlib.suppress(EnlargerError):
        await files.keep_input_preview(job_id, data)
    return data
