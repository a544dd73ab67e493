"""Jobs are run here: claimed, worked on under a lease, and ended or given back."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from enlarger.errors import (
    CapacityError,
    DeadlineExceeded,
    EngineLost,
    EnlargerError,
    MissingInput,
)
from enlarger.jobs.checkpoint import Checkpoint, KeptTiles
from enlarger.jobs.event_streams import EventStream, EventStreams, Shown
from enlarger.jobs.job import Job, input_json
from enlarger.jobs.rows import Rows
from enlarger.options import Options
from enlarger.picture.preview import preview
from enlarger.picture.values import Header
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.pipeline.progress import Listener, OnPiece, Piece
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.request import BytesSource, UpscaleRequest, UrlSource
from enlarger.storage import ResultStore, Storage
from enlarger.threads import dropped, in_thread

log = structlog.get_logger()

LEASE_S = 15.0
"""After which a job is taken from a gateway that says nothing."""

BEAT_S = 3.0
"""Between two signs of life."""

LOOK_S = 1.0
"""Between two looks for jobs that somebody else queued."""

MOST_ATTEMPTS = 5
"""A job that was begun so often and never came to an end most likely ends gateways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPresenter:
    """How results and errors are written down; the API knows."""

    describe: Callable[[Outcome], Mapping[str, Any]]
    """What was made, as JSON: ``input``, ``result``, and more."""

    problem: Callable[[EnlargerError, str], Mapping[str, Any]]
    """An error, and the id of the request that met it, as JSON."""


class JobProgress:
    """How far a request is: it may be, or become, a job.

    Args:
        record: the job as it is, which another gateway may have begun.
    """

    def __init__(self, record: Job | None = None) -> None:
        self.stage: str | None = None
        self.tiles_done = record.tiles_done if record else 0
        self.tiles_total = record.tiles_total if record else None
        self.input = record.input if record else None
        self.mflop = record.mflop if record else None
        self.changed: Callable[[], None] = lambda: None
        self.piece: OnPiece = lambda _: None
        self.tiles: KeptTiles | None = None
        """Where its tiles are kept, once it is a job."""

    def on_plan(self, header: Header, size_bytes: int, mflop: float) -> None:
        """It is known what has to be done."""
        self.input, self.mflop = input_json(header, size_bytes), mflop
        self.changed()

    def on_stage(self, stage: str) -> None:
        """A stage began."""
        self.stage = stage
        self.changed()

    def on_total(self, total: int) -> None:
        """It is known how many tiles there are; ``on_stage`` follows. Those that are done stay so."""
        if total != self.tiles_total:
            self.tiles_done, self.tiles_total = 0, total

    def on_tile(self, done: int, total: int) -> None:
        """A tile is finished. Those that another gateway made are found again, not undone meanwhile."""
        same = total == self.tiles_total
        self.tiles_done = max(done, self.tiles_done) if same else done
        self.tiles_total = total
        self.changed()

    @property
    def listener(self) -> Listener:
        """Tells of it."""
        return Listener(
            plan=self.on_plan,
            stage=self.on_stage,
            total=self.on_total,
            tile=self.on_tile,
            piece=lambda piece: self.piece(piece),
            through=lambda engine: Checkpoint(engine, lambda: self.tiles),
        )

    def values(self) -> dict[str, Any]:
        """As columns of a job."""
        return {
            "stage": self.stage,
            "tiles_done": self.tiles_done,
            "tiles_total": self.tiles_total,
            "input": self.input,
            "mflop": self.mflop,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHooks:
    """Who is told of jobs that come to an end here."""

    ended: Callable[[Job], Awaitable[None]]
    """Of each, however it ended."""

    made: Callable[[Outcome], None] = lambda _: None
    """Of each picture."""

    failed: Callable[[str], None] = lambda _: None
    """Of each that failed, with the code of its error."""


class Runner:
    """Runs jobs until it is left: what it has then is given back, with all finished tiles.

    Args:
        rows: where jobs are.
        blobs: where their pictures and tiles are.
        results: where their results are.
        event_streams: told of all that happens.
        pipeline: does the work.
        executor: for work that must not hold up the event loop.
        words: how results and errors are written down.
        places: jobs that run at the same time.
        takes: whether jobs may be begun now.
        charge: takes a caller's output pixels.
        told: of jobs that came to an end here.
        holding: entered while a job runs, so that a process that is to end waits for it.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        blobs: Storage,
        results: ResultStore,
        event_streams: EventStreams,
        pipeline: Pipeline,
        executor: Executor,
        words: JobPresenter,
        places: int,
        takes: Callable[[], bool],
        charge: Callable[[str, int], None],
        told: JobHooks,
        holding: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.holder = secrets.token_hex(8)
        self._rows = rows
        self._blobs = blobs
        self._results = results
        self._event_streams = event_streams
        self._pipeline = pipeline
        self._executor = executor
        self._words = words
        self._places = places
        self._takes = takes
        self._charge = charge
        self._told = told
        self._holding = holding
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tracked: dict[str, JobProgress] = {}
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Runner:
        self._loops = [asyncio.create_task(self._look()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._loops, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(EnlargerError):  # if it fails, leases run out
            await self._rows.release_all(self.holder)

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def has(self, job_id: str) -> bool:
        """Whether it runs here."""
        return job_id in self._running

    def drop(self, job_id: str) -> None:
        """Nobody wants it any more: no new tile of it is begun."""
        if job_id in self._running:
            self._running[job_id].cancel()

    def begin(self, record: Job) -> None:
        """Run a job, whatever runs already; its row says that it runs here."""
        self._start(record, JobProgress(record), partial(self._work, record))

    def adopt(self, record: Job, work: asyncio.Future[Outcome], tracked: JobProgress) -> None:
        """A request that runs already goes on as a job; its row says that it runs here."""
        tracked.tiles = KeptTiles(self._blobs, tiles_of(record))
        self._start(record, tracked, lambda _: work)

    async def _look(self) -> None:
        """Begin jobs while there is room."""
        away, broken = Repeated(), Repeated()
        while True:
            self._wake.clear()
            try:
                while len(self._running) < self._places and self._takes():
                    record = await self._rows.claim(
                        self.holder, now=self._clock(), lease_s=LEASE_S, exclude=list(self._running)
                    )
                    if record is None:
                        break
                    self.begin(record)
                away.over()
            except EnlargerError as error:  # the database is away: it comes back
                if (left_out := away.occurred()) is not None:
                    log.warning("jobs_not_claimed", reason=reason_of(error), left_out=left_out)
            except Exception:
                if (left_out := broken.occurred()) is not None:
                    log.exception("internal_error", left_out=left_out)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def _beat(self) -> None:
        """Say that they are worked on, and how far they are; drop those that somebody else has."""
        away, broken = Repeated(), Repeated()
        while True:
            await asyncio.sleep(BEAT_S)
            held = list(self._running)
            try:
                until = self._clock() + LEASE_S
                still = await self._rows.renew(self.holder, held, until=until)
                for job_id in still & self._tracked.keys():
                    await self._rows.update(
                        job_id,
                        holder=self.holder,
                        states=("running",),
                        **self._tracked[job_id].values(),
                    )
                away.over()
            except EnlargerError as error:
                if (left_out := away.occurred()) is not None:
                    log.warning("leases_not_renewed", reason=reason_of(error), left_out=left_out)
                continue
            except Exception:
                if (left_out := broken.occurred()) is not None:
                    log.exception("internal_error", left_out=left_out)
                continue
            for job_id in set(held) - still:
                self.drop(job_id)

    def _start(
        self,
        record: Job,
        tracked: JobProgress,
        work: Callable[[JobProgress], Awaitable[Outcome]],
    ) -> None:
        feed = self._event_streams.of(record)
        feed.followers += 1

        def changed() -> None:
            feed.tell(replace(record, **tracked.values()))

        tracked.changed = changed
        changed()
        task = asyncio.create_task(self._run(record, tracked, work(tracked)))
        self._running[record.id] = task
        self._tracked[record.id] = tracked
        task.add_done_callback(partial(self._forget, record.id, feed))

    def _forget(self, job_id: str, feed: EventStream, task: asyncio.Task[None]) -> None:
        feed.followers -= 1
        if self._running.get(job_id) is task:
            del self._running[job_id]
            del self._tracked[job_id]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The database is away: the job's lease runs out, and it goes on from its tiles.
            log.warning("job_end_not_noted", job=job_id, reason=reason_of(error))

    async def _run(self, record: Job, tracked: JobProgress, work: Awaitable[Outcome]) -> None:
        """Work on a job to its end."""
        structlog.contextvars.bind_contextvars(request_id=record.request_id, job=record.id)
        log.info("job_begun", attempt=record.attempts)
        work = asyncio.ensure_future(work)
        try:
            with self._holding():
                async with _Pieces(
                    self._blobs, self._event_streams.of(record), self._executor
                ) as pieces:
                    tracked.piece = pieces.add
                    outcome = await work
                await self._succeed(record, outcome)
        except asyncio.CancelledError:
            # Canceled, lost to another one, or this process ends: only in the last case it is still ours.
            await dropped(work)
            if not await self._give_back(record, tracked, not_before=0.0):
                await self._clear(record)
            raise
        except DeadlineExceeded as error:
            await self._fail(record, error)
        except CapacityError as error:
            not_before = self._clock() + (error.retry_after_s or 1.0)
            await self._give_back(record, tracked, not_before=not_before)
        except EnlargerError as error:
            await self._fail(record, error)
        except Exception:
            log.exception("internal_error")
            await self._fail(record, EnlargerError("Internal server error"))

    async def _work(self, record: Job, tracked: JobProgress) -> Outcome:
        """The pipeline's part."""
        if record.attempts > MOST_ATTEMPTS:
            raise EngineLost(
                f"the server ended {MOST_ATTEMPTS} times while it worked on this picture"
            )
        options = Options.model_validate(record.options)
        if record.source_url is not None:
            source: UrlSource | BytesSource = UrlSource(record.source_url)
        elif (found := await self._blobs.get_with_digest(input_key(record))) is not None:
            source = BytesSource(*found)
        else:
            raise MissingInput("the picture that came with the request is gone; send it again")
        folder = tiles_of(record)
        tracked.tiles = KeptTiles(self._blobs, folder, known=await self._blobs.keys(folder))
        job = UpscaleRequest(
            source=source,
            options=options,
            owner=record.owner,
            request_id=record.request_id,
            skip_cache=record.skip_cache,
        )
        # What came with a request was charged when it was taken; a batch waits in the queue until it may go on.
        is_charged = record.source_url is None and record.batch_id is None
        charge = None if is_charged else partial(self._charge, record.caller)
        return await self._pipeline.run(job, listener=tracked.listener, charge=charge)

    async def _succeed(self, record: Job, outcome: Outcome) -> None:
        try:
            stored = await self._results.share(outcome.stored)
        except asyncio.CancelledError:
            await self._results.delete(outcome.stored.name)
            raise
        made = self._words.describe(outcome)
        is_ours = await self._end(
            record,
            state="succeeded",
            input=made["input"],
            result=made,
            file_name=stored.name,
            expires_at=self._clock() + self._results.left_s(stored),
            tiles_done=outcome.ran.tiles,
            tiles_total=outcome.ran.tiles,
        )
        if not is_ours:
            await self._results.delete(stored.name)
            return
        self._told.made(outcome)

    async def _fail(self, record: Job, error: EnlargerError) -> None:
        log.info("job_failed", code=error.code, reason=reason_of(error))
        self._told.failed(error.code)
        problem = self._words.problem(error, record.request_id)
        # What may go better next time must not be answered from memory.
        forgets: Mapping[str, Any] = {}
        if problem["status"] >= 500 or problem["status"] in (408, 429):
            forgets = {"idempotency_key": None}
        await self._end(record, state="failed", problem=problem, **forgets)

    async def _end(self, record: Job, **values: Any) -> bool:
        """End a job; returns False if it was canceled meanwhile, or somebody else has it."""
        ended = await self._rows.update(
            record.id,
            holder=self.holder,
            states=("running",),
            stage=None,
            finished_at=self._clock(),
            **values,
        )
        if ended is None:
            await self._clear(record)
            return False
        log.info("job_ended", state=ended.state)
        await self._blobs.delete_under(ended.id)
        self._event_streams.tell(ended)
        await self._told.ended(ended)
        return True

    async def _clear(self, record: Job) -> None:
        """Delete what was written for a job after it was canceled; if it was not, somebody else has it."""
        with contextlib.suppress(EnlargerError):
            now = await self._rows.get(record.id)
            if now is None or now.state == "canceled":
                await self._blobs.delete_under(record.id)

    async def _give_back(self, record: Job, tracked: JobProgress, *, not_before: float) -> bool:
        """Whether it was still ours."""
        values = {**tracked.values(), "stage": None}
        with contextlib.suppress(EnlargerError):  # if it fails, its lease runs out
            if await self._rows.release(
                record.id,
                holder=self.holder,
                not_before=not_before,
                tiles_done=tracked.tiles_done,
                tiles_total=tracked.tiles_total,
            ):
                log.info("job_given_back")
                self._event_streams.tell(replace(record, **values))
                return True
        return False


class _Pieces:
    """Tiles of a job as small pictures, for who looks on. A piece that cannot be kept is just not shown."""

    def __init__(self, blobs: Storage, feed: EventStream, executor: Executor) -> None:
        self._blobs = blobs
        self._feed = feed
        self._executor = executor
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Pieces:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(self, piece: Piece) -> None:
        """Keep it, and tell of it then."""
        if piece.total == 1:  # the picture itself is there as soon
            return
        task = asyncio.create_task(self._keep(piece))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, piece: Piece) -> None:
        size_px = (piece.place.width_px, piece.place.height_px)
        show = partial(preview, piece.pixels, size_px, icc=piece.icc, stated=piece.stated)
        data = await in_thread(self._executor, show)
        with contextlib.suppress(EnlargerError):
            await self._blobs.put(piece_key(self._feed.record, piece.index), data)
            self._feed.show(Shown(piece.index, piece.place))


def work_of(record: Job) -> str:
    """The folder of what only the work on a job needs: its picture, finished tiles, and pieces to look at."""
    return f"{record.id}/work"


def tiles_of(record: Job) -> str:
    """The folder of its finished tiles."""
    return f"{work_of(record)}/tiles"


def input_key(record: Job) -> str:
    """The key of the picture that came with the request."""
    return f"{work_of(record)}/input"


def old_result_key(record: Job) -> str:
    """The key of a result that an earlier version kept among the files of its job."""
    return f"{record.id}/result"


def piece_key(record: Job, index: int) -> str:
    """Where a finished tile is as a small picture."""
    return f"{work_of(record)}/pieces/{index}"
