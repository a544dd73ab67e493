"""The runner ends the jobs that it claims, releases them, or leaves them to their new holder. A script replaces the pipeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from support.results import FolderResults

from enlarger.errors import (
    DeadlineExceeded,
    EngineFailed,
    NoEngineReady,
    SourceTimeout,
    UnreadableImage,
)
from enlarger.jobs import (
    Endings,
    EventStreams,
    InputFacts,
    Job,
    JobFiles,
    JobHooks,
    JobProgress,
    JobWork,
    Rows,
    Runner,
)
from enlarger.jobs.job import new_job_id
from enlarger.jobs.runner import BEAT_S, LEASE_S
from enlarger.jobs.work import MOST_ATTEMPTS
from enlarger.picture.values import Header
from enlarger.pipeline.outcome import Outcome, Ran
from enlarger.pipeline.pipeline import Pipeline
from enlarger.request import BytesSource, UpscaleRequest
from enlarger.storage import Storage, StoredResult, storage_at

LONG_S = 20
RESULT = b"a picture"
INPUT_SHA256 = "cd" * 32
TOKEN = "0123456789abcdef" * 2


class NoPreviews:
    """Makes previews that no test reads."""

    async def make(self, data: bytes, max_side_px: int) -> bytes:
        """Return a part of the file."""
        return data[:max_side_px]


@dataclass
class Script:
    """Takes the place of the pipeline: it does what the test says, and counts its calls."""

    play: Callable[[], Awaitable[Outcome]]
    ran: list[UpscaleRequest] = field(default_factory=list)
    previews: NoPreviews = field(default_factory=NoPreviews)

    async def run(self, job: UpscaleRequest, **_: Any) -> Outcome:
        """Do what the test says."""
        self.ran.append(job)
        return await self.play()


async def free(_: str, __: int) -> None:
    """Charges nobody."""


@dataclass
class Scene:
    """Everything that a runner needs, and the state of its jobs."""

    folder: Path
    rows: Rows
    blobs: Storage
    streams: EventStreams = field(default_factory=EventStreams)
    ended: list[Job] = field(default_factory=list)
    made_here: list[Outcome] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    held: int = 0
    telling: asyncio.Event = field(default_factory=asyncio.Event)
    """An end is being told."""

    may_tell: asyncio.Event = field(default_factory=asyncio.Event)
    scripts: list[Script] = field(default_factory=list)
    endings: list[Endings] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results = FolderResults(self.folder / "uploads")
        self.may_tell.set()

    runners: list[Runner] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """Return the facts of a finished picture, which is in a file."""
        stored = StoredResult(TOKEN, ".png", time.time(), len(RESULT), "ab" * 32)
        self.results.path(stored).write_bytes(RESULT)
        return Outcome(
            ran=Ran(model="m", model_sha256="0", engine="nearest", precision="f32", tiles=2),
            stored=stored,
            width_px=4,
            height_px=4,
            scale=4,
            notes=(),
            kept=(),
            header=Header(
                format="png", width_px=1, height_px=1, mode="RGB", depth_bits=8, frames=1
            ),
            input_bytes=3,
        )

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Counts jobs that run."""
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def made(self) -> Outcome:
        """Return a finished picture at once."""
        return self.outcome()

    def runner(
        self, play: Callable[[], Awaitable[Outcome]], executor: ThreadPoolExecutor
    ) -> Runner:
        """Return a runner that does this for each job."""

        async def ended(record: Job) -> None:
            self.telling.set()
            await self.may_tell.wait()
            self.ended.append(record)

        self.scripts.append(Script(play))
        files = JobFiles(self.blobs)
        endings = Endings(
            rows=self.rows,
            files=files,
            event_streams=self.streams,
            store=self.results,
            hooks=JobHooks(ended=ended, made=self.made_here.append, failed=self.failed.append),
        )
        self.endings.append(endings)
        work = JobWork(
            rows=self.rows,
            files=files,
            event_streams=self.streams,
            endings=endings,
            pipeline=cast(Pipeline, self.scripts[-1]),
            executor=executor,
            charge=free,
            holding=self.holding,
        )
        return Runner(
            rows=self.rows,
            files=files,
            event_streams=self.streams,
            work=work,
            places=2,
            takes=lambda: True,
        )

    async def queued(self, **values: Any) -> str:
        """Queue a new job with its picture, and return its id."""
        record = Job(
            id=new_job_id(), created_at=time.time(), options={}, request_id="r-1", **values
        )
        await self.blobs.put(f"{record.id}/work/input", b"png", sha256=INPUT_SHA256)
        await self.rows.jobs.add(record)
        return record.id

    async def now(self, job_id: str) -> Job:
        """Return the row of a job."""
        record = await self.rows.jobs.get(job_id)
        assert record is not None
        return record

    async def until(self, job_id: str, holds: Callable[[Job], Any]) -> Job:
        """Return the row once this is true. If the job has ended, wait until its files have been cleaned up, too."""
        async with asyncio.timeout(LONG_S):
            while not holds(record := await self.now(job_id)):  # noqa: ASYNC110 - a row tells nobody
                await asyncio.sleep(0.01)
            while record.is_ended and any(one.has(job_id) for one in self.runners):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return record


Playing = Callable[[Callable[[], Awaitable[Outcome]]], AbstractAsyncContextManager[Runner]]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """With an empty database."""
    async with Rows(str(tmp_path / "jobs.sqlite3")) as rows:
        yield Scene(tmp_path, rows, storage_at(tmp_path / "blobs"))


@pytest.fixture
def playing(scene: Scene) -> Playing:
    """A runner that runs, until the end of the block."""

    @asynccontextmanager
    async def begun(play: Callable[[], Awaitable[Outcome]]) -> AsyncIterator[Runner]:
        with ThreadPoolExecutor(1) as executor:
            async with scene.runner(play, executor) as runner:
                scene.runners.append(runner)
                yield runner

    return begun


def has_ended(record: Job) -> bool:
    """Whether it has."""
    return record.is_ended


async def forever() -> Outcome:
    """Work without an end."""
    await asyncio.Event().wait()
    raise AssertionError


def raising(error: Exception) -> Callable[[], Awaitable[Outcome]]:
    """Work that fails."""

    async def play() -> Outcome:
        raise error

    return play


async def test_job_is_run_to_its_end(scene: Scene, playing: Playing) -> None:
    """Its result is stored once, everything else of it is deleted, and followers receive its end."""
    job = await scene.queued()
    async with playing(scene.made):
        record = await scene.until(job, has_ended)
        await asyncio.wait_for(scene.streams.of(record).ended(), LONG_S)
    assert (record.state, record.attempts, record.tiles_total) == ("succeeded", 1, 2)
    assert record.file_name == f"{TOKEN}.png"
    assert await scene.blobs.keys(job) == []
    found = await scene.results.find(record.file_name)
    assert found is not None
    assert scene.results.path(found).read_bytes() == RESULT
    assert record.expires_at == pytest.approx(time.time() + scene.results.max_age_s, abs=5)
    assert [one.id for one in scene.ended] == [job]
    assert (len(scene.made_here), scene.failed, scene.held) == (1, [], 0)


async def test_input_is_not_hashed_again(scene: Scene, playing: Playing) -> None:
    """It has the digest that it was stored with."""
    job = await scene.queued()
    async with playing(scene.made):
        await scene.until(job, has_ended)
    (ran,) = scene.scripts[0].ran
    assert isinstance(ran.source, BytesSource)
    assert (ran.source.data, ran.source.sha256) == (b"png", INPUT_SHA256)


async def test_running_job_is_held(scene: Scene, playing: Playing) -> None:
    """Its lease is renewed with each sign of life, so that nobody else begins it."""
    job = await scene.queued()
    async with playing(forever) as runner:
        first = await scene.until(job, lambda record: record.state == "running")
        assert first.holder == runner.holder
        assert scene.held == 1
        assert 0 < first.leased_until - time.time() <= LEASE_S
        await scene.until(job, lambda record: record.leased_until > first.leased_until)
        assert await scene.rows.queue.claim("other", now=time.time(), lease_s=1) is None


async def test_lost_job_is_dropped(scene: Scene, playing: Playing) -> None:
    """A gateway that finds another holder stops, and leaves the row and the files alone."""
    job = await scene.queued()
    async with playing(forever) as runner:
        await scene.until(job, lambda record: record.state == "running")
        await scene.rows.jobs.update(job, holder=runner.holder, leased_until=0.0)
        taken = await scene.rows.queue.claim("other", now=time.time(), lease_s=60)
        assert taken is not None
        async with asyncio.timeout(2 * BEAT_S + LONG_S):
            while runner.has(job):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
    record = await scene.now(job)
    assert (record.state, record.holder) == ("running", "other")
    assert await scene.blobs.keys(job) == [f"{job}/work/input"]


@pytest.mark.parametrize("play", ["made", "failed"])
@pytest.mark.parametrize(
    "why", ["a sign of life", "a second cancellation", "the end of the runner"]
)
async def test_end_that_was_noted_is_told(
    scene: Scene, playing: Playing, why: str, play: str
) -> None:
    """The runner finds that the job is no longer running, and stops the work on it; its receivers are still told."""
    job = await scene.queued()
    scene.may_tell.clear()
    async with playing(scene.made if play == "made" else raising(UnreadableImage("cut"))) as runner:
        async with asyncio.timeout(LONG_S):
            await scene.telling.wait()
        if why == "a sign of life":
            await asyncio.sleep(2.5 * BEAT_S)
        elif why == "a second cancellation":
            runner.drop(job)
            await asyncio.sleep(0.1)
            runner.drop(job)
        if why == "the end of the runner":
            asyncio.get_running_loop().call_later(0.1, scene.may_tell.set)
        else:
            scene.may_tell.set()
            await scene.until(job, has_ended)
    assert [one.id for one in scene.ended] == [job]
    assert await scene.blobs.keys(job) == []


async def test_job_is_canceled_to_the_end_although_its_client_leaves(
    scene: Scene, playing: Playing
) -> None:
    """The row says so by then, and nobody would tell of it later."""
    job = await scene.queued()
    scene.may_tell.clear()
    async with playing(forever) as runner:
        record = await scene.until(job, lambda record: record.state == "running")
        canceling = asyncio.create_task(scene.endings[0].cancel(record, runner.drop))
        async with asyncio.timeout(LONG_S):
            await scene.telling.wait()
        canceling.cancel()
        await asyncio.sleep(0.1)
        scene.may_tell.set()
        await asyncio.gather(canceling, return_exceptions=True)
    assert [(one.id, one.state) for one in scene.ended] == [(job, "canceled")]


async def test_job_that_is_canceled_while_it_is_claimed_is_not_begun(
    scene: Scene, playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row may be canceled before the claim has returned; the runner goes on with the next job."""
    job, next_job = await scene.queued(), await scene.queued()
    claim = scene.rows.queue.claim

    async def canceled_meanwhile(*args: Any, **values: Any) -> Job | None:
        claimed = await claim(*args, **values)
        if claimed is not None and claimed.id == job:
            await scene.rows.jobs.update(job, states=("running",), state="canceled")
            runner.drop(job)
        return claimed

    monkeypatch.setattr(scene.rows.queue, "claim", canceled_meanwhile)
    async with playing(scene.made) as runner:
        assert (await scene.until(next_job, has_ended)).state == "succeeded"
        assert (await scene.now(job)).state == "canceled"
    assert len(scene.scripts[0].ran) == 1


async def test_leaving_gives_back(scene: Scene, playing: Playing) -> None:
    """A runner that stops releases its jobs at once. They keep their files and their state, and the attempt does not count."""
    job = await scene.queued()
    async with playing(forever) as runner:
        await scene.until(job, lambda record: record.state == "running")
        runner._progress[job].on_tile(3, 4)
    record = await scene.now(job)
    assert (record.state, record.holder, record.attempts) == ("running", None, 0)
    assert (record.leased_until, record.tiles_done, record.tiles_total) == (0.0, 3, 4)
    assert await scene.blobs.keys(job) == [f"{job}/work/input"]
    async with playing(scene.made):
        assert (await scene.until(job, has_ended)).state == "succeeded"


async def test_no_room_is_waited_for(scene: Scene, playing: Playing) -> None:
    """A job that is not admitted now is released until a later time, and is done then."""
    job = await scene.queued()
    errors = [NoEngineReady("none", retry_after_s=1)]

    async def play() -> Outcome:
        if errors:
            raise errors.pop()
        return scene.outcome()

    began = time.time()
    async with playing(play):
        waits = await scene.until(job, lambda record: record.started_at and not record.holder)
        assert waits.state == "running"
        assert waits.leased_until >= began + 1
        done = await scene.until(job, has_ended)
    assert done.state == "succeeded"
    assert time.time() >= waits.leased_until
    assert done.attempts == 1  # the attempt that was not admitted does not count


@pytest.mark.parametrize(
    ("error", "code", "keeps_key"),
    [
        (UnreadableImage("cut"), "unreadable_image", True),
        (SourceTimeout("slow"), "source_timeout", False),
        (EngineFailed("gave up"), "engine_failed", False),
        (DeadlineExceeded("too long"), "deadline_exceeded", False),
        (ZeroDivisionError("ours"), "internal_error", False),
    ],
)
async def test_error_ends_a_job(
    scene: Scene, playing: Playing, error: Exception, code: str, keeps_key: bool
) -> None:
    """The job has its problem. If a retry may succeed, its idempotency key is free. The runner continues."""
    job = await scene.queued(idempotency_key="k")
    async with playing(raising(error)):
        record = await scene.until(job, has_ended)
        assert record.error is not None
        assert (record.state, record.error.code) == ("failed", code)
        assert scene.failed == [code]
        assert (record.idempotency_key == "k") == keeps_key
        assert await scene.blobs.keys(job) == []
        another = await scene.queued()
        assert (await scene.until(another, has_ended)).state == "failed"


async def test_job_that_ends_gateways_is_given_up(scene: Scene, playing: Playing) -> None:
    """A job that was started too often without an end is not started again."""
    job = await scene.queued(attempts=MOST_ATTEMPTS)
    last = await scene.queued(attempts=MOST_ATTEMPTS - 1)
    async with playing(scene.made):
        record = await scene.until(job, has_ended)
        assert record.error is not None
        assert record.error.code == "engine_lost"
        assert (await scene.until(last, has_ended)).state == "succeeded"


async def test_picture_that_is_gone_fails(scene: Scene, playing: Playing) -> None:
    """The error says that the picture is missing."""
    job = await scene.queued(not_before=time.time() + 0.5)
    await scene.blobs.delete_under(job)
    async with playing(scene.made):
        record = await scene.until(job, has_ended)
    assert record.error is not None
    assert record.error.code == "missing_input"


async def test_result_without_room_fails(scene: Scene, playing: Playing) -> None:
    """``storage_full``, and nothing half-written."""
    job = await scene.queued()
    scene.results = FolderResults(scene.folder / "uploads", shared=scene.blobs)
    (scene.folder / "blobs" / "results").write_bytes(b"")  # a file in the place of the folder
    async with playing(scene.made):
        record = await scene.until(job, has_ended)
    assert record.error is not None
    assert (record.state, record.error.code) == ("failed", "storage_full")
    assert not (scene.folder / "blobs" / job).exists()


class HeldResults(FolderResults):
    """Moves a result when ``may_go`` is set."""

    def __init__(self, folder: Path, *, shared: Storage) -> None:
        super().__init__(folder, shared=shared)
        self.asked, self.may_go = asyncio.Event(), asyncio.Event()

    async def share(self, stored: StoredResult) -> StoredResult:
        """Wait until the test allows it."""
        self.asked.set()
        await self.may_go.wait()
        return await super().share(stored)


@pytest.mark.parametrize("is_told", [True, False], ids=["here", "elsewhere"])
async def test_cancelling_while_the_result_is_written_leaves_nothing(
    scene: Scene, playing: Playing, is_told: bool
) -> None:
    """This gateway or another one cancels the job, and this one may learn of it late."""
    job = await scene.queued()
    scene.results = results = HeldResults(scene.folder / "uploads", shared=scene.blobs)
    async with playing(scene.made) as runner:
        await asyncio.wait_for(results.asked.wait(), LONG_S)
        await scene.rows.jobs.update(
            job, states=("running",), state="canceled", finished_at=time.time()
        )
        if is_told:
            runner.drop(job)
        await scene.blobs.delete_under(job)
        results.may_go.set()
        async with asyncio.timeout(LONG_S):
            while runner.has(job):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
    assert (await scene.now(job)).state == "canceled"
    assert not (scene.folder / "blobs" / job).exists()
    for folder in ("blobs", "uploads"):
        assert [path for path in (scene.folder / folder).rglob("*") if path.is_file()] == []


async def test_request_becomes_a_job(scene: Scene, playing: Playing) -> None:
    """The work of a request continues as the work of a job, with its events and its end."""
    async with playing(forever) as runner:
        record = Job(
            id=new_job_id(),
            created_at=time.time(),
            options={},
            state="running",
            holder=runner.holder,
            leased_until=time.time() + LEASE_S,
        )
        await scene.rows.jobs.add(record)
        work: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        tracked = JobProgress()
        runner.adopt(record, work, tracked)
        assert runner.has(record.id)
        tracked.on_tile(1, 2)
        assert scene.streams.of(record).job.tiles_done == 1
        work.set_result(scene.outcome())
        assert (await scene.until(record.id, has_ended)).state == "succeeded"


async def test_job_that_runs_is_not_begun_again(scene: Scene, playing: Playing) -> None:
    """This holds even if its lease ran out unnoticed, for example because the machine slept."""
    job = await scene.queued()
    async with playing(forever) as runner:
        first = await scene.until(job, lambda record: record.state == "running")
        await scene.rows.jobs.update(job, holder=runner.holder, leased_until=0.0)
        runner.wake()
        await scene.queued()  # which is begun by a look that would have taken it
        renewed = await scene.until(job, lambda record: record.leased_until > first.leased_until)
    assert (renewed.attempts, renewed.holder) == (1, runner.holder)


async def test_tiles_are_looked_for_whoever_kept_them(scene: Scene, playing: Playing) -> None:
    """A gateway that stops in good order does not count its attempt. Tiles that it computed are found all the same."""
    job = await scene.queued(tiles_done=3, tiles_total=4)
    folder = f"{job}/work/tiles"
    await scene.blobs.put(f"{folder}/00", b"a tile")
    async with playing(forever) as runner:
        await scene.until(job, lambda record: record.state == "running")
        async with asyncio.timeout(LONG_S):
            while (tiles := runner._progress[job].tiles) is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
    assert tiles._known == {f"{folder}/00"}


def test_progress_never_falls() -> None:
    """Tiles of another gateway are found one by one. Only another plan starts from zero."""
    record = Job(id="job_1", created_at=0.0, options={}, tiles_done=3, tiles_total=4)
    tracked = JobProgress(record)
    told = []
    for done in range(1, 5):
        tracked.on_tile(done, 4)
        told.append(tracked.values()["tiles_done"])
    assert told == [3, 3, 3, 4]
    tracked.on_tile(1, 9)
    assert (tracked.tiles_done, tracked.tiles_total) == (1, 9)


def test_plan_is_told() -> None:
    """The facts of the picture and its cost are known before the first tile is done."""
    tracked = JobProgress()
    changes = []
    tracked.changed = lambda: changes.append(tracked.values())
    header = Header(format="png", width_px=3, height_px=2, mode="RGB", depth_bits=8, frames=1)
    tracked.on_plan(header, 99, 12.5)
    assert changes[0]["input"] == InputFacts(width_px=3, height_px=2, size_bytes=99, format="png")
    assert changes[0]["mflop"] == 12.5
