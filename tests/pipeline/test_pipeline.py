"""The life of a request, from the picture's bytes to the stored file, and what is given back on every way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs
from support.fakes import NearestEngine, nearest
from support.pictures import encoded, icc_profile, noise, visible
from support.pipeline_requests import asking
from support.pipelines import (
    DEEP,
    PICTURE,
    Make,
    job,
    kept,
    path_of,
)

from enlarger.engine.tile import ModelFacts, TileRequest, TileResult
from enlarger.errors import (
    AnimationUnsupported,
    InvalidOption,
    OutputTooLarge,
)
from enlarger.picture.values import Header
from enlarger.pipeline.progress import Listener
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool

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
    """The caller is told of the first tile, of the last one, and of each between them."""
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
    """``auto`` leaves the choice to the next of them. The engine prefers its first precision, which is bf16 here."""
    engine = NearestEngine(facts)
    outcome = await make(engine, precision=setting).run(job(precision=asked))
    assert {request.precision for request in engine.requests} == {expected}
    assert outcome.ran.precision == expected


async def test_precision_that_is_not_to_be_had_is_refused(
    make: Make, facts: tuple[ModelFacts, ...]
) -> None:
    """No other precision replaces it. The text lists those that are available."""
    engine = NearestEngine([replace(model, precisions=("f32",)) for model in facts])
    pipeline = make(engine)
    with pytest.raises(InvalidOption, match=r"bf16 is not .* f32"):
        await pipeline.run(job(precision="bf16"))
    assert engine.requests == []
    assert pipeline.load.requests == 0


WITH_ALL, WITH_BF16, WITH_F32 = ("bf16", "f32", "int8"), ("bf16", "f32"), ("f32",)


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
    """The estimate is refused as the request would be. While no server is ready, the precisions are not known."""
    header = Header(format="png", width_px=40, height_px=30, mode="RGB", depth_bits=16, frames=1)
    with pytest.raises(InvalidOption, match="int8 is not available"):
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
    """During an upgrade, two versions run. Halo and tiles are those of the gateway's own catalogue, whichever server answers first."""
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
    """Estimate, admission and tiles use one plan, even if only the server with another halo is ready."""
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


# Animations and the size of the file


def animation(*, frames: int = 3, kind: str = "PNG") -> bytes:
    """So many frames of 40 x 30 px, each shown for 20 ms."""
    first, *later = (Image.fromarray(noise(30, 40, 3, seed=seed)) for seed in range(frames))
    return encoded(first, kind, save_all=True, append_images=later, duration=20, loop=2)


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
    """A note says that frames were left out."""
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
    """The result is never smaller than the picture. The sizes in the outcome are those of the file."""
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
