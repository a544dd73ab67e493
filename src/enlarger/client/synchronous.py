"""The client that waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Self, TypeVar, Unpack

import httpx2

from enlarger.client import calls
from enlarger.client.answers import Estimate, JobStatus, Models, Upscaled
from enlarger.client.calls import Budget, Steps
from enlarger.client.requests import Source, UpscaleOptions
from enlarger.client.retry import Patience
from enlarger.client.transport import Run, driven, http_options

OnProgress = Callable[[JobStatus], object]
"""Called with each news of a job."""

TIMEOUT_S = 3600.0
ATTEMPTS = Patience().attempts

T = TypeVar("T")


class Client:
    """An enlarger server, for programs that wait. May be used by several threads at once.

    Every call raises the errors of ``enlarger.errors``: those that the server answers, by their code, and
    ``ServerUnreachable``, ``TimedOut`` and ``UnexpectedAnswer``.

    Args:
        url: the server's address, such as ``http://127.0.0.1:8000``.
        api_key: shown to servers that ask for one.
        timeout_s: what a call may take in all, repeats included.
        attempts: how often a request is sent at most, where the server is away or says that a repeat may help.

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
        """Jobs that were submitted before."""

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
        """Enlarge a picture.

        Args:
            source: a path, bytes, an open file, or an http or https URL, which the server fetches.
            on_progress: called with each news: the place in the queue, tiles done, seconds left.
            timeout_s: of this call, in place of the client's.
            options: see docs/reference/pictures.md.
        """
        steps = calls.upscaled(
            self._budget(timeout_s), source, options, is_watched=on_progress is not None
        )
        return self._run(steps, on_progress)

    def submit(self, source: Source, **options: Unpack[UpscaleOptions]) -> JobHandle:
        """Have a picture enlarged by a job, which goes on without this program."""
        status = self._run(calls.submitted(self._budget(), source, options))
        return JobHandle(self, status.id)

    def estimate(
        self,
        source: Source | None = None,
        *,
        size_px: tuple[int, int] | None = None,
        **options: Unpack[UpscaleOptions],
    ) -> Estimate:
        """What a request would take, for a picture or for a size (width, height) alone. Nothing is computed."""
        return self._run(calls.estimated(self._budget(), source, size_px, options))

    def models(self) -> Models:
        """The models at the server."""
        return self._run(calls.models(self._budget()))

    def status(self) -> dict[str, Any]:
        """What the server says of itself: ``GET /status``."""
        return self._run(calls.status(self._budget()))

    def health(self) -> dict[str, Any]:
        """``GET /health``: ``status`` is ``healthy``, or there is a ``reason``. Not repeated."""
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
    """Jobs that were submitted before."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, job_id: str) -> JobHandle:
        """A job by its id; nothing is asked of the server yet."""
        return JobHandle(self._client, job_id)

    def list(self, *states: str) -> Iterator[JobStatus]:
        """The jobs of the client's key, the newest first, page by page as they are looked at.

        Args:
            states: only jobs that are so, such as ``"queued", "running"``; all where none is named.

        Raises:
            ListNeedsKeys: the server has no keys; there a job is known by its id alone.
        """
        cursor: str | None = None
        while True:
            page = self._client._run(calls.job_page(self._client._budget(), states, cursor))
            yield from page.jobs
            if (cursor := page.next_cursor) is None:
                return


class JobHandle:
    """A job at the server."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self.id = job_id

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    def status(self) -> JobStatus:
        """The job as it is now."""
        return self._client._run(calls.job(self._client._budget(), self.id))

    def events(self) -> Iterator[JobStatus]:
        """The job at each of its news, from now to its end."""
        run = Run(calls.news(self._client._budget(), self.id))
        with closing(driven(self._client._http, run)) as told:
            yield from told

    def wait(self, timeout_s: float | None = None) -> JobStatus:
        """The job once it has ended, well or not.

        Raises:
            TimedOut: it has not, within ``timeout_s``; it goes on.
        """
        return self._client._run(calls.ended(self._client._budget(timeout_s), self.id))

    def result(self, timeout_s: float | None = None) -> Upscaled:
        """The picture, once it is there.

        Raises:
            EnlargerError: the job failed: why it did.
        """
        return self._client._run(calls.result(self._client._budget(timeout_s), self.id))

    def cancel(self) -> JobStatus:
        """Stop the job; of one that is done, delete the result."""
        return self._client._run(calls.canceled(self._client._budget(), self.id))
