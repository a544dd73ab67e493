"""From rows to values and back, for all tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Table,
    and_,
    exists,
    insert,
    literal,
    select,
)
from sqlalchemy import update as change
from sqlalchemy.exc import IntegrityError

from enlarger.jobs.job import DELIVERY, ENDED, BatchRecord, DeliveryRecord, Job
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.tables import deliveries, jobs

Record = TypeVar("Record", bound=Job | BatchRecord | DeliveryRecord)


class Records(Generic[Record]):
    """One table, whose rows are read and written as values of one class.

    Args:
        database: holds the table.
        kind: the class; each of its fields has a column of its name.
        table: the table.
    """

    def __init__(self, database: Database, kind: type[Record], table: Table) -> None:
        self._database = database
        self._kind = kind
        self._table = table
        self.columns = [table.c[field.name] for field in fields(kind)]

    async def find(self, condition: ColumnElement[bool]) -> Record | None:
        """Return the row for which this holds; None if there is none."""
        found = await self.find_all(select(*self.columns).where(condition).limit(1))
        return found[0] if found else None

    async def find_all(self, statement: Select[Any]) -> list[Record]:
        """Return all rows of a statement that selects ``columns``."""
        return [self.record(row) for row in await self._database.read(statement)]

    async def find_by_key(self, owner: str, key: str) -> Record | None:
        """Return the row that has this idempotency key of this owner."""
        columns = self._table.c
        return await self.find(and_(columns.owner == owner, columns.idempotency_key == key))

    async def change(self, condition: ColumnElement[bool], **values: Any) -> Record | None:
        """Change the row for which this holds, and return it as it is then; None if there is none."""
        statement = change(self._table).where(condition).values(plain(values))
        found = await self._database.write(statement.returning(*self.columns))
        return self.record(found[0]) if found else None

    async def add(self, record: Record, *more: Insert) -> Record:
        """Add a row, and what else belongs to it: all of that or nothing.

        Returns:
            The row; or the one that has its idempotency key already.

        Raises:
            IntegrityError: another value that must be unique is taken.
        """
        try:
            await self._database.write(self.inserted(record), *more)
        except IntegrityError:
            key = getattr(record, "idempotency_key", None)
            found = None if key is None else await self.find_by_key(record.owner, key)
            if found is None:
                raise
            return found
        return record

    def inserted(self, record: Record) -> Insert:
        """Return the statement that adds a row."""
        return insert(self._table).values(
            plain({field.name: getattr(record, field.name) for field in fields(record)})
        )

    def record(self, row: Mapping[Any, Any]) -> Record:
        """Return a row as a value."""
        return self._kind(**{field.name: row[field.name] for field in fields(self._kind)})


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with dictionaries in place of other mappings: JSON knows no others."""
    return {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()
    }


def has_delivery(table: Table) -> ColumnElement[bool]:
    """Whether there is a message about a row of this table."""
    return exists().where(deliveries.c.id == literal(DELIVERY) + table.c.id)


def unlocked_jobs(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Choose the jobs that nobody else is changing at this moment, so that two sweeps never wait for each other."""
    return jobs.c.number.in_(
        select(jobs.c.number).where(condition).with_for_update(skip_locked=True)
    )


def ended_jobs(before: float) -> ColumnElement[bool]:
    """Choose the jobs that ended before that time."""
    return and_(jobs.c.state.in_(ENDED), jobs.c.finished_at < before)
