"""Batches: many pictures in one request, a job each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from enlarger.errors import CapacityError, EnlargerError, NotFound
from enlarger.jobs.event_streams import PING_S, EventStreams
from enlarger.jobs.intake import Asked, check_fingerprint
from enlarger.jobs.job import (
    STATES,
    BatchRecord,
    Job,
    State,
    new_batch_id,
)
from enlarger.jobs.jobs import Jobs
from enlarger.jobs.rows import Rows
from enlarger.jobs.watching import POLL_S
from enlarger.reasons import reason_of
from enlarger.request import UpscaleRequest

log = structlog.get_logger()

BatchState = Literal["running", "finished", "canceled"]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is now."""

    record: BatchRecord
    jobs: tuple[Job, ...]
    """The jobs of the batch, in its order."""

    @property
    def counts(self) -> dict[State, int]:
        """The number of jobs in each state."""
        found = Counter(job.state for job in self.jobs)
        return {state: found[state] for state in STATES}

    @property
    def state(self) -> BatchState:
        """``canceled`` if all jobs have ended, and at least one because it was canceled."""
        if not all(job.is_ended for job in self.jobs):
            return "running"
        return "canceled" if any(job.state == "canceled" for job in self.jobs) else "finished"

    def changed_since(self, before: Batch) -> list[Job]:
        """Return the jobs that are in another state than before."""
        then = {job.id: job.state for job in before.jobs}
        return [job for job in self.jobs if job.state != then.get(job.id)]


@dataclass(frozen=True, slots=True)
class Item:
    """One picture that is asked for."""

    id: str | None
    """The sender's own name for it."""

    request: UpscaleRequest | EnlargerError
    """What to make, or why that cannot be done."""


class Batches:
    """Takes and follows batches. Their jobs are jobs like any other.

    Args:
        rows: where they are.
        jobs: takes and ends the jobs.
        event_streams: know when the process ends.
        charge: takes a caller's output pixels.
        changed: told of a batch whose jobs may all have ended.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        jobs: Jobs,
        event_streams: EventStreams,
        charge: Callable[[str, int], Awaitable[None]],
        changed: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._jobs = jobs
        self._event_streams = event_streams
        self._charge = charge
        self._changed = changed
        self._clock = clock

    async def submit(
        self, items: Sequence[Item], asked: Asked, *, owner: str, request_id: str
    ) -> tuple[Batch, bool]:
        """Take a batch; return it, and whether it was there already under its idempotency key.

        What is wrong with an item is the error of its job. Output pixels are charged when a job runs: if there are none
        left for it, it waits in the queue.

        Raises:
            IdempotencyKeyReused: the key stands for another batch.
            RateLimited: the caller has nothing left at all.
            QueueFull, Draining: not now.
        """
        if (known := await self._known(owner, asked)) is not None:
            await self._begin(items, known.jobs)
            return known, True
        await self._jobs.intake.check_room(len(items))
        await self._charge(asked.caller, 0)
        record = BatchRecord(
            id=new_batch_id(),
            owner=owner,
            request_id=request_id,
            created_at=self._clock(),
            webhook=asked.webhook,
            idempotency_key=asked.idempotency_key,
            fingerprint=asked.fingerprint,
        )
        of_job = Asked(caller=asked.caller)
        taken = [
            replace(
                await self._row(item, of_job, request_id),
                owner=owner,
                batch_id=record.id,
                batch_index=index,
                item_id=item.id,
            )
            for index, item in enumerate(items)
        ]
        added = await self._rows.batches.add(record, taken)
        if added.id != record.id:
            check_fingerprint(added, asked)
            return await self._whole(added), True
        await self._begin(items, taken)
        await self._changed(record.id)
        return await self._whole(record), False

    async def _begin(self, items: Sequence[Item], taken: Sequence[Job]) -> None:
        """Let those jobs run whose picture is not there yet: it may have been lost on its way."""
        for item, job in zip(items, taken, strict=True):
            if isinstance(item.request, UpscaleRequest) and self._jobs.intake.is_incomplete(job):
                try:
                    await self._jobs.intake.begin(job, item.request)
                except EnlargerError as error:  # its row says so
                    log.warning("item_not_begun", job=job.id, reason=reason_of(error))

    async def get(self, batch_id: str, owner: str | None) -> Batch:
        """Return a batch of this owner; of anybody, if None is named.

        Raises:
            NotFound: there is none.
        """
        record = await self._rows.batches.get(batch_id)
        if record is None or owner not in (None, record.owner):
            raise NotFound("there is no such batch; what is known of one is kept for a day")
        return await self._whole(record)

    async def cancel(self, batch: Batch) -> Batch:
        """End all jobs of a batch that have not ended; results stay."""
        for job in batch.jobs:
            if not job.is_ended:
                await self._jobs.stop(job)
        return await self._whole(batch.record)

    async def watch(self, batch: Batch) -> AsyncIterator[Batch | None]:
        """Yield the batch as it is now and after each change, to its end; None if nothing changes for a while."""
        yield batch
        silent_s = 0.0
        while batch.state == "running" and not self._event_streams.are_closed:
            await asyncio.sleep(POLL_S)
            silent_s += POLL_S
            now = await self._whole(batch.record)
            if now.changed_since(batch):
                batch, silent_s = now, 0.0
                yield batch
            elif silent_s >= PING_S:
                silent_s = 0.0
                yield None

    async def _row(self, item: Item, asked: Asked, request_id: str) -> Job:
        """Return a new job; one that cannot be taken has failed."""
        if isinstance(item.request, EnlargerError):
            return self._jobs.intake.refused(item.request, asked, request_id)
        try:
            record, _ = await self._jobs.intake.looked_at(item.request, asked)
        except CapacityError:  # the whole batch can be sent again
            raise
        except EnlargerError as error:
            return self._jobs.intake.refused(error, asked, request_id)
        return record

    async def _known(self, owner: str, asked: Asked) -> Batch | None:
        if asked.idempotency_key is None:
            return None
        known = await self._rows.batches.by_key(owner, asked.idempotency_key)
        if known is None:
            return None
        batch = await self._whole(known)
        if any(job.has_expired(self._clock()) for job in batch.jobs):
            await self._rows.batches.free_key(known.id)
            return None
        check_fingerprint(known, asked)
        return batch

    async def _whole(self, record: BatchRecord) -> Batch:
        return Batch(record, tuple(await self._rows.jobs.of_batch(record.id)))
