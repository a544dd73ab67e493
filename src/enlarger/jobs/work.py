"""The work on one job, from the claim to the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import structlog

from enlarger.errors import (
    CapacityError,
    DeadlineExceeded,
    EngineLost,
    EnlargerError,
    MissingInput,
)
from enlarger.jobs.endings import Endings
from enlarger.jobs.event_streams import EventStreams
from enlarger.jobs.files import JobFiles
from enlarger.jobs.inputs import InputPreview
from enlarger.jobs.job import Job
from enlarger.jobs.previews import TilePreviews
from enlarger.jobs.progress import JobProgress
from enlarger.jobs.rows import Rows
from enlarger.options import Options
from enlarger.picture.preview import MOST_SIDE_PX
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.request import BytesSource, UpscaleRequest, UrlSource
from enlarger.threads import dropped

log = structlog.get_logger()

MOST_ATTEMPTS = 5
"""A job that was begun so often and never came to an end most likely ends gateways."""


class JobWork:
    """Works on jobs that this gateway holds, each to its end, or until it is given back.

    Args:
        rows: where jobs are.
        files: where their pictures and tiles are.
        event_streams: told of the progress.
        endings: ends them.
        pipeline: makes the pictures.
        executor: for work that must not hold up the event loop.
        charge: takes a caller's output pixels.
        holding: entered while a job runs, so that a process that is to end waits for it.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        files: JobFiles,
        event_streams: EventStreams,
        endings: Endings,
        pipeline: Pipeline,
        executor: Executor,
        charge: Callable[[str, int], Awaitable[None]],
        holding: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._files = files
        self._event_streams = event_streams
        self._endings = endings
        self._pipeline = pipeline
        self._executor = executor
        self._charge = charge
        self._holding = holding
        self._clock = clock

    async def run(self, job: Job, progress: JobProgress, outcome: Awaitable[Outcome]) -> None:
        """Wait for the outcome of a job, and end it.

        Args:
            job: held here.
            progress: how far it is.
            outcome: what ``make`` returns, or the work on a request that became this job.

        Raises:
            EnlargerError: the database is away, and so the end is not noted.
        """
        structlog.contextvars.bind_contextvars(request_id=job.request_id, job=job.id)
        log.info("job_begun", attempt=job.attempts)
        outcome = asyncio.ensure_future(outcome)
        try:
            with self._holding():
                await self._follow(job, progress, outcome)
        except asyncio.CancelledError:
            # Canceled, lost to another gateway, or this process ends: only in the last case it is still held here.
            await dropped(outcome)
            if not await self._give_back(job, progress, not_before=0.0):
                await self._endings.clear(job)
            raise
        except DeadlineExceeded as error:
            await self._endings.fail(job, error)
        except CapacityError as error:
            not_before = self._clock() + (error.retry_after_s or 1.0)
            await self._give_back(job, progress, not_before=not_before)
        except EnlargerError as error:
            await self._endings.fail(job, error)
        except Exception:
            log.exception("internal_error")
            await self._endings.fail(job, EnlargerError("Internal server error"))

    async def make(self, job: Job, progress: JobProgress) -> Outcome:
        """Make the picture of a job, from the tiles that are there already."""
        if job.attempts > MOST_ATTEMPTS:
            raise EngineLost(
                f"the server ended {MOST_ATTEMPTS} times while it worked on this picture"
            )
        request = UpscaleRequest(
            source=await self._source(job),
            options=Options.model_validate(job.options),
            owner=job.owner,
            request_id=job.request_id,
            skip_cache=job.skip_cache,
        )
        progress.tiles = await self._files.found_tiles(job.id)
        # A picture that came with a request was charged when it was taken; a batch waits in the queue until it may go on.
        is_charged = job.source_url is None and job.batch_id is None
        charge = None if is_charged else partial(self._charge, job.caller)
        return await self._pipeline.run(request, listener=progress.listener, charge=charge)

    async def _source(self, job: Job) -> UrlSource | BytesSource:
        if job.source_url is not None:
            return UrlSource(job.source_url)
        source = await self._files.input(job.id)
        if source is None:
            raise MissingInput("the picture that came with the request is gone; send it again")
        return source

    async def _follow(self, job: Job, progress: JobProgress, work: Awaitable[Outcome]) -> None:
        """Show finished tiles and the picture itself while the work goes on; then end the job."""
        stream = self._event_streams.of(job)
        make = partial(self._pipeline.previews.make, max_side_px=MOST_SIDE_PX)
        async with (
            TilePreviews(self._files, stream, self._executor) as previews,
            InputPreview(job.id, self._files, make) as before,
        ):
            progress.piece = previews.add
            progress.when_read(before.begin)
            outcome = await work
            input_preview = await before.made()
        await self._endings.succeed(job, outcome, input_preview)

    async def _give_back(self, job: Job, progress: JobProgress, *, not_before: float) -> bool:
        """Let another gateway go on with a job; return whether it was still held here."""
        with contextlib.suppress(EnlargerError):  # if it fails, its lease runs out
            if await self._rows.queue.release(
                job.id,
                holder=job.holder or "",
                not_before=not_before,
                tiles_done=progress.tiles_done,
                tiles_total=progress.tiles_total,
            ):
                log.info("job_given_back")
                self._event_streams.tell(replace(job, **{**progress.values(), "stage": None}))
                return True
        return False
