"""Where pictures are upscaled: at a server, or in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from enlarger.mcp.facts import JobFacts, ModelFacts
from enlarger.options import Options
from enlarger.shell.estimates import Estimated
from enlarger.shell.progress import Follower
from enlarger.shell.targets import Work


class Place(Protocol):
    """Upscales pictures. Every method raises an ``EnlargerError`` that says what to do."""

    async def models(self) -> list[ModelFacts]:
        """Return the models that can be named."""

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """Return the expected cost of a picture."""

    async def upscale(self, item: Work, options: Options, follower: Follower) -> str:
        """Upscale a picture, write its result to a file that does not exist yet, and return a line about it."""

    async def submit(self, item: Work, options: Options) -> JobFacts:
        """Begin to upscale a picture, whose target does not matter."""

    async def job(self, job_id: str, *, wait_s: float) -> JobFacts:
        """Return the state of a job, once it has ended or the time is over."""

    async def save(self, job_id: str, target: Path) -> str:
        """Write the result of a job that succeeded to a file that does not exist yet, and return a line about it."""

    async def cancel(self, job_id: str) -> JobFacts:
        """Cancel a job, or delete the result of a job that is done."""
