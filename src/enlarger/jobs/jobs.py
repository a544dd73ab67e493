"""Jobs, as the API sees them: taken, watched, canceled, and their results."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
)
from dataclasses import dataclass, replace
from typing import Any

import structlog

from enlarger.errors import (
    Draining,
    EnlargerError,
    IdempotencyKeyReused,
    JobNotFinished,
    JobWithoutResult,
    NotFound,
    QueueFull,
    ResultExpired,
)
from enlarger.jobs.event_streams import Event, EventStream, EventStreams
from enlarger.jobs.job import BatchRecord, Job, State, input_json, new_job_id
from enlarger.jobs.rows import Rows
from enlarger.jobs.runner import LEASE_S, JobProgress, Runner, input_key, old_result_key, piece_key
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.request import BytesSource, UpscaleRequest, UrlSource
from enlarger.storage import ResultStore, Storage
from enlarger.threads import dropped

log = structlog.get_logger()

POLL_S = 1.0
"""Between two looks at a watched job that does not run here."""

SWEEP_S = 30.0
KEPT_S = 86_400.0
"""What is known of a job lives so much longer than its result."""

_UPLOAD_S = 300.0
"""In which a picture that came with a request must be among the blobs; the job waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks for a job, and how."""

    caller: str
    """Whose output pixels are counted."""

    idempotency_key: str | None = None
    fingerprint: str | None = None
    webhook: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A job, and how long it will take."""

    record: Job
    position: int | None = None
    """Of a queued one; 1 is the next."""

    length: int = 0
    """Queued jobs."""

    eta_s: float | None = None


class Jobs:
    """All that can be done with jobs.

    Args:
        rows: where they are.
        blobs: where their pictures are.
        event_streams: what those who watch are told.
        runner: runs them.
        pipeline: knows what they cost.
        store: where results are.
        problem: an error as JSON, for a request id.
        charge: takes a caller's output pixels.
        limit: queued jobs.
        max_age_s: life of a result.
        draining: whether the process takes nothing new.
        ended: told of each job that is canceled.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        blobs: Storage,
        event_streams: EventStreams,
        runner: Runner,
        pipeline: Pipeline,
        store: ResultStore,
        problem: Callable[[EnlargerError, str], Mapping[str, Any]],
        charge: Callable[[str, int], None],
        limit: int,
        max_age_s: float,
        draining: Callable[[], bool],
        ended: Callable[[Job], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._event_streams = event_streams
        self._runner = runner
        self._pipeline = pipeline
        self._store = store
        self._problem = problem
        self._charge = charge
        self._limit = limit
        self._max_age_s = max_age_s
        self._draining = draining
        self._ended = ended
        self._clock = clock

    async def submit(
        self, job: UpscaleRequest, asked: Asked, *, at_once: bool = False
    ) -> tuple[Job, bool]:
        """Take a job; gives it, and whether it was there already under its idempotency key.

        Args:
            job: what to make.
            asked: by whom.
            at_once: somebody waits for it: it is not queued behind those that nobody waits for.

        Raises:
            RequestError: its picture cannot be taken.
            IdempotencyKeyReused: the key stands for another job.
            RateLimited: the caller has had too much.
            QueueFull, Draining: not now.
            StorageFull: there is no room for its picture.
        """
        if (known := await self.known(job.owner, asked)) is not None:
            return await self._resume(known, job), True
        await self.check_room(0 if at_once else 1)
        record, output_px = await self.looked_at(job, asked)
        if output_px:
            self._charge(asked.caller, output_px)
        added = await self._rows.add(record)
        if added.id != record.id:
            check_fingerprint(added, asked)
            return await self._resume(added, job), True
        return await self.begin(added, job, at_once=at_once), False

    async def _resume(self, known: Job, job: UpscaleRequest) -> Job:
        """A job that is asked for once more. Its picture may have been lost on its way: it is here again."""
        return await self.begin(known, job) if self.is_incomplete(known) else known

    def is_incomplete(self, record: Job) -> bool:
        """Whether its picture is still on its way."""
        return record.state == "queued" and record.not_before > self._clock()

    async def check_room(self, count: int) -> None:
        """Whether so many jobs can be taken now.

        Raises:
            QueueFull, Draining: they cannot.
        """
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)
        waiting, mflop = await self._rows.waiting()
        if waiting + count > self._limit:
            speed = self._pipeline.mflop_per_s
            raise QueueFull(
                f"{waiting} jobs are waiting, the limit is {self._limit}",
                # Until so many have gone, as far as their cost is known.
                retry_after_s=mflop / speed * min(1, count / max(1, waiting)) if speed else None,
            )

    async def looked_at(self, job: UpscaleRequest, asked: Asked) -> tuple[Job, int]:
        """The row of a new job, and its output pixels; of a URL nobody knows them yet, they are 0.

        Raises:
            RequestError: its picture cannot be taken.
            CapacityError: not now.
        """
        record = self._record(job, asked)
        if isinstance(job.source, UrlSource):
            return record, 0
        header, size_bytes = await self._pipeline.header(job)
        estimate = self._pipeline.estimate(header, job.options, input_bytes=size_bytes)
        record = replace(
            record,
            mflop=estimate.mflop,
            input=input_json(header, size_bytes),
            # Nobody begins it before its picture is there.
            not_before=record.created_at + _UPLOAD_S,
        )
        return record, estimate.width_px * estimate.height_px

    def refused(self, error: EnlargerError, asked: Asked, request_id: str) -> Job:
        """The row of a job that has failed before it began."""
        now = self._clock()
        return Job(
            id=new_job_id(),
            caller=asked.caller,
            request_id=request_id,
            created_at=now,
            state="failed",
            finished_at=now,
            options={},
            problem=self._problem(error, request_id),
        )

    async def begin(self, record: Job, job: UpscaleRequest, *, at_once: bool = False) -> Job:
        """Let a job that has its row run, in its turn or at once; its picture is among the blobs then.

        Raises:
            StorageFull, StorageUnavailable: there is no room for its picture; it has failed.
        """
        if isinstance(job.source, BytesSource):
            record = await self._with_input(record, job.source)
        if at_once:
            begun = await self._rows.update(record.id, states=("queued",), **self._held_here())
            if begun is not None:
                self._runner.begin(begun)
                return begun
        self._runner.wake()
        return record

    async def adopt(
        self, job: UpscaleRequest, asked: Asked, work: asyncio.Future[Outcome], tracked: JobProgress
    ) -> Job:
        """A request that takes long goes on as a job: its sender need not wait for it."""
        record = replace(self._record(job, asked), **self._held_here(), **tracked.values())
        try:
            added = await self._rows.add(record)
        except BaseException:  # nobody waits for it, and it is no job
            await dropped(work)
            raise
        if added.id != record.id:  # another one was faster, under the same key
            await dropped(work)
            return added
        self._runner.adopt(added, work, tracked)
        if isinstance(job.source, BytesSource):
            try:
                await self._keep_input(added, job.source)
            except EnlargerError as error:  # it runs all the same; only a sudden end would cost it
                log.warning("input_not_kept", job=added.id, reason=reason_of(error))
        return added

    async def known(self, owner: str, asked: Asked) -> Job | None:
        """The job that has this key, if there is one. A key is free again when the result's time is over.

        Raises:
            IdempotencyKeyReused: it is another one.
        """
        if asked.idempotency_key is None:
            return None
        known = await self._rows.by_key(owner, asked.idempotency_key)
        if known is None:
            return None
        if self.is_over(known):
            await self._rows.update(known.id, idempotency_key=None)
            return None
        check_fingerprint(known, asked)
        return known

    def is_over(self, record: Job) -> bool:
        """Whether it had a result, and has none now."""
        return record.state == "expired" or (
            record.state == "succeeded" and self.left_s(record) <= 0
        )

    async def usable(self, owner: str, asked: Asked) -> Job | None:
        """The job that has this key, if it has a result or may have one; a key that leads to none is free again."""
        known = await self.known(owner, asked)
        if known is None or not known.is_ended:
            return known
        if known.state == "succeeded" and self.left_s(known) > 0:
            return known
        await self._rows.update(known.id, idempotency_key=None)
        return None

    async def get(self, job_id: str, owner: str | None) -> Job:
        """A job of this owner; of any, if None is named.

        Raises:
            NotFound: there is none.
        """
        record = await self._rows.get(job_id)
        if record is None or owner not in (None, record.owner):
            raise NotFound("there is no such job; what is known of one is kept for a day")
        return record

    async def list_of(
        self, owner: str, *, states: Collection[State], before: str | None, limit: int
    ) -> tuple[list[Job], bool]:
        """A page of an owner's jobs, the newest first, and whether there are older ones: see ``Rows.list_of``.

        Raises:
            NotFound: ``before`` is no job of this owner.
        """
        if before is not None:
            await self.get(before, owner)
        found = await self._rows.list_of(owner, states=states, before=before, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def view(self, record: Job) -> View:
        """A job and its prospects."""
        speed = self._pipeline.mflop_per_s
        if record.state == "queued":
            position, length, ahead_mflop = await self._rows.queue(record)
            eta_s = None
            if speed and record.mflop is not None:
                eta_s = self._pipeline.load.wait_s + (ahead_mflop + record.mflop) / speed
            # Between the two looks somebody may have begun it.
            return View(
                record=record, position=position if length else None, length=length, eta_s=eta_s
            )
        return View(record=record, eta_s=self._left_s(record, speed))

    def _left_s(self, record: Job, speed: float | None) -> float | None:
        """Seconds that a running job will take."""
        if record.state != "running" or record.started_at is None:
            return None
        done, total = record.tiles_done, record.tiles_total
        if done and total:
            return (self._clock() - record.started_at) * (total - done) / done
        if speed and record.mflop is not None:
            return max(self._pipeline.load.wait_s, record.mflop / speed)
        return None

    async def wait(self, record: Job, seconds: float) -> Job:
        """The job when it has ended, or after so many seconds."""
        if record.is_ended or seconds <= 0:
            return record
        async with self._watched(record) as feed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await feed.ended()
            return feed.record

    async def events(self, record: Job, after: int | None) -> AsyncGenerator[Event | None]:
        """What happens to a job, to its end; None where nothing does."""
        async with (
            self._watched(record) as feed,
            contextlib.aclosing(feed.follow(after)) as events,
        ):
            async for event in events:
                yield event

    def has_seen_the_end(self, record: Job, after: int | None) -> bool:
        """Whether one who saw the events up to ``after`` knows all."""
        return self._event_streams.of(record).has_seen_the_end(after)

    async def cancel(self, record: Job) -> Job:
        """End it, or delete the result that it has; what has failed stays."""
        if record.is_ended:
            if record.state != "succeeded":
                return record
            return await self._expire(record) or await self.get(record.id, record.owner)
        ended = await self.stop(record)
        if ended is None:  # it ended meanwhile
            return await self.cancel(await self.get(record.id, record.owner))
        return ended

    async def stop(self, record: Job) -> Job | None:
        """End it if it has not ended; None: it has."""
        ended = await self._rows.update(
            record.id,
            states=("queued", "running"),
            state="canceled",
            stage=None,
            finished_at=self._clock(),
            idempotency_key=None,
        )
        if ended is None:
            return None
        self._runner.drop(record.id)
        self._event_streams.tell(ended)
        await self._blobs.delete_under(ended.id)
        await self._ended(ended)
        return ended

    def result(self, record: Job) -> Mapping[str, Any]:
        """What is known of the result: it is there.

        Raises:
            JobNotFinished, JobWithoutResult, ResultExpired: it is not.
        """
        if record.state == "succeeded" and record.result is not None and self.left_s(record) > 0:
            return record.result
        if record.state in ("succeeded", "expired"):
            raise ResultExpired("the result was kept for its time and is deleted; ask for it again")
        if not record.is_ended:
            raise JobNotFinished(
                f"the job is {record.state}; its result comes when it has succeeded",
                retry_after_s=1,
            )
        raise JobWithoutResult(f"the job has {record.state}, so there is no result")

    def left_s(self, record: Job) -> float:
        """Seconds that a result still lives."""
        return max(0.0, (record.expires_at or 0.0) - self._clock())

    async def result_bytes(
        self, record: Job, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The file of a result, from ``start`` to before ``end``."""
        stored = await self._store.find(record.file_name or "")
        if stored is not None:
            pieces = self._store.stream(stored, start, end)
        else:
            pieces = self._blobs.stream(old_result_key(record), start, end)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def by_file_name(self, name: str) -> Job | None:
        """The job whose result has this name."""
        return await self._rows.by_file_name(name)

    async def counts(self) -> dict[State, int]:
        """Jobs in each state."""
        return await self._rows.counts()

    async def piece(self, record: Job, index: int) -> bytes:
        """A finished tile of a running job, as a JPEG file.

        Raises:
            NotFound: it is not there, or no more.
        """
        data = await self._blobs.get(piece_key(record, index))
        if data is None:
            raise NotFound("there is no such tile; tiles are kept as long as their job runs")
        return data

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
        """Once."""
        now = self._clock()
        for record in await self._rows.expire(now):
            await self._deleted(record)
        before = now - self._max_age_s - KEPT_S
        for job_id in await self._rows.ended_before(before):
            # First the files: without its row nobody would know of them.
            await self._blobs.delete_under(job_id)
        await self._rows.forget(before)

    async def _expire(self, record: Job) -> Job | None:
        expired = await self._rows.update(record.id, states=("succeeded",), state="expired")
        if expired is not None:
            await self._deleted(expired)
        return expired

    async def _deleted(self, record: Job) -> None:
        self._event_streams.tell(record)
        await self._blobs.delete_under(record.id)
        if record.file_name:
            await self._store.delete(record.file_name)

    @contextlib.asynccontextmanager
    async def _watched(self, record: Job) -> AsyncIterator[EventStream]:
        """The feed of a job, kept fresh while somebody follows it."""
        feed = self._event_streams.of(record)
        if not self._runner.has(record.id):  # then the row is newer than what was told last
            feed.tell(record)
        if feed.place is None:
            feed.place = await self._place(record)
        poll = asyncio.create_task(self._poll(feed))
        try:
            yield feed
        finally:
            poll.cancel()

    async def _poll(self, feed: EventStream) -> None:
        """Look at the row of a job that does not run here."""
        while not feed.record.is_ended:
            if not self._runner.has(feed.record.id):
                with contextlib.suppress(EnlargerError):  # the database comes back
                    record = await self._rows.get(feed.record.id)
                    if record is not None and not self._runner.has(record.id):
                        feed.tell(record)
                        feed.tell_place(await self._place(record))
            await asyncio.sleep(POLL_S)

    async def _place(self, record: Job) -> tuple[int, int] | None:
        """Of a queued job: its place in the queue, and the queue's length."""
        if record.state != "queued":
            return None
        position, length, _ = await self._rows.queue(record)
        return position, length

    def _record(self, job: UpscaleRequest, asked: Asked) -> Job:
        return Job(
            id=new_job_id(),
            owner=job.owner,
            caller=asked.caller,
            request_id=job.request_id,
            created_at=self._clock(),
            options=job.options.model_dump(mode="json"),
            source_url=job.source.url if isinstance(job.source, UrlSource) else None,
            idempotency_key=asked.idempotency_key,
            fingerprint=asked.fingerprint,
            webhook=asked.webhook,
            skip_cache=job.skip_cache,
        )

    def _held_here(self) -> dict[str, Any]:
        """Of a job that is begun here, as columns."""
        now = self._clock()
        return {
            "state": "running",
            "started_at": now,
            "attempts": 1,
            "holder": self._runner.holder,
            "leased_until": now + LEASE_S,
        }

    async def _with_input(self, record: Job, source: BytesSource) -> Job:
        """The job, with its picture among the blobs."""
        try:
            await self._keep_input(record, source)
        except BaseException as error:
            ours = error if isinstance(error, EnlargerError) else EnlargerError("interrupted")
            await self._rows.update(
                record.id,
                states=("queued",),
                state="failed",
                finished_at=self._clock(),
                problem=self._problem(ours, record.request_id),
                idempotency_key=None,
                webhook=None,  # the sender is told at once
            )
            raise
        ready = await self._rows.update(record.id, states=("queued",), not_before=0.0)
        return ready or record

    async def _keep_input(self, record: Job, source: BytesSource) -> None:
        """Keep the picture that came with a request, with its digest: no gateway hashes it again."""
        sha256 = await asyncio.to_thread(lambda: source.sha256)
        await self._blobs.put(input_key(record), source.data, sha256=sha256)

    async def find_by_key(self, owner: str, key: str) -> Job | None:
        """The job that has this idempotency key, whatever was asked for with it."""
        return await self._rows.by_key(owner, key)


def check_fingerprint(known: Job | BatchRecord, asked: Asked) -> None:
    """What was asked for under a key is asked for again.

    Raises:
        IdempotencyKeyReused: it is something else.
    """
    if known.fingerprint != asked.fingerprint:
        raise IdempotencyKeyReused(f"{asked.idempotency_key} was first used for another request")
