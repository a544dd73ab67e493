"""How far jobs are, and how long they will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from enlarger.jobs.checkpoint import Checkpoint, KeptTiles
from enlarger.jobs.facts import InputFacts
from enlarger.jobs.job import Job
from enlarger.jobs.rows import Rows
from enlarger.jobs.rows.queue import Place
from enlarger.picture.values import Header
from enlarger.pipeline.pipeline import Pipeline
from enlarger.pipeline.progress import Listener, OnPiece, Stage
from enlarger.request import BytesSource


class JobProgress:
    """How far a request is that is a job, or may become one.

    Args:
        job: the job as it is, which another gateway may have begun.
    """

    def __init__(self, job: Job | None = None) -> None:
        self.stage: Stage | None = None
        self.tiles_done = job.tiles_done if job else 0
        self.tiles_total = job.tiles_total if job else None
        self.input = job.input if job else None
        self.mflop = job.mflop if job else None
        self.changed: Callable[[], None] = lambda: None
        self.piece: OnPiece = lambda _: None
        self.source: BytesSource | None = None
        """The file of the picture, once it is here."""

        self._on_source: Callable[[BytesSource], None] = lambda _: None
        self.tiles: KeptTiles | None = None
        """Where its tiles are kept, once it is a job."""

    def on_read(self, source: BytesSource) -> None:
        """The file of the picture is here."""
        self.source = source
        self._on_source(source)

    def when_read(self, call: Callable[[BytesSource], None]) -> None:
        """Call a function with the file of the picture: at once, or when the file is here."""
        self._on_source = call
        if self.source is not None:
            call(self.source)

    def on_plan(self, header: Header, size_bytes: int, mflop: float) -> None:
        """It is known what has to be done."""
        self.input, self.mflop = InputFacts.of(header, size_bytes), mflop
        self.changed()

    def on_stage(self, stage: Stage) -> None:
        """A stage began."""
        self.stage = stage
        self.changed()

    def on_total(self, total: int) -> None:
        """It is known how many tiles there are; ``on_stage`` follows. Tiles that are done stay so."""
        if total != self.tiles_total:
            self.tiles_done, self.tiles_total = 0, total

    def on_tile(self, done: int, total: int) -> None:
        """A tile is finished. Tiles that another gateway made are found again, not undone meanwhile."""
        same = total == self.tiles_total
        self.tiles_done = max(done, self.tiles_done) if same else done
        self.tiles_total = total
        self.changed()

    @property
    def listener(self) -> Listener:
        """What the pipeline calls."""
        return Listener(
            read=self.on_read,
            plan=self.on_plan,
            stage=self.on_stage,
            total=self.on_total,
            tile=self.on_tile,
            piece=lambda piece: self.piece(piece),
            through=lambda engine: Checkpoint(engine, lambda: self.tiles),
        )

    def values(self) -> dict[str, Any]:
        """Return all of it as columns of a job."""
        return {
            "stage": self.stage,
            "tiles_done": self.tiles_done,
            "tiles_total": self.tiles_total,
            "input": self.input,
            "mflop": self.mflop,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A job, its place in the queue, and how long it will take."""

    job: Job
    position: int | None = None
    """The place of a queued job; 1 is the next."""

    length: int = 0
    """The number of queued jobs."""

    eta_s: float | None = None


class Prospects:
    """Knows how long jobs will take.

    Args:
        rows: holds the queue.
        pipeline: knows its speed, and what it does besides.
        clock: seconds since the epoch.
    """

    def __init__(
        self, *, rows: Rows, pipeline: Pipeline, clock: Callable[[], float] = time.time
    ) -> None:
        self._rows = rows
        self._pipeline = pipeline
        self._clock = clock

    async def view(self, job: Job) -> View:
        """Return a job with its prospects."""
        return (await self.views([job]))[0]

    async def views(self, jobs: Sequence[Job]) -> list[View]:
        """Return jobs with their prospects, in their order."""
        queued = [job.id for job in jobs if job.state == "queued"]
        places = await self._rows.queue.places(queued)
        speed = self._pipeline.mflop_per_s
        return [self._view(job, places.get(job.id), speed) for job in jobs]

    def _view(self, job: Job, place: Place | None, speed: float | None) -> View:
        if job.state != "queued":
            return View(job=job, eta_s=self._running_s(job, speed))
        if place is None:  # it was begun since its row was read
            return View(job=job)
        eta_s = None
        if speed and job.mflop is not None:
            eta_s = self._pipeline.load.wait_s + (place.mflop_before + job.mflop) / speed
        return View(job=job, position=place.position, length=place.length, eta_s=eta_s)

    def _running_s(self, job: Job, speed: float | None) -> float | None:
        """Return the seconds that a running job will still take."""
        if job.state != "running" or job.started_at is None:
            return None
        done, total = job.tiles_done, job.tiles_total
        if done and total:
            return (self._clock() - job.started_at) * (total - done) / done
        if speed and job.mflop is not None:
            return self._begun_s(job.mflop / speed)
        return None

    def _begun_s(self, alone_s: float) -> float:
        """Return the seconds for a job without a finished tile, which takes ``alone_s`` alone.

        A small picture does not wait for all of a large one: requests take turns in the pool, where the oldest has every
        other tile and the rest share the others.
        """
        load = self._pipeline.load
        in_turn_s = alone_s * max(1, 2 * (load.requests - 1))
        return max(alone_s, min(load.wait_s, in_turn_s))
