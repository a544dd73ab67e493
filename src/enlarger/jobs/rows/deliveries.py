"""Rows of deliveries: webhook messages that are to be sent, or were."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import and_, or_, select
from sqlalchemy import update as change
from sqlalchemy.exc import IntegrityError

from enlarger.jobs.job import GONE, DeliveryRecord
from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.records import Records
from enlarger.jobs.rows.tables import deliveries

log = structlog.get_logger()


class DeliveryRows:
    """The rows of messages.

    Args:
        database: holds them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._records = Records(database, DeliveryRecord, deliveries)

    async def add(self, delivery: DeliveryRecord) -> None:
        """Add a message that is to be sent; do nothing if it is there already."""
        try:
            await self._records.add(delivery)
        except IntegrityError:
            log.debug("delivery_known", id=delivery.id)

    async def get(self, id: str) -> DeliveryRecord | None:
        """Return the message of this id."""
        return await self._records.find(deliveries.c.id == id)

    async def is_gone(self, owner: str, url: str) -> bool:
        """Whether the receiver has told this owner to send nothing more, as far as that is remembered."""
        found = await self._records.find(
            and_(deliveries.c.owner == owner, deliveries.c.url == url, deliveries.c.outcome == GONE)
        )
        return found is not None

    async def claim(self, holder: str, *, now: float, lease_s: float) -> DeliveryRecord | None:
        """Take the message that is due longest and that nobody else sends: ``holder`` does, until ``now + lease_s``."""
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
        return await self._records.change(
            deliveries.c.number == chosen.scalar_subquery(),
            holder=holder,
            leased_until=now + lease_s,
        )

    async def update(self, id: str, **values: Any) -> DeliveryRecord | None:
        """Change a message; return it as it is now, or None if it is not there."""
        return await self._records.change(deliveries.c.id == id, **values)

    async def release_all(self, holder: str) -> None:
        """Give back all messages that ``holder`` sends: it ends."""
        await self._database.settled()
        await self._database.write(
            change(deliveries)
            .where(deliveries.c.ended_at.is_(None), deliveries.c.holder == holder)
            .values(holder=None)
        )
