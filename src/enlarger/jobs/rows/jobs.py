"""Rows of jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy import update as change

from enlarger.jobs.job import ENDED, STATES, Job, State
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.notices import QUEUE, Notices
from enlarger.jobs.rows.records import Records, ended_jobs, has_delivery, unlocked_jobs
from enlarger.jobs.rows.tables import jobs


class JobRows:
    """The rows of jobs; ``Queue`` says who may run them.

    Args:
        database: holds them.
        notices: tell other gateways which have changed.
    """

    def __init__(self, database: Database, notices: Notices) -> None:
        self._database = database
        self._notices = notices
        self._records = Records(database, Job, jobs)

    async def add(self, job: Job) -> Job:
        """Add a row; return it, or the one that has its owner's idempotency key already."""
        added = await self._records.add(job)
        if added.state == "queued":
            self._notices.tell(QUEUE)
        return added

    async def add_all(self, added: Iterable[Job]) -> None:
        """Add rows: all of them, or none.

        Raises:
            IntegrityError: an id or a key is taken.
        """
        await self._database.write(*(self._records.inserted(job) for job in added))

    async def get(self, id: str) -> Job | None:
        """Return the job of this id."""
        return await self._records.find(jobs.c.id == id)

    async def get_all(self, ids: Collection[str]) -> dict[str, Job]:
        """Return the jobs of these ids, by id. Ids that no job has are left out."""
        found = await self._records.find_all(
            select(*self._records.columns).where(jobs.c.id.in_(ids))
        )
        return {job.id: job for job in found}

    async def by_file_name(self, name: str) -> Job | None:
        """Return the job whose result has this name."""
        return await self._records.find(jobs.c.file_name == name)

    async def by_key(self, owner: str, key: str) -> Job | None:
        """Return the job that this owner asked for under this idempotency key."""
        return await self._records.find_by_key(owner, key)

    async def of_batch(self, batch_id: str) -> list[Job]:
        """Return the jobs of a batch, in its order."""
        return await self._records.find_all(
            select(*self._records.columns)
            .where(jobs.c.batch_id == batch_id)
            .order_by(jobs.c.batch_index, jobs.c.number)
        )

    async def list_of(
        self, owner: str, *, states: Collection[State], before: str | None, limit: int
    ) -> list[Job]:
        """Return jobs of one owner in these states, the newest first.

        Args:
            owner: whose jobs.
            states: the states that are listed.
            before: id of a job; only older ones are listed, and none if it is not this owner's.
            limit: the most that are listed.
        """
        conditions = [jobs.c.owner == owner, jobs.c.state.in_(states)]
        if before is not None:
            known = select(jobs.c.number).where(jobs.c.id == before, jobs.c.owner == owner)
            conditions.append(jobs.c.number < known.scalar_subquery())
        return await self._records.find_all(
            select(*self._records.columns)
            .where(*conditions)
            .order_by(jobs.c.number.desc())
            .limit(limit)
        )

    async def awaiting_webhook(self) -> list[Job]:
        """Return the jobs that have ended, and of whose end a message is wanted, and there is none."""
        return await self._records.find_all(
            select(*self._records.columns).where(
                jobs.c.webhook.is_not(None), jobs.c.state.in_(ENDED), ~has_delivery(jobs)
            )
        )

    async def counts(self) -> dict[State, int]:
        """Count the jobs in each state."""
        found = await self._database.read(
            select(jobs.c.state, func.count().label("count")).group_by(jobs.c.state)
        )
        return dict.fromkeys(STATES, 0) | {row["state"]: row["count"] for row in found}

    async def update(
        self,
        id: str,
        *,
        holder: str | None = None,
        states: tuple[State, ...] = STATES,
        **values: Any,
    ) -> Job | None:
        """Change a job, if it is in one of these states, and in the hands of ``holder`` if one is named.

        Returns:
            The job as it is now; None if it was in another state or other hands, and nothing was changed.
        """
        conditions = [jobs.c.id == id, jobs.c.state.in_(states)]
        if holder is not None:
            conditions.append(jobs.c.holder == holder)
        changed = await self._records.change(and_(*conditions), **values)
        if changed is not None:
            self._notices.tell(id, *([QUEUE] if changed.state == "queued" else []))
        return changed

    async def expire(self, now: float) -> list[Job]:
        """Let the results expire whose time is over; return their jobs, which no other call returns."""
        found = await self._database.write(
            change(jobs)
            .where(unlocked_jobs(and_(jobs.c.state == "succeeded", jobs.c.expires_at <= now)))
            .values(state="expired")
            .returning(*self._records.columns)
        )
        return [self._records.record(row) for row in found]

    async def ended_before(self, before: float) -> list[str]:
        """Return the ids of jobs that ended before that time."""
        found = await self._database.read(select(jobs.c.id).where(ended_jobs(before)))
        return [row["id"] for row in found]
