"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Self, TypeVar, Unpack

import httpx2

from enlarger.client import calls
from enlarger.client.calls import Budget, Steps
from enlarger.client.requests import Source, UpscaleOptions, job_path
from enlarger.client.retry import Patience
from enlarger.client.transport import Run, driven, http_options
from enlarger.client.values import Estimate, JobStatus, Models, Tile, Upscaled

OnProgress = Callable[[JobStatus], object]
"""A function that is called after each change of a job."""

TIMEOUT_S = 3600.0
ATTEMPTS = Patience().attempts

T = TypeVar("T")


class Client:
    """A client for an enlarger server, for programs that block. Several threads may share it.

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
        self._http = httpx2.Client(**http_options(url, api_key))
        self._timeout_s = timeout_s
        self._patience = Patience(attempts)
        self.jobs = Jobs(self)
        """Access to jobs that were submitted earlier."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def upscale(
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
            on_progress: called after each change: position in the queue, tiles done, seconds left.
            timeout_s: limit of this call, instead of the client's.
            options: see docs/reference/pictures.md.
        """
        steps = calls.upscaled(
            self._budget(timeout_s), source, options, is_watched=on_progress is not None
        )
        return self._run(steps, on_progress)

    def submit(self, source: Source, **options: Unpack[UpscaleOptions]) -> JobHandle:
        """Submit a picture as a job, which continues on the server without this program."""
        status = self._run(calls.submitted(self._budget(), source, options))
        return JobHandle(self, status.id)

    def estimate(
        self,
        source: Source | None = None,
        *,
        size_px: tuple[int, int] | None = None,
        **options: Unpack[UpscaleOptions],
    ) -> Estimate:
        """Return the expected cost of a request, for a picture or only for a size (width, height).

        Nothing is computed.
        """
        return self._run(calls.estimated(self._budget(), source, size_px, options))

    def models(self) -> Models:
        """Return the models on the server."""
        return self._run(calls.models(self._budget()))

    def status(self) -> dict[str, Any]:
        """Return the server's answer to ``GET /status``."""
        return self._run(calls.status(self._budget()))

    def health(self) -> dict[str, Any]:
        """Return the answer to ``GET /health``, asked once: ``status`` is ``healthy``, or there is a ``reason``."""
        return self._run(calls.health(self._budget()))

    def _budget(self, timeout_s: float | None = None) -> Budget:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        return Budget(
            ends_at=time.monotonic() + timeout_s, timeout_s=timeout_s, patience=self._patience
        )

    def _run(self, steps: Steps[T], on_progress: OnProgress | None = None) -> T:
        run = Run(steps)
        with closing(driven(self._http, run)) as told:
            for job in told:
                if on_progress is not None:
                    on_progress(job)
        return run.result


class Jobs:
    """Jobs that were submitted earlier."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, job_id: str) -> JobHandle:
        """Return a handle for the job with this id, without a request to the server."""
        return JobHandle(self._client, job_id)

    def list(self, *states: str) -> Iterator[JobStatus]:
        """Yield the jobs of the client's key, the newest first. Pages are fetched as they are needed.

        Args:
            states: only jobs in these states are listed, such as ``"queued", "running"``; all jobs by default.

        Raises:
            ListNeedsKeys: the server uses no API keys, so that a job can only be found by its id.
        """
        cursor: str | None = None
        while True:
            page = self._client._run(calls.job_page(self._client._budget(), states, cursor))
            yield from page.jobs
            if (cursor := page.next_cursor) is None:
                return

    def events(self, *job_ids: str) -> Iterator[JobStatus]:
        """Yield these jobs after each change, from now until all of them have ended.

        All are followed by one connection. After it breaks, events continue where they stopped.

        Raises:
            NotFound: the server does not know one of them.
        """
        run = Run(calls.news_of_all(self._client._budget(), job_ids))
        with closing(driven(self._client._http, run)) as told:
            yield from told


class JobHandle:
    """A job on the server."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    def status(self) -> JobStatus:
        """Return the current state of the job."""
        return self._client._run(calls.job(self._client._budget(), self.id))

    def events(self) -> Iterator[JobStatus]:
        """Yield the job after each change, from now to its end."""
        run = Run(calls.news(self._client._budget(), self.id))
        with closing(driven(self._client._http, run)) as told:
            yield from told

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until the job has ended, with or without success, and return it.

        Raises:
            TimedOut: the job has not ended within ``timeout_s``; it continues on the server.
        """
        return self._client._run(calls.ended(self._client._budget(timeout_s), self.id))

    def result(self, timeout_s: float | None = None) -> Upscaled:
        """Wait for the job and return its picture.

        Raises:
            EnlargerError: the job failed, for this reason.
        """
        return self._client._run(calls.result(self._client._budget(timeout_s), self.id))

    def cancel(self) -> JobStatus:
        """Cancel the job, or delete the result of a job that is done."""
        return self._client._run(calls.canceled(self._client._budget(), self.id))

    def tiles(self) -> tuple[Tile, ...]:
        """Return the tiles that are finished so far.

        Raises:
            TilesGone: the job has ended.
        """
        return self._client._run(calls.tiles(self._client._budget(), self.id))

    def tile(self, index: int) -> bytes:
        """Return a finished tile as a JPEG file, before its colours are locked.

        Raises:
            EnlargerError: the tile is not finished, or the job has ended.
        """
        return self._preview("tiles", str(index))

    def input_preview(self, max_side: int | None = None) -> bytes:
        """Return a preview of the input: a JPEG file in sRGB, upright, also if the input was named by a URL.

        Args:
            max_side: longest side in pixels, 16 to 2048; 2048 by default.

        Raises:
            JobNotFinished: the input is not fetched yet.
            ResultExpired: the result and its previews are deleted.
        """
        return self._preview("input", max_side=max_side)

    def result_preview(self, max_side: int = 2048) -> bytes:
        """Return a preview of the result: a JPEG file in sRGB, whatever the format of the result.

        Args:
            max_side: longest side in pixels, 16 to 2048.

        Raises:
            JobNotFinished: the job has not ended.
            JobWithoutResult, ResultExpired: there is no result.
        """
        return self._preview("result", max_side=max_side)

    def _preview(self, *below: str, max_side: int | None = None) -> bytes:
        path = job_path(self.id, *below)
        return self._client._run(calls.preview(self._client._budget(), path, max_side))
