"""Rows of gateways: what each has admitted, as it said last."""

from __future__ import annotations

from sqlalchemy import delete, func, select

from enlarger.jobs.rows.database import Database
from enlarger.jobs.rows.tables import gateways
from enlarger.pipeline.ledger import Elsewhere


class GatewayRows:
    """The rows of gateways that run.

    Args:
        database: holds them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tell(
        self, holder: str, *, servers: str, requests: int, mflop: float, until: float
    ) -> None:
        """Say what a gateway has admitted. It counts as running until ``until``."""
        values = {
            "leased_until": until,
            "servers": servers,
            "requests": requests,
            "mflop": mflop,
        }
        added = self._database.insert(gateways).values(holder=holder, **values)
        await self._database.write(
            added.on_conflict_do_update(index_elements=[gateways.c.holder], set_=values)
        )

    async def others(self, holder: str, *, servers: str, now: float) -> Elsewhere:
        """Return what the other gateways that run have admitted for these model servers."""
        (row,) = await self._database.read(
            select(
                func.count().label("gateways"),
                func.coalesce(func.sum(gateways.c.requests), 0).label("requests"),
                func.coalesce(func.sum(gateways.c.mflop), 0.0).label("mflop"),
            ).where(
                gateways.c.holder != holder,
                gateways.c.servers == servers,
                gateways.c.leased_until > now,
            )
        )
        return Elsewhere(
            gateways=row["gateways"], requests=int(row["requests"]), mflop=float(row["mflop"])
        )

    async def leave(self, holder: str) -> None:
        """Delete the row of a gateway that ends."""
        await self._database.write(delete(gateways).where(gateways.c.holder == holder))

    async def forget(self, now: float) -> None:
        """Delete the rows of gateways that have ended without saying so."""
        await self._database.write(delete(gateways).where(gateways.c.leased_until < now))
