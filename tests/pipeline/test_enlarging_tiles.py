"""Tiles of one picture: blended ones have no seams, and equal ones are computed once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.enlargements import LONG_S, enlarged
from support.fakes import NEAREST, NearestEngine, nearest
from support.pictures import noise, noise16, visible
from support.plans import planned

from enlarger.engine import Engine
from enlarger.engine.tile import ModelFacts, TileRequest, TileResult, sha256_of
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.route import tiles_of as tiles_for
from enlarger.geometry.tiles import BLEND_PX, plan
from enlarger.picture.values import Picture
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.outcome import Enlarged

# Blended tiles


BLENDED = replace(NEAREST, halo_px=6, halo_is_exact=False, blend_px=BLEND_PX)
"""A model whose tiles fade into one another."""


class OpinionatedEngine(NearestEngine):
    """Fills each tile with its own mean, so that neighbours differ."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Return a tile of one value."""
        result = await super().enlarge(request)
        return replace(result, pixels=np.full_like(result.pixels, request.pixels.mean()))


async def blended(
    samples: Pixels, engine: Engine, executor: ThreadPoolExecutor, region: Rect | None = None
) -> Pixels:
    """Enlarged four times by ``BLENDED``."""
    height, width, _ = samples.shape
    result = await enlarge(
        Picture(samples=samples),
        plan=planned(width, height, (4 * width, 4 * height), model=BLENDED, region=region),
        precision="f32",
        engine=engine,
        executor=executor,
        deadline=asyncio.get_running_loop().time() + LONG_S,
    )
    made: Pixels = result.picture.samples
    return made


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_blended_tiles_that_agree_are_exact(
    executor: ThreadPoolExecutor, channels: int
) -> None:
    """Shares of tiles add up to what the tiles agree on, in 16 bits too."""
    samples = visible(noise16(90, 110, channels))
    samples[:, :, -1] |= 1
    engine = NearestEngine([BLENDED])
    assert np.array_equal(await blended(samples, engine, executor), nearest(samples, 4))
    assert any(
        request.keep != Rect.whole(request.pixels.shape[1], request.pixels.shape[0])
        for request in engine.requests
    )


async def test_blended_tiles_have_no_steps(executor: ThreadPoolExecutor) -> None:
    """Tiles of different brightness fade over eight pixels; next samples differ by a fraction of it."""
    samples = np.zeros((90, 200, 3), np.uint16)
    samples[:, 100:] = 60_000
    made = await blended(samples, OpinionatedEngine([BLENDED]), executor)
    values = made[:, :, 0].astype(int)
    assert values.max() - values.min() > 30_000
    assert max(np.abs(np.diff(values, axis=axis)).max() for axis in (0, 1)) < 60_000 / 20


async def test_region_of_blended_tiles_has_the_pixels_of_the_whole(
    executor: ThreadPoolExecutor,
) -> None:
    """Tiles outside the region that fade into it are computed as well."""
    samples = noise16(90, 110, 3)
    whole = await blended(samples, OpinionatedEngine([BLENDED]), executor)
    for region in (Rect(20, 13, 60, 44), Rect.whole(1, 1), Rect(53, 0, 57, 90)):
        part = await blended(samples, OpinionatedEngine([BLENDED]), executor, region)
        assert np.array_equal(part, whole[region.times(4).slices])


# Equal tiles


class OwnLookEngine(NearestEngine):
    """Returns pixels that depend on every pixel of the tile and on their place in it."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Return the same pixels for the same tile, whichever part of it is kept."""
        result = await super().enlarge(request)
        return replace(result, pixels=own_look(request.pixels)[of(request.kept)])


def own_look(tile: Pixels) -> Pixels:
    """Return the look of a tile, of shape (H * 4, W * 4, 3)."""
    ramp = np.arange(16 * tile.shape[0] * tile.shape[1]).reshape(4 * tile.shape[0], -1, 1)
    made: Pixels = (nearest(tile, 4) + 7 * ramp + tile.sum()).astype(np.uint16)
    return made


def of(keep: Rect) -> tuple[slice, slice]:
    """A part of the enlargement of a tile."""
    rows, columns = keep.slices
    return slice(4 * rows.start, 4 * rows.stop), slice(4 * columns.start, 4 * columns.stop)


@given(
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    period=st.integers(1, 40),
    colours=st.integers(1, 3),
    blends=st.booleans(),
    seed=st.integers(0, 9),
)
def test_equal_tiles_are_computed_once_and_change_no_sample(
    height: int, width: int, period: int, colours: int, blends: bool, seed: int
) -> None:
    """The result is the same as if each tile had been computed by itself, for flat and for patterned pictures."""
    model = BLENDED if blends else NEAREST
    pattern = np.random.default_rng(seed).integers(0, colours, (period, period, 3)) * 9000
    samples = np.tile(pattern, (130, 130, 1))[:height, :width].astype(np.uint16)
    boxes = tiles_for(width, height, model)
    expected = np.zeros((4 * height, 4 * width, 3), np.uint16)
    for box in boxes:
        box.paste(expected, own_look(box.read(samples))[of(box.kept_in_tile)], 4)
    distinct = {(box.read(samples).shape, box.read(samples).tobytes()) for box in boxes}
    engine = OwnLookEngine([model])
    with ThreadPoolExecutor(2) as executor:
        result = asyncio.run(whole(samples, model, engine, executor))
    assert np.array_equal(result.picture.samples, expected)
    assert len(engine.requests) == len(distinct)
    assert (result.ran.tiles, result.ran.reused) == (len(boxes), len(boxes) - len(distinct))


async def whole(
    samples: Pixels, model: ModelFacts, engine: Engine, executor: ThreadPoolExecutor
) -> Enlarged:
    """All of a picture, four times as large, as the network made it."""
    height, width, _ = samples.shape
    return await enlarge(
        Picture(samples=samples),
        plan=planned(width, height, (4 * width, 4 * height), model=model),
        precision="f32",
        engine=engine,
        executor=executor,
        deadline=asyncio.get_running_loop().time() + LONG_S,
    )


async def test_flat_picture_is_one_tile(executor: ThreadPoolExecutor) -> None:
    """With the plan of x4plus: 512 x 512 in four tiles of one shape, whose own parts lie in other corners."""
    model = replace(BLENDED, halo_px=28, max_tile_px=379 * 379)
    samples = np.full((512, 512, 3), 30_000, np.uint16)
    engine = NearestEngine([model])
    result = await whole(samples, model, engine, executor)
    assert (len(engine.requests), result.ran.tiles, result.ran.reused) == (1, 4, 3)
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


async def test_tile_that_has_no_equal_makes_its_own_part_alone(
    executor: ThreadPoolExecutor,
) -> None:
    """Nothing is computed that nobody wants."""
    engine = NearestEngine()
    samples = noise(60, 80, 3)
    await enlarged(samples, engine, executor)
    boxes = plan(80, 60, halo_px=NEAREST.halo_px, max_tile_px=NEAREST.max_tile_px)
    assert [request.keep for request in engine.requests] == [box.kept_in_tile for box in boxes]
    # The digests were computed before, for all tiles together.
    assert all(request.pixels_sha256 == sha256_of(request.pixels) for request in engine.requests)
