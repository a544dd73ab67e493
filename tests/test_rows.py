"""Rows of jobs: what every database keeps, and who may run what."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from results import FolderResults
from sqlalchemy.exc import IntegrityError
from stores import NewDatabase, file_size_limit, postgresql_cluster

from enlarger.errors import ConfigError, Fault, StorageFull, StorageUnavailable
from enlarger.jobs.facts import ErrorFacts, InputFacts, ResultFacts, RunFacts
from enlarger.jobs.job import (
    ENDED,
    STATES,
    BatchRecord,
    DeliveryRecord,
    Job,
    State,
    new_batch_id,
    new_job_id,
)
from enlarger.jobs.rows import Rows
from enlarger.picture.values import Note


@pytest_asyncio.fixture
async def rows(database: str) -> AsyncIterator[Rows]:
    """Rows of an empty database."""
    async with Rows(database) as rows:
        yield rows


def job(**values: Any) -> Job:
    """A new one."""
    return Job(**{"id": new_job_id(), "created_at": 1.0, "options": {}, **values})


def batch(**values: Any) -> BatchRecord:
    """A new one."""
    return BatchRecord(**{"id": new_batch_id(), "created_at": 1.0, **values})


def delivery(**values: Any) -> DeliveryRecord:
    """A new one."""
    given = {"url": "https://a.example/", "type": "job.succeeded", "body": "{}", "created_at": 1.0}
    return DeliveryRecord(**{"id": f"msg_{new_job_id()}", **given, **values})


async def test_jobs_of_an_owner_are_listed_from_the_newest(rows: Rows) -> None:
    """In these states, older than one of them; another owner's are neither listed nor a place to begin."""
    mine = [job(owner="key:a", state="failed" if number == 2 else "queued") for number in range(5)]
    others = [job(owner="key:b"), job()]
    await added(rows, *mine[:3], *others, *mine[3:])

    async def ids(
        before: str | None = None, states: tuple[State, ...] = STATES, limit: int = 9
    ) -> list[str]:
        found = await rows.jobs.list_of("key:a", states=states, before=before, limit=limit)
        return [record.id for record in found]

    assert await ids() == [record.id for record in mine[::-1]]
    assert await ids(limit=2) == [mine[4].id, mine[3].id]
    assert await ids(before=mine[3].id) == [mine[2].id, mine[1].id, mine[0].id]
    assert await ids(states=("failed", "canceled")) == [mine[2].id]
    assert await ids(before=mine[0].id) == []
    assert await ids(before=others[0].id) == []
    assert await ids(before="job_0") == []


async def added(rows: Rows, *records: Job) -> Sequence[Job]:
    """The same, in the rows."""
    await rows.jobs.add_all(records)
    return records


async def claimed(rows: Rows, holder: str, now: float = 10.0) -> list[str]:
    """Ids of all that can be had."""
    found = []
    while record := await rows.queue.claim(holder, now=now, lease_s=60):
        found.append(record.id)
    return found


RESULT = ResultFacts(
    input=InputFacts(width_px=30, height_px=20, size_bytes=99, format="png"),
    media_type="image/png",
    size_bytes=5_000_000_000,
    sha256="ab" * 32,
    width_px=120,
    height_px=80,
    scale=2.5666666666,
    run=RunFacts(
        model="m",
        model_sha256="cd" * 32,
        engine="openvino",
        precision="f32",
        tiles=9,
        servers=2,
        retried=1,
        repeated={"moved": 1},
        reused=3,
        color_delta=0.123456,
        kept=("icc", "exif"),
        notes=(Note("resampled", "4x model, 2x result"), Note("ä", "𝄞")),
        found="hit",
    ),
    stages_s={"fetch": 0.25, "infer": 1.5},
    took_s=2.0,
)

FULL = Job(
    id=new_job_id(),
    owner="alice",
    state="succeeded",
    stage="encode",
    request_id="r-1",
    created_at=1_790_000_000.123456,
    started_at=1_790_000_001.5,
    finished_at=1_790_000_002.5,
    expires_at=1_790_000_003.0,
    not_before=4.0,
    options={"scale": 4, "nested": {"list": [1, None, "ä€𝄞"]}},
    source_url="https://a.example/ä.png",
    input=InputFacts(width_px=30, height_px=20, size_bytes=99, format="png"),
    mflop=1e12,
    tiles_done=3,
    tiles_total=2_000_000,
    result=RESULT,
    file_name="abc.png",
    error=ErrorFacts(
        code="invalid_option",
        detail="Invalid scale: too much",
        faults=(Fault("scale", "range", "too much"),),
        limit=8,
        actual=9,
    ),
    batch_id="batch_1",
    batch_index=99,
    item_id="a",
    idempotency_key="key",
    fingerprint="f",
    webhook="https://b.example/",
    holder="gateway",
    leased_until=1_790_000_060.25,
    attempts=2,
    skip_cache=True,
)
"""No field has its default."""


@pytest.mark.parametrize("make", [new_job_id, new_batch_id])
def test_ids_have_128_random_bits(make: Any) -> None:
    """Nobody guesses one, and no two are alike."""
    assert re.fullmatch(r"(job|batch|msg)_[0-9a-f]{32}", make())
    assert len({make() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("state", STATES)
def test_what_has_ended_is_neither_queued_nor_running(state: State) -> None:
    """Nothing follows but that a result expires."""
    assert job(state=state).is_ended == (state not in {"queued", "running"})


# What is kept


@pytest.mark.parametrize("record", [FULL, job()], ids=["full", "new"])
async def test_row_is_read_as_it_was_written(rows: Rows, record: Job) -> None:
    """Each field, of the same type, also where it is None."""
    assert await rows.jobs.add(record) == record
    found = await rows.jobs.get(record.id)
    assert found == record
    assert repr(found) == repr(record)


async def test_rows_outlive_who_wrote_them(database: str) -> None:
    """The next gateway finds them."""
    async with Rows(database) as rows:
        await rows.jobs.add(FULL)
    async with Rows(database) as rows:
        assert await rows.jobs.get(FULL.id) == FULL


async def test_any_mapping_is_kept(rows: Rows) -> None:
    """Also one that cannot be changed."""
    record = await rows.jobs.add(job(options=MappingProxyType({"scale": 2})))
    changed = await rows.jobs.update(record.id, options=MappingProxyType({"scale": 4}))
    assert changed is not None
    assert (record.options, changed.options) == ({"scale": 2}, {"scale": 4})


async def test_what_is_not_there_is_none(rows: Rows) -> None:
    """By each way to it."""
    await rows.jobs.add(job())
    assert await rows.jobs.get("job_0") is None
    assert await rows.jobs.by_file_name("a.png") is None
    assert await rows.jobs.by_key("", "key") is None
    assert await rows.jobs.of_batch("batch_0") == []
    assert await rows.batches.get("batch_0") is None
    assert await rows.batches.by_key("", "key") is None
    assert await rows.deliveries.update("msg_0", attempts=1) is None


async def test_job_is_found_by_the_name_of_its_result(rows: Rows) -> None:
    """Which is its permission."""
    await rows.jobs.add_all([job(), FULL])
    assert await rows.jobs.by_file_name("abc.png") == FULL


async def test_rows_are_added_all_or_none(rows: Rows) -> None:
    """An id that is taken refuses them all."""
    first, second = job(), job()
    await rows.jobs.add(second)
    with pytest.raises(IntegrityError):
        await rows.jobs.add_all([first, second])
    with pytest.raises(IntegrityError):
        await rows.jobs.add(second)
    assert await rows.jobs.get(first.id) is None


# Idempotency


async def test_key_leads_to_the_first_job(rows: Rows) -> None:
    """A second job of the same key is not added; of another owner it is."""
    first = await rows.jobs.add(job(owner="alice", idempotency_key="k"))
    assert await rows.jobs.add(job(owner="alice", idempotency_key="k")) == first
    other = job(owner="bob", idempotency_key="k")
    assert await rows.jobs.add(other) == other
    assert await rows.jobs.by_key("alice", "k") == first
    assert (await rows.jobs.counts())["queued"] == 2


async def test_one_of_many_at_once_has_the_key(rows: Rows, database: str) -> None:
    """All get the same job, whoever was first."""
    async with Rows(database) as others:
        made = await asyncio.gather(
            *(part.jobs.add(job(idempotency_key="k")) for part in (rows, others) for _ in range(8))
        )
    assert len({record.id for record in made}) == 1
    assert (await rows.jobs.counts())["queued"] == 1


async def test_jobs_without_a_key_are_no_duplicates(rows: Rows) -> None:
    """Any number of them."""
    await rows.jobs.add_all([job(), job()])
    assert (await rows.jobs.counts())["queued"] == 2


# The queue


async def test_jobs_are_claimed_in_the_order_of_their_arrival(rows: Rows) -> None:
    """Also those of one moment, and of a clock that was set back."""
    records = [job(created_at=at) for at in (5.0, 5.0, 4.0, 6.0, 5.0)]
    for record in records:
        await rows.jobs.add(record)
    assert await claimed(rows, "one") == [record.id for record in records]


async def test_claimed_job_says_who_runs_it(rows: Rows) -> None:
    """And since when, until when, and how often it was begun."""
    record = await rows.jobs.add(job())
    found = await rows.queue.claim("one", now=7.5, lease_s=10)
    assert found == replace(
        record, state="running", holder="one", started_at=7.5, leased_until=17.5, attempts=1
    )
    assert await rows.jobs.get(record.id) == found
    assert await rows.queue.claim("two", now=7.5, lease_s=10) is None


async def test_job_that_is_to_wait_is_passed_over(rows: Rows) -> None:
    """Until its time has come; then it is the first again."""
    later, now = await added(rows, job(not_before=20.0), job())
    assert await claimed(rows, "one", now=19.9) == [now.id]
    await rows.jobs.add(job())
    found = await rows.queue.claim("one", now=20.0, lease_s=1)
    assert found is not None
    assert found.id == later.id


@pytest.mark.parametrize("state", ENDED)
async def test_what_has_ended_is_not_claimed(rows: Rows, state: State) -> None:
    """However long ago."""
    await rows.jobs.add(job(state=state))
    assert await rows.queue.claim("one", now=1e12, lease_s=1) is None


async def test_place_in_the_queue(rows: Rows) -> None:
    """1 is the next; what is before it costs what is known of it; what runs is not in the queue."""
    first, second, third, last = await added(
        rows, job(mflop=1.5), job(mflop=2.0), job(), job(mflop=4.0)
    )
    assert await rows.queue.place(first) == (1, 4, 0.0)
    assert await rows.queue.place(second) == (2, 4, 1.5)
    assert await rows.queue.place(last) == (4, 4, 3.5)
    asked = [last.id, first.id, new_job_id()]
    assert await rows.queue.places(asked) == {first.id: (1, 4), last.id: (4, 4)}
    assert await rows.queue.places([]) == {}
    assert await rows.jobs.get_all([first.id, new_job_id()]) == {first.id: first}
    await rows.queue.claim("one", now=1.0, lease_s=1)
    assert await rows.queue.place(third) == (2, 3, 2.0)
    await rows.jobs.update(second.id, state="canceled")
    assert await rows.queue.place(last) == (2, 2, 0.0)


async def test_counts_name_every_state(rows: Rows) -> None:
    """Also those without a job."""
    assert await rows.jobs.counts() == dict.fromkeys(STATES, 0)
    await rows.jobs.add_all([job(), job(), job(state="failed")])
    assert await rows.jobs.counts() == {**dict.fromkeys(STATES, 0), "queued": 2, "failed": 1}


# Leases


async def test_lease_that_ran_out_is_taken_before_the_queue(rows: Rows) -> None:
    """Who held it can change nothing any more."""
    lost, _ = await added(rows, job(), job())
    await rows.jobs.add(job())
    await rows.queue.claim("one", now=0.0, lease_s=10)
    on_time = await rows.queue.claim("two", now=10.0, lease_s=10)
    assert on_time is not None
    assert on_time.id != lost.id
    found = await rows.queue.claim("two", now=10.1, lease_s=10)
    assert found is not None
    assert (found.id, found.holder, found.attempts, found.started_at) == (lost.id, "two", 2, 0.0)
    assert await rows.jobs.update(lost.id, holder="one", state="succeeded") is None
    assert await rows.queue.renew("one", [lost.id], until=100.0) == set()
    assert not await rows.queue.release(lost.id, holder="one", not_before=0)
    assert await rows.jobs.get(lost.id) == found


async def test_renewed_lease_is_not_taken(rows: Rows) -> None:
    """Each renewal says which jobs are still held."""
    first, second, third = await added(rows, job(), job(), job())
    for holder in ("one", "one", "two"):
        await rows.queue.claim(holder, now=0.0, lease_s=10)
    await rows.jobs.update(second.id, state="canceled")
    asked = [first.id, second.id, third.id, "job_0"]
    assert await rows.queue.renew("one", asked, until=20.0) == {first.id}
    assert await rows.queue.renew("one", [], until=20.0) == set()
    assert await claimed(rows, "three", now=15.0) == [third.id]


async def test_released_job_waits_for_the_next_one(rows: Rows) -> None:
    """It goes on before the queue, not before its time; states never go backwards, and it does not count as begun."""
    first, second = await added(rows, job(), job())
    await rows.queue.claim("one", now=3.0, lease_s=10)
    await rows.jobs.update(first.id, holder="one", stage="infer")
    assert not await rows.queue.release(first.id, holder="two", not_before=5.0)
    assert await rows.queue.release(first.id, holder="one", not_before=5.0, tiles_done=7)
    released = replace(
        first, state="running", started_at=3.0, leased_until=5.0, attempts=0, tiles_done=7
    )
    assert await rows.jobs.get(first.id) == released
    assert await rows.queue.renew("one", [first.id], until=99.0) == set()
    assert await claimed(rows, "two", now=4.9) == [second.id]
    assert await claimed(rows, "two", now=5.1) == [first.id]


async def test_own_job_is_not_taken_from_oneself(rows: Rows) -> None:
    """Whoever was late to say that it works on a job still does; somebody else may take it."""
    late, _ = await added(rows, job(), job(state="failed"))
    await rows.queue.claim("one", now=0.0, lease_s=10)
    assert await rows.queue.claim("one", now=11.0, lease_s=10, exclude=[late.id]) is None
    taken = await rows.queue.claim("two", now=11.0, lease_s=10, exclude=[])
    assert taken is not None
    assert taken.holder == "two"


async def test_eight_claim_two_hundred_jobs_and_none_twice(rows: Rows, database: str) -> None:
    """On two sets of connections, at once."""
    records = await added(rows, *(job() for _ in range(200)))
    async with Rows(database) as others:
        found = await asyncio.gather(
            *(claimed(part, f"{name}") for name, part in enumerate([rows, others] * 4))
        )
    ids = [id for part in found for id in part]
    assert len(ids) == 200
    assert set(ids) == {record.id for record in records}
    # Each claimed in the order of the queue.
    place = {record.id: number for number, record in enumerate(records)}
    assert all(part == sorted(part, key=place.__getitem__) for part in found)


CLAIMS = """
import asyncio, sys
from enlarger.jobs.rows import Rows

async def main():
    async with Rows(sys.argv[1]) as rows:
        print("ready", flush=True)
        sys.stdin.readline()
        while record := await rows.queue.claim(sys.argv[2], now=10.0, lease_s=60):
            print(record.id, flush=True)

asyncio.run(main())
"""


async def test_two_processes_never_claim_the_same(rows: Rows, database: str) -> None:
    """Gateways share a database, also where it is a file."""
    records = await added(rows, *(job() for _ in range(60)))
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", CLAIMS, database, name), stdin=-1, stdout=-1
        )
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    found = [line for output, _ in outputs for line in output.decode().split()]
    assert sorted(found) == sorted(record.id for record in records)


ADDS = """
import asyncio, sys
from enlarger.jobs.job import Job, new_job_id
from enlarger.jobs.rows import Rows

async def main():
    async with Rows(sys.argv[1]) as rows:
        while True:
            record = await rows.jobs.add(Job(id=new_job_id(), created_at=1.0, options={}))
            print(record.id, flush=True)

asyncio.run(main())
"""


def test_what_was_added_survives_a_kill(database: str) -> None:
    """Whatever was said to be there is there, and the database is whole."""
    process = subprocess.Popen(
        [sys.executable, "-c", ADDS, database], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().splitlines()
    process.stdout.close()
    process.wait()

    async def missing() -> list[str]:
        async with Rows(database) as rows:
            return [id for id in said if await rows.jobs.get(id) is None]

    assert asyncio.run(missing()) == []


# Changes


async def test_change_gives_the_new_row(rows: Rows) -> None:
    """None of the other columns moves."""
    record = await rows.jobs.add(job())
    error = ErrorFacts(code="x", detail="y")
    found = await rows.jobs.update(record.id, tiles_done=3, error=error, stage=None)
    assert found == replace(record, tiles_done=3, error=error)
    assert await rows.jobs.get(record.id) == found


async def test_change_that_does_not_match_changes_nothing(rows: Rows) -> None:
    """Of another state, another holder, or no job at all."""
    record = await rows.jobs.add(job(state="running", holder="one"))
    assert await rows.jobs.update(record.id, states=("queued",), stage="infer") is None
    assert await rows.jobs.update(record.id, holder="two", stage="infer") is None
    assert await rows.jobs.update("job_0", stage="infer") is None
    assert await rows.jobs.get(record.id) == record


async def test_one_of_two_changes_wins(rows: Rows) -> None:
    """A job that is cancelled while it ends either ended or was cancelled."""
    record = await rows.jobs.add(job(state="running"))
    found = await asyncio.gather(
        *(
            rows.jobs.update(record.id, states=("queued", "running"), state=state)
            for state in ("canceled", "succeeded")
        )
    )
    (winner,) = [part for part in found if part is not None]
    assert await rows.jobs.get(record.id) == winner


async def test_json_becomes_null_again(rows: Rows) -> None:
    """None is no JSON."""
    record = await rows.jobs.add(job(result=RESULT))
    found = await rows.jobs.update(record.id, result=None)
    assert found is not None
    assert found.result is None
    assert await rows.jobs.get(record.id) == found


# Ends


async def test_result_expires_once(rows: Rows) -> None:
    """At its time, if there is one; and one call only says so."""
    now, later, never, failed = await added(
        rows,
        job(state="succeeded", expires_at=5.0),
        job(state="succeeded", expires_at=5.1),
        job(state="succeeded"),
        job(state="failed", expires_at=5.0),
    )
    found = await asyncio.gather(rows.jobs.expire(5.0), rows.jobs.expire(5.0))
    assert [record for part in found for record in part] == [replace(now, state="expired")]
    for record in (later, never, failed):
        assert await rows.jobs.get(record.id) == record


async def test_old_ends_are_forgotten(rows: Rows) -> None:
    """Unfinished jobs never are. Keys can be used again."""
    old = [job(state=state, finished_at=4.9, idempotency_key=state) for state in ENDED]
    kept = [job(state="failed", finished_at=5.0), job(), job(state="running", finished_at=1.0)]
    await rows.jobs.add_all([*old, *kept])
    assert sorted(await rows.jobs.ended_before(5.0)) == sorted(record.id for record in old)
    await rows.forget(5.0)
    assert [await rows.jobs.get(record.id) for record in old] == [None] * len(old)
    assert [await rows.jobs.get(record.id) for record in kept] == kept
    again = job(idempotency_key="failed")
    assert await rows.jobs.add(again) == again


# Batches


async def test_batch_comes_with_its_jobs(rows: Rows) -> None:
    """In their order, whatever the order of the rows."""
    whole = batch(owner="alice", webhook="https://a.example/", request_id="r", fingerprint="f")
    records = [job(batch_id=whole.id, batch_index=index) for index in (2, 0, 1)]
    assert await rows.batches.add(whole, records) == whole
    await rows.jobs.add(job(batch_id="batch_0", batch_index=0))
    assert await rows.batches.get(whole.id) == whole
    found = await rows.jobs.of_batch(whole.id)
    assert [record.batch_index for record in found] == [0, 1, 2]
    assert {record.id for record in found} == {record.id for record in records}


async def test_key_leads_to_the_first_batch(rows: Rows) -> None:
    """Jobs of a second one are not added. Keys of batches are not those of jobs."""
    first = batch(owner="alice", idempotency_key="k")
    await rows.batches.add(first, [job(batch_id=first.id)])
    second = batch(owner="alice", idempotency_key="k")
    assert await rows.batches.add(second, [job(batch_id=second.id)]) == first
    assert await rows.batches.by_key("alice", "k") == first
    assert await rows.jobs.of_batch(second.id) == []
    assert await rows.jobs.by_key("alice", "k") is None


async def test_batch_is_forgotten_with_its_last_job(rows: Rows) -> None:
    """Not earlier."""
    whole = batch()
    ended = job(batch_id=whole.id, state="failed", finished_at=2.0)
    runs = job(batch_id=whole.id, state="running")
    await rows.batches.add(whole, [ended, runs])
    await rows.forget(3.0)
    assert await rows.batches.get(whole.id) == whole
    await rows.jobs.update(runs.id, state="canceled", finished_at=4.0)
    await rows.forget(5.0)
    assert await rows.batches.get(whole.id) is None


async def test_key_of_a_batch_can_be_free_again(rows: Rows) -> None:
    """It then leads to another one."""
    first = batch(owner="alice", idempotency_key="k")
    await rows.batches.add(first, [job(batch_id=first.id)])
    await rows.batches.free_key(first.id)
    assert await rows.batches.by_key("alice", "k") is None
    second = batch(owner="alice", idempotency_key="k")
    assert await rows.batches.add(second, [job(batch_id=second.id)]) == second


# Deliveries


async def test_delivery_is_claimed_by_one(rows: Rows) -> None:
    """When it is due; by another one if the first lets go or its lease runs out."""
    late, early = delivery(due_at=6.0), delivery(due_at=5.0, body='{"ä": 1}')
    await rows.deliveries.add(late)
    await rows.deliveries.add(early)
    assert await rows.deliveries.claim("one", now=4.9, lease_s=10) is None
    found = await rows.deliveries.claim("one", now=6.0, lease_s=10)
    assert found == replace(early, holder="one", leased_until=16.0)
    second = await rows.deliveries.claim("two", now=6.0, lease_s=10)
    assert second == replace(late, holder="two", leased_until=16.0)
    assert await rows.deliveries.claim("two", now=6.0, lease_s=10) is None
    assert await rows.deliveries.update(early.id, holder=None, due_at=8.0, attempts=1) is not None
    assert await rows.deliveries.claim("two", now=8.0, lease_s=10) == replace(
        early, holder="two", leased_until=18.0, due_at=8.0, attempts=1
    )
    again = await rows.deliveries.claim("one", now=16.1, lease_s=10)
    assert again == replace(late, holder="one", leased_until=26.1)


async def test_ended_delivery_is_not_sent_and_is_forgotten(rows: Rows) -> None:
    """After a while; one that has not ended never is."""
    ended, waiting = delivery(), delivery(due_at=100.0)
    for record in (ended, waiting):
        await rows.deliveries.add(record)
    found = await rows.deliveries.update(ended.id, ended_at=2.0, outcome="200")
    assert found == replace(ended, ended_at=2.0, outcome="200")
    assert await rows.deliveries.claim("one", now=50.0, lease_s=1) is None
    await rows.forget(2.0)
    assert await rows.deliveries.update(ended.id, attempts=5) is not None
    await rows.forget(2.1)
    assert await rows.deliveries.update(ended.id, attempts=5) is None
    assert await rows.deliveries.update(waiting.id, attempts=5) is not None


async def test_message_is_sent_by_one_of_many(rows: Rows, database: str) -> None:
    """At the same moment."""
    for _ in range(20):
        await rows.deliveries.add(delivery())

    async def claims(part: Rows, holder: str) -> list[str]:
        found = []
        while record := await part.deliveries.claim(holder, now=5.0, lease_s=60):
            found.append(record.id)
        return found

    async with Rows(database) as others:
        found = await asyncio.gather(
            *(claims(part, f"{name}") for name, part in enumerate([rows, others] * 2))
        )
    ids = [id for part in found for id in part]
    assert (len(ids), len(set(ids))) == (20, 20)


# All together, against a list


class Queue(RuleBasedStateMachine):
    """The rows do what a list in memory does."""

    def __init__(self, new_database: NewDatabase) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.rows = Rows(new_database())
        self.records: list[Job] = []
        self.now = 0.0

    @initialize()
    def begin(self) -> None:
        self.runner.run(self.rows.__aenter__())

    def teardown(self) -> None:
        self.runner.run(self.rows.__aexit__(None, None, None))
        self.runner.close()

    def put(self, old: Job, **values: Any) -> Job:
        new = replace(old, **values)
        self.records[self.records.index(old)] = new
        return new

    @rule(
        owner=st.sampled_from("ab"),
        key=st.sampled_from([None, "k"]),
        wait_s=st.sampled_from([0, 0, 3]),
        mflop=st.sampled_from([None, 1.0, 8.0]),
    )
    def add(self, owner: str, key: str | None, wait_s: int, mflop: float | None) -> None:
        record = job(
            owner=owner,
            idempotency_key=key,
            created_at=self.now,
            not_before=self.now + wait_s,
            mflop=mflop,
        )
        same = [
            old
            for old in self.records
            if key is not None and (old.owner, old.idempotency_key) == (owner, key)
        ]
        assert self.runner.run(self.rows.jobs.add(record)) == (same or [record])[0]
        if not same:
            self.records.append(record)

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(holder=st.sampled_from("xy"), lease_s=st.integers(1, 5))
    def claim(self, holder: str, lease_s: int) -> None:
        lost = [r for r in self.records if r.state == "running" and r.leased_until < self.now]
        due = [r for r in self.records if r.state == "queued" and r.not_before <= self.now]
        expected = None
        if lost + due:
            old = (lost + due)[0]
            expected = self.put(
                old,
                state="running",
                holder=holder,
                leased_until=self.now + lease_s,
                attempts=old.attempts + 1,
                started_at=self.now if old.started_at is None else old.started_at,
            )
        assert (
            self.runner.run(self.rows.queue.claim(holder, now=self.now, lease_s=lease_s))
            == expected
        )

    @rule(holder=st.sampled_from("xy"))
    def renew(self, holder: str) -> None:
        held = [r for r in self.records if r.state == "running" and r.holder == holder]
        ids = [record.id for record in self.records]
        until = self.now + 2
        assert self.runner.run(self.rows.queue.renew(holder, ids, until=until)) == {
            r.id for r in held
        }
        for record in held:
            self.put(record, leased_until=until)

    @rule(
        data=st.data(),
        holder=st.sampled_from([None, "x", "y"]),
        states=st.sampled_from([("queued", "running"), ("running",), STATES]),
        state=st.sampled_from(ENDED),
    )
    def end(
        self, data: st.DataObject, holder: str | None, states: tuple[State, ...], state: State
    ) -> None:
        if not self.records:
            return
        old = data.draw(st.sampled_from(self.records))
        values = {"state": state, "finished_at": self.now, "expires_at": self.now + 2}
        matches = old.state in states and holder in {None, old.holder}
        expected = self.put(old, **values) if matches else None
        done = self.rows.jobs.update(old.id, holder=holder, states=states, **values)
        assert self.runner.run(done) == expected

    @rule(data=st.data(), holder=st.sampled_from("xy"))
    def release(self, data: st.DataObject, holder: str) -> None:
        if not self.records:
            return
        old = data.draw(st.sampled_from(self.records))
        matches = old.state == "running" and old.holder == holder
        done = self.rows.queue.release(old.id, holder=holder, not_before=self.now + 1)
        assert self.runner.run(done) == matches
        if matches:
            self.put(
                old,
                holder=None,
                leased_until=self.now + 1,
                attempts=old.attempts - 1,
            )

    @rule()
    def expire(self) -> None:
        over = [
            r
            for r in self.records
            if r.state == "succeeded" and r.expires_at is not None and r.expires_at <= self.now
        ]
        expected = {self.put(record, state="expired").id for record in over}
        assert {r.id for r in self.runner.run(self.rows.jobs.expire(self.now))} == expected

    @rule()
    def forget(self) -> None:
        before = self.now - 3
        old = {
            r.id
            for r in self.records
            if r.is_ended and r.finished_at is not None and r.finished_at < before
        }
        self.records = [record for record in self.records if record.id not in old]
        assert set(self.runner.run(self.rows.jobs.ended_before(before))) == old
        self.runner.run(self.rows.forget(before))

    @invariant()
    def every_row_is_as_expected(self) -> None:
        async def found() -> list[Job | None]:
            return [await self.rows.jobs.get(record.id) for record in self.records]

        assert self.runner.run(found()) == self.records
        assert self.runner.run(self.rows.jobs.counts()) == {
            state: sum(record.state == state for record in self.records) for state in STATES
        }

    @invariant()
    def every_place_is_as_expected(self) -> None:
        queued = [record for record in self.records if record.state == "queued"]
        known = sum(record.mflop or 0.0 for record in queued)
        assert self.runner.run(self.rows.queue.waiting()) == (len(queued), known)
        mflop = 0.0
        for place, record in enumerate(queued, 1):
            assert self.runner.run(self.rows.queue.place(record)) == (place, len(queued), mflop)
            mflop += record.mflop or 0.0


def test_rows_are_what_a_list_in_memory_is(new_database: NewDatabase) -> None:
    """Any order of calls gives the same answers, and leaves the same jobs."""
    run_state_machine_as_test(
        lambda: Queue(new_database),  # type: ignore[arg-type]  # it is called, as a class would be
        settings=settings(max_examples=15, stateful_step_count=20, deadline=None),
    )


async def test_all_is_released_at_once(rows: Rows) -> None:
    """Jobs and messages of this holder; also what a claim took whose caller was cancelled."""
    records = [job(), job(), job(), job()]
    await rows.jobs.add_all(records)
    await rows.deliveries.add(delivery())
    for holder in ("a", "b"):
        assert await rows.queue.claim(holder, now=10.0, lease_s=60) is not None
    assert await rows.deliveries.claim("a", now=10.0, lease_s=60) is not None
    claiming = asyncio.create_task(rows.queue.claim("a", now=10.0, lease_s=60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    claiming.cancel()
    await asyncio.gather(claiming, return_exceptions=True)
    await rows.queue.release_all("a")
    await rows.deliveries.release_all("a")
    states = [
        (found.holder, found.attempts)
        for one in records
        if (found := await rows.jobs.get(one.id)) is not None
    ]
    assert states == [(None, 0), ("b", 1), (None, 0), (None, 0)]
    again = await rows.queue.claim("c", now=10.0, lease_s=60)
    assert again is not None
    assert (again.id, again.attempts) == (records[0].id, 1)
    assert await rows.deliveries.claim("c", now=10.0, lease_s=60) is not None


# A folder that is removed


async def test_removed_database_is_made_anew(tmp_path: Path) -> None:
    """Who empties the folder of results loses the jobs, not the service."""
    file = tmp_path / "uploads" / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        added = job()
        await rows.jobs.add(added)
        for _ in range(2):
            shutil.rmtree(tmp_path / "uploads")
            added = job()
            await asyncio.gather(*(rows.jobs.counts() for _ in range(5)), rows.jobs.add(added))
            assert await rows.jobs.get(added.id) == added
            assert (await rows.jobs.counts())["queued"] == 1
    async with Rows(str(file)) as rows:
        assert await rows.jobs.get(added.id) == added


async def test_database_that_cannot_be_made_anew_is_told(tmp_path: Path) -> None:
    """And it works again when it can."""
    file = tmp_path / "uploads" / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        shutil.rmtree(tmp_path / "uploads")
        (tmp_path / "uploads").write_text("in the way")
        with pytest.raises(StorageFull):
            await rows.jobs.counts()
        (tmp_path / "uploads").unlink()
        assert (await rows.jobs.counts())["queued"] == 0


# Cancellation


async def test_cancelled_call_leaves_the_rows_usable(rows: Rows) -> None:
    """At whatever moment: the row is there or not, and the next call works."""
    for turns in range(12):
        record = job()
        task = asyncio.create_task(rows.jobs.add(record))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await rows.jobs.get(record.id) in (None, record)
    last = await rows.jobs.add(job())
    assert await rows.jobs.get(last.id) == last


async def test_end_waits_for_cancelled_calls(database: str) -> None:
    """No connection is left behind."""
    async with Rows(database) as rows:
        tasks = [asyncio.create_task(rows.jobs.add(job())) for _ in range(8)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with Rows(database) as rows:
        assert (await rows.jobs.counts())["queued"] <= 8


# At the start, and when the database fails


async def test_many_may_start_at_once(database: str) -> None:
    """On a database that is not there yet."""

    async def start() -> dict[State, int]:
        async with Rows(database) as rows:
            return await rows.jobs.counts()

    found = await asyncio.gather(*(start() for _ in range(6)))
    assert found == [dict.fromkeys(STATES, 0)] * 6


def test_file_may_be_named_as_a_url(tmp_path: Path) -> None:
    """And the folder is made."""

    async def start() -> None:
        async with Rows(f"sqlite:///{tmp_path}/new/jobs.sqlite3"):
            pass

    asyncio.run(start())
    assert (tmp_path / "new" / "jobs.sqlite3").is_file()


async def refused(url: str) -> str:
    """What the operator reads."""
    with pytest.raises(ConfigError) as error:
        async with Rows(url):
            pass
    assert str(error.value).startswith("ENLARGER_DATABASE: ")
    # The thread of a connection that failed ends by itself, and tells the loop, which must still be there.
    await asyncio.sleep(0.2)
    return str(error.value)


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    file = tmp_path / "jobs.sqlite3"
    file.write_bytes(b"This is something else, and long enough." * 100)
    assert "not a database" in await refused(str(file))
    assert file.read_bytes().startswith(b"This is something else")


async def test_damaged_database_is_refused(tmp_path: Path) -> None:
    """Before a job is lost in it."""
    file = tmp_path / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        await rows.jobs.add_all([job(options={"text": "x" * 500}) for _ in range(200)])
    data = bytearray(file.read_bytes())
    for page in range(4, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    file.write_bytes(data)
    assert re.search("damaged|malformed", await refused(str(file)))


@pytest.mark.parametrize("name", ["folder", "file/below.sqlite3"])
async def test_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    """A folder is where it should be, or a file where its folder should be."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert str(tmp_path / name) in await refused(str(tmp_path / name))


@pytest.mark.usefixtures("postgresql")
async def test_postgresql_that_is_not_there_is_refused() -> None:
    """Without its password."""
    text = await refused("postgresql://up:secret@127.0.0.1:1/jobs")
    assert "secret" not in text
    assert "'jobs'" in text


async def test_url_that_is_none_is_refused() -> None:
    """Without showing it."""
    assert "secret" not in await refused("postgresql://up:secret@127.0.0.1:port/jobs")


def test_missing_driver_is_named(tmp_path: Path) -> None:
    """With what to install."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from enlarger.jobs.rows import Rows\n"
        "Rows('postgresql://up:secret@db/jobs')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "ENLARGER_DATABASE: " in last
    assert "pip install 'enlarger[postgresql]'" in last


async def test_full_disk_is_told(tmp_path: Path) -> None:
    """A limit of the system for each file acts as a full disk does. Rows that are there can be read."""
    file = tmp_path / "jobs.sqlite3"
    async with Rows(str(file)) as rows:
        record = await rows.jobs.add(job())
        with file_size_limit(200_000), pytest.raises(StorageFull, match="no room"):
            await rows.jobs.add_all([job(options={"text": "x" * 4000}) for _ in range(100)])
        assert await rows.jobs.get(record.id) == record
        assert (await rows.jobs.counts())["queued"] == 1
        await rows.jobs.add(job())


async def test_database_that_goes_away_is_unavailable_and_comes_back() -> None:
    """Callers are asked to come again; nobody restarts the gateway."""
    with postgresql_cluster() as cluster:
        async with Rows(cluster.new_database()) as rows:
            record = await rows.jobs.add(job())
            await asyncio.to_thread(cluster.stop)
            with pytest.raises(StorageUnavailable, match="try again") as error:
                await rows.jobs.get(record.id)
            assert error.value.retry_after_s is not None
            await asyncio.to_thread(cluster.start)
            assert await rows.jobs.get(record.id) == record


# Beside the results


async def test_closed_database_opens_nothing(tmp_path: Path) -> None:
    """Who comes late, or waited for a turn, is refused: a connection that was opened then, nobody would close."""
    async with Rows(str(tmp_path / "jobs.sqlite3")) as rows:
        writing = [asyncio.create_task(rows.jobs.add(job())) for _ in range(8)]
        await asyncio.sleep(0)
    found = await asyncio.gather(*writing, return_exceptions=True)
    refused = [one for one in found if isinstance(one, StorageUnavailable)]
    assert len(refused) + sum(isinstance(one, Job) for one in found) == 8
    assert refused
    with pytest.raises(StorageUnavailable):
        await rows.jobs.counts()
    async with Rows(str(tmp_path / "jobs.sqlite3")) as again:
        assert (await again.jobs.counts())["queued"] == 8 - len(refused)


async def test_sweep_of_the_results_leaves_the_database_alone(tmp_path: Path) -> None:
    """It knows its own names only, however old a file is."""
    async with Rows(str(tmp_path / "jobs.sqlite3")) as rows:
        record = await rows.jobs.add(job())
        (tmp_path / "jobs").mkdir()
        for path in tmp_path.iterdir():  # noqa: ASYNC240 - nothing else runs
            os.utime(path, (0, 0))
        assert (await FolderResults(tmp_path, max_age_s=1).sweep()).deleted == 0
        assert await rows.jobs.get(record.id) == record
        assert (tmp_path / "jobs").is_dir()
        assert (tmp_path / "jobs.sqlite3").is_file()
