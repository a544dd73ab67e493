"""How jobs end, whoever ends them: the row, the files, the watchers, and then the webhooks.

What follows the row happens even if the caller is cancelled, because nobody does it later: its client may leave, and a
runner stops the work on jobs that are no longer running.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from enlarger.errors import EnlargerError, RequestError
from enlarger.jobs.event_streams import EventStreams
from enlarger.jobs.facts import ErrorFacts, ResultFacts
from enlarger.jobs.files import JobFiles
from enlarger.jobs.job import Job
from enlarger.jobs.rows import Rows
from enlarger.pipeline.outcome import Outcome
from enlarger.reasons import reason_of
from enlarger.storage import ResultStore, StoredResult
from enlarger.threads import finished

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHooks:
    """Functions that are called when jobs end here."""

    ended: Callable[[Job], Awaitable[None]]
    """Called with each job, however it ended."""

    made: Callable[[Outcome], None] = lambda _: None
    """Called with each finished picture."""

    failed: Callable[[str], None] = lambda _: None
    """Called with the code of each error that ended a job."""


class Endings:
    """Ends jobs. A job that was ended elsewhere, or is held by another gateway, is left as it is.

    Args:
        rows: where jobs are.
        files: where their files are.
        event_streams: told of each end.
        store: where results are.
        hooks: called then.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        rows: Rows,
        files: JobFiles,
        event_streams: EventStreams,
        store: ResultStore,
        hooks: JobHooks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rows = rows
        self._files = files
        self._event_streams = event_streams
        self._store = store
        self._hooks = hooks
        self._clock = clock

    async def succeed(self, job: Job, outcome: Outcome, input_preview: bytes | None = None) -> None:
        """End a job that runs here with this result, which all gateways find from then on.

        Args:
            job: the job.
            outcome: the result.
            input_preview: a preview of the picture that was enlarged, a JPEG file. It is kept beside the result.

        If the job was canceled meanwhile, or another gateway has it, the result is deleted.

        Raises:
            StorageFull, StorageUnavailable: the result cannot be kept where all gateways find it.
        """
        try:
            stored = await self._store.share(outcome.stored)
            if input_preview is not None:
                with contextlib.suppress(EnlargerError):  # the result is what was asked for
                    await self._store.keep_preview(stored, "input", input_preview)
        except asyncio.CancelledError:
            await self._store.delete(outcome.stored.name)
            raise
        self._hooks.made(outcome)  # first: a client that sees the end finds the picture counted
        await finished(self._end_with(stored, job, outcome))

    async def _end_with(self, stored: StoredResult, job: Job, outcome: Outcome) -> None:
        result = ResultFacts.of(outcome)
        is_ours = await self._end_running(
            job,
            state="succeeded",
            input=result.input,
            result=result,
            file_name=stored.name,
            expires_at=self._clock() + self._store.left_s(stored),
            tiles_done=outcome.ran.tiles,
            tiles_total=outcome.ran.tiles,
        )
        if not is_ours:
            await self._store.delete(stored.name)

    async def fail(self, job: Job, error: EnlargerError) -> None:
        """End a job that runs here with this error."""
        log.info("job_failed", code=error.code, reason=reason_of(error))
        self._hooks.failed(error.code)
        values: dict[str, Any] = {"error": ErrorFacts.of(error)}
        if not isinstance(error, RequestError) or error.status == 408 or error.status >= 500:
            # What may go better next time must not be answered from memory.
            values["idempotency_key"] = None
        await finished(self._end_running(job, state="failed", **values))

    async def cancel(self, job: Job, drop: Callable[[str], None]) -> Job | None:
        """End a job that nobody wants any more.

        Args:
            job: queued, or running wherever it runs.
            drop: stops the work that is done for it here.

        Returns:
            The job as it is then; None if it had ended already.
        """
        return await finished(self._cancel(job, drop))

    async def _cancel(self, job: Job, drop: Callable[[str], None]) -> Job | None:
        ended = await self._rows.jobs.update(
            job.id,
            states=("queued", "running"),
            state="canceled",
            stage=None,
            finished_at=self._clock(),
            idempotency_key=None,
        )
        if ended is None:
            return None
        drop(ended.id)
        await self._tell(ended)
        return ended

    async def refuse(self, job: Job, error: EnlargerError) -> None:
        """End a job that is queued and whose picture did not arrive. Its sender is told at once, so by no webhook."""
        await self._rows.jobs.update(
            job.id,
            states=("queued",),
            state="failed",
            finished_at=self._clock(),
            error=ErrorFacts.of(error),
            idempotency_key=None,
            webhook=None,
        )

    async def clear(self, job: Job) -> None:
        """Delete what was written for a job after it was canceled; if it was not, another gateway has it."""
        with contextlib.suppress(EnlargerError):
            now = await self._rows.jobs.get(job.id)
            if now is None or now.state == "canceled":
                await self._files.delete(job.id)

    async def _end_running(self, job: Job, **values: Any) -> bool:
        """End a job that runs here; return False if it was canceled meanwhile, or another gateway has it."""
        ended = await self._rows.jobs.update(
            job.id,
            holder=job.holder,
            states=("running",),
            stage=None,
            finished_at=self._clock(),
            **values,
        )
        if ended is None:
            await self.clear(job)
            return False
        log.info("job_ended", state=ended.state)
        await self._tell(ended)
        return True

    async def _tell(self, ended: Job) -> None:
        """Do what follows when the row of a job says that it has ended."""
        with contextlib.suppress(EnlargerError):  # what stays is deleted with the row
            await self._files.delete(ended.id)
        self._event_streams.tell(ended)
        await self._hooks.ended(ended)
