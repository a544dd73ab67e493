"""The queue of jobs: order, leases, and who may run what."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from support.job_rows import added, job

from enlarger.jobs.job import (
    ENDED,
    STATES,
    State,
    new_job_id,
)
from enlarger.jobs.rows import Rows
from enlarger.jobs.rows.queue import Place


async def claimed(rows: Rows, holder: str, now: float = 10.0) -> list[str]:
    """Return the ids of all jobs that can be claimed."""
    found = []
    while record := await rows.queue.claim(holder, now=now, lease_s=60):
        found.append(record.id)
    return found


# The queue


async def test_jobs_are_claimed_in_the_order_of_their_arrival(rows: Rows) -> None:
    """This includes jobs of the same moment, and a clock that was set back."""
    records = [job(created_at=at) for at in (5.0, 5.0, 4.0, 6.0, 5.0)]
    for record in records:
        await rows.jobs.add(record)
    assert await claimed(rows, "one") == [record.id for record in records]


async def test_claimed_job_says_who_runs_it(rows: Rows) -> None:
    """It also has the time when it was claimed, the end of its lease, and the number of attempts."""
    record = await rows.jobs.add(job())
    found = await rows.queue.claim("one", now=7.5, lease_s=10)
    assert found == replace(
        record, state="running", holder="one", started_at=7.5, leased_until=17.5, attempts=1
    )
    assert await rows.jobs.get(record.id) == found
    assert await rows.queue.claim("two", now=7.5, lease_s=10) is None


async def test_job_that_is_to_wait_is_passed_over(rows: Rows) -> None:
    """It is skipped until its time has come. Then it is the first again."""
    later, now = await added(rows, job(not_before=20.0), job())
    assert await claimed(rows, "one", now=19.9) == [now.id]
    await rows.jobs.add(job())
    found = await rows.queue.claim("one", now=20.0, lease_s=1)
    assert found is not None
    assert found.id == later.id


@pytest.mark.parametrize("state", ENDED)
async def test_what_has_ended_is_not_claimed(rows: Rows, state: State) -> None:
    """This holds however long ago it ended."""
    await rows.jobs.add(job(state=state))
    assert await rows.queue.claim("one", now=1e12, lease_s=1) is None


async def test_place_in_the_queue(rows: Rows) -> None:
    """The next job has place 1. The cost of the jobs before it is counted where it is known. Running jobs are not in the queue."""
    first, second, third, last = await added(
        rows, job(mflop=1.5), job(mflop=2.0), job(), job(mflop=4.0)
    )
    asked = [last.id, first.id, second.id, new_job_id()]
    assert await rows.queue.places(asked) == {
        first.id: Place(1, 4, 0.0),
        second.id: Place(2, 4, 1.5),
        last.id: Place(4, 4, 3.5),
    }
    assert await rows.queue.places([]) == {}
    assert await rows.jobs.get_all([first.id, new_job_id()]) == {first.id: first}
    await rows.queue.claim("one", now=1.0, lease_s=1)
    assert await rows.queue.places([first.id, third.id]) == {third.id: Place(2, 3, 2.0)}
    await rows.jobs.update(second.id, state="canceled")
    assert await rows.queue.places([last.id]) == {last.id: Place(2, 2, 0.0)}


async def test_counts_name_every_state(rows: Rows) -> None:
    """States without a job are counted as zero."""
    assert await rows.jobs.counts() == dict.fromkeys(STATES, 0)
    await rows.jobs.add_all([job(), job(), job(state="failed")])
    assert await rows.jobs.counts() == {**dict.fromkeys(STATES, 0), "queued": 2, "failed": 1}


# Leases


async def test_lease_that_ran_out_is_taken_before_the_queue(rows: Rows) -> None:
    """The former holder cannot change the job any more."""
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
    """It goes to the front of the queue, but not before its time. Its state does not go back, and the attempt does not count."""
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
    """A gateway that renews its lease too late still works on the job, so it does not claim it again. Another gateway may."""
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
    """Every row whose call has returned is there, and the database is intact."""
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
