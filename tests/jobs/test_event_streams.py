"""Event streams: events in order, merged, kept for clients that reconnect, and forgotten when nobody needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.geometry.rect import Rect
from enlarger.jobs.event_streams import (
    KEPT_EVENTS,
    LEAST_GAP_S,
    Event,
    EventStream,
    EventStreams,
    Shown,
)
from enlarger.jobs.job import Job

JOB = Job(id="job_1", created_at=1.0, options={}, state="queued")
RUNNING = replace(JOB, state="running", tiles_total=1000)
DONE = replace(RUNNING, state="succeeded", tiles_done=1000)
PLACE = Rect.whole(4, 4)
LONG_S = 20


def at(tiles_done: int) -> Job:
    """The job with so many tiles."""
    return replace(RUNNING, tiles_done=tiles_done)


async def seen(stream: EventStream, after: int | None = None) -> list[Event]:
    """Return all events that a follower receives from a stream that has ended."""
    async with asyncio.timeout(LONG_S):
        return [event async for event in stream.follow(after) if event is not None]


def ids(events: Sequence[Event]) -> list[int]:
    """Return the ids of these events."""
    return [event.id for event in events]


async def test_ids_increase() -> None:
    """The first event is the state; the last, whose id alone is odd, is the final one, and nothing follows."""
    stream = EventStream(JOB)
    stream.tell(RUNNING)
    stream.show(Shown(0, PLACE))
    stream.tell(DONE)
    events = await seen(stream, after=0)
    assert [(event.id, event.kind) for event in events] == [
        (2, "state"),
        (4, "state"),
        (6, "tile"),
        (9, "state"),
    ]
    assert [event.job for event in events] == [JOB, RUNNING, RUNNING, DONE]


@pytest.mark.alone
async def test_progress_is_merged() -> None:
    """There is at most one progress event in a tenth of a second, and the last one is never lost."""
    stream = EventStream(RUNNING)
    clock = asyncio.get_running_loop().time
    began = clock()
    told = 0
    while clock() < began + 5 * LEAST_GAP_S:
        told += 1
        stream.tell(at(told))
        await asyncio.sleep(0.001)
    await asyncio.sleep(2 * LEAST_GAP_S)
    most = (clock() - began) / LEAST_GAP_S + 1
    stream.tell(replace(DONE, tiles_done=told))
    progress = [event for event in await seen(stream, after=0) if event.kind == "progress"]
    assert 2 <= len(progress) <= most
    assert told > len(progress)
    assert progress[-1].job.tiles_done == told


async def test_state_does_not_wait_for_progress() -> None:
    """A new state is sent at once, after the progress that was held back. That progress is not sent again."""
    stream = EventStream(RUNNING)
    stream.tell(at(1))
    stream.tell(at(2))
    stream.tell(DONE)
    await asyncio.sleep(2 * LEAST_GAP_S)
    assert [event.kind for event in await seen(stream, after=0)] == ["state", "progress", "state"]


async def test_what_says_nothing_new_is_no_event() -> None:
    """Examples are the same values again, and a renewed lease."""
    stream = EventStream(RUNNING)
    stream.tell(RUNNING)
    stream.tell(replace(RUNNING, leased_until=99.0))
    stream.tell(DONE)
    assert [event.kind for event in await seen(stream, after=0)] == ["state", "state"]


@given(
    steps=st.lists(st.sampled_from(["tile", "state"]), max_size=2 * KEPT_EVENTS),
    after=st.none() | st.integers(0, 6 * KEPT_EVENTS),
)
def test_whoever_comes_back_gets_what_followed(steps: list[str], after: int | None) -> None:
    """The last 256 events are kept. A client receives those after the one that it names, or only the state if that one is gone."""

    async def told() -> None:
        stream = EventStream(JOB)
        model = [(2, "state")]
        for number, step in enumerate(steps, 2):
            model.append((2 * number, step))
            if step == "tile":
                stream.show(Shown(number, PLACE))
            else:
                stream.tell(RUNNING if stream.job.state == "queued" else JOB)
        model.append((2 * len(model) + 3, "state"))
        stream.tell(DONE)
        kept = model[-KEPT_EVENTS:]
        expected = [event for event in kept if after is not None and event[0] > after]
        is_known = after is not None and kept[0][0] - 2 <= after <= model[-1][0]
        if after is not None and after % 2:  # a final event of this gateway or of another
            assert stream.has_seen_the_end(after)
            return
        if not is_known:
            expected = [model[-1]]
        found = await seen(stream, after)
        assert [(event.id, event.kind) for event in found] == expected
        assert not stream.has_seen_the_end(after)

    asyncio.run(told())


async def test_followers_see_it_live() -> None:
    """Several followers each receive every event, in order."""
    stream = EventStream(JOB)
    followers = [asyncio.create_task(seen(stream)) for _ in range(3)]
    await asyncio.sleep(0)
    assert stream.followers == 3
    stream.tell(RUNNING)
    for index in range(50):
        stream.show(Shown(index, PLACE))
        await asyncio.sleep(0)
    stream.tell(DONE)
    for events in await asyncio.gather(*followers):
        assert ids(events) == [*range(2, 106, 2), 107]
    assert stream.followers == 0


async def test_silence_is_told() -> None:
    """A follower receives None after each period without events. Later events are still sent."""
    stream = EventStream(JOB, ping_s=0.02)
    follower = stream.follow()
    first = await anext(follower)
    assert first is not None
    assert first.kind == "state"
    assert [await anext(follower), await anext(follower)] == [None, None]
    stream.tell(DONE)
    last = await anext(follower)
    assert last is not None
    assert last.job == DONE
    with pytest.raises(StopAsyncIteration):
        await anext(follower)


async def test_end_can_be_waited_for() -> None:
    """It is the end of the job, or of its stream."""
    stream = EventStream(JOB)
    waiting = asyncio.create_task(stream.ended())
    await asyncio.sleep(0)
    stream.tell(RUNNING)
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.tell(DONE)
    assert await waiting == DONE
    assert await stream.ended() == DONE
    other = EventStream(RUNNING)
    other.close()
    assert await other.ended() == RUNNING


async def test_closing_ends_those_who_follow() -> None:
    """Streams that begin later end as well, after the state."""
    streams = EventStreams()
    followers = [asyncio.create_task(seen(streams.of(JOB))) for _ in range(2)]
    await asyncio.sleep(0)
    streams.close()
    for events in await asyncio.gather(*followers):
        assert [event.job for event in events] == [JOB]
    late = replace(JOB, id="job_2")
    assert [event.job for event in await seen(streams.of(late))] == [late]


async def test_stream_that_is_followed_is_not_forgotten() -> None:
    """The stream of an unfinished job is kept as well. Among the others, the newest are kept."""
    streams = EventStreams()
    followed = streams.of(replace(DONE, id="followed"))
    follower = streams.of(replace(JOB, id="open")).follow()
    await anext(follower)
    stream = followed.follow(0)
    await anext(stream)  # it has not received the end of the stream
    for number in range(1000):
        streams.of(replace(DONE, id=f"job_{number}"))
    assert streams.of(replace(DONE, id="followed")) is followed
    assert streams.of(replace(DONE, id="open")).job.state == "queued"
    newest, oldest = (streams.of(replace(JOB, id=name)) for name in ("job_999", "job_0"))
    assert newest.job.state == "succeeded"
    assert oldest.job.state == "queued"  # begun anew
    await stream.aclose()
    await follower.aclose()


async def test_only_feeds_that_are_there_are_told() -> None:
    """A job that nobody watches, and that does not run here, has none."""
    streams = EventStreams()
    streams.tell(RUNNING)
    stream = streams.of(JOB)
    assert stream.job == JOB
    streams.tell(DONE)
    assert stream.job == DONE


class Gateway:
    """The streams of a gateway, at times that a test sets."""

    def __init__(self) -> None:
        self.now = JOB.created_at
        self.streams = EventStreams(clock=lambda: self.now)

    def stream(self, job: Job) -> EventStream:
        """The stream of a job."""
        return self.streams.of(job)


async def test_client_goes_from_one_gateway_to_another() -> None:
    """It is told what happened since, and nothing that is older."""
    one, other = Gateway(), Gateway()
    streams = [one.stream(JOB), other.stream(JOB)]
    one.now = other.now = 2.0
    for stream in streams:
        stream.tell(RUNNING)
    last_id = streams[0]._last_id
    one.now = other.now = 3.0
    for stream in streams:
        stream.show(Shown(7, PLACE))
        stream.tell(replace(DONE, finished_at=3.0))
    for stream in streams:
        events = await seen(stream, after=last_id)
        assert [event.kind for event in events] == ["tile", "state"]
        assert min(ids(events)) > last_id


async def test_end_that_another_gateway_told_is_known() -> None:
    """Also by a gateway that tells it later; an event of progress at the same moment is not taken for it."""
    one, other = Gateway(), Gateway()
    one.now, other.now = 5.0, 6.0
    done = replace(DONE, finished_at=5.0)
    running, ended = one.stream(RUNNING), other.stream(done)
    progress_id = running._last_id
    running.tell(done)
    (final,) = await seen(running)
    assert ended.has_seen_the_end(final.id)
    assert running.has_seen_the_end((await seen(ended))[0].id)
    for stream in (running, ended):
        assert not stream.has_seen_the_end(progress_id)
        assert not stream.has_seen_the_end(progress_id + 2)


async def test_who_knows_more_than_this_gateway_is_told_the_state() -> None:
    """A gateway whose clock is behind does not keep quiet about what it cannot place."""
    ahead, behind = Gateway(), Gateway()
    ahead.now, behind.now = 60.0, 2.0
    last_id = ahead.stream(RUNNING)._last_id
    stream = behind.stream(RUNNING)
    events = stream.follow(after=last_id)
    first = await anext(events)
    assert first is not None
    assert (first.kind, first.job) == ("state", RUNNING)
    await events.aclose()


async def test_place_in_the_queue_is_told_as_it_changes() -> None:
    """It is sent once to each follower. A job that is not queued has no place."""
    stream = EventStream(JOB)
    stream.place = (3, 4)
    for place in ((3, 4), (2, 4), (2, 4), (1, 2), None, None):
        stream.tell_place(place)
    stream.tell(DONE)
    assert [event.kind for event in await seen(stream, after=0)] == [
        *("state", "progress", "progress", "state")
    ]
