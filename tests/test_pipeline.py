"""The life of a request, from the picture's bytes to the stored file, and what is given back on every way out."""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from pictures import RGB, encoded, icc_profile, noise, png_chunk, visible
from PIL import Image
from pipelines import DEEP, OTHER, PICTURE, Make, cut_short, job, kept, path_of, running, work_mflop
from structlog.testing import capture_logs

from enlarger.engine.tile import ModelFacts, TileRequest, TileResult
from enlarger.errors import (
    AnimationUnsupported,
    DeadlineTooShort,
    EnlargerError,
    FileTooLarge,
    ImageTooLarge,
    InvalidOption,
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
from enlarger.options import Options, read_options
from enlarger.picture.values import Header
from enlarger.pipeline.progress import Listener
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.request import BytesSource, UpscaleRequest, UrlSource

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
