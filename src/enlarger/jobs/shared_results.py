"""Results that all gateways on one database share: each is made once, and found by all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Self

import structlog
from pydantic import TypeAdapter, ValidationError

from enlarger.errors import EnlargerError
from enlarger.jobs.rows import Rows
from enlarger.jobs.rows.brief import BriefCalls
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.result_cache import Found
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.storage import ResultStore

log = structlog.get_logger()

LEASE_S = 12.0
"""After so long a result is left to others by a gateway that gives no sign of life. With ``LOOK_S`` it is less than 15 s."""

BEAT_S = 3.0
"""Between two signs of life."""

LOOK_S = 1.0
"""Between two looks at a result that another gateway makes, if no notices arrive."""


class SharedOutcomes:
    """``SharedResults`` in the rows of a database. While it is away, each gateway makes what it is asked for.

    A gateway holds a result that it makes under a lease, and renews it until the result is finished.

    Args:
        rows: where they are.
        store: knows how long results live.
        kind: what else decides about a result than the request: results of other kinds are not found.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        store: ResultStore,
        kind: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._store = store
        self._kind = kind
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._making: set[str] = set()
        self._away = Repeated()
        self._brief = BriefCalls()
        self._beats: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with contextlib.suppress(EnlargerError):  # if it fails, leases run out
            await self._rows.results.release_after_restart()
        self._beats = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beats is not None:
            self._beats.cancel()
        with contextlib.suppress(EnlargerError):  # if it fails, leases run out
            await self._rows.results.release_all(self._holder)

    async def take(self, key: str, *, lost: Outcome | None = None) -> tuple[Outcome, Found] | None:
        """See ``SharedResults``."""
        row = self._row_of(key)
        try:
            return await self._take(row, lost.stored.name if lost is not None else None)
        except EnlargerError as error:
            self._note(error)
            return None

    async def _take(self, row: str, lost: str | None) -> tuple[Outcome, Found] | None:
        found: Found = "hit"
        changed = asyncio.Event()
        with self._rows.notices.calling([row], changed.set):
            while not await self._claimed(row, lost):
                changed.clear()
                known = await self._brief.call(
                    lambda: self._rows.results.get(row, now=self._clock())
                )
                if known is not None and known.outcome is not None:
                    try:
                        return _form().validate_python(known.outcome), found
                    except ValidationError:  # another version wrote it
                        lost = known.file_name
                        continue
                found = "coalesced"
                pause_s = LOOK_S if known is None else self._rows.notices.pause_s(LOOK_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(pause_s, 15.0 - LEASE_S)):
                        await changed.wait()
        return None

    async def _claimed(self, row: str, lost: str | None) -> bool:
        is_ours = await self._brief.call(
            lambda: self._rows.results.claim(
                row, self._holder, now=self._clock(), lease_s=LEASE_S, lost=lost
            )
        )
        if is_ours:
            self._making.add(row)
            self._away.over()
        return is_ours

    async def keep(self, key: str, result: Outcome) -> None:
        """See ``SharedResults``."""
        row = self._row_of(key)
        self._making.discard(row)
        try:
            await self._brief.call(
                lambda: self._rows.results.keep(
                    row,
                    outcome=_form().dump_python(result, mode="json"),
                    file_name=result.stored.name,
                    expires_at=self._clock() + self._store.left_s(result.stored),
                )
            )
        except EnlargerError as error:
            self._note(error)
        self._rows.notices.tell(row)

    async def drop(self, key: str) -> None:
        """See ``SharedResults``."""
        row = self._row_of(key)
        self._making.discard(row)
        try:
            await self._brief.call(lambda: self._rows.results.drop(row, self._holder))
        except EnlargerError as error:  # its lease runs out
            self._note(error)
        self._rows.notices.tell(row)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if self._making:
                try:
                    await self._rows.results.renew(
                        self._holder, list(self._making), until=self._clock() + LEASE_S
                    )
                except EnlargerError as error:
                    self._note(error)

    def _row_of(self, key: str) -> str:
        return hashlib.sha256(f"{self._kind} {key}".encode()).hexdigest()

    def _note(self, error: EnlargerError) -> None:
        if (left_out := self._away.occurred()) is not None:
            log.warning("results_not_shared", reason=reason_of(error), left_out=left_out)


@lru_cache
def _form() -> TypeAdapter[Outcome]:
    """Return what turns outcomes into JSON and back."""
    return TypeAdapter(Outcome)
