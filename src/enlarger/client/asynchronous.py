"""The asynchronous client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Self, TypeVar, Unpack

import httpx2

from enlarger.client import calls
from enlarger.client.calls import Budget, Steps
from enlarger.client.requests import Source, UpscaleOptions, job_path
from enlarger.client.retry import Patience
from enlarger.client.synchronous import ATTEMPTS, TIMEOUT_S, OnProgress
from enlarger.client.transport import Run, async_driven, http_options
from enlarger.client.values import Estimate, JobStatus, Models, Tile, Upscaled

T = TypeVar("T")


class AsyncClient:
    """A client for an enlarger server, for programs that await. Several tasks of one event loop may share it.

    Every call raises the errors of ``enlarger.errors``: the server's errors by their code, and
    ``ServerUnreachable``, ``TimedOut`` and ``UnexpectedAnswer``.

    Args:
        url: the server's address, such as ``http://127.0.0.1:8000``.
        api_key: the API key, for servers that require one.
        timeout_s: seconds that a call may take in total, retries included.
        attempts: how often a request is sent at most, while the server is away or says that a retry may help.

    Raises:
        ConfigError: the address or the key cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._http = httpx2.AsyncClient(**http_options(url, api_key))
        self._timeout_s = timeout_s
        self._patience = Patience(attempts)
        self.jobs = AsyncJobs(self)
        """Access to jobs that were submitted earlier."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def upscale(
        self,
        source: Source,
        *,
        on_progress: OnProgress | None = None,
        timeout_s: float | None = None,
        **options: Unpack[UpscaleOptions],
    ) -> Upscaled:
        """Upscale a picture.

        Args:
            source: a path, bytes, an open file, or an http or https URL, which the server fetches.
            on_progress: called, not awaited, after each change: position in the queue, tiles done, seconds left.
            timeout_s: limit of this call, instead of the client's.
            options: see docs/reference/pictures.md.
        """
        steps = calls.upscaled(
            self._budget(timeout_s), source, options, is_watched=on_progress is not None
        )
        return await self._run(steps, on_progress)

    async def submit(self, source: Source, **options: Unpack[UpscaleOptions]) -> AsyncJobHandle:
        """Submit a picture as a job, which continues on the server without this program."""
        status = await self._run(calls.submitted(self._budget(), source, options))
        return AsyncJobHandle(self, status.id)

    async def estimate(
        self,
        source: Source | None = None,
        *,
        size_px: tuple[int, int] | None = None,
        **options: Unpack[UpscaleOptions],
    ) -> Estimate:
        """Return the expected cost of a request, for a picture or only for a size (width, height).

        Nothing is computed.
        """
        return await self._run(calls.estimated(self._budget(), source, size_px, options))

    async def models(self) -> Models:
        """Return the models on the server."""
        return await self._run(calls.models(self._budget()))

    async def status(self) -> dict[str, Any]:
        """Return the server's answer to ``GET /status``."""
        return await self._run(calls.status(self._budget()))

    async def health(self) -> dict[str, Any]:
        """Return the answer to ``GET /health``, asked once: ``status`` is ``healthy``, or there is a ``reason``."""
        return await self._run(calls.health(self._budget()))

    def _budget(self, timeout_s: float | None = None) -> Budget:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        return Budget(
            ends_at=time.monotonic() + timeout_s, timeout_s=timeout_s, patience=self._patience
        )

    async def _run(self, steps: Steps[T], on_progress: OnProgress | None = None) -> T:
        run = Run(steps)
        async with aclosing(async_driven(self._http, run)) as told:
            async for job in told:
                if on_progress is not None:
                    on_progress(job)
        return run.result


class AsyncJobs:
    """Jobs that were submitted earlier."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    def get(self, job_id: str) -> AsyncJobHandle:
        """Return a handle for the job with this id, without a request to the server."""
        return AsyncJobHandle(self._client, job_id)

    async def list(self, *states: str) -> AsyncIterator[JobStatus]:
        """Yield the jobs of the client's key, the newest first. Pages are fetched as they are needed.

        Args:
            states: only jobs in these states are listed, such as ``"queued", "running"``; all jobs by default.

        Raises:
            ListNeedsKeys: the server uses no API keys, so that a job can only be found by its id.
        """
        cursor: str | None = None
        while True:
            page = await self._client._run(calls.job_page(self._client._budget(), states, cursor))
            for job in page.jobs:
                yield job
            if (cursor := page.next_cursor) is None:
                return

    async def events(self, *job_ids: str) -> AsyncIterator[JobStatus]:
        """Yield these jobs after each change, from now until all of them have ended.

        All are followed by one connection. After it breaks, events continue where they stopped.

        Raises:
            NotFound: the server does not know one of them.
        """
        run = Run(calls.news_of_all(self._client._budget(), job_ids))
        async with aclosing(async_driven(self._client._http, run)) as told:
            async for job in told:
                yield job


class AsyncJobHandle:
    """A job on the server."""

    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {self.id}>"

    async def status(self) -> JobStatus:
        """Return the current state of the job."""
        return await self._client._run(calls.job(self._client._budget(), self.id))

    async def events(self) -> AsyncIterator[JobStatus]:
        """Yield the job after each change, from now to its end."""
        run = Run(calls.news(self._client._budget(), self.id))
        async with aclosing(async_driven(self._client._http, run)) as told:
            async for job in told:
                yield job

    async def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until the job has ended, with or without success, and return it.

        Raises:
            TimedOut: the job has not ended within ``timeout_s``; it continues on the server.
        """
        return await self._client._run(calls.ended(self._client._budget(timeout_s), self.id))

    async def result(self, timeout_s: float | None = None) -> Upscaled:
        """Wait for the job and return its picture.

        Raises:
            EnlargerError: the job failed, for this reason.
        """
        return await self._client._run(calls.result(self._client._budget(timeout_s), self.id))

    async def cancel(self) -> JobStatus:
        """Cancel the job, or delete the result of a job that is done."""
        return await self._client._run(calls.canceled(self._client._budget(), self.id))

    async def tiles(self) -> tuple[Tile, ...]:
        """Return the tiles that are finished so far.

        Raises:
            TilesGone: the job has ended.
        """
        return await self._client._run(calls.tiles(self._client._budget(), self.id))

    async def tile(self, index: int) -> bytes:
        """Return a finished tile as a JPEG file, before its colours are locked.

        Raises:
            EnlargerError: the tile is not finished, or the job has ended.
        """
        return await self._preview("tiles", str(index))

    async def input_preview(self, max_side: int | None = None) -> bytes:
        """Return a preview of the input: a JPEG file in sRGB, upright, also if the input was named by a URL.

        Args:
            max_side: longest side in pixels, 16 to 2048; 2048 by default.

        Raises:
            JobNotFinished: the input is not fetched yet.
            ResultExpired: the result and its previews are deleted.
        """
        return await self._preview("input", max_side=max_side)

    async def result_preview(self, max_side: int = 2048) -> bytes:
        """Return a preview of the result: a JPEG file in sRGB, whatever the format of the result.

        Args:
            max_side: longest side in pixels, 16 to 2048.

        Raises:
            JobNotFinished: the job has not ended.
            JobWithoutResult, ResultExpired: there is no result.
        """
        return await self._preview("result", max_side=max_side)

    async def _preview(self, *below: str, max_side: int | None = None) -> bytes:
        path = job_path(self.id, *below)
        return await self._client._run(calls.preview(self._client._budget(), path, max_side))
