"""Rows of jobs: what every database keeps."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from support.job_rows import added, delivery, job

from enlarger.errors import Fault
from enlarger.jobs.facts import ErrorFacts, InputFacts, ResultFacts, RunFacts
from enlarger.jobs.job import (
    ENDED,
    STATES,
    BatchRecord,
    Job,
    State,
    new_batch_id,
    new_job_id,
)
from enlarger.jobs.rows import Rows
from enlarger.picture.values import Note


def batch(**values: Any) -> BatchRecord:
    """A new one."""
    return BatchRecord(**{"id": new_batch_id(), "created_at": 1.0, **values})


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
    """The id of a job cannot be guessed, and no two are equal."""
    assert re.fullmatch(r"(job|batch|msg)_[0-9a-f]{32}", make())
    assert len({make() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("state", STATES)
def test_what_has_ended_is_neither_queued_nor_running(state: State) -> None:
    """The only change after the end is that a result expires."""
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
    """A mapping that cannot be changed is kept as well."""
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
    """Knowing that name is permission to read the result."""
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
    """All callers get the same job, whichever was first."""
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


# Changes


async def test_change_gives_the_new_row(rows: Rows) -> None:
    """No other column changes."""
    record = await rows.jobs.add(job())
    error = ErrorFacts(code="x", detail="y")
    found = await rows.jobs.update(record.id, tiles_done=3, error=error, stage=None)
    assert found == replace(record, tiles_done=3, error=error)
    assert await rows.jobs.get(record.id) == found


async def test_change_that_does_not_match_changes_nothing(rows: Rows) -> None:
    """The update names another state, another holder, or a job that does not exist."""
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
    """None is stored as SQL's NULL, not as JSON's null."""
    record = await rows.jobs.add(job(result=RESULT))
    found = await rows.jobs.update(record.id, result=None)
    assert found is not None
    assert found.result is None
    assert await rows.jobs.get(record.id) == found


# Ends


async def test_result_expires_once(rows: Rows) -> None:
    """It expires when its time is over, and only one call reports it."""
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
    """A batch stays until then."""
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
