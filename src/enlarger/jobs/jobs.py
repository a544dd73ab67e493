"""Jobs, as the API sees them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from enlarger.errors import NotFound
from enlarger.jobs.endings import Endings
from enlarger.jobs.inputs import InputPreviews
from enlarger.jobs.intake import Intake
from enlarger.jobs.job import Job, State
from enlarger.jobs.progress import Prospects
from enlarger.jobs.results import Results
from enlarger.jobs.rows import Rows
from enlarger.jobs.runner import Runner
from enlarger.jobs.watching import Watching


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """All that can be done with jobs, by what it is about."""

    rows: Rows
    runner: Runner
    endings: Endings

    intake: Intake
    """Takes requests as jobs."""

    watching: Watching
    """Follows jobs."""

    prospects: Prospects
    """Knows how long they will take."""

    results: Results
    """Has what they made."""

    inputs: InputPreviews
    """Has previews of what they enlarge."""

    async def get(self, job_id: str, owner: str | None) -> Job:
        """Return a job of this owner; of anybody, if None is named.

        Raises:
            NotFound: there is none.
        """
        job = await self.rows.jobs.get(job_id)
        if job is None or owner not in (None, job.owner):
            raise NotFound("there is no such job; what is known of one is kept for a day")
        return job

    async def get_all(self, ids: Collection[str], owner: str | None) -> dict[str, Job]:
        """Return the jobs of these ids that this owner has, by id; those of anybody, if None is named."""
        found = await self.rows.jobs.get_all(ids)
        return {id_: job for id_, job in found.items() if owner in (None, job.owner)}

    async def list_of(
        self, owner: str, *, states: Collection[State], before: str | None, limit: int
    ) -> tuple[list[Job], bool]:
        """Return a page of an owner's jobs, the newest first, and whether there are older ones.

        Args:
            owner: whose jobs.
            states: the states that are listed.
            before: id of a job; only older ones are listed.
            limit: the most that are listed.

        Raises:
            NotFound: ``before`` is no job of this owner.
        """
        if before is not None:
            await self.get(before, owner)
        found = await self.rows.jobs.list_of(owner, states=states, before=before, limit=limit + 1)
        return found[:limit], len(found) > limit

    async def by_file_name(self, name: str) -> Job | None:
        """Return the job whose result has this name."""
        return await self.rows.jobs.by_file_name(name)

    async def counts(self) -> dict[State, int]:
        """Count the jobs in each state."""
        return await self.rows.jobs.counts()

    async def cancel(self, job: Job) -> Job:
        """End a job, or delete the result that it has; one that has failed stays as it is."""
        if job.is_ended:
            if job.state != "succeeded":
                return job
            return await self.results.expire(job) or await self.get(job.id, job.owner)
        ended = await self.stop(job)
        if ended is None:  # it ended meanwhile
            return await self.cancel(await self.get(job.id, job.owner))
        return ended

    async def stop(self, job: Job) -> Job | None:
        """End a job that has not ended; return it as it is then, or None if it had ended."""
        return await self.endings.cancel(job, self.runner.drop)
