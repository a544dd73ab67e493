"""A picture that the engine computes in tiles is the picture that it computes whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import openvino as ov  # noqa: TID253 - compared with
import pytest
from support.openvino_tiles import (
    difference,
    enlarged,
)

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.samples import to_floats, to_samples
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue


@pytest.fixture
async def engine(catalogue: Catalogue, cache_folder: Path) -> AsyncIterator[OpenVINOEngine]:
    """An engine whose compiled networks all tests share."""
    async with OpenVINOEngine(
        catalogue, threads=2, precision="f32", cache_folder=cache_folder
    ) as engine:
        yield engine


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


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Peak signal to noise, in dB."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


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
