"""Notices between gateways: something has changed, look at its row.

PostgreSQL carries them. They say what has changed and not how, and several that are close in time are one. A notice may be
lost, so whoever waits for one looks by itself after a while: seldom while notices arrive, and often while they do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

import structlog
from sqlalchemy import func, select

from enlarger.errors import EnlargerError
from enlarger.jobs.rows.database import Database
from enlarger.reasons import reason_of

log = structlog.get_logger()

CHANNEL = "enlarger"
QUEUE = "queue"
"""Topic of jobs that may be begun."""

SELDOM_S = 5.0
"""Between two looks at what has changed while notices arrive."""

GATHER_S = 0.05
"""Notices within this time are sent in one transaction: PostgreSQL commits one transaction with notices at a time."""

CHECK_S = 5.0
"""Between two notices that a gateway sends to itself, to see whether they arrive. A pooler in transaction mode drops them."""

_PAYLOAD_BYTES = 7000
"""PostgreSQL takes less than 8000."""


class Notices:
    """Sends and receives notices as long as it is open. In SQLite it does neither.

    Args:
        database: PostgreSQL, or SQLite.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._own = f"gateway {secrets.token_hex(8)}"
        self._untold: dict[str, None] = {}
        self._to_tell = asyncio.Event()
        self._called: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._heard_at: float | None = None
        self._are_lost = False
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to send and to receive."""
        if not self._database.is_sqlite:
            loops = (self._send(), self._receive(), self._check())
            self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def close(self) -> None:
        """End that."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def are_live(self) -> bool:
        """Whether notices arrive now."""
        return self._heard_at is not None and _now() - self._heard_at < 2 * CHECK_S + 1

    def tell(self, *topics: str) -> None:
        """Tell all gateways, soon, that these have changed; a topic is the id of a job, or another short text."""
        if self._tasks:
            self._untold.update(dict.fromkeys(topics))
            self._to_tell.set()

    @contextlib.contextmanager
    def calling(self, topics: Collection[str], call: Callable[[], None]) -> Iterator[None]:
        """Call a function when one of these has changed, for as long as the context lasts."""
        for topic in topics:
            self._called[topic].append(call)
        try:
            yield
        finally:
            for topic in topics:
                self._called[topic].remove(call)
                if not self._called[topic]:
                    del self._called[topic]

    def pause_s(self, often_s: float) -> float:
        """Return the seconds after which to look without a notice.

        Args:
            often_s: how long the pause is where no notices arrive.
        """
        return max(often_s, SELDOM_S) if self.are_live else often_s

    async def _send(self) -> None:
        while True:
            await self._to_tell.wait()
            await asyncio.sleep(GATHER_S)
            self._to_tell.clear()
            topics, self._untold = list(self._untold), {}
            statements = [select(func.pg_notify(CHANNEL, text)) for text in payloads(topics)]
            # If it fails, the others look by themselves.
            with contextlib.suppress(EnlargerError):
                await self._database.write(*statements)

    async def _check(self) -> None:
        checks = 0
        while True:
            self.tell(self._own)
            await asyncio.sleep(CHECK_S)
            checks += 1
            if checks > 2 and not self.are_live and not self._are_lost:
                self._are_lost = True
                log.warning(
                    "notices_lost",
                    hint="rows are looked at each second instead; a pooler must be in session mode",
                )

    async def _receive(self) -> None:
        import psycopg

        while True:
            try:
                async with await self._database.own_connection() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for notice in connection.notifies():
                        self._hear(notice.payload)
            except (psycopg.Error, OSError) as error:
                self._heard_at = None
                log.debug("not_listening", reason=reason_of(error))
            await asyncio.sleep(CHECK_S)

    def _hear(self, payload: str) -> None:
        topics = payload.split(",")
        if self._own in topics:
            was_live, self._heard_at = self.are_live, _now()
            if not was_live:
                topics = list(self._called)  # what was told before was not heard
            if self._are_lost:
                self._are_lost = False
                log.info("notices_arrive")
        for topic in topics:
            for call in list(self._called.get(topic, ())):
                call()


def payloads(topics: Collection[str]) -> list[str]:
    """Return texts that hold all topics, with commas between them, none of them longer than PostgreSQL takes."""
    texts: list[str] = []
    for topic in topics:
        if texts and len(texts[-1]) + 1 + len(topic) <= _PAYLOAD_BYTES:
            texts[-1] += f",{topic}"
        else:
            texts.append(topic)
    return texts


def _now() -> float:
    return asyncio.get_running_loop().time()
