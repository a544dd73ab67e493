"""Rows of batches."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import exists, select

from enlarger.jobs.job import ENDED, BatchRecord, Job
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.records import Records, has_delivery
from enlarger.jobs.rows.tables import batches, jobs


class BatchRows:
    """The rows of batches. Their jobs are rows of jobs.

    Args:
        database: holds them.
    """

    def __init__(self, database: Database) -> None:
        self._records = Records(database, BatchRecord, batches)
        self._jobs = Records(database, Job, jobs)

    async def add(self, batch: BatchRecord, taken: Iterable[Job]) -> BatchRecord:
        """Add a batch with its jobs; return it, or the one that has its owner's idempotency key already."""
        return await self._records.add(batch, *(self._jobs.inserted(job) for job in taken))

    async def get(self, id: str) -> BatchRecord | None:
        """Return the batch of this id."""
        return await self._records.find(batches.c.id == id)

    async def by_key(self, owner: str, key: str) -> BatchRecord | None:
        """Return the batch that this owner asked for under this idempotency key."""
        return await self._records.find_by_key(owner, key)

    async def free_key(self, id: str) -> None:
        """Let its idempotency key stand for another one."""
        await self._records.change(batches.c.id == id, idempotency_key=None)

    async def awaiting_webhook(self) -> list[BatchRecord]:
        """Return the batches that have ended, and of whose end a message is wanted, and there is none."""
        of_batch = jobs.c.batch_id == batches.c.id
        is_open = exists().where(of_batch, jobs.c.state.not_in(ENDED))
        return await self._records.find_all(
            select(*self._records.columns).where(
                batches.c.webhook.is_not(None),
                exists().where(of_batch),
                ~is_open,
                ~has_delivery(batches),
            )
        )
