"""Upscales pictures in this process, one after the other. Jobs and their results end with the process."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from enlarger.errors import (
    EnlargerError,
    InvalidOption,
    JobNotFinished,
    JobWithoutResult,
    NotFound,
    ResultExpired,
)
from enlarger.mcp.facts import JobFacts, ModelFacts
from enlarger.mcp.progress import Progress
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.formats import format_for, suffix_of
from enlarger.shell import names
from enlarger.shell.estimates import Estimated
from enlarger.shell.local import LocalWorker
from enlarger.shell.progress import Follower
from enlarger.shell.targets import Work
from enlarger.shell.workers import with_default_scale
from enlarger.shell.writing import written_aside

MOST_JOBS = 100
"""The number of jobs that are remembered. The oldest ones that have ended are forgotten first."""


@dataclass
class _Job:
    """A job, whose result is a file aside until a client names a place for it."""

    id: str
    item: Work
    file: Path
    progress: Progress = field(default_factory=Progress)
    state: str = "queued"
    problem: str | None = None
    line: str = ""
    task: asyncio.Task[None] | None = None

    @property
    def facts(self) -> JobFacts:
        left_s = self.progress.left_s if self.state == "running" else None
        fraction = 1.0 if self.state == "succeeded" else self.progress.fraction
        return JobFacts(
            id=self.id,
            state=self.state,
            fraction=fraction,
            seconds_left=left_s,
            problem=self.problem,
        )


class Here:
    """An engine in this process; see ``Place``.

    Args:
        worker: upscales pictures.
        catalogue: the models that it knows.
        folder: where results of jobs are kept until they are saved.
    """

    def __init__(self, worker: LocalWorker, catalogue: Catalogue, folder: Path) -> None:
        self._worker = worker
        self._catalogue = catalogue
        self._folder = folder
        # Each picture may use all threads and, by its plan, most of the memory.
        self._one = asyncio.Lock()
        self._jobs: dict[str, _Job] = {}

    async def models(self) -> list[ModelFacts]:
        """See ``Place``."""
        return [
            ModelFacts(
                id=model.id,
                purpose=model.title,
                scale=model.scale,
                noise_levels=list(model.denoise),
                licence=model.licence,
                is_non_commercial=model.is_non_commercial,
            )
            for model in self._catalogue
        ]

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """See ``Place``."""
        return await self._worker.estimate(item, self._checked(options))

    async def upscale(self, item: Work, options: Options, follower: Follower) -> str:
        """See ``Place``."""
        options = self._checked(options)
        async with self._one:
            return await self._worker.enlarge(item, options, follower, overwrite=False)

    async def submit(self, item: Work, options: Options) -> JobFacts:
        """See ``Place``."""
        options = self._checked(options)
        self._forget()
        job_id = f"job_{secrets.token_hex(8)}"
        file = self._folder / f"{job_id}{suffix_of(item.kind)}"
        job = _Job(job_id, replace(item, target=file), file)
        self._jobs[job_id] = job
        job.task = asyncio.create_task(self._run(job, options))
        return job.facts

    async def job(self, job_id: str, *, wait_s: float) -> JobFacts:
        """See ``Place``."""
        job = self._found(job_id)
        if job.task is not None:
            await asyncio.wait([job.task], timeout=wait_s)
        return job.facts

    async def save(self, job_id: str, target: Path) -> str:
        """See ``Place``."""
        job = self._found(job_id)
        if job.state in ("queued", "running"):
            raise JobNotFinished(f"{job.id} is {job.state}; wait for it with job")
        if job.state == "expired":
            raise ResultExpired(f"the result of {job.id} is gone; submit the picture again")
        if job.state != "succeeded":
            raise JobWithoutResult(
                f"{job.id} {job.state}: {job.problem or 'a client asked for it'}"
            )
        if format_for(target) != job.item.kind:
            raise InvalidOption(
                f"cannot write '{names.shown(target)}': the picture is {job.item.kind}; end the name with "
                f"{suffix_of(job.item.kind)}"
            )
        with written_aside(target, overwrite=False) as aside:
            await asyncio.to_thread(shutil.copyfile, job.file, aside)
        return job.line.replace(job.item.shown_target, names.shown(target), 1)

    async def cancel(self, job_id: str) -> JobFacts:
        """See ``Place``."""
        job = self._found(job_id)
        if job.task is not None and not job.task.done():
            job.task.cancel()
            await asyncio.wait([job.task])
            job.state = "canceled"
        elif job.state == "succeeded":
            job.state = "expired"
            job.file.unlink(missing_ok=True)
        return job.facts

    async def close(self) -> None:
        """Cancel all jobs."""
        for job_id in list(self._jobs):
            await self.cancel(job_id)

    def _checked(self, options: Options) -> Options:
        """Return options that state a size, after what can be checked without the picture.

        Raises:
            InvalidOption: an option is one of the whole process, or the model cannot do it.
            UnknownModel: no such model is installed.
        """
        for name in ("precision", "device"):
            if name in options.model_fields_set:
                raise InvalidOption(
                    f"Invalid {name}: it is the same for all pictures of this process; leave it out, or start "
                    f"`enlarger mcp` with --{name}"
                )
        self._catalogue.check(options)
        return with_default_scale(options, self._catalogue.choose(options.model, scale=4).scale)

    async def _run(self, job: _Job, options: Options) -> None:
        try:
            async with self._one:
                job.state = "running"
                job.line = await self._worker.enlarge(
                    job.item, options, job.progress, overwrite=False
                )
                job.state = "succeeded"
        except EnlargerError as error:
            job.state, job.problem = "failed", f"{error.code}: {error}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must hear of it
            job.state, job.problem = "failed", f"internal_error: {type(error).__name__}"

    def _found(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotFound(
                f"there is no job '{names.shown(job_id[:40])}'; jobs of this process end with it"
            )
        return self._jobs[job_id]

    def _forget(self) -> None:
        """Make room for another job.

        Raises:
            InvalidOption: too many jobs have not ended.
        """
        ended = [job for job in self._jobs.values() if job.task is None or job.task.done()]
        if len(self._jobs) < MOST_JOBS:
            return
        if not ended:
            raise InvalidOption(
                f"{MOST_JOBS} jobs have not ended, and there may not be more; wait for one of them, or cancel it"
            )
        ended[0].file.unlink(missing_ok=True)
        del self._jobs[ended[0].id]
