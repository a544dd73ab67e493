"""Rows of rates: what each caller has left, for all gateways together."""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, delete, select

from enlarger.config import RateLimit
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.tables import rates


class RateRows:
    """The rows of callers. A caller without a row has the whole limit.

    Args:
        database: holds them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(
        self, caller: str, megapixels: float, limit: RateLimit, *, now: float
    ) -> tuple[float, float] | None:
        """Take megapixels of a caller who has anything left, in one statement, so that no two gateways take the same.

        Returns:
            What is left, below zero if the caller owes, and the time that this counts from; None if nothing was left.
        """
        left = _filled(limit, now)
        added = self._database.insert(rates).values(
            caller=caller, megapixels=limit.megapixels - megapixels, at=now
        )
        statement = added.on_conflict_do_update(
            index_elements=[rates.c.caller],
            set_={"megapixels": left - megapixels, "at": _later(now)},
            where=left > 0,
        )
        found = await self._database.write(statement.returning(rates.c.megapixels, rates.c.at))
        return (found[0]["megapixels"], found[0]["at"]) if found else None

    async def get(self, caller: str) -> tuple[float, float] | None:
        """Return what a caller had left, and when; None if nothing is known of the caller."""
        found = await self._database.read(
            select(rates.c.megapixels, rates.c.at).where(rates.c.caller == caller)
        )
        return (found[0]["megapixels"], found[0]["at"]) if found else None

    async def forget(self, limit: RateLimit, *, now: float) -> None:
        """Delete the rows of callers who have the whole limit again."""
        await self._database.write(delete(rates).where(_filled(limit, now) >= limit.megapixels))


def _later(now: float) -> ColumnElement[float]:
    """A clock that goes back gives nothing."""
    return case((rates.c.at > now, rates.c.at), else_=now)


def _filled(limit: RateLimit, now: float) -> ColumnElement[float]:
    """What a caller has at that time: see ``Bucket``."""
    speed = limit.megapixels / limit.seconds
    full = rates.c.megapixels + (_later(now) - rates.c.at) * speed
    return case((full > limit.megapixels, limit.megapixels), else_=full)
