"""Rows of jobs, batches and deliveries: who may run what, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from sqlalchemy import (
    ColumnElement,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy import update as change
from sqlalchemy.exc import IntegrityError

from enlarger.jobs.database import Database
from enlarger.jobs.job import (
    DELIVERY,
    ENDED,
    GONE,
    STATES,
    BatchRecord,
    DeliveryRecord,
    Job,
    State,
)
from enlarger.jobs.tables import batches, deliveries, jobs

log = structlog.get_logger()

Record = TypeVar("Record", Job, BatchRecord, DeliveryRecord)


class Rows:
    """All rows. Each call happens as a whole or not at all, also for other gateways on the same database.

    Nothing here reads a clock: the caller says what time it is, in seconds since the epoch.

    Args:
        url: ``postgresql://...``, or the file of an SQLite database, with or without ``sqlite:///`` before it.

    Raises:
        ConfigError: from the constructor and ``async with``: the database cannot be used; the text says why.
        StorageFull, StorageUnavailable: from any call: no room for a row, or the database is away.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    async def __aenter__(self) -> Self:
        await self._database.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._database.close()

    # Jobs

    async def add(self, record: Job) -> Job:
        """A new row; or, if its owner has used its idempotency key before, the one that has it."""
        try:
            await self._database.write(insert(jobs).values(_values(record)))
        except IntegrityError:
            if record.idempotency_key is None:
                raise
            found = await self.by_key(record.owner, record.idempotency_key)
            if found is None:
                raise
            return found
        return record

    async def add_all(self, records: Iterable[Job]) -> None:
        """New rows: all of them, or none.

        Raises:
            IntegrityError: an id or a key is taken.
        """
        await self._database.write(*(insert(jobs).values(_values(record)) for record in records))

    async def get(self, id: str) -> Job | None:
        """The job of this id."""
        return await self._find(Job, jobs, jobs.c.id == id)

    async def by_file_name(self, name: str) -> Job | None:
        """The job whose result has this name."""
        return await self._find(Job, jobs, jobs.c.file_name == name)

    async def by_key(self, owner: str, key: str) -> Job | None:
        """The job that this owner asked for under this idempotency key."""
        return await self._find(Job, jobs, _has_key(jobs, owner, key))

    async def of_batch(self, batch_id: str) -> list[Job]:
        """The jobs of a batch, in its order."""
        found = await self._database.read(
            select(jobs)
            .where(jobs.c.batch_id == batch_id)
            .order_by(jobs.c.batch_index, jobs.c.number)
        )
        return [_record(Job, row) for row in found]

    async def list_of(
        self, owner: str, *, states: Collection[State], before: str | None, limit: int
    ) -> list[Job]:
        """Jobs of one owner in these states, the newest first.

        Args:
            owner: whose.
            states: all that count.
            before: id of a job; only older ones are listed. One that is not this owner's has none.
            limit: the most that are listed.
        """
        conditions = [jobs.c.owner == owner, jobs.c.state.in_(states)]
        if before is not None:
            known = select(jobs.c.number).where(jobs.c.id == before, jobs.c.owner == owner)
            conditions.append(jobs.c.number < known.scalar_subquery())
        found = await self._database.read(
            select(*_columns(Job, jobs))
            .where(*conditions)
            .order_by(jobs.c.number.desc())
            .limit(limit)
        )
        return [_record(Job, row) for row in found]

    async def claim(
        self, holder: str, *, now: float, lease_s: float, exclude: Collection[str] = ()
    ) -> Job | None:
        """A job to run, which nobody else has: it is running now, held by ``holder`` until ``now + lease_s``.

        First those that were begun and that nobody works on: given back, or their holder let the lease run out.
        Then the queue; each in the order in which they were added.

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
        return await self._change(
            Job,
            jobs,
            jobs.c.number == chosen.scalar_subquery(),
            state="running",
            holder=holder,
            leased_until=now + lease_s,
            attempts=jobs.c.attempts + 1,
            started_at=func.coalesce(jobs.c.started_at, now),
        )

    async def renew(self, holder: str, ids: Collection[str], *, until: float) -> set[str]:
        """Hold these jobs longer; gives those that ``holder`` still runs. The others are not its own any more."""
        found = await self._database.write(
            change(jobs)
            .where(jobs.c.id.in_(ids), jobs.c.state == "running", jobs.c.holder == holder)
            .values(leased_until=until)
            .returning(jobs.c.id)
        )
        return {row["id"] for row in found}

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
            What it is now; None: it was not so, and nothing was changed.
        """
        conditions = [jobs.c.id == id, jobs.c.state.in_(states)]
        if holder is not None:
            conditions.append(jobs.c.holder == holder)
        return await self._change(Job, jobs, and_(*conditions), **values)

    async def release(
        self,
        id: str,
        *,
        holder: str,
        not_before: float,
        **values: Any,
    ) -> bool:
        """Nobody works on it now, and it does not count that it was begun; gives whether ``holder`` ran it.

        Args:
            id: of the job.
            holder: who runs it.
            not_before: nobody goes on with it earlier.
            values: how far it came.
        """
        released = await self._change(
            Job,
            jobs,
            and_(jobs.c.id == id, jobs.c.state == "running", jobs.c.holder == holder),
            **_released(not_before),
            **values,
        )
        return released is not None

    async def release_all(self, holder: str) -> None:
        """Back with all that ``holder`` has, jobs and messages: it ends.

        Also with what a claim took whose caller was cancelled meanwhile: nobody knows of that.
        """
        await self._database.settled()
        await self._database.write(
            change(jobs)
            .where(jobs.c.state == "running", jobs.c.holder == holder)
            .values(**_released(not_before=0.0)),
            change(deliveries)
            .where(deliveries.c.ended_at.is_(None), deliveries.c.holder == holder)
            .values(holder=None),
        )

    async def queue(self, record: Job) -> tuple[int, int, float]:
        """Place of a queued job (1: the next), length of the queue, and known cost of those before it, in mflop."""
        own = select(jobs.c.number).where(jobs.c.id == record.id).scalar_subquery()
        is_before = jobs.c.number < own
        (row,) = await self._database.read(
            select(
                func.count().filter(is_before).label("before"),
                func.count().label("length"),
                func.coalesce(func.sum(jobs.c.mflop).filter(is_before), 0.0).label("mflop"),
            ).where(jobs.c.state == "queued")
        )
        return row["before"] + 1, row["length"], float(row["mflop"])

    async def waiting(self) -> tuple[int, float]:
        """Queued jobs, and the known cost of them all, in mflop."""
        (row,) = await self._database.read(
            select(
                func.count().label("length"),
                func.coalesce(func.sum(jobs.c.mflop), 0.0).label("mflop"),
            ).where(jobs.c.state == "queued")
        )
        return row["length"], float(row["mflop"])

    async def counts(self) -> dict[State, int]:
        """Jobs in each state."""
        found = await self._database.read(
            select(jobs.c.state, func.count().label("count")).group_by(jobs.c.state)
        )
        return dict.fromkeys(STATES, 0) | {row["state"]: row["count"] for row in found}

    async def expire(self, now: float) -> list[Job]:
        """Results whose time is over: their jobs, which have expired with this call and in no other one."""
        found = await self._database.write(
            change(jobs)
            .where(_unlocked(and_(jobs.c.state == "succeeded", jobs.c.expires_at <= now)))
            .values(state="expired")
            .returning(*_columns(Job, jobs))
        )
        return [_record(Job, row) for row in found]

    async def ended_before(self, before: float) -> list[str]:
        """Ids of jobs that ended before."""
        found = await self._database.read(select(jobs.c.id).where(_is_old(before)))
        return [row["id"] for row in found]

    async def forget(self, before: float) -> None:
        """Delete what ended before: jobs, batches that have none left, and deliveries."""
        has_jobs = exists().where(jobs.c.batch_id == batches.c.id)
        await self._database.write(
            delete(jobs).where(_unlocked(_is_old(before))),
            delete(batches).where(batches.c.created_at < before, ~has_jobs),
            delete(deliveries).where(deliveries.c.ended_at < before),
        )

    # Batches

    async def add_batch(self, batch: BatchRecord, records: Iterable[Job]) -> BatchRecord:
        """A new batch with its jobs; or, if its owner has used its idempotency key before, the one that has it."""
        try:
            await self._database.write(
                insert(batches).values(_values(batch)),
                *(insert(jobs).values(_values(record)) for record in records),
            )
        except IntegrityError:
            if batch.idempotency_key is None:
                raise
            found = await self.batch_by_key(batch.owner, batch.idempotency_key)
            if found is None:
                raise
            return found
        return batch

    async def get_batch(self, id: str) -> BatchRecord | None:
        """The batch of this id."""
        return await self._find(BatchRecord, batches, batches.c.id == id)

    async def batch_by_key(self, owner: str, key: str) -> BatchRecord | None:
        """The batch that this owner asked for under this idempotency key."""
        return await self._find(BatchRecord, batches, _has_key(batches, owner, key))

    async def free_batch_key(self, id: str) -> None:
        """Its idempotency key may stand for another one."""
        await self._database.write(
            change(batches).where(batches.c.id == id).values(idempotency_key=None)
        )

    # Deliveries

    async def add_delivery(self, delivery: DeliveryRecord) -> None:
        """A message to be sent; nothing, if it is there already."""
        try:
            await self._database.write(insert(deliveries).values(_values(delivery)))
        except IntegrityError:
            log.debug("delivery_known", id=delivery.id)

    async def get_delivery(self, id: str) -> DeliveryRecord | None:
        """The message of this id."""
        return await self._find(DeliveryRecord, deliveries, deliveries.c.id == id)

    async def is_gone(self, owner: str, url: str) -> bool:
        """Whether the receiver has told this owner to send nothing more, as far as that is remembered."""
        told = and_(
            deliveries.c.owner == owner, deliveries.c.url == url, deliveries.c.outcome == GONE
        )
        return await self._find(DeliveryRecord, deliveries, told) is not None

    async def jobs_awaiting_webhook(self) -> list[Job]:
        """Jobs that have ended, and of whose end there is to be a message, and is none."""
        found = await self._database.read(
            select(jobs).where(
                jobs.c.webhook.is_not(None), jobs.c.state.in_(ENDED), ~_has_delivery(jobs)
            )
        )
        return [_record(Job, row) for row in found]

    async def untold_batches(self) -> list[BatchRecord]:
        """The same of batches."""
        of_batch = jobs.c.batch_id == batches.c.id
        is_open = exists().where(of_batch, jobs.c.state.not_in(ENDED))
        found = await self._database.read(
            select(batches).where(
                batches.c.webhook.is_not(None),
                exists().where(of_batch),
                ~is_open,
                ~_has_delivery(batches),
            )
        )
        return [_record(BatchRecord, row) for row in found]

    async def claim_delivery(
        self, holder: str, *, now: float, lease_s: float
    ) -> DeliveryRecord | None:
        """The message that is due longest and that nobody else is sending: ``holder`` is, until ``now + lease_s``."""
        chosen = (
            select(deliveries.c.number)
            .where(
                deliveries.c.ended_at.is_(None),
                deliveries.c.due_at <= now,
                or_(deliveries.c.holder.is_(None), deliveries.c.leased_until < now),
            )
            .order_by(deliveries.c.due_at, deliveries.c.number)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return await self._change(
            DeliveryRecord,
            deliveries,
            deliveries.c.number == chosen.scalar_subquery(),
            holder=holder,
            leased_until=now + lease_s,
        )

    async def update_delivery(self, id: str, **values: Any) -> DeliveryRecord | None:
        """Change a message; gives what it is now, None if it is not there."""
        return await self._change(DeliveryRecord, deliveries, deliveries.c.id == id, **values)

    # What they share

    async def _find(
        self, kind: type[Record], table: Table, condition: ColumnElement[bool]
    ) -> Record | None:
        found = await self._database.read(select(*_columns(kind, table)).where(condition).limit(1))
        return _record(kind, found[0]) if found else None

    async def _change(
        self, kind: type[Record], table: Table, condition: ColumnElement[bool], **values: Any
    ) -> Record | None:
        found = await self._database.write(
            change(table).where(condition).values(_plain(values)).returning(*_columns(kind, table))
        )
        return _record(kind, found[0]) if found else None


def _released(not_before: float) -> dict[str, Any]:
    """Of a job that nobody works on any more. It stays "running": states never go backwards."""
    return {
        "stage": None,
        "holder": None,
        "leased_until": not_before,
        "attempts": jobs.c.attempts - 1,
    }


def _is_old(before: float) -> ColumnElement[bool]:
    return and_(jobs.c.state.in_(ENDED), jobs.c.finished_at < before)


def _has_key(table: Table, owner: str, key: str) -> ColumnElement[bool]:
    return and_(table.c.owner == owner, table.c.idempotency_key == key)


def _has_delivery(table: Table) -> ColumnElement[bool]:
    return exists().where(deliveries.c.id == literal(DELIVERY) + table.c.id)


def _unlocked(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Those jobs that nobody else is changing at this moment, so that two sweeps never wait for each other."""
    return jobs.c.number.in_(
        select(jobs.c.number).where(condition).with_for_update(skip_locked=True)
    )


def _columns(kind: type[Any], table: Table) -> list[ColumnElement[Any]]:
    return [table.c[field.name] for field in fields(kind)]


def _values(record: Any) -> dict[str, Any]:
    return _plain({field.name: getattr(record, field.name) for field in fields(record)})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings of any kind become what JSON knows."""
    return {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()
    }


def _record(kind: type[Record], row: Mapping[Any, Any]) -> Record:
    return kind(**{field.name: row[field.name] for field in fields(kind)})
