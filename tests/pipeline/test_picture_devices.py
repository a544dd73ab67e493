"""The device of a picture, and its step down to smaller tiles."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from enlarger.engine.device import CPU, Device
from enlarger.engine.tile import EngineFacts
from enlarger.errors import InvalidOption, OutOfMemory
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.values import Header, Picture
from enlarger.pipeline.devices import Devices
from enlarger.pipeline.limits import Limits
from enlarger.pipeline.outcome import Enlarged, Ran, ran_as
from enlarger.pipeline.plan import Plan, plan
from enlarger.pipeline.within_memory import within_memory

CARD = Device(name="Card", driver="1", tile_class="gpu-4g")
BEST = "realesrgan-x4plus"


def facts(*devices: Device, ready: bool = True) -> EngineFacts:
    """The facts of a pool of these."""
    return EngineFacts(
        engine="pool",
        ready=ready,
        models=(),
        capacity=1,
        in_flight=0,
        mflop_per_s=None,
        devices=devices,
    )


def planned(device: Device, *, side_px: int = 1000) -> Plan:
    """The plan of a square picture for a device."""
    header = Header(
        format="PNG", width_px=side_px, height_px=side_px, mode="RGB", depth_bits=8, frames=1
    )
    catalogue = Catalogue.installed(Path("there are no models of your own"))
    options = Options(scale=4, model=BEST)
    return plan(header, options, catalogue=catalogue, limits=Limits(), device=device)


def test_device_is_the_first_or_the_one_that_is_named() -> None:
    """By a part of its name, in any case."""
    devices = Devices()
    assert devices.choose(facts(CARD, CPU), None) == CARD
    assert devices.choose(facts(CARD, CPU), "CPU") == CPU
    with pytest.raises(InvalidOption, match=r"Invalid device: .*'Arc'.*there is Card \(1\), cpu"):
        devices.choose(facts(CARD, CPU), "Arc")
    assert devices.choose(facts(CPU, ready=False), "Card") == CPU


def test_class_decides_the_tiles_and_nothing_else() -> None:
    """On a CPU, the tiles are the same as in earlier versions."""
    small, large, cpu = (
        planned(replace(CARD, tile_class="gpu-1g")),
        planned(replace(CARD, tile_class="gpu-24g")),
        planned(CPU),
    )
    assert small.tiles > cpu.tiles >= large.tiles
    assert small.way.tile_lr_px <= 96**2
    assert small.out_px == large.out_px == cpu.out_px
    assert small.need.device == "Card (1)"


async def test_picture_starts_again_in_smaller_tiles() -> None:
    """With a note; later pictures have the smaller class at once."""
    devices, tried = Devices(), []

    async def enlarge(plan: Plan) -> Enlarged:
        await asyncio.sleep(0)
        tried.append(plan.device.tile_class)
        if plan.way.tile_lr_px > 150**2:
            raise OutOfMemory("too large")
        ran = Ran(model=BEST, model_sha256="0", engine="fake", precision="f16", tiles=plan.tiles)
        return Enlarged(picture=Picture(samples=np.zeros((4, 4, 3), np.uint8)), ran=ran)

    first = planned(devices.choose(facts(replace(CARD, tile_class="gpu-8g")), None))
    enlarged, plan = await within_memory(enlarge, first, planned, devices)
    assert tried == ["gpu-8g", "gpu-4g", "gpu-2g"]
    assert plan.device.tile_class == "gpu-2g"
    assert [note.code for note in enlarged.picture.notes] == ["smaller_tiles"]
    assert devices.choose(facts(CARD), None).tile_class == "gpu-2g"
    assert devices.choose(facts(CPU), None) == CPU


async def test_error_stays_where_there_is_no_smaller_class() -> None:
    """It also stays on a CPU, which has no other class."""

    async def enlarge(_: Plan) -> Enlarged:
        await asyncio.sleep(0)
        raise OutOfMemory("too large")

    for device in (CPU, replace(CARD, tile_class="gpu-1g")):
        with pytest.raises(OutOfMemory):
            await within_memory(enlarge, planned(device), planned, Devices())


def test_cache_tells_devices_classes_and_precisions_apart() -> None:
    """Entries for CPUs keep the keys of earlier versions."""
    assert ran_as(CPU, ["bf16"]) == ""
    keys = {
        ran_as(CARD, ["f16"]),
        ran_as(CARD, ["f16", "f32"]),
        ran_as(replace(CARD, tile_class="gpu-2g"), ["f16"]),
        ran_as(replace(CARD, driver="2"), ["f16"]),
    }
    assert len(keys) == 4
