"""Following jobs, wherever they run: until they end, or event by event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from enlarger.errors import EnlargerError
from enlarger.jobs.event_streams import Event, EventStream, EventStreams
from enlarger.jobs.job import Job
from enlarger.jobs.rows import Rows

POLL_S = 1.0
"""Between two looks at a watched job that does not run here."""


class Watching:
    """Tells clients what happens to jobs. A job that runs elsewhere is looked at in its row.

    Args:
        rows: where jobs are.
        event_streams: have the events of those that run here.
        runs_here: whether the job of this id does.
    """

    def __init__(
        self, *, rows: Rows, event_streams: EventStreams, runs_here: Callable[[str], bool]
    ) -> None:
        self._rows = rows
        self._event_streams = event_streams
        self._runs_here = runs_here

    async def wait(self, job: Job, seconds: float) -> Job:
        """Return the job when it has ended, or after so many seconds."""
        if job.is_ended or seconds <= 0:
            return job
        async with self._watched(job) as stream:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await stream.ended()
            return stream.job

    async def events(self, job: Job, after: int | None) -> AsyncGenerator[Event | None]:
        """Yield what happens to a job, to its end; None where nothing happens for a while.

        Args:
            job: the job as it is.
            after: id of the last event that the client has seen.
        """
        async with (
            self._watched(job) as stream,
            contextlib.aclosing(stream.follow(after)) as events,
        ):
            async for event in events:
                yield event

    def has_seen_the_end(self, job: Job, after: int | None) -> bool:
        """Whether a client that saw the events up to ``after`` knows all."""
        return self._event_streams.of(job).has_seen_the_end(after)

    @contextlib.asynccontextmanager
    async def _watched(self, job: Job) -> AsyncIterator[EventStream]:
        """The events of a job, kept fresh while somebody follows it."""
        stream = self._event_streams.of(job)
        if not self._runs_here(job.id):  # then the row is newer than what was told last
            stream.tell(job)
        if stream.place is None:
            stream.place = await self._place(job)
        poll = asyncio.create_task(self._poll(stream))
        try:
            yield stream
        finally:
            poll.cancel()

    async def _poll(self, stream: EventStream) -> None:
        """Look at the row of a job that does not run here."""
        while not stream.job.is_ended:
            if not self._runs_here(stream.job.id):
                with contextlib.suppress(EnlargerError):  # the database comes back
                    job = await self._rows.jobs.get(stream.job.id)
                    if job is not None and not self._runs_here(job.id):
                        stream.tell(job)
                        stream.tell_place(await self._place(job))
            await asyncio.sleep(POLL_S)

    async def _place(self, job: Job) -> tuple[int, int] | None:
        """Return a queued job's place in the queue, and the queue's length."""
        if job.state != "queued":
            return None
        position, length, _ = await self._rows.queue.place(job)
        return position, length
