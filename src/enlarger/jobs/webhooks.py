"""Webhooks: a POST tells the URL of a job or a batch that it has ended (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import secrets as chance
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import SecretStr

from enlarger.config import WHSEC
from enlarger.errors import EnlargerError
from enlarger.fetch.fetcher import Fetcher
from enlarger.jobs.batches import Batch
from enlarger.jobs.job import GONE, BatchRecord, DeliveryRecord, Job, delivery_id
from enlarger.jobs.rows import Rows
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

PAUSES_S = (0.0, 5.0, 30.0, 120.0, 600.0)
"""The pause before each attempt, counted from the end of the job or from the attempt before."""

TIMEOUT_S = 15.0
"""How long an attempt may take."""

LEASE_S = 2 * TIMEOUT_S
"""After so long a message is taken from a gateway that gives no sign of life."""

LOOK_S = 1.0
"""Between two looks for messages that are due."""

CATCH_UP_S = 60.0
"""Between two looks for ends that were not told, as their gateway was killed just then."""

_AT_ONCE = 8
"""The most messages that are sent at the same time; one slow receiver does not hold up the others."""


def signature(secret: SecretStr, id_: str, timestamp_s: int, body: str) -> str:
    """Return the signature of one message with one secret: ``v1,<base64 of HMAC-SHA256>``."""
    key = base64.b64decode(secret.get_secret_value().removeprefix(WHSEC))
    digest = hmac.digest(key, f"{id_}.{timestamp_s}.{body}".encode(), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def signed_headers(
    secrets: Sequence[SecretStr], delivery: DeliveryRecord, *, now: float
) -> dict[str, str]:
    """Return the headers of an attempt, with one signature per secret, so that secrets can be rotated without a gap."""
    timestamp_s = int(now)
    signatures = [signature(one, delivery.id, timestamp_s, delivery.body) for one in secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def pause_s(attempts: int, pauses_s: Sequence[float] = PAUSES_S) -> float | None:
    """Return the pause before the next attempt, after so many; None if there is no next one."""
    return pauses_s[attempts] if attempts < len(pauses_s) else None


class Webhooks:
    """Sends messages about the ends of jobs and batches. They are rows: a gateway that starts again goes on with them.

    Args:
        rows: where jobs and messages are.
        fetcher: sends, where its rule allows it.
        secrets: each signs all messages; without any, no message is made or sent.
        job_json: makes the JSON of a job.
        batch_json: makes the JSON of a batch.
        pauses_s: the pause before each attempt.
        timeout_s: how long an attempt may take.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        fetcher: Fetcher,
        secrets: Sequence[SecretStr],
        job_json: Callable[[Job], Mapping[str, Any]],
        batch_json: Callable[[Batch], Mapping[str, Any]],
        pauses_s: Sequence[float] = PAUSES_S,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._fetcher = fetcher
        self._secrets = secrets
        self._job_json = job_json
        self._batch_json = batch_json
        self._pauses_s = pauses_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._holder = chance.token_hex(8)
        self._sending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Webhooks:
        if self._secrets:
            self._loops = [asyncio.create_task(self._look()), asyncio.create_task(self._catch_up())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._loops, *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(EnlargerError):  # if it fails, leases run out
            await self._rows.deliveries.release_all(self._holder)

    async def job_ended(self, record: Job) -> None:
        """Tell of the end of a job, and perhaps of its batch. A failure here costs no message: see ``_catch_up``."""
        try:
            if record.webhook is not None:
                await self._tell_of_job(record)
        except EnlargerError as error:
            log.warning("webhook_not_kept", job=record.id, reason=reason_of(error))
        if record.batch_id is not None:
            await self.batch_changed(record.batch_id)

    async def batch_changed(self, batch_id: str) -> None:
        """Tell of the end of a batch, if this is it."""
        if not self._secrets:
            return
        try:
            batch = await self._rows.batches.get(batch_id)
            if batch is not None and batch.webhook is not None:
                await self._tell_of_batch(batch)
        except EnlargerError as error:
            log.warning("webhook_not_kept", batch=batch_id, reason=reason_of(error))

    async def _tell_of_job(self, record: Job) -> None:
        # What has expired meanwhile had succeeded.
        state = "succeeded" if record.state == "expired" else record.state
        await self._tell(record, f"job.{state}", self._job_json(record), record.webhook)

    async def _tell_of_batch(self, record: BatchRecord) -> None:
        batch = Batch(record, tuple(await self._rows.jobs.of_batch(record.id)))
        if batch.jobs and batch.state != "running":
            await self._tell(record, "batch.finished", self._batch_json(batch), record.webhook)

    async def _tell(
        self, about: Job | BatchRecord, type_: str, data: Mapping[str, Any], url: str | None
    ) -> None:
        if not self._secrets or url is None:
            return
        now = self._clock()
        shown = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        body = {"type": type_, "timestamp": shown.replace("+00:00", "Z"), "data": data}
        await self._rows.deliveries.add(
            DeliveryRecord(
                id=delivery_id(about.id),
                owner=about.owner,
                url=url,
                type=type_,
                body=json.dumps(body),
                created_at=now,
                due_at=now + self._pauses_s[0],
            )
        )
        self._wake.set()

    async def _catch_up(self) -> None:
        """Tell what was not told: a gateway may be killed between the end of a job and its message."""
        away = Repeated()
        while True:
            try:
                for record in await self._rows.jobs.awaiting_webhook():
                    await self._tell_of_job(record)
                for batch in await self._rows.batches.awaiting_webhook():
                    await self._tell_of_batch(batch)
                away.over()
            except EnlargerError as error:
                if (left_out := away.occurred()) is not None:
                    log.warning(
                        "webhooks_not_caught_up", reason=reason_of(error), left_out=left_out
                    )
            await asyncio.sleep(CATCH_UP_S)

    async def _look(self) -> None:
        """Send what is due, while there is room."""
        away = Repeated()
        while True:
            self._wake.clear()
            try:
                while len(self._sending) < _AT_ONCE:
                    delivery = await self._rows.deliveries.claim(
                        self._holder, now=self._clock(), lease_s=LEASE_S
                    )
                    if delivery is None:
                        break
                    task = asyncio.create_task(self._send(delivery))
                    self._sending.add(task)
                    task.add_done_callback(self._sent)
                away.over()
            except EnlargerError as error:  # the database is away: it comes back
                if (left_out := away.occurred()) is not None:
                    log.warning("webhooks_not_claimed", reason=reason_of(error), left_out=left_out)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._wake.set()

    async def _send(self, delivery: DeliveryRecord) -> None:
        """Make one attempt, and write down what came of it."""
        try:
            values = await self._attempt(delivery)
            await self._rows.deliveries.update(delivery.id, holder=None, **values)
        except EnlargerError as error:  # the lease runs out, and it is sent again
            log.warning("webhook_not_noted", id=delivery.id, reason=reason_of(error))

    async def _attempt(self, delivery: DeliveryRecord) -> dict[str, Any]:
        """Send a message; return the columns of its row that change."""
        if await self._rows.deliveries.is_gone(delivery.owner, delivery.url):
            return {"ended_at": self._clock(), "outcome": GONE}
        headers = signed_headers(self._secrets, delivery, now=self._clock())
        answer: object
        try:
            answer = status = await self._fetcher.post(
                delivery.url, delivery.body.encode(), headers, timeout_s=self._timeout_s
            )
        except EnlargerError as error:
            answer, status = reason_of(error), 0
        attempts = delivery.attempts + 1
        log.info("webhook_sent", id=delivery.id, attempt=attempts, answer=answer)
        if 200 <= status < 300:
            return {"attempts": attempts, "ended_at": self._clock(), "outcome": "delivered"}
        if status == 410:
            return {"attempts": attempts, "ended_at": self._clock(), "outcome": GONE}
        pause = pause_s(attempts, self._pauses_s)
        if pause is None:
            log.warning("webhook_given_up", id=delivery.id, attempts=attempts, answer=answer)
            return {"attempts": attempts, "ended_at": self._clock(), "outcome": "given_up"}
        return {"attempts": attempts, "due_at": self._clock() + pause}
