"""The life of a request, from the picture's bytes to the stored file, and what is given back on every way out."""

from __future__ import annotations

import asyncio
import gc
import shutil
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from pictures import RGB, encoded, icc_profile, noise, png, png_chunk, visible
from PIL import Image
from results import FolderResults
from structlog.testing import capture_logs

from enlarger import config
from enlarger.engine import Engine
from enlarger.engine.tile import ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import (
    AnimationUnsupported,
    DeadlineExceeded,
    DeadlineTooShort,
    Draining,
    EngineFailed,
    EnlargerError,
    FileTooLarge,
    ImageTooLarge,
    InvalidOption,
    NoEngineReady,
    OutputTooLarge,
    QueueFull,
    SourceUnreachable,
    StorageFull,
    UnknownModel,
    UnreadableImage,
    UnsupportedFormat,
    WrongOutput,
)
from enlarger.fetch import Fetcher
from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue
from enlarger.options import Options, read_options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Header, Picture
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.pipeline.progress import Listener
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.request import BytesSource, UpscaleRequest, UrlSource
from enlarger.storage import Draft, ResultStore, StoredResult

PICTURE = encoded(noise(30, 40, 3))
"""40 x 30 px, RGB."""

DEEP = png(noise(30, 40, 3).astype(np.uint16) * 257, colour=RGB, depth_bits=16)
"""The same with 16 bits per sample."""

OTHER = encoded(noise(30, 40, 3, seed=1))
"""Another one: an identical request would share the work of the first."""


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The installed models, ``nearest`` among them."""
    return Catalogue.installed(model_dir)


@pytest.fixture
def facts(catalogue: Catalogue) -> tuple[ModelFacts, ...]:
    """What an engine says that has the model ``nearest``."""
    model = catalogue.choose("nearest", scale=4)
    return (
        ModelFacts(
            id=model.id,
            scale=4,
            halo_px=2,
            halo_is_exact=True,
            max_tile_px=model.max_tile_px,
            mflop_per_px=model.mflop_per_px,
            sha256=model.sha256,
            precisions=("bf16", "f32"),
        ),
    )


Make = Callable[..., Pipeline]

T = TypeVar("T")


@pytest.fixture
async def make(tmp_path: Path, catalogue: Catalogue) -> AsyncIterator[Make]:
    """Makes a pipeline of real parts around an engine; further arguments are settings."""
    async with Decoders(2) as decoders:
        with ThreadPoolExecutor(2) as executor:

            def pipeline(
                engine: Engine,
                *,
                draining: Callable[[], bool] = lambda: False,
                store: ResultStore | None = None,
                decode: Decoders = decoders,
                **settings: Any,
            ) -> Pipeline:
                loaded = config.load(upload_folder=tmp_path / "results", **settings)
                return Pipeline(
                    engine=engine,
                    catalogue=catalogue,
                    fetcher=Fetcher("off", limit_bytes=loaded.limits.max_file_size_bytes),
                    decoders=decode,
                    executor=executor,
                    encoders=executor,
                    store=store or FolderResults(tmp_path / "results"),
                    limits=loaded.limits,
                    precision=loaded.server.precision,
                    draining=draining,
                )

            yield pipeline


def job(
    data: bytes = PICTURE, *, scale: int = 4, precision: str = "auto", request_id: str = "-"
) -> UpscaleRequest:
    """A job for the model ``nearest``."""
    options = read_options(
        {"scale": scale, "model": "nearest", "precision": precision}, strict=True
    )
    return UpscaleRequest(source=BytesSource(data), options=options, request_id=request_id)


def work_mflop(catalogue: Catalogue) -> float:
    """What the network computes for a picture of 40 x 30, halos included."""
    model = catalogue.choose("nearest", scale=4)
    boxes = plan(40, 30, halo_px=model.halo_px, max_tile_px=model.max_tile_px)
    return sum(box.lr_px for box in boxes) * model.mflop_per_px


def cut_short(data: bytes) -> bytes:
    """A file whose header is whole and whose pixels are not."""
    return data[: len(data) // 2]


def kept(folder: Path) -> list[str]:
    """All files below a folder."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def running(
    pipeline: Pipeline, engine: HeldEngine | StuckEngine, asked: UpscaleRequest | None = None
) -> AsyncIterator[asyncio.Task[Any]]:
    """A request whose tiles are with the engine; cancelled in the end if it still runs."""
    arrived = len(engine.requests)
    task = asyncio.create_task(pipeline.run(asked or job(request_id="first")))
    async with asyncio.timeout(20):
        if isinstance(engine, StuckEngine):
            await engine.started.wait()
        else:
            await engine.holds(arrived + 1)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


# What comes out


@pytest.mark.parametrize("channels", [1, 3, 4])
async def test_stored_file_holds_the_enlarged_picture(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path, channels: int
) -> None:
    """A PNG of the same channels, under the store's name; nothing else is left in the folder."""
    samples = visible(noise(30, 40, channels))
    outcome = await make(NearestEngine(facts)).run(job(encoded(samples)))
    with Image.open(path_of(tmp_path, outcome)) as image:
        made = np.asarray(image)
        assert image.format == "PNG"
    assert np.array_equal(made.reshape(120, 160, channels), nearest(samples, 4))
    assert kept(tmp_path / "results") == [f"upscaled_{outcome.stored.token}.png"]
    assert outcome.stored.size_bytes == path_of(tmp_path, outcome).stat().st_size


async def test_colour_profile_is_in_the_stored_file(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """It belongs to the samples."""
    profile = icc_profile(b"RGB ")
    data = encoded(noise(8, 8, 3), icc_profile=profile)
    outcome = await make(NearestEngine(facts)).run(job(data))
    with Image.open(path_of(tmp_path, outcome)) as image:
        assert image.info["icc_profile"] == profile


async def test_outcome_states_input_and_what_ran(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """Size and bytes of the input, size of the result, model and engine."""
    outcome = await make(NearestEngine(facts)).run(job(scale=2))
    assert (outcome.header.width_px, outcome.header.height_px) == (40, 30)
    assert outcome.header.format == "png"
    assert outcome.input_bytes == len(PICTURE)
    made = outcome.ran
    assert (outcome.width_px, outcome.height_px) == (80, 60)
    assert (made.model, made.engine) == ("nearest", "nearest")
    assert 0 < outcome.took_s < 60


async def test_caller_is_told_of_every_tile(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """From the first to the last."""
    calls: list[tuple[int, int]] = []
    outcome = await make(NearestEngine(facts)).run(
        job(), listener=Listener(tile=lambda done, total: calls.append((done, total)))
    )
    tiles = outcome.ran.tiles
    assert tiles > 1
    assert calls == [(done, tiles) for done in range(1, tiles + 1)]


async def test_request_id_reaches_every_tile(make: Make, facts: tuple[ModelFacts, ...]) -> None:
    """It is in the logs of all who touch one."""
    engine = NearestEngine(facts)
    await make(engine).run(job(request_id="r-77"))
    assert {request.request_id for request in engine.requests} == {"r-77"}


# Precision


@pytest.mark.parametrize(
    ("setting", "asked", "expected"),
    [
        ("auto", "auto", "bf16"),
        ("f32", "auto", "f32"),
        ("bf16", "auto", "bf16"),
        ("f32", "bf16", "bf16"),
        ("bf16", "f32", "f32"),
        ("int8", "auto", "bf16"),  # which this model does not have
        ("int8", "f32", "f32"),
    ],
)
async def test_precision_is_the_jobs_then_the_operators_then_the_engines(
    make: Make, facts: tuple[ModelFacts, ...], setting: str, asked: str, expected: str
) -> None:
    """``auto`` leaves it to the next; the engine prefers its first, bf16 here."""
    engine = NearestEngine(facts)
    outcome = await make(engine, precision=setting).run(job(precision=asked))
    assert {request.precision for request in engine.requests} == {expected}
    assert outcome.ran.precision == expected


async def test_precision_that_is_not_to_be_had_is_refused(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """No other one in its place; the text says what there is."""
    engine = NearestEngine([replace(model, precisions=("f32",)) for model in facts])
    pipeline = make(engine)
    with pytest.raises(InvalidOption, match=r"bf16 is not .* f32"):
        await pipeline.run(job(precision="bf16"))
    assert engine.requests == []
    assert pipeline.load.requests == 0


WITH_ALL, WITH_BF16, WITH_F32 = ("bf16", "f32", "int8"), ("bf16", "f32"), ("f32",)
INT8_FIRST = ("int8", "bf16", "f32")
"""Of a model server that was started with ``ENLARGER_PRECISION=int8``."""


@pytest.mark.parametrize(
    ("data", "asked", "expected", "notes"),
    [
        (PICTURE, "auto", "bf16", []),
        (DEEP, "auto", "f32", []),
        (PICTURE, "bf16", "bf16", []),
        (DEEP, "bf16", "bf16", ["depth_limited"]),
        (DEEP, "int8", "int8", ["depth_limited"]),
        (DEEP, "f32", "f32", []),
    ],
    ids=["8 auto", "16 auto", "8 bf16", "16 bf16", "16 int8", "16 f32"],
)
async def test_sixteen_bits_are_computed_in_f32_unless_another_one_is_named(
    make: Make,
    facts: tuple[ModelFacts, ...],
    data: bytes,
    asked: str,
    expected: str,
    notes: list[str],
) -> None:
    """The estimate, the tiles and the answer say the same; what is lost by a precision that was named is noted."""
    engine = NearestEngine(replace(model, precisions=WITH_ALL) for model in facts)
    pipeline = make(engine)
    wanted = job(data, precision=asked)
    header, size_bytes = await pipeline.header(wanted)
    estimate = pipeline.estimate(header, wanted.options, input_bytes=size_bytes)
    outcome = await pipeline.run(wanted)
    assert {request.precision for request in engine.requests} == {expected}
    assert (estimate.precision, outcome.ran.precision) == (expected, expected)
    assert [note.code for note in outcome.notes] == notes


def test_estimate_refuses_a_precision_that_is_not_to_be_had(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """As the request itself would be; while no server is ready, nobody knows what there will be."""
    header = Header(format="png", width_px=40, height_px=30, mode="RGB", depth_bits=16, frames=1)
    with pytest.raises(InvalidOption, match="int8 is not to be had"):
        make(NearestEngine(facts)).estimate(header, job(precision="int8").options, input_bytes=0)
    nobody = make(NearestEngine([])).estimate(header, job(precision="int8").options, input_bytes=0)
    assert nobody.precision is None


class Looking(NearestEngine):
    """Shows in each sample how many pixels its network saw of the tile, so that another plan makes another picture."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The tile with each pixel repeated, darker by what was seen."""
        result = await super().enlarge(request)
        return replace(result, pixels=result.pixels // 2 + np.uint16(request.lr_px))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["as planned first", "other first"])
async def test_servers_that_state_other_halos_change_no_byte(
    make: Make, facts: tuple[ModelFacts, ...], order: tuple[int, int], tmp_path: Path
) -> None:
    """While two versions run, halo and tiles are those of the gateway's own catalogue, whoever answers first."""
    data = encoded(noise(90, 120, 3))
    other = [replace(model, halo_px=model.halo_px + 7, mflop_per_px=3.0) for model in facts]
    servers = [Looking(facts), Looking(other)]
    alone = await make(Looking(facts)).run(job(data, request_id="alone"))
    pool = Pool([Member(f"server-{number}", servers[number]) for number in order])
    outcome = await make(pool).run(job(data, request_id="both"))
    assert all(server.requests for server in servers)
    assert outcome.ran.tiles == alone.ran.tiles > 1
    assert path_of(tmp_path, outcome).read_bytes() == path_of(tmp_path, alone).read_bytes()


async def test_plan_is_the_same_whichever_server_is_ready(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """What is estimated, admitted and computed are one plan, also where only the server with another halo is there."""
    other = Looking(replace(model, halo_px=model.halo_px + 7) for model in facts)
    pipeline = make(other)
    wanted = job(encoded(noise(90, 120, 3)))
    header, size_bytes = await pipeline.header(wanted)
    estimate = pipeline.estimate(header, wanted.options, input_bytes=size_bytes)
    with capture_logs() as logs:
        outcome = await pipeline.run(wanted)
    (admitted,) = [entry for entry in logs if entry["event"] == "admitted"]
    assert estimate.tiles == outcome.ran.tiles == len(other.requests)
    computed = sum(request.lr_px for request in other.requests) * facts[0].mflop_per_px
    assert round(estimate.mflop) == admitted["mflop"] == round(computed)


# Limits of size


def header(width_px: int, height_px: int) -> Header:
    """Of a PNG."""
    return Header(
        format="png", width_px=width_px, height_px=height_px, mode="RGB", depth_bits=8, frames=1
    )


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
    assert str(refusal.value) == f"Image too large: {size} bytes (max: {size - 1})"
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
    """A full gateway still tells a sender what to mend."""
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
    """Who is not admitted costs no decoding: a file cut short is refused as one too many."""
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
    """Three frames were admitted, and two of them are the same: what the third would take is given back."""
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
    """And the outcome has it. The second one is told of the first one's decoding, too; who finds a result waited for none."""
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
    """Better than a number that nobody measured."""
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


class AbsentEngine(NearestEngine):
    """Has no server ready until ``present`` is set."""

    def __init__(self, models: Iterable[ModelFacts]) -> None:
        super().__init__(models)
        self.asked = asyncio.Event()
        self.present = asyncio.Event()

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait for it."""
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
        """In time."""
        self.asked.set()
        await self.may_go.wait()
        return await super().decode(data, to_srgb=to_srgb, frames=frames, kind=kind)


def path_of(folder: Path, outcome: Outcome) -> Path:
    """The file of a result."""
    return folder / "results" / outcome.stored.file_name


class HeldResults(FolderResults):
    """Has written, and says so when ``may_go`` is set."""

    def __init__(self, folder: Path, *, max_age_s: float) -> None:
        super().__init__(folder, max_age_s=max_age_s)
        self.asked = asyncio.Event()
        self.may_go = asyncio.Event()
        self.deleted = asyncio.Event()

    async def publish(self, draft: Draft[object], *, suffix: str) -> StoredResult:
        """In time."""
        stored = await super().publish(draft, suffix=suffix)
        self.asked.set()
        await asyncio.wait_for(self.may_go.wait(), 20)
        return stored

    async def copy(self, stored: StoredResult) -> StoredResult | None:
        """In time."""
        copied = await super().copy(stored)
        self.asked.set()
        await asyncio.wait_for(self.may_go.wait(), 20)
        return copied

    async def delete(self, name: str) -> None:
        """And tell."""
        await super().delete(name)
        self.deleted.set()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel, and see that it takes no longer than that."""
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task


def is_empty(pipeline: Pipeline) -> bool:
    """Whether nothing is admitted."""
    load = pipeline.load
    counts = (load.requests, load.mflop, load.input_bytes, load.handling_s, pipeline.queued_px)
    return not any(counts)


async def makes_the_largest(pipeline: Pipeline) -> None:
    """All memory must be free for it, or it would wait."""
    async with asyncio.timeout(20):
        made = await pipeline.run(job(encoded(noise(64, 64, 3))))
    assert made.width_px == 256


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_picture_of_a_request_that_ends_early_is_let_go(
    make: Make, facts: tuple[ModelFacts, ...], ending: str
) -> None:
    """At once, and not when the garbage collector next looks at its oldest objects."""

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
    """As with a result of its own."""
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
    """Not even to say that the model is unknown; what runs is finished."""
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
    """Here a file stands in the folder's place; its path is not told. When that is mended, so is the service."""
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
    """It is made anew, and so is the result that was in it."""
    pipeline = make(NearestEngine(facts))
    await pipeline.run(job())
    shutil.rmtree(tmp_path / "results")
    again = await pipeline.run(job())
    assert again.found == "miss"
    assert kept(tmp_path / "results") == [again.stored.file_name]


# Animations and the size of the file


def animation(*, frames: int = 3, kind: str = "PNG") -> bytes:
    """So many frames of 40 x 30 px, each shown for 20 ms."""
    first, *later = (Image.fromarray(noise(30, 40, 3, seed=seed)) for seed in range(frames))
    return encoded(first, kind, save_all=True, append_images=later, duration=20, loop=2)


def asking(data: bytes, **fields: Any) -> UpscaleRequest:
    """A job for the model ``nearest`` with these options."""
    options = read_options({"scale": 4, "model": "nearest", **fields}, strict=True)
    return UpscaleRequest(source=BytesSource(data), options=options)


ONE, SEVERAL = 1, 7


async def test_stored_animation_moves(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """All its frames, enlarged, with their times; the caller is told that it was kept."""
    outcome = await make(NearestEngine(facts)).run(asking(animation(), frames="all"))
    with Image.open(path_of(tmp_path, outcome)) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("PNG", 3)
        assert image.info["loop"] == 2
        for number in range(3):
            image.seek(number)
            image.load()
            assert image.info["duration"] == 20
            assert np.array_equal(np.asarray(image), nearest(noise(30, 40, 3, seed=number), 4))
    assert "animation" in outcome.kept
    assert outcome.notes == ()


async def test_stored_first_frame_is_still(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """With a note on what was left out."""
    outcome = await make(NearestEngine(facts)).run(asking(animation(), frames="first"))
    with Image.open(path_of(tmp_path, outcome)) as image:
        assert getattr(image, "n_frames", 1) == 1
        assert np.array_equal(np.asarray(image), nearest(noise(30, 40, 3), 4))
    assert [note.code for note in outcome.notes] == ["first_frame_only"]
    assert "animation" not in outcome.kept


async def test_undecided_animation_is_refused_before_the_work(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """So is one that the format of the result cannot hold, and one of too many frames or pixels."""
    engine = NearestEngine(facts)
    pipeline = make(engine, max_frames=2, max_output_px=19200)
    with pytest.raises(AnimationUnsupported):
        await pipeline.run(asking(animation()))
    with pytest.raises(InvalidOption, match=r"^Invalid frames: .* 3 frames, and up to 2 are"):
        await pipeline.run(asking(animation(), frames="all"))
    with pytest.raises(OutputTooLarge, match="frames=1 fits"):
        await pipeline.run(asking(animation(), frames=2))
    for kind in ("jpeg", "tiff"):
        with pytest.raises(InvalidOption, match=f"^Invalid format: {kind} holds one picture"):
            await make(engine).run(asking(animation(), frames="all", format=kind))
    assert engine.requests == []
    assert pipeline.load.requests == 0


async def test_environment_sets_the_most_frames(
    make: Make, facts: tuple[ModelFacts, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ENLARGER_MAX_FRAMES``; as many as that are enlarged."""
    monkeypatch.setenv("ENLARGER_MAX_FRAMES", "3")
    pipeline = make(NearestEngine(facts))
    assert (await pipeline.run(asking(animation(), frames="all"))).notes == ()
    with pytest.raises(InvalidOption, match="up to 3 are"):
        await pipeline.run(asking(animation(frames=4), frames="all"))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
async def test_stored_file_has_no_more_bytes_than_asked_for(
    make: Make, facts: tuple[ModelFacts, ...], kind: str, tmp_path: Path
) -> None:
    """And no fewer pixels than the picture; the sizes that are told are the file's."""
    pipeline = make(NearestEngine(facts))
    whole = await pipeline.run(asking(PICTURE, scale=2, format=kind))
    most = whole.stored.size_bytes // 2
    outcome = await pipeline.run(asking(PICTURE, scale=2, format=kind, max_bytes=most))
    assert outcome.stored.size_bytes == path_of(tmp_path, outcome).stat().st_size <= most
    with Image.open(path_of(tmp_path, outcome)) as image:
        assert image.size == (outcome.width_px, outcome.height_px)
        assert min(image.width - 40, image.height - 30) >= 0
    lowered = {"quality_lowered", "size_lowered"}
    assert {note.code for note in outcome.notes} - {"resampled"} <= lowered
    assert len(outcome.notes) > len(whole.notes)


async def test_file_that_cannot_be_so_small_is_refused_and_not_kept(
    make: Make, facts: tuple[ModelFacts, ...], tmp_path: Path
) -> None:
    """By the option's name."""
    pipeline = make(NearestEngine(facts))
    with pytest.raises(
        InvalidOption, match=r"^Invalid max_bytes: png needs \d+ bytes even at 40x30"
    ):
        await pipeline.run(asking(PICTURE, max_bytes=50))
    assert kept(tmp_path / "results") == []
    assert pipeline.load.requests == 0
