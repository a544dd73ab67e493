"""How a request ends: after success, a refusal, an error or a cancellation, it releases everything that it holds."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image
from support.fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine
from support.pictures import encoded, noise
from support.pipelines import OTHER, Make, job, kept, path_of, running
from support.results import FolderResults

from enlarger.engine.tile import ModelFacts, Need
from enlarger.errors import (
    DeadlineExceeded,
    Draining,
    EngineFailed,
    StorageFull,
)
from enlarger.options import Options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Picture
from enlarger.pipeline.pipeline import Pipeline
from enlarger.pipeline.progress import Listener
from enlarger.request import BytesSource, UpscaleRequest
from enlarger.storage import Draft, StoredResult

T = TypeVar("T")


class AbsentEngine(NearestEngine):
    """Has no server ready until ``present`` is set."""

    def __init__(self, models: Iterable[ModelFacts]) -> None:
        super().__init__(models)
        self.asked = asyncio.Event()
        self.present = asyncio.Event()

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait until the server is there."""
        self.asked.set()
        await self.present.wait()
        return await super().ready_for(need)


class HeldDecoders(Decoders):
    """Decodes when ``may_go`` is set."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = asyncio.Event()
        self.may_go = asyncio.Event()

    async def decode(
        self, data: bytes, *, to_srgb: bool = False, frames: int = 1, kind: str | None = None
    ) -> Picture:
        """Decode when the test allows it."""
        self.asked.set()
        await self.may_go.wait()
        return await super().decode(data, to_srgb=to_srgb, frames=frames, kind=kind)


class HeldResults(FolderResults):
    """Reports that a result is written once ``may_go`` is set."""

    def __init__(self, folder: Path, *, max_age_s: float) -> None:
        super().__init__(folder, max_age_s=max_age_s)
        self.asked = asyncio.Event()
        self.may_go = asyncio.Event()
        self.deleted = asyncio.Event()

    async def publish(self, draft: Draft[object], *, suffix: str) -> StoredResult:
        """Publish the result when the test allows it."""
        stored = await super().publish(draft, suffix=suffix)
        self.asked.set()
        await asyncio.wait_for(self.may_go.wait(), 20)
        return stored

    async def copy(self, stored: StoredResult) -> StoredResult | None:
        """Copy the result when the test allows it."""
        copied = await super().copy(stored)
        self.asked.set()
        await asyncio.wait_for(self.may_go.wait(), 20)
        return copied

    async def delete(self, name: str) -> None:
        """Delete the result, and tell the test."""
        await super().delete(name)
        self.deleted.set()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and check that it ends in time."""
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task


def is_empty(pipeline: Pipeline) -> bool:
    """Return whether no request is admitted."""
    load = pipeline.load
    counts = (load.requests, load.mflop, load.input_bytes, load.handling_s, pipeline.queued_px)
    return not any(counts)


async def makes_the_largest(pipeline: Pipeline) -> None:
    """Upscale the largest picture, which waits unless all memory is free."""
    async with asyncio.timeout(20):
        made = await pipeline.run(job(encoded(noise(64, 64, 3))))
    assert made.width_px == 256


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_picture_of_a_request_that_ends_early_is_let_go(
    make: Make, facts: tuple[ModelFacts, ...], ending: str
) -> None:
    """Its memory is released at once, not when the garbage collector next looks at its oldest objects."""

    def pictures() -> int:
        return sum(isinstance(held, Picture) for held in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = pictures()
        if ending == "cancelled":
            engine = StuckEngine(facts)
            async with running(make(engine), engine) as task:
                assert pictures() > before
                await cancelled(task)
            del task
        else:
            failing = FailsFirst(NearestEngine(facts), failures=1, error=EngineFailed("e"))
            with pytest.raises(EngineFailed):
                await make(failing).run(job())
        async with asyncio.timeout(20):
            # A thread that made something may take a moment to let go of it.
            while pictures() != before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_cancelled_request_leaves_nothing(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """Its tiles are dropped, its counts and its memory given back, and no file is kept."""
    engine = StuckEngine(facts)
    pipeline = make(engine, picture_memory_mib=1)
    async with running(pipeline, engine) as task:
        await cancelled(task)
    assert engine.in_flight == 0
    assert engine.cancelled == len(engine.requests) > 1
    assert is_empty(pipeline)
    assert kept(tmp_path / "results") == []


async def test_request_cancelled_while_it_waits_for_memory_leaves_the_others_alone(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """The one that has the memory is finished, and the one behind it has its turn next."""
    engine = AskedEngine(facts)
    pipeline = make(engine, picture_memory_mib=1)
    half, other = (job(encoded(noise(48, 48, 3, seed=seed))) for seed in (1, 2))
    async with running(pipeline, engine, half) as first:
        second = asyncio.create_task(pipeline.run(other))
        while pipeline.load.requests < 2:  # noqa: ASYNC110 - there is no event for being admitted
            await asyncio.sleep(0)
        third = asyncio.create_task(makes_the_largest(pipeline))
        await cancelled(second)
        engine.let_go()
        assert (await first).width_px == 192
        await third
    assert engine.asked == 2
    assert is_empty(pipeline)


async def test_request_cancelled_while_no_server_is_ready_leaves_nothing(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """Its memory is free for the next one when a server is back."""
    engine = AbsentEngine(facts)
    pipeline = make(engine, picture_memory_mib=1)
    task = asyncio.create_task(pipeline.run(job()))
    await asyncio.wait_for(engine.asked.wait(), 20)
    assert pipeline.load.requests == 1
    await cancelled(task)
    assert is_empty(pipeline)
    engine.present.set()
    await makes_the_largest(pipeline)


async def test_request_cancelled_while_it_is_decoded_leaves_nothing(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """No tile is ever sent for it. What becomes of the process is in ``test_workers.py``."""
    engine = NearestEngine(facts)
    decoders = HeldDecoders()
    async with decoders:
        pipeline = make(engine, decode=decoders, picture_memory_mib=1)
        task = asyncio.create_task(pipeline.run(job()))
        await asyncio.wait_for(decoders.asked.wait(), 20)
        assert pipeline.load.requests == 1
        await cancelled(task)
        assert is_empty(pipeline)
        assert engine.requests == []
        decoders.may_go.set()
        await makes_the_largest(pipeline)


async def test_request_cancelled_between_its_tiles_drops_the_others(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """One is done and pasted; those with the engine are dropped."""
    engine = HeldEngine(facts)
    pipeline = make(engine, picture_memory_mib=1)
    pasted = asyncio.Event()
    task = asyncio.create_task(pipeline.run(job(), listener=Listener(tile=lambda *_: pasted.set())))
    async with asyncio.timeout(20):
        await engine.holds(2)
        engine.let_go(1)
        await pasted.wait()
    assert engine.in_flight > 0
    await cancelled(task)
    assert engine.in_flight == 0
    assert is_empty(pipeline)
    engine.let_go()
    await makes_the_largest(pipeline)


async def test_request_cancelled_while_its_result_is_written_leaves_no_file(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """All is given back at once; the thread, which cannot be interrupted, takes its file away in the end."""
    store = HeldResults(tmp_path / "results", max_age_s=300)
    pipeline = make(NearestEngine(facts), store=store, picture_memory_mib=1)
    task = asyncio.create_task(pipeline.run(job()))
    await asyncio.wait_for(store.asked.wait(), 20)
    await cancelled(task)
    assert is_empty(pipeline)
    store.may_go.set()
    await makes_the_largest(pipeline)
    await asyncio.wait_for(store.deleted.wait(), 20)
    (left,) = kept(tmp_path / "results")
    with Image.open(store.folder / left) as image:
        assert image.size == (256, 256)


async def test_copy_for_one_who_has_gone_leaves_no_file(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """The same holds for the copy of a result."""
    store = HeldResults(tmp_path / "results", max_age_s=300)
    pipeline = make(NearestEngine(facts), store=store)
    store.may_go.set()
    first = await pipeline.run(job())
    store.may_go.clear()
    store.asked.clear()
    again = asyncio.create_task(pipeline.run(job()))
    await asyncio.wait_for(store.asked.wait(), 20)
    await cancelled(again)
    store.may_go.set()
    await asyncio.wait_for(store.deleted.wait(), 20)
    assert kept(store.folder) == [first.stored.file_name]
    assert await store.find(first.stored.name) == first.stored


class AskedEngine(HeldEngine):
    """Counts who asks for the model, which is the first step of a request that got its memory."""

    asked = 0

    async def ready_for(self, need: Need) -> ModelFacts:
        """The model's facts at once."""
        self.asked += 1
        return await super().ready_for(need)


async def test_pictures_beyond_the_memory_wait_for_one_another(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """Samples of 64 x 64 px at scale 4 take over half a MiB: two of them do not fit into one."""
    engine = AskedEngine(facts)
    pipeline = make(engine, picture_memory_mib=1)
    first, second = (encoded(noise(64, 64, 3, seed=seed)) for seed in (0, 1))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(pipeline.run(job(first)))
        await engine.holds(1)
        group.create_task(pipeline.run(job(second)))
        while pipeline.load.requests < 2:  # noqa: ASYNC110 - there is no event for being admitted
            await asyncio.sleep(0)
        assert engine.asked == 1
        engine.let_go()
    assert engine.asked == 2
    assert pipeline.load.requests == 0


# Deadline, draining, disk


async def test_deadline_ends_a_request(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """With its own error, and its counts given back."""
    engine = StuckEngine(facts)
    pipeline = make(engine, deadline_s=0.1)
    with pytest.raises(DeadlineExceeded, match="deadline exceeded"):
        await pipeline.run(job())
    assert engine.in_flight == 0
    assert (pipeline.load.requests, pipeline.load.mflop, pipeline.queued_px) == (0, 0, 0)


@pytest.mark.parametrize(("setting", "left_s"), [(None, 600), (1234.5, 1234.5)])
async def test_tiles_carry_the_requests_deadline(
    make: Make, facts: tuple[ModelFacts, ...], setting: float | None, left_s: float
) -> None:
    """One for all of them: the operator's, or ten minutes for a small picture."""
    engine = NearestEngine(facts)
    clock = asyncio.get_running_loop()
    before = clock.time()
    await make(engine, deadline_s=setting).run(job())
    (deadline,) = {request.deadline for request in engine.requests}
    assert before + left_s <= deadline <= clock.time() + left_s


async def test_stopping_server_takes_nothing_new(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """It refuses even a request with an unknown model as draining. Requests that are running are finished."""
    engine = HeldEngine(facts)
    stopping = False
    pipeline = make(engine, draining=lambda: stopping)
    async with running(pipeline, engine) as first:
        stopping = True
        with pytest.raises(Draining) as refusal:
            await pipeline.run(
                UpscaleRequest(source=BytesSource(b""), options=Options(model="no-such"))
            )
        assert refusal.value.retry_after_s == 10
        engine.let_go()
        assert (await first).width_px == 160


async def test_request_that_arrives_while_the_server_begins_to_stop_is_not_admitted(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """The server began to stop while the picture was fetched and probed."""
    engine = NearestEngine(facts)
    answers = iter([False])
    pipeline = make(engine, draining=lambda: next(answers, True))
    with pytest.raises(Draining):
        await pipeline.run(job())
    assert engine.requests == []
    assert pipeline.load.requests == 0


async def test_result_that_cannot_be_written_is_an_error_of_its_own(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """A file has replaced the folder. The error does not reveal the path, and the service works again once the folder is back."""
    pipeline = make(NearestEngine(facts))
    await pipeline.run(job())
    shutil.rmtree(tmp_path / "results")
    (tmp_path / "results").touch()
    for asked in (job(), job(OTHER)):
        with pytest.raises(StorageFull, match="folder of results") as raised:
            await pipeline.run(asked)
        assert str(tmp_path) not in str(raised.value)
    assert is_empty(pipeline)
    (tmp_path / "results").unlink()
    assert path_of(tmp_path, await pipeline.run(job())).exists()


async def test_folder_that_went_away_is_not_noticed(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """The folder is made again, and so is the result that was in it."""
    pipeline = make(NearestEngine(facts))
    await pipeline.run(job())
    shutil.rmtree(tmp_path / "results")
    again = await pipeline.run(job())
    assert again.found == "miss"
    assert kept(tmp_path / "results") == [again.stored.file_name]
