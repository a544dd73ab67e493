"""Following jobs, wherever they run: until they end, or event by event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

from enlarger.errors import EnlargerError
from enlarger.jobs.event_streams import LEAST_GAP_S, PING_S, Event, EventStream, EventStreams
from enlarger.jobs.job import Job
from enlarger.jobs.rows import Rows

POLL_S = 1.0
"""Between two looks at watched jobs that do not run here, if no notices of other gateways arrive."""


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
        async with self._watched([job]) as (stream,):
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
            self._watched([job]) as (stream,),
            contextlib.aclosing(stream.follow(after)) as events,
        ):
            async for event in events:
                yield event

    async def events_of_all(
        self, jobs: Sequence[Job], after: Mapping[str, int]
    ) -> AsyncGenerator[Event | None]:
        """Yield what happens to several jobs, to the end of the last; None where nothing happens for a while.

        Args:
            jobs: the jobs as they are.
            after: by the id of a job, the id of its last event that the client has seen.
        """
        # Full with one event, so that a slow client lets each stream drop its oldest events.
        told: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=1)

        async def relay(stream: EventStream) -> None:
            """Pass on the events of a job, and then None."""
            async with contextlib.aclosing(stream.follow(after.get(stream.job.id))) as events:
                async for event in events:
                    if event is not None:
                        await told.put(event)
            await told.put(None)

        async with self._watched(jobs) as streams:
            relays = [asyncio.create_task(relay(stream)) for stream in streams]
            left = len(relays)
            try:
                while left:
                    try:
                        async with asyncio.timeout(PING_S):
                            event = await told.get()
                    except TimeoutError:
                        yield None
                        continue
                    if event is None:
                        left -= 1
                    else:
                        yield event
            finally:
                for task in relays:
                    task.cancel()
                await asyncio.gather(*relays, return_exceptions=True)

    def has_seen_the_end(self, job: Job, after: int | None) -> bool:
        """Whether a client that saw the events up to ``after`` knows all."""
        return self._event_streams.of(job).has_seen_the_end(after)

    @contextlib.asynccontextmanager
    async def _watched(self, jobs: Sequence[Job]) -> AsyncIterator[list[EventStream]]:
        """The events of jobs, in their order, kept fresh while a client follows them."""
        streams = [self._event_streams.of(job) for job in jobs]
        for stream in streams:
            stream.followers += 1
        poll: asyncio.Task[None] | None = None
        try:
            for stream, job in zip(streams, jobs, strict=True):
                if not self._runs_here(job.id):  # then the row is newer than what was told last
                    stream.tell(job)
            places = await self._places([job for job in jobs if job.state == "queued"])
            for stream in streams:
                if stream.place is None:
                    stream.place = places.get(stream.job.id)
            poll = asyncio.create_task(self._poll(streams))
            yield streams
        finally:
            if poll is not None:
                poll.cancel()
            for stream in streams:
                stream.followers -= 1

    async def _poll(self, streams: Sequence[EventStream]) -> None:
        """Look at the rows of jobs that do not run here: when another gateway says that they changed, and regularly."""
        notices, changed = self._rows.notices, asyncio.Event()
        with notices.calling([stream.job.id for stream in streams], changed.set):
            while open_ := [stream for stream in streams if not stream.job.is_ended]:
                changed.clear()
                elsewhere = [stream for stream in open_ if not self._runs_here(stream.job.id)]
                if elsewhere:
                    with contextlib.suppress(EnlargerError):  # the database comes back
                        await self._look_at(elsewhere)
                # No notice tells that a job has moved up in the queue.
                is_queued = any(stream.job.state == "queued" for stream in elsewhere)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S if is_queued else notices.pause_s(POLL_S)):
                        await changed.wait()
                # A job that changes often is looked at as often as its events are told.
                await asyncio.sleep(LEAST_GAP_S)

    async def _look_at(self, streams: Sequence[EventStream]) -> None:
        """Tell streams what the rows of their jobs say."""
        found = await self._rows.jobs.get_all([stream.job.id for stream in streams])
        places = await self._places([job for job in found.values() if job.state == "queued"])
        for stream in streams:
            job = found.get(stream.job.id)
            if job is not None and not self._runs_here(job.id):
                stream.tell(job)
                stream.tell_place(places.get(job.id))

    async def _places(self, queued: Sequence[Job]) -> Mapping[str, tuple[int, int]]:
        """Return the places of queued jobs, and the queue's length, by the ids of the jobs."""
        places = await self._rows.queue.places([job.id for job in queued])
        return {id_: (place.position, place.length) for id_, place in places.items()}
