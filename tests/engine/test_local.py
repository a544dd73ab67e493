"""What all engines in this process share, shown on a second runtime that is made here: numpy, by nearest.

It adds nothing but its own class and a line in the factory's registry.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.fakes import nearest, need_of
from support.networks import nearest_layers, write_halved, write_nearest
from support.pictures import encoded, noise
from support.runtimes import LONG_S, NearestNetwork, NumpyRuntime

from enlarger.engine import factory
from enlarger.engine.device import Device
from enlarger.engine.factory import make_engine
from enlarger.engine.local import LocalEngine
from enlarger.engine.offered import model_facts
from enlarger.engine.tile import TileRequest
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    DeviceLost,
    EngineFailed,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
    WrongOutput,
)
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Catalogue
from enlarger.models.golden import golden_input


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """One model, with a golden picture: its input by nearest."""
    row = write_nearest(tmp_path, "own")
    (tmp_path / "own.png").write_bytes(encoded(nearest(golden_input(), 4)))
    row.write_text(f"{row.read_text()}golden = 'own.png'\n")
    found = Catalogue.installed(tmp_path)
    return Catalogue([found.choose("own", scale=4)])


def asked(catalogue: Catalogue, pixels: Pixels, *, left_s: float = LONG_S) -> TileRequest:
    """A request for a tile, in f16."""
    (model,) = catalogue
    return TileRequest(
        pixels=pixels,
        model=model.id,
        weights_sha256=model.sha256,
        graph_sha256=model.graph_sha256,
        scale=model.scale,
        precision="f16",
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id="test",
    )


async def test_another_runtime_is_an_engine(catalogue: Catalogue) -> None:
    """Its facts, its results and its device are its own; the rest is shared."""
    async with LocalEngine(catalogue, NumpyRuntime(streams=3)) as engine:
        facts = engine.facts()
        assert (facts.engine, facts.capacity, facts.parallel, engine.device) == (
            "numpy",
            6,
            3,
            Device(name="abacus:0"),
        )
        (model,) = facts.models
        assert (model.id, model.scale, model.precisions) == ("own", 4, ("f16", "f32"))
        assert await engine.ready_for(need_of(model)) == model
        tile = noise(5, 7, 3)
        result = await engine.enlarge(
            replace(asked(catalogue, tile), keep=Rect(left=1, top=2, right=6, bottom=4))
        )
        assert np.array_equal(result.pixels, nearest(tile[2:4, 1:6], 4))
        assert (result.engine, result.precision, result.repeated) == ("numpy", "f16", None)
        assert engine.facts().mflop_per_s is not None


async def test_graph_tells_versions_with_the_same_weights_apart(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """Tiles planned with the one at 4x are computed at 4x, while one at 2x is offered; one that never was is refused."""
    (tmp_path / "after").mkdir()
    write_halved(tmp_path / "after", "own", nearest_layers())
    after = Catalogue([Catalogue.installed(tmp_path / "after").choose("own", scale=2)])
    tile = noise(5, 7, 3)
    runtime = NumpyRuntime()
    async with LocalEngine(catalogue, runtime) as engine:
        engine.offer(after)
        for versions, scale in [(catalogue, 4), (after, 2)]:
            request = asked(versions, tile)
            assert (await engine.ready_for(request.need)).scale == scale
            result = await engine.enlarge(request)
            assert np.array_equal(result.pixels, nearest(tile, scale))
            runtime.kept.clear()  # it finds networks by the id alone
        unknown = replace(asked(after, tile), graph_sha256="1" * 64)
        with pytest.raises(ModelNotHere, match="graph 1111"):
            await engine.enlarge(unknown)
        with pytest.raises(NoEngineReady):
            await engine.ready_for(unknown.need)


async def test_factory_makes_a_runtime_by_name(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line in its registry is all that it needs; a name that nobody has is refused with those there are."""

    def maker() -> factory.Maker:
        def make(
            catalogue: Catalogue,
            *,
            device: str,
            threads: int,
            precision: str,
            cache_folder: Path | None,
            budget_bytes: int | None,
            one_picture: bool,
        ) -> LocalEngine:
            assert (device, cache_folder) == ("abacus:1", None)
            runtime = NumpyRuntime(streams=threads)
            return LocalEngine(
                catalogue,
                runtime,
                precision=precision,
                budget_bytes=budget_bytes,
                one_picture=one_picture,
            )

        return make

    monkeypatch.setitem(factory.RUNTIMES, "numpy", maker)
    async with make_engine(
        catalogue, device="numpy:abacus:1", threads=2, precision="f32"
    ) as engine:
        assert (engine.facts().engine, engine.streams) == ("numpy", 2)
        assert engine.facts().models[0].precisions == ("f32", "f16")
    async with make_engine(catalogue, threads=1) as engine:
        assert (engine.facts().engine, engine.device.id) == ("openvino", "cpu")
    with pytest.raises(ConfigError, match="no runtime 'torch'; there are openvino, vulkan, numpy"):
        make_engine(catalogue, device="torch", threads=1)


async def test_network_that_misses_its_golden_picture_never_computes_a_tile(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """It is out of the facts until one of its files changes; then it is tried again."""
    runtime = NumpyRuntime(f16=0.03, f32=0.03)
    async with LocalEngine(catalogue, runtime) as engine:
        with pytest.raises(WrongOutput, match="own in f32 differs from its golden picture"):
            await engine.load("own")
        with pytest.raises(ModelNotHere, match="differs from its golden picture"):
            await engine.enlarge(asked(catalogue, noise(4, 4, 3)))
        assert runtime.networks["f16"].tiles == [golden_input().shape]
        assert engine.facts().models == ()
        (model,) = catalogue
        assert runtime.kept == {}
        with pytest.raises(NoEngineReady, match="golden picture"):
            await engine.ready_for(need_of(model_facts(model, ())))
        runtime.shifts.clear()
        (tmp_path / "own.png").write_bytes(encoded(nearest(golden_input(), 4)) + b" ")
        assert engine.facts().models != ()
        assert (await engine.enlarge(asked(catalogue, noise(4, 4, 3)))).precision == "f16"


async def test_f32_takes_the_place_of_half_precision_that_is_wrong(catalogue: Catalogue) -> None:
    """Where f16 misses the golden picture: for new pictures, which are told so, and for those that have begun."""
    runtime = NumpyRuntime(f16=0.03)
    async with LocalEngine(catalogue, runtime) as engine:
        before = asked(catalogue, noise(4, 4, 3))
        with capture_logs() as logs:
            await engine.load("own")
        assert [entry["event"] for entry in logs] == ["half_precision_wrong", "model_loaded"]
        assert engine.facts().models[0].precisions == ("f32",)
        result = await engine.enlarge(before)
        assert (result.precision, result.repeated) == ("f32", None)
        assert np.array_equal(result.pixels, nearest(before.pixels, 4))


async def test_device_whose_half_precision_fails_twice_stays_in_f32(catalogue: Catalogue) -> None:
    """Right on the golden picture, and black later. One warning names the device."""
    runtime = NumpyRuntime()
    async with LocalEngine(catalogue, runtime) as engine:
        await engine.load("own")
        runtime.networks["f16"].shift = -1.0
        with capture_logs() as logs:
            for offered in (("f16", "f32"), ("f32",), ("f32",)):
                result = await engine.enlarge(asked(catalogue, noise(4, 4, 3)))
                assert result.precision == "f32"
                assert engine.facts().models[0].precisions == offered
        given_up = [entry for entry in logs if entry["event"] == "half_precision_given_up"]
        assert [entry["device"] for entry in given_up] == ["abacus:0"]
        assert runtime.networks["f16"].tiles.count((4, 4, 3)) == 2


async def test_gpu_that_fails_on_the_golden_picture_as_well_is_lost(catalogue: Catalogue) -> None:
    """One that fails on a tile alone is not: the error is that of the tile."""
    runtime = NumpyRuntime()
    runtime.device = Device(name="abacus:0", tile_class="gpu-4g")
    async with LocalEngine(catalogue, runtime) as engine:
        await engine.load("own", "f32")
        network = runtime.networks["f32"]
        tile = replace(asked(catalogue, noise(4, 4, 3)), precision="f32")
        network.failing = lambda pixels: pixels.shape[0] == 4
        with pytest.raises(EngineFailed, match="no tile"):
            await engine.enlarge(tile)
        network.failing = lambda _: True
        with pytest.raises(DeviceLost, match="abacus:0 does not compute any more"):
            await engine.enlarge(tile)


async def test_wrong_network_of_an_earlier_run_is_made_anew(catalogue: Catalogue) -> None:
    """A right one is used as it is."""
    for shift, made in ((0.1, [("own", "f16", 1)]), (0.0, [])):
        earlier, runtime = NearestNetwork(4, shift), NumpyRuntime()
        earlier.gate.set()
        runtime.kept["own"] = earlier
        with capture_logs() as logs:
            async with LocalEngine(catalogue, runtime) as engine:
                await engine.load("own")
        assert runtime.made == made
        events = [entry["event"] for entry in logs]
        assert events == ["compiled_network_discarded"] * len(made) + ["model_loaded"]
        assert (runtime.kept["own"] is earlier) == (not made)


async def test_tile_that_is_no_picture_is_computed_again_in_f32(catalogue: Catalogue) -> None:
    """As half precision on some devices: right on the golden picture, and not a number later."""
    runtime = NumpyRuntime()
    async with LocalEngine(catalogue, runtime) as engine:
        await engine.load("own")
        runtime.networks["f16"].shift = np.nan
        tile = noise(4, 4, 3)
        result = await engine.enlarge(asked(catalogue, tile))
        assert (result.precision, result.repeated) == ("f32", "not_finite")
        assert np.array_equal(result.pixels, nearest(tile, 4))
        runtime.networks["f32"].shift = np.nan
        with pytest.raises(WrongOutput):
            await engine.enlarge(asked(catalogue, tile))
        assert engine.facts().in_flight == 0


async def test_precision_is_one_that_device_and_model_have(catalogue: Catalogue) -> None:
    """int8 needs a table of ranges, which this model does not have."""
    with pytest.raises(ConfigError, match="f16 and f32, not 'bf16'"):
        LocalEngine(catalogue, NumpyRuntime(), precision="bf16")
    runtime = NumpyRuntime(precisions=("f16", "f32", "int8"))
    async with LocalEngine(catalogue, runtime, precision="int8") as engine:
        assert engine.facts().models[0].precisions == ("f16", "f32")
        for precision in ("int8", "bf16"):
            request = replace(asked(catalogue, noise(4, 4, 3)), precision=precision)
            with pytest.raises(InvalidOption, match=precision):
                await engine.enlarge(request)


async def test_seats_deadlines_and_cancelling_are_those_of_every_engine(
    catalogue: Catalogue,
) -> None:
    """A tile that waits is given up in time, or dropped; the one that is computed keeps its thread."""
    runtime = NumpyRuntime()
    async with LocalEngine(catalogue, runtime) as engine:
        await engine.load("own")
        network = runtime.networks["f16"]
        network.gate.clear()
        network.started.clear()
        first = asyncio.create_task(engine.enlarge(asked(catalogue, noise(4, 4, 3))))
        assert await asyncio.to_thread(network.started.wait, LONG_S)
        waits = asyncio.create_task(engine.enlarge(asked(catalogue, noise(5, 5, 3))))
        await asyncio.sleep(0)
        assert (engine.facts().in_flight, engine.facts().capacity) == (2, 2)
        with pytest.raises(DeadlineExceeded):
            await engine.enlarge(asked(catalogue, noise(6, 6, 3), left_s=0.02))
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert engine.facts().in_flight == 1
        network.gate.set()
        assert (await first).pixels.shape == (16, 16, 3)
        await engine.load("own")  # comes after all of them, on the only thread
        assert engine.facts().in_flight == 0
    assert network.tiles == [golden_input().shape, (4, 4, 3)]


async def test_only_tile_of_a_picture_gets_the_whole_device(catalogue: Catalogue) -> None:
    """Where tiles belong to one picture at a time."""
    runtime = NumpyRuntime(streams=2)
    async with LocalEngine(catalogue, runtime, one_picture=True) as engine:
        for total in (1, 2):
            await engine.enlarge(replace(asked(catalogue, noise(4, 4, 3)), total=total))
            runtime.kept.clear()
    assert runtime.made == [("own", "f16", 1), ("own", "f16", 2)]
