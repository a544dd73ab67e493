"""What those who watch a job are told: events in order, a few of them kept for who comes back."""

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
"""Between two events of progress; what happens in between is told with the next."""

PING_S = 15.0
"""Of silence, after which a watcher is told that there is nothing to tell."""

_KEPT_STREAMS = 256
"""For who comes back."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished tile whose pixels can be had."""

    index: int
    place: Rect
    """In the result."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job."""

    id: int
    """Counts up by 1 for each job, as long as nobody else takes it on."""

    kind: Literal["state", "progress", "tile"]
    job: Job
    """As it was then."""

    shown: Shown | None = None
    """Of a ``tile``."""


class EventStream:
    """The events of one job, as far as this process knows of them.

    Args:
        record: the job as it is now.
        first_id: that of the first event.
        ping_s: silence, after which a watcher is told that there is nothing to tell.
    """

    def __init__(self, record: Job, *, first_id: int = 1, ping_s: float = PING_S) -> None:
        self.record = record
        self.place: tuple[int, int] | None = None
        """In the queue, and its length, as they were told last."""

        self._ping_s = ping_s
        self.followers = 0
        """Who watches it, and who runs the job: nobody else needs it."""

        self._events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self._last_id = first_id - 1
        self._told = record
        self._told_at = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._add("state")

    def tell(self, record: Job) -> None:
        """The job is now like this. One that has ended stays so, whoever read its row before."""
        if self.record.is_ended and not record.is_ended:
            return
        self.record = record
        if record.state != self._told.state:
            self._tell_now("state")
        elif _progress(record) != _progress(self._told) and self._later is None:
            loop = asyncio.get_running_loop()
            left_s = self._told_at + LEAST_GAP_S - loop.time()
            if left_s <= 0:
                self._tell_now("progress")
            else:
                self._later = loop.call_later(left_s, self._tell_now, "progress")

    def tell_place(self, place: tuple[int, int] | None) -> None:
        """The job's place in the queue is now this; None: it is in none."""
        if place is not None and place != self.place:
            self._tell_now("progress")
        self.place = place

    def show(self, shown: Shown) -> None:
        """A tile can be seen."""
        self._add("tile", shown)

    def close(self) -> None:
        """Nothing more is told: the process ends."""
        self._closed = True
        self._wake()

    def has_seen_the_end(self, after: int | None) -> bool:
        """Whether one who saw the events up to ``after`` knows how the job ended."""
        return self.record.is_ended and after is not None and after == self._last_id

    async def follow(self, after: int | None = None) -> AsyncGenerator[Event | None]:
        """Events from ``after`` on, to the final state; None after each ``ping_s`` of silence.

        Who names no event, or one that is not kept, gets the job's state first.
        """
        self.followers += 1
        try:
            if after is None or not self._knows(after):
                after = self._last_id
                yield Event(after, "state", self.record)
                if self.record.is_ended:
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
        """Wait for the end of the job, or of what is told of it; gives the job as it is then."""
        while not (self.record.is_ended or self._closed):
            await self._changed.wait()
        return self.record

    def _knows(self, id_: int) -> bool:
        """Whether all that came after an event is still here."""
        return self._events[0].id - 1 <= id_ <= self._last_id

    def _tell_now(self, kind: Literal["state", "progress"]) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._told_at = asyncio.get_running_loop().time()
        self._add(kind)

    def _add(self, kind: Literal["state", "progress", "tile"], shown: Shown | None = None) -> None:
        self._last_id += 1
        if kind != "tile":
            self._told = self.record
        self._events.append(Event(self._last_id, kind, self.record, shown))
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _progress(record: Job) -> Job:
    """What of a job is worth an event of progress."""
    return replace(record, leased_until=0.0)


class EventStreams:
    """The event streams of this process: of jobs that run here, of those that somebody watches, and of some others.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._event_streams: OrderedDict[str, EventStream] = OrderedDict()
        self._closed = False

    def of(self, record: Job) -> EventStream:
        """The feed of a job; a new one begins with the job as it is."""
        feed = self._event_streams.get(record.id)
        if feed is None:
            self._forget_some()
            feed = self._event_streams[record.id] = EventStream(
                record, first_id=self._first_id(record)
            )
        if self._closed:
            feed.close()
        self._event_streams.move_to_end(record.id)
        return feed

    def tell(self, record: Job) -> None:
        """Tell those who watch a job, if there are any."""
        if record.id in self._event_streams:
            self._event_streams[record.id].tell(record)

    @property
    def are_closed(self) -> bool:
        """Whether the process ends."""
        return self._closed

    def close(self) -> None:
        """End them all: the process ends."""
        self._closed = True
        for feed in self._event_streams.values():
            feed.close()

    def _first_id(self, record: Job) -> int:
        """Greater than the ids of all event streams that the job had before, here or elsewhere.

        Whoever saw one of those and comes back is not taken for somebody who knows this one. Milliseconds do:
        a job has fewer events.
        """
        return 1 + max(0, int(1000 * (self._clock() - record.created_at)))

    def _forget_some(self) -> None:
        """The oldest that nobody needs, where there are too many. Their jobs need not have ended: they may run elsewhere."""
        excess = len(self._event_streams) - _KEPT_STREAMS + 1
        idle = [id_ for id_, feed in self._event_streams.items() if not feed.followers]
        for id_ in idle[: max(0, excess)]:
            del self._event_streams[id_]
