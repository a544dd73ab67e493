"""Rows of results: which finished result each request has, and which gateway is making one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, or_, select
from sqlalchemy import update as change

from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.tables import results


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """What is known of the result of a request."""

    outcome: Mapping[str, Any] | None
    """The outcome as JSON; None while a gateway makes it."""

    file_name: str | None


class ResultRows:
    """The rows of results.

    Args:
        database: holds them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, key: str, holder: str, *, now: float, lease_s: float, lost: str | None = None
    ) -> bool:
        """Take it on to make a result; return False if it is there, or another gateway makes it.

        Args:
            key: of the request.
            holder: who makes it.
            now: the time.
            lease_s: how long it is held without a sign of life.
            lost: name of a file that cannot be read, if the row names one: it counts as no result.
        """
        values = {
            "holder": holder,
            "leased_until": now + lease_s,
            "outcome": None,
            "file_name": None,
            "expires_at": None,
        }
        is_free = or_(
            and_(results.c.expires_at.is_(None), results.c.leased_until < now),
            results.c.expires_at <= now,
            results.c.file_name == (lost or ""),
        )
        added = self._database.insert(results).values(key=key, **values)
        statement = added.on_conflict_do_update(
            index_elements=[results.c.key], set_=values, where=is_free
        )
        return bool(await self._database.write(statement.returning(results.c.key)))

    async def get(self, key: str, *, now: float) -> ResultRow | None:
        """Return what is known of a result; None if nothing is, or if it has expired."""
        found = await self._database.read(
            select(results.c.outcome, results.c.file_name).where(
                results.c.key == key,
                or_(results.c.expires_at.is_(None), results.c.expires_at > now),
            )
        )
        return ResultRow(**found[0]) if found else None

    async def keep(
        self, key: str, *, outcome: Mapping[str, Any], file_name: str, expires_at: float
    ) -> None:
        """Keep a finished result, whoever made the one before."""
        values = {
            "holder": None,
            "leased_until": 0.0,
            "outcome": dict(outcome),
            "file_name": file_name,
            "expires_at": expires_at,
        }
        added = self._database.insert(results).values(key=key, **values)
        await self._database.write(
            added.on_conflict_do_update(index_elements=[results.c.key], set_=values)
        )

    async def drop(self, key: str, holder: str) -> None:
        """Leave a result to others that ``holder`` was to make, also if the caller of its claim was cancelled."""
        await self._database.settled()
        await self._database.write(
            delete(results).where(results.c.key == key, results.c.holder == holder)
        )

    async def renew(self, holder: str, keys: Collection[str], *, until: float) -> None:
        """Hold these results longer, which ``holder`` still makes."""
        await self._database.write(
            change(results)
            .where(results.c.key.in_(keys), results.c.holder == holder)
            .values(leased_until=until)
        )

    async def release_all(self, holder: str) -> None:
        """Leave all results to others that ``holder`` makes: it ends."""
        await self._database.settled()
        await self._database.write(delete(results).where(results.c.holder == holder))

    async def release_after_restart(self) -> None:
        """Leave unfinished results to others, whoever made them, if the database is SQLite.

        A file is usually the database of one gateway. If that was killed, its leases would otherwise delay the requests
        that are sent again. Another gateway on the same file loses its leases as well, and a result may be made twice.
        """
        if self._database.is_sqlite:
            await self._database.write(delete(results).where(results.c.expires_at.is_(None)))

    async def forget(self, now: float) -> None:
        """Delete the rows of results that have expired, and of those that nobody makes any more."""
        is_left = and_(results.c.expires_at.is_(None), results.c.leased_until < now)
        await self._database.write(delete(results).where(or_(results.c.expires_at <= now, is_left)))
