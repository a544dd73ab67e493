"""Which jobs run here: claimed, held under a lease, and given back when this gateway leaves."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Self

import structlog

from enlarger.errors import EnlargerError
from enlarger.jobs.event_streams import EventStream, EventStreams
from enlarger.jobs.files import JobFiles
from enlarger.jobs.job import Job
from enlarger.jobs.progress import JobProgress
from enlarger.jobs.rows import Rows
from enlarger.jobs.rows.notices import QUEUE
from enlarger.jobs.work import JobWork
from enlarger.pipeline.outcome import Outcome
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

LEASE_S = 15.0
"""After so long a job is taken from a gateway that gives no sign of life."""

BEAT_S = 3.0
"""Between two signs of life."""

LOOK_S = 1.0
"""Between two looks for jobs that another gateway queued."""


class Runner:
    """Runs jobs until it is left: what it has then is given back, with all finished tiles.

    Args:
        rows: where jobs are.
        files: where their tiles are.
        event_streams: told of all that happens.
        work: does the work on each job.
        places: jobs that run at the same time.
        takes: whether jobs may be begun now.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        files: JobFiles,
        event_streams: EventStreams,
        work: JobWork,
        places: int,
        takes: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.holder = secrets.token_hex(8)
        self._rows = rows
        self._files = files
        self._event_streams = event_streams
        self._work = work
        self._places = places
        self._takes = takes
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, JobProgress] = {}
        self._dropped: set[str] = set()
        """Jobs that were canceled since the last claim began, for the claim may return one of them."""

        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._loops = [asyncio.create_task(self._look()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._loops, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(EnlargerError):  # if it fails, leases run out
            await self._rows.queue.release_all(self.holder)

    def wake(self) -> None:
        """Look for jobs now: there is a new one."""
        self._wake.set()

    def has(self, job_id: str) -> bool:
        """Whether a job runs here."""
        return job_id in self._running

    def drop(self, job_id: str) -> None:
        """Stop the work on a job that was canceled, if it runs here: no new tile of it is begun."""
        self._dropped.add(job_id)
        self._stop(job_id)

    def held_values(self) -> dict[str, Any]:
        """Return the columns of a job that is begun here now."""
        now = self._clock()
        return {
            "state": "running",
            "started_at": now,
            "attempts": 1,
            "holder": self.holder,
            "leased_until": now + LEASE_S,
        }

    def begin(self, job: Job) -> None:
        """Run a job, whatever runs already; its row says that it runs here."""
        self._start(job, JobProgress(job), partial(self._work.make, job))

    def adopt(self, job: Job, work: asyncio.Future[Outcome], progress: JobProgress) -> None:
        """Go on with a request that runs already as a job; its row says that it runs here."""
        progress.tiles = self._files.tiles(job.id)
        self._start(job, progress, lambda _: work)

    async def _look(self) -> None:
        """Begin jobs while there is room."""
        with self._rows.notices.calling([QUEUE], self._wake.set):
            await self._look_on()

    async def _look_on(self) -> None:
        away, broken = Repeated(), Repeated()
        while True:
            self._wake.clear()
            try:
                while len(self._running) < self._places and self._takes():
                    self._dropped.clear()
                    job = await self._rows.queue.claim(
                        self.holder, now=self._clock(), lease_s=LEASE_S, exclude=list(self._running)
                    )
                    if job is None:
                        break
                    if job.id not in self._dropped:
                        self.begin(job)
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
        """Give signs of life, and say how far each job is; drop those that another gateway has."""
        away, broken = Repeated(), Repeated()
        while True:
            await asyncio.sleep(BEAT_S)
            held = list(self._running)
            try:
                until = self._clock() + LEASE_S
                still = await self._rows.queue.renew(self.holder, held, until=until)
                for job_id in still:
                    if (progress := self._progress.get(job_id)) is None:
                        continue  # it has ended since
                    await self._rows.jobs.update(
                        job_id, holder=self.holder, states=("running",), **progress.values()
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
                self._stop(job_id)

    def _stop(self, job_id: str) -> None:
        task = self._running.get(job_id)
        # It may be ending by itself, which goes on to its end unless it is cancelled a second time.
        if task is not None and not task.cancelling():
            task.cancel()

    def _start(
        self,
        job: Job,
        progress: JobProgress,
        work: Callable[[JobProgress], Awaitable[Outcome]],
    ) -> None:
        stream = self._event_streams.of(job)
        stream.followers += 1

        def changed() -> None:
            stream.tell(replace(job, **progress.values()))

        progress.changed = changed
        changed()
        task = asyncio.create_task(self._work.run(job, progress, work(progress)))
        self._running[job.id] = task
        self._progress[job.id] = progress
        task.add_done_callback(partial(self._forget, job.id, stream))

    def _forget(self, job_id: str, stream: EventStream, task: asyncio.Task[None]) -> None:
        stream.followers -= 1
        if self._running.get(job_id) is task:
            del self._running[job_id]
            del self._progress[job_id]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The database is away: the job's lease runs out, and it goes on from its tiles.
            log.warning("job_end_not_noted", job=job_id, reason=reason_of(error))
