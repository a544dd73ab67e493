"""Upscales pictures at a server, through the Python client. Jobs continue there after this process has ended."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from enlarger.client import AsyncClient, JobStatus
from enlarger.errors import JobNotFinished, TimedOut
from enlarger.mcp.facts import JobFacts, ModelFacts
from enlarger.options import Options
from enlarger.shell import names
from enlarger.shell.estimates import Estimated
from enlarger.shell.progress import Follower
from enlarger.shell.remote import RemoteWorker, line_of, native_scale
from enlarger.shell.targets import Work
from enlarger.shell.workers import with_default_scale
from enlarger.shell.writing import written_aside


class AtServer:
    """A server; see ``Place``.

    Args:
        client: the server.
        worker: sends pictures to it.
    """

    def __init__(self, client: AsyncClient, worker: RemoteWorker) -> None:
        self._client = client
        self._worker = worker

    async def models(self) -> list[ModelFacts]:
        """See ``Place``."""
        return [
            ModelFacts(
                id=model.id,
                purpose=model.title,
                scale=model.native_scale,
                noise_levels=list(model.noise_levels),
                licence=model.licence,
                is_non_commercial=model.is_non_commercial,
            )
            for model in (await self._client.models()).models
        ]

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """See ``Place``."""
        return await self._worker.estimate(item, await self._sized(options))

    async def upscale(self, item: Work, options: Options, follower: Follower) -> str:
        """See ``Place``."""
        options = await self._sized(options)
        return await self._worker.enlarge(item, options, follower, overwrite=False)

    async def submit(self, item: Work, options: Options) -> JobFacts:
        """See ``Place``."""
        return _facts(await self._worker.submit(item, await self._sized(options)))

    async def job(self, job_id: str, *, wait_s: float) -> JobFacts:
        """See ``Place``."""
        handle = self._client.jobs.get(job_id)
        if wait_s > 0:
            with suppress(TimedOut):
                return _facts(await handle.wait(wait_s))
        return _facts(await handle.status())

    async def save(self, job_id: str, target: Path) -> str:
        """See ``Place``."""
        handle = self._client.jobs.get(job_id)
        status = await handle.status()
        status.check()
        if not status.is_finished:
            raise JobNotFinished(f"{names.shown(job_id)} is {status.state}; wait for it with job")
        picture = await handle.result()
        picture.check_name(target)
        with written_aside(target, overwrite=False) as aside:
            aside.write_bytes(picture.data)
        return line_of(picture, names.shown(target))

    async def cancel(self, job_id: str) -> JobFacts:
        """See ``Place``."""
        return _facts(await self._client.jobs.get(job_id).cancel())

    async def _sized(self, options: Options) -> Options:
        if options.has_size:
            return options
        return with_default_scale(options, await native_scale(self._client, options.model))


def _facts(status: JobStatus) -> JobFacts:
    return JobFacts(
        id=status.id,
        state=status.state,
        fraction=status.fraction,
        seconds_left=status.eta_s,
        problem=None if status.error is None else f"{status.error.code}: {status.error}",
    )
