"""Which job is next, and who runs it: a job that runs is held under a lease."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy import update as change

from enlarger.jobs.job import Job
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.records import Records
from enlarger.jobs.rows.tables import jobs


class Queue:
    """The order of jobs, and their leases.

    Args:
        database: holds their rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._records = Records(database, Job, jobs)

    async def claim(
        self, holder: str, *, now: float, lease_s: float, exclude: Collection[str] = ()
    ) -> Job | None:
        """Take a job that nobody else has: it runs now, held by ``holder`` until ``now + lease_s``.

        Jobs that were begun and that nobody works on come first: given back, or their lease ran out. Then comes the
        queue; each in the order in which the jobs were added.

        Args:
            holder: who will run it.
            now: the time.
            lease_s: how long it is held without a sign of life.
            exclude: ids of what ``holder`` works on, also where it was late to say so.
        """
        is_lost = and_(
            jobs.c.state == "running", jobs.c.leased_until < now, jobs.c.id.not_in(exclude)
        )
        is_due = and_(jobs.c.state == "queued", jobs.c.not_before <= now)
        chosen = (
            select(jobs.c.number)
            .where(or_(is_lost, is_due))
            .order_by(case((jobs.c.state == "running", 0), else_=1), jobs.c.number)
            .limit(1)
            # Two gateways that choose at the same time choose different ones. SQLite lets one in at a time.
            .with_for_update(skip_locked=True)
        )
        return await self._records.change(
            jobs.c.number == chosen.scalar_subquery(),
            state="running",
            holder=holder,
            leased_until=now + lease_s,
            attempts=jobs.c.attempts + 1,
            started_at=func.coalesce(jobs.c.started_at, now),
        )

    async def renew(self, holder: str, ids: Collection[str], *, until: float) -> set[str]:
        """Hold these jobs longer; return those that ``holder`` still runs. The others are not its own any more."""
        found = await self._database.write(
            change(jobs)
            .where(jobs.c.id.in_(ids), jobs.c.state == "running", jobs.c.holder == holder)
            .values(leased_until=until)
            .returning(jobs.c.id)
        )
        return {row["id"] for row in found}

    async def release(self, id: str, *, holder: str, not_before: float, **values: Any) -> bool:
        """Give a job back as if it had not been begun; return whether ``holder`` ran it.

        Args:
            id: of the job.
            holder: who runs it.
            not_before: nobody goes on with it earlier.
            values: how far it came.
        """
        released = await self._records.change(
            and_(jobs.c.id == id, jobs.c.state == "running", jobs.c.holder == holder),
            **_released(not_before),
            **values,
        )
        return released is not None

    async def release_all(self, holder: str) -> None:
        """Give back all jobs that ``holder`` has: it ends.

        That includes what a claim took whose caller was cancelled meanwhile: nobody knows of that.
        """
        await self._database.settled()
        await self._database.write(
            change(jobs)
            .where(jobs.c.state == "running", jobs.c.holder == holder)
            .values(**_released(not_before=0.0))
        )

    async def place(self, job: Job) -> tuple[int, int, float]:
        """Return a queued job's place (1: the next), the queue's length, and the known cost before it in mflop."""
        own = select(jobs.c.number).where(jobs.c.id == job.id).scalar_subquery()
        is_before = jobs.c.number < own
        (row,) = await self._database.read(
            select(
                func.count().filter(is_before).label("before"),
                func.count().label("length"),
                func.coalesce(func.sum(jobs.c.mflop).filter(is_before), 0.0).label("mflop"),
            ).where(jobs.c.state == "queued")
        )
        return row["before"] + 1, row["length"], float(row["mflop"])

    async def places(self, ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return the places of those jobs that are queued, by id, each with the queue's length. Place 1 is the next."""
        if not ids:
            return {}
        queued = (
            select(
                jobs.c.id,
                func.row_number().over(order_by=jobs.c.number).label("place"),
                func.count().over().label("length"),
            )
            .where(jobs.c.state == "queued")
            .subquery()
        )
        found = await self._database.read(select(queued).where(queued.c.id.in_(ids)))
        return {row["id"]: (row["place"], row["length"]) for row in found}

    async def waiting(self) -> tuple[int, float]:
        """Return the number of queued jobs, and the known cost of them all in mflop."""
        (row,) = await self._database.read(
            select(
                func.count().label("length"),
                func.coalesce(func.sum(jobs.c.mflop), 0.0).label("mflop"),
            ).where(jobs.c.state == "queued")
        )
        return row["length"], float(row["mflop"])


def _released(not_before: float) -> dict[str, Any]:
    """Return the columns of a job that nobody works on any more. It stays "running": states never go backwards."""
    return {
        "stage": None,
        "holder": None,
        "leased_until": not_before,
        "attempts": jobs.c.attempts - 1,
    }
