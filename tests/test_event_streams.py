"""Event streams: events in order, merged, kept for who comes back, forgotten when nobody needs them."""

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
    """All that a follower is told, of a stream that has come to its end."""
    async with asyncio.timeout(LONG_S):
        return [event async for event in stream.follow(after) if event is not None]


def ids(events: Sequence[Event]) -> list[int]:
    """Their ids."""
    return [event.id for event in events]


async def test_ids_count_from_1() -> None:
    """The first event is the state; the last is the final one, and nothing follows."""
    stream = EventStream(JOB)
    stream.tell(RUNNING)
    stream.show(Shown(0, PLACE))
    stream.tell(DONE)
    events = await seen(stream, after=0)
    assert [(event.id, event.kind) for event in events] == [
        (1, "state"),
        (2, "state"),
        (3, "tile"),
        (4, "state"),
    ]
    assert [event.job for event in events] == [JOB, RUNNING, RUNNING, DONE]


async def test_progress_is_merged() -> None:
    """At most one event of progress in a tenth of a second, and the last word is never lost."""
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
    """A new state is told at once, with the progress that was held back, which is not told again."""
    stream = EventStream(RUNNING)
    stream.tell(at(1))
    stream.tell(at(2))
    stream.tell(DONE)
    await asyncio.sleep(2 * LEAST_GAP_S)
    assert [event.kind for event in await seen(stream, after=0)] == ["state", "progress", "state"]


async def test_what_says_nothing_new_is_no_event() -> None:
    """The same again, and a lease that was renewed."""
    stream = EventStream(RUNNING)
    stream.tell(RUNNING)
    stream.tell(replace(RUNNING, leased_until=99.0))
    stream.tell(DONE)
    assert [event.kind for event in await seen(stream, after=0)] == ["state", "state"]


@given(
    steps=st.lists(st.sampled_from(["tile", "state"]), max_size=2 * KEPT_EVENTS),
    after=st.none() | st.integers(0, 3 * KEPT_EVENTS),
)
def test_whoever_comes_back_gets_what_followed(steps: list[str], after: int | None) -> None:
    """As a list would have it: those of the last 256 events after the one that is named; else the state alone."""

    async def told() -> None:
        stream = EventStream(JOB)
        model = [(1, "state")]
        for number, step in enumerate(steps, 2):
            model.append((number, step))
            if step == "tile":
                stream.show(Shown(number, PLACE))
            else:
                stream.tell(RUNNING if stream.job.state == "queued" else JOB)
        model.append((len(model) + 1, "state"))
        stream.tell(DONE)
        kept = model[-KEPT_EVENTS:]
        expected = [event for event in kept if after is not None and event[0] > after]
        is_known = after is not None and kept[0][0] - 1 <= after <= model[-1][0]
        if not is_known:
            expected = [model[-1]]
        elif after == model[-1][0]:
            assert stream.has_seen_the_end(after)
            return
        found = await seen(stream, after)
        assert [(event.id, event.kind) for event in found] == expected
        assert not stream.has_seen_the_end(after)

    asyncio.run(told())


async def test_followers_see_it_live() -> None:
    """Several at once, each all of it, and in order."""
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
        assert ids(events) == list(range(1, 54))
    assert stream.followers == 0


async def test_silence_is_told() -> None:
    """None after each while in which nothing happens, and what happens then is still told."""
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
    """Of the job, or of what is told of it."""
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
    """Also those of streams that are begun later; they get the state."""
    streams = EventStreams()
    followers = [asyncio.create_task(seen(streams.of(JOB))) for _ in range(2)]
    await asyncio.sleep(0)
    streams.close()
    for events in await asyncio.gather(*followers):
        assert [event.job for event in events] == [JOB]
    late = replace(JOB, id="job_2")
    assert [event.job for event in await seen(streams.of(late))] == [late]


async def test_stream_that_is_followed_is_not_forgotten() -> None:
    """Nor one of a job that has not ended; of the others the newest stay."""
    streams = EventStreams()
    followed = streams.of(replace(DONE, id="followed"))
    follower = streams.of(replace(JOB, id="open")).follow()
    await anext(follower)
    stream = followed.follow(0)
    await anext(stream)  # it has not been told that there is no more
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


async def test_who_saw_another_feed_of_the_job_is_told_its_state() -> None:
    """After a restart, or elsewhere, ids are greater: nobody who comes back is taken for somebody who knows."""
    now = JOB.created_at
    before, after = (EventStreams(clock=lambda: now) for _ in range(2))
    first = before.of(JOB)
    first.tell(RUNNING)
    for index in range(100):
        first.show(Shown(index, PLACE))
    last_id = first._last_id
    assert first._events[0].id == 1  # of a new job
    now += 1
    second = after.of(DONE)
    assert not second.has_seen_the_end(1)
    events = await seen(second, after=1) + await seen(second, after=last_id)
    assert [event.job for event in events] == [DONE, DONE]
    assert min(ids(events)) > last_id
    assert second.has_seen_the_end(events[0].id)


async def test_place_in_the_queue_is_told_as_it_changes() -> None:
    """Once for all who watch; a job that is in no queue has none."""
    stream = EventStream(JOB)
    stream.place = (3, 4)
    for place in ((3, 4), (2, 4), (2, 4), (1, 2), None, None):
        stream.tell_place(place)
    stream.tell(DONE)
    assert [event.kind for event in await seen(stream, after=0)] == [
        *("state", "progress", "progress", "state")
    ]
