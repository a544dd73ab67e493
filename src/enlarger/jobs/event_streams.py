"""What clients that watch a job are told: events in order, some of them kept for clients that reconnect."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Literal

from enlarger.geometry.rect import Rect
from enlarger.jobs.job import Job

KEPT_EVENTS = 256
LEAST_GAP_S = 0.1
"""Between two events of progress; the next one tells what happened in between."""

PING_S = 15.0
"""After so long without an event a client is sent a ping."""

_KEPT_STREAMS = 256
"""Streams that are kept for clients that reconnect."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished tile whose preview can be fetched."""

    index: int
    place: Rect
    """Where it lies in the result."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job."""

    id: int
    """Increases with each event of a job, at all gateways alike: twice the milliseconds since the job was created, and 1
    more if the job has ended then."""

    kind: Literal["state", "progress", "tile"]
    job: Job
    """The job as it was then."""

    shown: Shown | None = None
    """The tile, in an event of the kind ``tile``."""


class EventStream:
    """The events of one job, as far as this process knows of them.

    Args:
        job: the job as it is now.
        clock: seconds since the epoch. Without one, events are counted.
        ping_s: after so long without an event a client is sent a ping.
    """

    def __init__(
        self, job: Job, *, clock: Callable[[], float] | None = None, ping_s: float = PING_S
    ) -> None:
        self.job = job
        self.place: tuple[int, int] | None = None
        """The job's place in the queue and the queue's length, as they were told last."""

        self._ping_s = ping_s
        self.followers = 0
        """Clients that watch the job, and the runner while it runs here. Nobody else needs the stream."""

        self._clock = clock
        self._events: deque[Event] = deque()
        self._last_id = 0
        self._forgotten_id = 0
        """Events up to this id are not kept."""

        self._told = job
        self._told_at = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._add("state")
        self._forgotten_id = self._last_id - 2

    def tell(self, job: Job) -> None:
        """Tell what the job is now. A job that has ended stays so, whoever read its row before."""
        if self.job.is_ended and not job.is_ended:
            return
        self.job = job
        if job.state != self._told.state:
            self._tell_now("state")
        elif _progress(job) != _progress(self._told) and self._later is None:
            loop = asyncio.get_running_loop()
            left_s = self._told_at + LEAST_GAP_S - loop.time()
            if left_s <= 0:
                self._tell_now("progress")
            else:
                self._later = loop.call_later(left_s, self._tell_now, "progress")

    def tell_place(self, place: tuple[int, int] | None) -> None:
        """Tell the job's place in the queue; None if it is not queued."""
        if place is not None and place != self.place:
            self._tell_now("progress")
        self.place = place

    def show(self, shown: Shown) -> None:
        """Tell that a tile can be seen."""
        self._add("tile", shown)

    def close(self) -> None:
        """End the stream: the process ends."""
        self._closed = True
        self._wake()

    def has_seen_the_end(self, after: int | None) -> bool:
        """Whether a client that saw the events up to ``after``, here or at another gateway, knows how the job ended."""
        if not self.job.is_ended or after is None:
            return False
        finished_at = self.job.finished_at or self.job.created_at
        return _is_final(after) and after >= _id_at(self.job, finished_at)

    async def follow(self, after: int | None = None) -> AsyncGenerator[Event | None]:
        """Yield the events after ``after``, to the final state; None after each ``ping_s`` without one.

        A client that names no event, or one that is not kept, gets the job's state first.
        """
        self.followers += 1
        try:
            if after is None or not self._knows(after):
                after = self._last_id
                yield Event(after, "state", self.job)
                if self.job.is_ended:
                    return
            while not self._closed:
                changed = self._changed
                for event in [event for event in self._events if event.id > after]:
                    after = event.id
                    yield event
                    if event.kind == "state" and event.job.is_ended:
                        return
                if changed is self._changed:
                    try:
                        async with asyncio.timeout(self._ping_s):
                            await changed.wait()
                    except TimeoutError:
                        yield None
        finally:
            self.followers -= 1

    async def ended(self) -> Job:
        """Wait for the end of the job or of the stream; return the job as it is then."""
        while not (self.job.is_ended or self._closed):
            await self._changed.wait()
        return self.job

    def _knows(self, id_: int) -> bool:
        """Whether all that came after this event is still here."""
        return self._forgotten_id <= id_ <= self._last_id

    def _tell_now(self, kind: Literal["state", "progress"]) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._told_at = asyncio.get_running_loop().time()
        self._add(kind)

    def _add(self, kind: Literal["state", "progress", "tile"], shown: Shown | None = None) -> None:
        now_id = _id_at(self.job, self._clock()) if self._clock is not None else 0
        is_final = kind == "state" and self.job.is_ended
        self._last_id = max(now_id, self._last_id - self._last_id % 2 + 2) + is_final
        if kind != "tile":
            self._told = self.job
        if len(self._events) == KEPT_EVENTS:
            self._forgotten_id = self._events.popleft().id
        self._events.append(Event(self._last_id, kind, self.job, shown))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _id_at(job: Job, at: float) -> int:
    """Return the least id of an event of a job at that time.

    Ids follow the clock, so that a client may go from one gateway to another: each tells what happened after an id,
    whichever of them told the event. What a gateway whose clock is behind tells late, it tells as the job's state.
    """
    return 2 * max(0, int(1000 * (at - job.created_at)))


def _is_final(id_: int) -> bool:
    """Whether the event of this id told that its job has ended."""
    return id_ % 2 == 1


def _progress(job: Job) -> Job:
    """Return the job without what is not worth an event of progress."""
    return replace(job, leased_until=0.0)


class EventStreams:
    """The streams of this process: those of jobs that run here, of jobs that are watched, and some others.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._streams: OrderedDict[str, EventStream] = OrderedDict()
        self._closed = False

    def of(self, job: Job) -> EventStream:
        """Return the stream of a job; a new one begins with the job as it is."""
        stream = self._streams.get(job.id)
        if stream is None:
            self._forget_some()
            stream = self._streams[job.id] = EventStream(job, clock=self._clock)
        if self._closed:
            stream.close()
        self._streams.move_to_end(job.id)
        return stream

    def tell(self, job: Job) -> None:
        """Tell what a job is now, if it has a stream."""
        if job.id in self._streams:
            self._streams[job.id].tell(job)

    @property
    def are_closed(self) -> bool:
        """Whether the process ends."""
        return self._closed

    def close(self) -> None:
        """End them all: the process ends."""
        self._closed = True
        for stream in self._streams.values():
            stream.close()

    def _forget_some(self) -> None:
        """Forget the oldest streams that nobody needs, if there are too many. Their jobs may still run elsewhere."""
        excess = len(self._streams) - _KEPT_STREAMS + 1
        idle = [id_ for id_, stream in self._streams.items() if not stream.followers]
        for id_ in idle[: max(0, excess)]:
            del self._streams[id_]
