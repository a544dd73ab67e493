"""How a request becomes a job: looked at, charged, queued once per idempotency key, and begun."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from enlarger.errors import Draining, EnlargerError, IdempotencyKeyReused, QueueFull
from enlarger.jobs.endings import Endings
from enlarger.jobs.facts import ErrorFacts, InputFacts
from enlarger.jobs.files import JobFiles
from enlarger.jobs.job import BatchRecord, Job, new_job_id
from enlarger.jobs.progress import JobProgress
from enlarger.jobs.rows import Rows
from enlarger.jobs.runner import Runner
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.reasons import reason_of
from enlarger.request import BytesSource, UpscaleRequest, UrlSource
from enlarger.threads import dropped

log = structlog.get_logger()

_UPLOAD_S = 300.0
"""A picture that came with a request must be among the files within this time; the job waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The caller of a request for a job, and what the request says besides its options."""

    caller: str
    """Id of the caller whose output pixels are counted."""

    idempotency_key: str | None = None
    fingerprint: str | None = None
    webhook: str | None = None


class Intake:
    """Takes requests as jobs.

    Args:
        rows: where jobs are.
        files: where their pictures are.
        runner: runs them.
        endings: ends a job whose picture cannot be kept.
        pipeline: knows what they cost.
        charge: takes a caller's output pixels.
        limit: the most queued jobs.
        draining: whether the process takes nothing new.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        files: JobFiles,
        runner: Runner,
        endings: Endings,
        pipeline: Pipeline,
        charge: Callable[[str, int], Awaitable[None]],
        limit: int,
        draining: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._files = files
        self._runner = runner
        self._endings = endings
        self._pipeline = pipeline
        self._charge = charge
        self._limit = limit
        self._draining = draining
        self._clock = clock

    async def submit(
        self, request: UpscaleRequest, asked: Asked, *, at_once: bool = False
    ) -> tuple[Job, bool]:
        """Take a job; return it, and whether it was there already under its idempotency key.

        Args:
            request: what to make.
            asked: by whom, and how.
            at_once: a caller waits for it: it is not queued behind jobs that nobody waits for.

        Raises:
            RequestError: its picture cannot be taken.
            IdempotencyKeyReused: the key stands for another job.
            RateLimited: the caller has had too much.
            QueueFull, Draining: not now.
            StorageFull: there is no room for its picture.
        """
        if (known := await self.known(request.owner, asked)) is not None:
            return await self._resume(known, request), True
        await self.check_room(0 if at_once else 1)
        job, output_px = await self.looked_at(request, asked)
        if output_px:
            await self._charge(asked.caller, output_px)
        added = await self._rows.jobs.add(job)
        if added.id != job.id:
            check_fingerprint(added, asked)
            return await self._resume(added, request), True
        return await self.begin(added, request, at_once=at_once), False

    async def adopt(
        self,
        request: UpscaleRequest,
        asked: Asked,
        work: asyncio.Future[Outcome],
        progress: JobProgress,
    ) -> Job:
        """Go on with a request that takes long as a job: its sender need not wait for it."""
        job = replace(
            self._queued(request, asked), **self._runner.held_values(), **progress.values()
        )
        try:
            added = await self._rows.jobs.add(job)
        except BaseException:  # nobody waits for it, and it is no job
            await dropped(work)
            raise
        if added.id != job.id:  # another one was faster, under the same key
            await dropped(work)
            return added
        self._runner.adopt(added, work, progress)
        if isinstance(request.source, BytesSource):
            try:
                await self._files.keep_input(added.id, request.source)
            except EnlargerError as error:  # it runs all the same; only a sudden end would cost it
                log.warning("input_not_kept", job=added.id, reason=reason_of(error))
        return added

    async def known(self, owner: str, asked: Asked) -> Job | None:
        """Return the job that has this key, if there is one. A key is free again when the result's time is over.

        Raises:
            IdempotencyKeyReused: the key stands for another job.
        """
        if asked.idempotency_key is None:
            return None
        known = await self._rows.jobs.by_key(owner, asked.idempotency_key)
        if known is None:
            return None
        if known.has_expired(self._clock()):
            await self._rows.jobs.update(known.id, idempotency_key=None)
            return None
        check_fingerprint(known, asked)
        return known

    async def usable(self, owner: str, asked: Asked) -> Job | None:
        """Return the job that has this key, if it has a result or may have one; otherwise the key is free again."""
        known = await self.known(owner, asked)
        if known is None or not known.is_ended or known.has_result(self._clock()):
            return known
        await self._rows.jobs.update(known.id, idempotency_key=None)
        return None

    async def find_by_key(self, owner: str, key: str) -> Job | None:
        """Return the job that has this idempotency key, whatever was asked for with it."""
        return await self._rows.jobs.by_key(owner, key)

    def is_incomplete(self, job: Job) -> bool:
        """Whether the picture of a job is still on its way."""
        return job.state == "queued" and job.not_before > self._clock()

    async def check_room(self, count: int) -> None:
        """Check whether so many jobs can be taken now.

        Raises:
            QueueFull, Draining: they cannot.
        """
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)
        waiting, mflop = await self._rows.queue.waiting()
        if waiting + count > self._limit:
            speed = self._pipeline.mflop_per_s
            raise QueueFull(
                f"{waiting} jobs are waiting, the limit is {self._limit}",
                # Until so many have gone, as far as their cost is known.
                retry_after_s=mflop / speed * min(1, count / max(1, waiting)) if speed else None,
            )

    async def looked_at(self, request: UpscaleRequest, asked: Asked) -> tuple[Job, int]:
        """Return a new job, and its output pixels; those of a URL nobody knows yet, they are 0.

        Raises:
            RequestError: its picture cannot be taken.
            CapacityError: not now.
        """
        job = self._queued(request, asked)
        if isinstance(request.source, UrlSource):
            return job, 0
        header, size_bytes = await self._pipeline.header(request)
        estimate = self._pipeline.estimate(header, request.options, input_bytes=size_bytes)
        job = replace(
            job,
            mflop=estimate.mflop,
            input=InputFacts.of(header, size_bytes),
            # Nobody begins it before its picture is there.
            not_before=job.created_at + _UPLOAD_S,
        )
        return job, estimate.width_px * estimate.height_px

    def refused(self, error: EnlargerError, asked: Asked, request_id: str) -> Job:
        """Return a job that has failed before it began."""
        now = self._clock()
        return Job(
            id=new_job_id(),
            caller=asked.caller,
            request_id=request_id,
            created_at=now,
            state="failed",
            finished_at=now,
            options={},
            error=ErrorFacts.of(error),
        )

    async def begin(self, job: Job, request: UpscaleRequest, *, at_once: bool = False) -> Job:
        """Let a job that has its row run, in its turn or at once; its picture is among the files then.

        Raises:
            StorageFull, StorageUnavailable: there is no room for its picture; it has failed.
        """
        if isinstance(request.source, BytesSource):
            job = await self._with_input(job, request.source)
        if at_once:
            values = self._runner.held_values()
            begun = await self._rows.jobs.update(job.id, states=("queued",), **values)
            if begun is not None:
                self._runner.begin(begun)
                return begun
        self._runner.wake()
        return job

    async def _resume(self, known: Job, request: UpscaleRequest) -> Job:
        """Return a job that is asked for once more. Its picture may have been lost on its way: it is here again."""
        return await self.begin(known, request) if self.is_incomplete(known) else known

    async def _with_input(self, job: Job, source: BytesSource) -> Job:
        """Return the job, with its picture among the files."""
        try:
            await self._files.keep_input(job.id, source)
        except BaseException as error:
            ours = error if isinstance(error, EnlargerError) else EnlargerError("interrupted")
            await self._endings.refuse(job, ours)
            raise
        ready = await self._rows.jobs.update(job.id, states=("queued",), not_before=0.0)
        return ready or job

    def _queued(self, request: UpscaleRequest, asked: Asked) -> Job:
        source = request.source
        return Job(
            id=new_job_id(),
            owner=request.owner,
            caller=asked.caller,
            request_id=request.request_id,
            created_at=self._clock(),
            options=request.options.model_dump(mode="json"),
            source_url=source.url if isinstance(source, UrlSource) else None,
            idempotency_key=asked.idempotency_key,
            fingerprint=asked.fingerprint,
            webhook=asked.webhook,
            skip_cache=request.skip_cache,
        )


def check_fingerprint(known: Job | BatchRecord, asked: Asked) -> None:
    """Check that what was asked for under a key is asked for again.

    Raises:
        IdempotencyKeyReused: it is something else.
    """
    if known.fingerprint != asked.fingerprint:
        raise IdempotencyKeyReused(f"{asked.idempotency_key} was first used for another request")
