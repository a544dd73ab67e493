"""Limits of size, the order of the steps, and admission of a request."""

from __future__ import annotations

import asyncio
import struct
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from structlog.testing import capture_logs
from support.fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine
from support.pictures import RGB, encoded, noise, png_chunk, visible
from support.pipeline_requests import asking
from support.pipelines import (
    OTHER,
    PICTURE,
    Make,
    cut_short,
    job,
    kept,
    running,
    work_mflop,
)

from enlarger.engine.tile import ModelFacts
from enlarger.errors import (
    DeadlineTooShort,
    EnlargerError,
    FileTooLarge,
    ImageTooLarge,
    NoEngineReady,
    OutputTooLarge,
    QueueFull,
    SourceUnreachable,
    UnknownModel,
    UnreadableImage,
    UnsupportedFormat,
    WrongOutput,
)
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.pipeline.progress import Listener
from enlarger.request import UpscaleRequest, UrlSource

# Limits of size


async def test_picture_of_millions_of_pixels_a_side_is_refused_at_once(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """By its header, before anything is planned: that would take minutes, and hold up all others."""
    size = struct.pack(">IIBBBBB", 3_000_000, 2_000_000, 8, RGB, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", b""), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    began = time.monotonic()
    with pytest.raises(ImageTooLarge, match="3000000x2000000"):
        await make(NearestEngine(facts)).run(job(data))
    assert time.monotonic() - began < 10


async def test_file_of_the_limit_passes_and_one_byte_over_it_is_refused(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """The limit counts bytes of the encoded picture."""
    size = len(PICTURE)
    await make(NearestEngine(facts), max_file_size_bytes=size).run(job())
    with pytest.raises(FileTooLarge) as refusal:
        await make(NearestEngine(facts), max_file_size_bytes=size - 1).run(job())
    assert str(refusal.value) == f"the file has {size} bytes, and up to {size - 1} are read"
    assert (refusal.value.limit, refusal.value.actual) == (size - 1, size)


async def test_operators_limits_of_size_hold(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """The side as seen in the file, and the output of the scale that was asked for."""
    engine = NearestEngine(facts)
    with pytest.raises(ImageTooLarge):
        await make(engine, max_image_dimension_px=39).run(job())
    tight = make(engine, max_output_px=40 * 30 * 4)
    with pytest.raises(OutputTooLarge):
        await tight.run(job(scale=4))
    assert engine.requests == []
    assert (await tight.run(job(scale=2))).width_px == 80


# The order of the steps: of two faults, the earlier step's is told


async def test_model_comes_before_the_source(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """Nothing is downloaded for a model that is not installed."""
    source = UrlSource("http://example.com/a.png")
    pipeline = make(NearestEngine(facts))
    with pytest.raises(UnknownModel):
        await pipeline.run(UpscaleRequest(source=source, options=Options(model="no-such")))
    with pytest.raises(SourceUnreachable):
        await pipeline.run(UpscaleRequest(source=source, options=Options(model="nearest")))


async def test_bytes_come_before_the_format(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """A file that is too large is not looked into."""
    with pytest.raises(FileTooLarge):
        await make(NearestEngine(facts), max_file_size_bytes=10).run(job(b"no picture at all"))
    with pytest.raises(UnsupportedFormat):
        await make(NearestEngine(facts)).run(job(b"no picture at all"))


async def test_faults_of_the_header_come_before_admission(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """A gateway that is full still reports faults that the sender can correct."""
    engine = StuckEngine(facts)
    pipeline = make(engine, queue_limit=1, max_image_dimension_px=50)
    async with running(pipeline, engine):
        with pytest.raises(UnsupportedFormat):
            await pipeline.run(job(b"no picture at all"))
        with pytest.raises(ImageTooLarge):
            await pipeline.run(job(encoded(noise(1, 51, 3))))
        with pytest.raises(QueueFull):
            await pipeline.run(job(OTHER))


async def test_admission_comes_before_the_decode(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """A file that is cut short is refused because the queue is full: it is not decoded."""
    engine = HeldEngine(facts)
    pipeline = make(engine, queue_limit=1)
    broken = job(cut_short(PICTURE))
    async with running(pipeline, engine) as first:
        with pytest.raises(QueueFull):
            await pipeline.run(broken)
        engine.let_go()
        await first
    with pytest.raises(UnreadableImage):
        await pipeline.run(broken)


# Admission


async def test_admitted_work_is_counted_until_it_is_done(
    make: Make, facts: tuple[ModelFacts, ...], catalogue: Catalogue
) -> None:
    """One request, 40 x 30 px, and its computing; less with each tile, none in the end."""
    engine = HeldEngine(facts)
    pipeline = make(engine)
    whole_mflop = work_mflop(catalogue)
    lefts: list[float] = []
    async with running(pipeline, engine) as first:
        assert pipeline.load.requests == 1
        assert pipeline.load.mflop == pytest.approx(whole_mflop)
        assert pipeline.queued_px == 1200
        first.cancel()
        await asyncio.wait({first})
        assert (pipeline.load.requests, pipeline.load.mflop, pipeline.queued_px) == (0, 0, 0)
    engine.let_go()
    outcome = await pipeline.run(
        job(), listener=Listener(tile=lambda *_: lefts.append(pipeline.load.mflop))
    )
    tiles = outcome.ran.tiles
    expected = [whole_mflop * (1 - done / tiles) for done in range(1, tiles + 1)]
    assert lefts == pytest.approx(expected)


@pytest.mark.parametrize(
    ("alpha", "planes"), [(None, 1), ("varying", 2), ("even", 1)], ids=["none", "varying", "even"]
)
async def test_alpha_is_work_too(
    make: Make,
    facts: tuple[ModelFacts, ...],
    catalogue: Catalogue,
    alpha: str | None,
    planes: int,
) -> None:
    """It goes through the network: twice the work. If its pixels are all the same, that is given back with their look."""
    samples = visible(noise(30, 40, 3 if alpha is None else 4))
    if alpha == "even":
        samples[:, :, 3] = 200
    engine = HeldEngine(facts)
    pipeline = make(engine)
    whole_mflop = work_mflop(catalogue)
    with capture_logs() as logs:
        async with running(pipeline, engine, job(encoded(samples))):
            assert pipeline.load.mflop == pytest.approx(planes * whole_mflop)
    admitted = next(entry for entry in logs if entry["event"] == "admitted")
    assert admitted["mflop"] == round(whole_mflop * (1 if alpha is None else 2))


async def test_frames_that_are_equal_are_no_work(
    make: Make, facts: tuple[ModelFacts, ...], catalogue: Catalogue
) -> None:
    """Three frames were admitted, and two of them are equal. The work of the third is taken off again."""
    first, second = (Image.fromarray(noise(30, 40, 3, seed=seed)) for seed in (1, 2))
    file = BytesIO()
    first.save(file, "PNG", save_all=True, append_images=[second, first], duration=100)
    engine = HeldEngine(facts)
    pipeline = make(engine)
    async with running(pipeline, engine, asking(file.getvalue(), frames="all")):
        assert pipeline.load.mflop == pytest.approx(2 * work_mflop(catalogue))


async def test_request_behind_too_much_work_is_refused(
    make: Make, facts: tuple[ModelFacts, ...], catalogue: Catalogue
) -> None:
    """The engine states its speed: here the first picture takes about a hundred seconds."""
    engine = StuckEngine(facts)
    engine.mflop_per_s = work_mflop(catalogue) / 100
    pipeline = make(engine, max_wait_s=99)
    async with running(pipeline, engine):
        with pytest.raises(QueueFull, match="100 s, the limit is 99 s"):
            await pipeline.run(job(OTHER))
        assert pipeline.load.requests == 1


async def test_request_that_could_not_be_done_in_time_is_refused_at_once(
    make: Make, facts: tuple[ModelFacts, ...], catalogue: Catalogue
) -> None:
    """A picture of about 100 s is too much for a deadline of 40 s, and not for 101 s; behind another one it is."""
    engine = StuckEngine(facts)
    engine.mflop_per_s = work_mflop(catalogue) / 100
    with pytest.raises(DeadlineTooShort, match="about 100 s here, the limit is 40 s"):
        await make(engine, deadline_s=40).run(job())
    assert engine.requests == []
    pipeline = make(engine, deadline_s=101)
    async with running(pipeline, engine):
        with pytest.raises(QueueFull, match="200 s, the limit is 101 s") as refusal:
            await pipeline.run(job(OTHER))
    assert refusal.value.retry_after_s == pytest.approx(99)
    assert pipeline.load.requests == 0


async def test_files_of_admitted_requests_are_bounded(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """To a quarter of the memory for pixels, 256 KiB here. One request alone may bring any file."""
    large, other = (PICTURE + bytes([number]) * 140_000 for number in (0, 1))
    engine = StuckEngine(facts)
    pipeline = make(engine, picture_memory_mib=1)
    async with running(pipeline, engine, job(large)):
        assert pipeline.load.input_bytes == len(large)
        with pytest.raises(QueueFull, match="bytes, the limit is 262144"):
            await pipeline.run(job(other))
    assert pipeline.load.input_bytes == 0


async def test_admission_is_logged_with_its_estimate(
    make: Make, facts: tuple[ModelFacts, ...], catalogue: Catalogue
) -> None:
    """The outcome has it, too. The second request also waits for the decoding of the first. A result from the cache has no wait."""
    engine = NearestEngine(facts, mflop_per_s=work_mflop(catalogue) / 100)
    pipeline = make(engine)
    with capture_logs() as logs:
        first = await pipeline.run(job(request_id="r-1"))
        second = await pipeline.run(job(OTHER, request_id="r-2"))
        again = await pipeline.run(job(request_id="r-3"))
    admitted = [entry for entry in logs if entry["event"] == "admitted"]
    assert [entry["request_id"] for entry in admitted] == ["r-1", "r-2"]
    assert [entry["mflop"] for entry in admitted] == [round(work_mflop(catalogue))] * 2
    samples_mb = 4 * 2 * (1200 + 19200 + 19200) / 1e6
    assert [entry["held_mb"] for entry in admitted] == [round(samples_mb, 1)] * 2
    assert admitted[0]["eta_s"] == first.eta_s == pytest.approx(100)
    assert second.eta_s is not None
    assert 100 < second.eta_s < 160
    assert admitted[1]["eta_s"] == round(second.eta_s, 2)
    assert (again.found, again.eta_s) == ("hit", None)


async def test_estimate_is_none_before_a_speed_is_known(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """This is better than a number that was never measured."""
    with capture_logs() as logs:
        outcome = await make(NearestEngine(facts)).run(job())
    assert outcome.eta_s is None
    assert [entry["eta_s"] for entry in logs if entry["event"] == "admitted"] == [None]


@pytest.mark.parametrize("error", [WrongOutput("constant"), NoEngineReady("all gone")])
async def test_engines_error_is_the_requests_error(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path, error: EnlargerError
) -> None:
    """The counts are given back, nothing is stored, and the next request works."""
    pipeline = make(FailsFirst(NearestEngine(facts), failures=1, error=error))
    with pytest.raises(type(error)) as raised:
        await pipeline.run(job())
    assert raised.value is error
    assert (pipeline.load.requests, pipeline.load.mflop, pipeline.queued_px) == (0, 0, 0)
    assert kept(tmp_path / "results") == []
    await pipeline.run(job())


async def test_engine_without_the_model_is_an_error(make: Make) -> None:
    """Here it has a model of the same name with other weights."""
    pipeline = make(NearestEngine())
    with pytest.raises(NoEngineReady):
        await pipeline.run(job())
    assert pipeline.load.requests == 0
