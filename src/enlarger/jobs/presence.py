"""What gateways that share model servers tell one another: how much each has admitted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import structlog

from enlarger.errors import EnlargerError
from enlarger.jobs.rows import Rows
from enlarger.pipeline.ledger import NOWHERE, Elsewhere, Load
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

LEASE_S = 15.0
"""After so long without a report a gateway counts as dead, and what it had admitted as gone."""

REPORT_S = 1.0
"""Between two reports."""


class Presence:
    """Reports what this gateway has admitted, and knows what the others have, as long as it is open.

    While the database is away, what the others reported last holds for ``LEASE_S``.

    Args:
        rows: where reports are.
        servers: addresses of the model servers, or of the Ray cluster. Gateways with the same ones share a limit. Without
            any, the gateway has an engine of its own, and shares with nobody.
        load: returns what is admitted here.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        servers: Sequence[str],
        load: Callable[[], Load],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._servers = _digest(servers) if servers else None
        self._load = load
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._elsewhere = NOWHERE
        self._before = Load(requests=0, mflop=0.0, mflop_per_s=None)
        """What was admitted at the last report."""

        self._reported_at = 0.0
        self._reports: asyncio.Task[None] | None = None

    @property
    def elsewhere(self) -> Elsewhere:
        """What the other gateways have admitted."""
        if self._clock() - self._reported_at > LEASE_S:
            return NOWHERE
        return self._elsewhere

    async def __aenter__(self) -> Self:
        if self._servers is not None:
            self._reports = asyncio.create_task(self._report_regularly(self._servers))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reports is not None:
            self._reports.cancel()
            with contextlib.suppress(EnlargerError):  # if it fails, its lease runs out
                await self._rows.gateways.leave(self._holder)

    async def report(self, servers: str) -> None:
        """Report once, and learn what the others reported.

        Raises:
            StorageUnavailable, StorageFull: the database is away.
        """
        now, load = self._clock(), self._load()
        await self._rows.gateways.tell(
            self._holder,
            servers=servers,
            requests=load.requests,
            mflop=load.mflop,
            until=now + LEASE_S,
        )
        others = await self._rows.gateways.others(self._holder, servers=servers, now=now)
        before, self._before = self._before, load
        self._elsewhere = replace(
            others,
            here_requests=min(before.requests, load.requests),
            here_mflop=min(before.mflop, load.mflop),
        )
        self._reported_at = now

    async def _report_regularly(self, servers: str) -> None:
        away = Repeated()
        while True:
            try:
                await self.report(servers)
                away.over()
            except EnlargerError as error:
                if (left_out := away.occurred()) is not None:
                    log.warning("load_not_reported", reason=reason_of(error), left_out=left_out)
            await asyncio.sleep(REPORT_S)


def _digest(servers: Sequence[str]) -> str:
    return hashlib.sha256(",".join(sorted(servers)).encode()).hexdigest()
