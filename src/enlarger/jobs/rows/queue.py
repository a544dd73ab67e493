"""Which job is next, and who runs it: a job that runs is held under a lease."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, func, select
from sqlalchemy import update as change
from sqlalchemy.sql.functions import FunctionElement

from enlarger.jobs.job import Job
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.notices import QUEUE, Notices
from enlarger.jobs.rows.records import Records
from enlarger.jobs.rows.tables import jobs


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a queued job."""

    position: int
    """1 is the next."""

    length: int
    """The number of queued jobs."""

    mflop_before: float
    """The cost of the jobs before it, as far as it is known."""


class Queue:
    """The order of jobs, and their leases.

    Args:
        database: holds their rows.
        notices: tell other gateways of jobs that may be begun, and of those that are.
    """

    def __init__(self, database: Database, notices: Notices) -> None:
        self._database = database
        self._notices = notices
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
        # Each of the two reads the index on state and number up to its first row, however many jobs wait.
        chosen = func.coalesce(_first(is_lost), _first(is_due))
        claimed = await self._records.change(
            jobs.c.number == chosen,
            state="running",
            holder=holder,
            leased_until=now + lease_s,
            attempts=jobs.c.attempts + 1,
            started_at=func.coalesce(jobs.c.started_at, now),
        )
        if claimed is not None:
            self._notices.tell(claimed.id)
        return claimed

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
        if released is not None:
            self._notices.tell(id, QUEUE)
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

    async def places(self, ids: Collection[str]) -> dict[str, Place]:
        """Return the places of those jobs that are queued, by id. The queue is read once, however many they are."""
        if not ids:
            return {}
        is_queued = jobs.c.state == "queued"
        # One window for both, and the length apart from it: PostgreSQL then goes over the rows of the queue once.
        over = partial(FunctionElement.over, order_by=jobs.c.number, rows=(None, -1))
        queued = (
            select(
                jobs.c.id,
                over(func.row_number()).label("position"),
                func.coalesce(over(func.sum(jobs.c.mflop)), 0.0).label("mflop_before"),
            )
            .where(is_queued)
            .subquery()
        )
        length = select(func.count()).select_from(jobs).where(is_queued).scalar_subquery()
        found = await self._database.read(
            select(queued, length.label("length")).where(queued.c.id.in_(ids))
        )
        return {
            row["id"]: Place(row["position"], row["length"], float(row["mflop_before"]))
            for row in found
        }

    async def waiting(self) -> tuple[int, float]:
        """Return the number of queued jobs, and the known cost of them all in mflop."""
        (row,) = await self._database.read(
            select(
                func.count().label("length"),
                func.coalesce(func.sum(jobs.c.mflop), 0.0).label("mflop"),
            ).where(jobs.c.state == "queued")
        )
        return row["length"], float(row["mflop"])


def _first(condition: ColumnElement[bool]) -> ScalarSelect[int]:
    """Choose the first job for which this holds and that no other gateway is choosing. SQLite lets one in at a time."""
    return (
        select(jobs.c.number)
        .where(condition)
        .order_by(jobs.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


def _released(not_before: float) -> dict[str, Any]:
    """Return the columns of a job that nobody works on any more. It stays "running": states never go backwards."""
    return {
        "stage": None,
        "holder": None,
        "leased_until": not_before,
        "attempts": jobs.c.attempts - 1,
    }
