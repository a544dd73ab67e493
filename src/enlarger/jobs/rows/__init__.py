"""The rows that gateways share: jobs, batches and deliveries, finished results, rates, and the gateways themselves."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sqlalchemy import delete, exists

from enlarger.jobs.rows.batches import BatchRows
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.deliveries import DeliveryRows
from enlarger.jobs.rows.gateways import GatewayRows
from enlarger.jobs.rows.jobs import JobRows
from enlarger.jobs.rows.notices import Notices
from enlarger.jobs.rows.queue import Queue
from enlarger.jobs.rows.rates import RateRows
from enlarger.jobs.rows.records import ended_jobs, unlocked_jobs
from enlarger.jobs.rows.results import ResultRows
from enlarger.jobs.rows.tables import batches, deliveries, jobs

__all__ = [
    "BatchRows",
    "DeliveryRows",
    "GatewayRows",
    "JobRows",
    "Notices",
    "Queue",
    "RateRows",
    "ResultRows",
    "Rows",
]


class Rows:
    """All rows of one database. Each call happens as a whole or not at all, also for other gateways on the same database.

    Nothing here reads a clock: the caller says what time it is, in seconds since the epoch.

    Args:
        url: ``postgresql://...``, or the file of an SQLite database, with or without ``sqlite:///`` before it.

    Raises:
        ConfigError: from the constructor and ``async with``: the database cannot be used; the text says why.
        StorageFull, StorageUnavailable: from any call: no room for a row, or the database is away.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.notices = Notices(self._database)
        self.jobs = JobRows(self._database, self.notices)
        self.queue = Queue(self._database, self.notices)
        self.batches = BatchRows(self._database)
        self.deliveries = DeliveryRows(self._database)
        self.results = ResultRows(self._database)
        self.rates = RateRows(self._database)
        self.gateways = GatewayRows(self._database)

    async def __aenter__(self) -> Self:
        await self._database.open()
        self.notices.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.notices.close()
        await self._database.close()

    async def forget(self, before: float) -> None:
        """Delete what ended before that time: jobs, batches that have none left, and deliveries."""
        has_jobs = exists().where(jobs.c.batch_id == batches.c.id)
        await self._database.write(
            delete(jobs).where(unlocked_jobs(ended_jobs(before))),
            delete(batches).where(batches.c.created_at < before, ~has_jobs),
            delete(deliveries).where(deliveries.c.ended_at < before),
        )
