"""Rows of jobs do the same as a list in memory, whatever is asked of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support.job_rows import delivery, job
from support.stores import NewDatabase

from enlarger.jobs.job import (
    ENDED,
    STATES,
    Job,
    State,
)
from enlarger.jobs.rows import Rows
from enlarger.jobs.rows.queue import Place


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
            found = self.runner.run(self.rows.queue.places([record.id]))
            assert found == {record.id: Place(place, len(queued), mflop)}
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
