"""The engine of this process keeps its promises as an ``Engine``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs
from support.fakes import nearest, need_of
from support.networks import (
    random_layers,
    write_compact,
    write_nearest,
)
from support.openvino_tiles import (
    LONG_S,
    WITH_BF16,
    asked,
    enlarged,
    names,
    read,
)
from support.pictures import encoded, noise

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
)
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.models.golden import GOLDEN_FOLDER


@pytest.fixture
async def engine(catalogue: Catalogue, cache_folder: Path) -> AsyncIterator[OpenVINOEngine]:
    """An engine whose compiled networks all tests share."""
    async with OpenVINOEngine(
        catalogue, threads=2, precision="f32", cache_folder=cache_folder
    ) as engine:
        yield engine


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


async def test_facts_state_every_network(engine: OpenVINOEngine, catalogue: Catalogue) -> None:
    """Each noise level of each row, the default precision first, and a speed once there is one."""
    assert engine.facts().mflop_per_s is None
    await enlarged(engine, "nearest", noise(4, 4, 3))
    facts = engine.facts()
    levels = [(row, level) for row in catalogue for level in (None, *row.denoise)]
    assert {model.id for model in facts.models} == {row.at(level).id for row, level in levels}
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
