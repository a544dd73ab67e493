"""Eight bits: how far they are from f32, that they are eight bits, and whose ranges are taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.networks import write_nearest, write_random_rrdb
from support.pictures import noise, skimage_photo

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.processor import this_processor
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import InvalidOption, ModelNotHere, WeightsError
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model, Ranges

needs_int8 = pytest.mark.skipif(
    "int8" not in this_processor().precisions,
    reason="this processor does not add products of bytes in 32 bits",
)

X4PLUS, ANIME, VIDEO = "realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3"
WITH_INT8 = (X4PLUS, ANIME)

PHOTOS = {
    "name tag and visor": ("astronaut.png", (60, 280)),
    "eye": ("chelsea.png", (110, 150)),
    "cup": ("coffee.png", (120, 300)),
    "launch": ("rocket.jpg", (230, 300)),
    "stained tissue": ("ihc.png", (200, 200)),
    "motorcycle": ("motorcycle_left.png", (250, 300)),
}
"""Photographs that the ranges were not measured on, and where a part of them begins."""


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


async def enlarged(
    engine: OpenVINOEngine, model: Model, pixels: Pixels, precision: str
) -> TileResult:
    """One tile."""
    return await engine.enlarge(
        TileRequest(
            pixels=np.ascontiguousarray(pixels),
            model=model.id,
            weights_sha256=model.sha256,
            scale=model.scale,
            precision=precision,
            deadline=asyncio.get_running_loop().time() + 200,
            request_id="test",
        )
    )


def psnr_db(one: Pixels, other: Pixels) -> float:
    """Peak signal to noise, in dB."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def kept_networks(folder: Path, beginning: str) -> list[Path]:
    """Files of compiled networks."""
    return list(folder.glob(f"{beginning}*.blob"))


# The picture


@needs_int8
@pytest.mark.parametrize("model_id", WITH_INT8)
async def test_int8_is_close_to_f32_on_photos_it_has_not_seen(
    catalogue: Catalogue, cache_folder: Path, model_id: str
) -> None:
    """40 dB and more on the mean, and no photo below 33."""
    model = catalogue.choose(model_id, scale=4)
    distances = {}
    async with OpenVINOEngine(
        catalogue, threads=2, precision="int8", cache_folder=cache_folder
    ) as engine:
        for name, (file, (top, left)) in PHOTOS.items():
            pixels = skimage_photo(file)[top : top + 40, left : left + 40]
            made, right = await asyncio.gather(
                *(enlarged(engine, model, pixels, precision) for precision in ("int8", "f32"))
            )
            assert (made.precision, right.precision) == ("int8", "f32")
            distances[name] = psnr_db(made.pixels, right.pixels)
    assert min(distances.values()) >= 33, distances
    assert np.mean(list(distances.values())) >= 40, distances
    assert max(distances.values()) < 60  # it is not f32 under another name


@needs_int8
async def test_borders_are_as_close_as_the_rest(catalogue: Catalogue, cache_folder: Path) -> None:
    """The padding is zero for the shifted features too: a tile of which half is border is no further off."""
    model = catalogue.choose(ANIME, scale=4)
    pixels = skimage_photo("astronaut.png")[60:68, 300:330]
    async with OpenVINOEngine(
        catalogue, threads=2, precision="int8", cache_folder=cache_folder
    ) as engine:
        made = await enlarged(engine, model, pixels, "int8")
        right = await enlarged(engine, model, pixels, "f32")
    assert psnr_db(made.pixels, right.pixels) >= 36


@needs_int8
async def test_threads_and_restarts_do_not_change_the_bytes(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    """One thread, two, and the network as it was kept."""
    model = catalogue.choose(ANIME, scale=4)
    pixels = skimage_photo("coffee.png")[120:150, 300:340]
    made = []
    for threads in (1, 2, 2):
        async with OpenVINOEngine(
            catalogue, threads=threads, precision="int8", cache_folder=tmp_path
        ) as engine:
            made.append((await enlarged(engine, model, pixels, "int8")).pixels)
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
    assert len(kept_networks(tmp_path, f"{ANIME}-int8-")) == 2  # trunk and tail


@needs_int8
async def test_doubtful_tile_is_computed_again_in_f32(
    catalogue: Catalogue, cache_folder: Path
) -> None:
    """Noise becomes something of another colour, which asks for a second look; f32 has the last word."""
    model = catalogue.choose(X4PLUS, scale=4)
    pixels = noise(24, 24, 3)
    async with OpenVINOEngine(
        catalogue, threads=2, precision="int8", cache_folder=cache_folder
    ) as engine:
        made = await enlarged(engine, model, pixels, "int8")
        right = await enlarged(engine, model, pixels, "f32")
    assert made.repeated == "mean_moved"
    assert np.abs(made.pixels.astype(int) - right.pixels).mean() <= 4


# The computing


@needs_int8
def test_convolutions_run_in_eight_bits(catalogue: Catalogue) -> None:
    """All of the dense blocks but those that the table leaves in float, and nothing is put back between them."""
    import openvino as ov

    model = catalogue.choose(ANIME, scale=4)
    ranges = model.read_ranges()
    compiled = ov.Core().compile_model(
        graphs.build(model, ranges), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    ran = Counter(
        (info["layerType"].astype(str), info["primitiveType"].astype(str).upper().endswith("I8"))
        for info in (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    )
    blocks = 6 - len(ranges.in_float)
    assert len(ranges.in_float) == 1
    assert ran["Convolution", True] == 15 * blocks
    assert ran["Convolution", False] == 15 * len(ranges.in_float) + 6
    assert ran["Concatenation", True] == 12 * blocks
    assert ran["FakeQuantize", False] <= 3 * blocks + 1  # each block's input, and the ones
    assert ran["Reorder", False] + ran["Reorder", True] <= 4


# Which models and CPUs support int8


@needs_int8
async def test_model_without_a_table_refuses_int8(catalogue: Catalogue) -> None:
    """It says what there is."""
    model = catalogue.choose(VIDEO, scale=4)
    async with OpenVINOEngine(catalogue, threads=1, precision="int8") as engine:
        with pytest.raises(InvalidOption, match=r"int8 is not .* f32$"):
            await enlarged(engine, model, np.zeros((4, 4, 3), np.uint8), "int8")


# The table


@pytest.mark.parametrize("model_id", WITH_INT8)
def test_shipped_table_fits_its_weights(catalogue: Catalogue, model_id: str) -> None:
    """As many dense blocks as the network has, and tens of kilobytes."""
    model = catalogue.choose(model_id, scale=4)
    ranges = model.read_ranges()
    blocks = (len(model.layers()) - 6) // 15
    assert ranges.low.shape == ranges.high.shape == ranges.mean.shape == (3 * blocks, 192)
    assert set(ranges.in_float) < set(range(blocks))
    assert model.ranges is not None
    assert model.ranges.stat().st_size < 100_000


def small_table(sha256: str, *, blocks: int = 1) -> Ranges:
    """Ranges from -1 to 1."""
    ones = np.ones((3 * blocks, 192), np.float32)
    return Ranges(sha256=sha256, low=-ones, high=ones, mean=0 * ones, in_float=(0,))


def test_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """To the precision of the file."""
    table = small_table("a" * 64)
    table.write(tmp_path / "own.npz")
    read = Ranges.read(tmp_path / "own.npz", sha256="a" * 64)
    assert np.array_equal(read.low, table.low)
    assert np.array_equal(read.high, table.high)
    assert np.array_equal(read.mean, table.mean)
    assert read.in_float == (0,)


@needs_int8
async def test_own_model_with_a_table_has_int8(tmp_path: Path) -> None:
    """The row names it."""
    row = write_random_rrdb(tmp_path, "own")
    model = Catalogue.installed(tmp_path).choose("own", scale=4)
    row.write_text(row.read_text() + "ranges = 'own.npz'\n")
    replace(small_table(model.sha256), in_float=()).write(tmp_path / "own.npz")
    catalogue = Catalogue.installed(tmp_path)
    async with OpenVINOEngine(catalogue, threads=1, precision="int8") as engine:
        picture = skimage_photo("coffee.png")[:20, :20]
        made = await enlarged(engine, catalogue.choose("own", scale=4), picture, "int8")
    assert made.precision == "int8"
    assert made.pixels.shape == (80, 80, 3)


@needs_int8
async def test_table_that_was_exchanged_takes_int8_alone_away(tmp_path: Path) -> None:
    """Ranges of one network say nothing of another; all else can be computed still."""
    row = write_random_rrdb(tmp_path, "own")
    sha256 = Catalogue.installed(tmp_path).choose("own", scale=4).sha256
    row.write_text(row.read_text() + "ranges = 'own.npz'\n")
    small_table(sha256).write(tmp_path / "own.npz")
    model = Catalogue.installed(tmp_path).choose("own", scale=4)
    async with OpenVINOEngine(Catalogue([model]), threads=1, precision="f32") as engine:
        small_table("b" * 64).write(tmp_path / "own.npz")
        picture = skimage_photo("coffee.png")[:20, :20]
        with pytest.raises(ModelNotHere, match=r"own\.npz: measured with the weights bbbbbbbbbbbb"):
            await enlarged(engine, model, picture, "int8")
        facts = engine.facts().model("own")
        assert facts is not None
        assert "int8" not in facts.precisions
        assert (await enlarged(engine, model, picture, "f32")).precision == "f32"


def test_table_of_a_smaller_network_is_refused(catalogue: Catalogue) -> None:
    """It has too few dense blocks."""
    model = catalogue.choose(ANIME, scale=4)
    with pytest.raises(WeightsError, match="3 dense blocks"):
        graphs.build(model, replace(small_table(model.sha256), in_float=()))


def test_compact_network_has_no_int8(tmp_path: Path) -> None:
    """A row that says so cannot run."""
    write_nearest(tmp_path, "own")
    model = Catalogue.installed(tmp_path).choose("own", scale=4)
    with pytest.raises(WeightsError, match="rrdb"):
        graphs.build(model, small_table(model.sha256))


@pytest.mark.parametrize("damage", ["cut", "text", "missing", "empty span"])
def test_damaged_table_is_refused(tmp_path: Path, damage: str) -> None:
    """By name."""
    path = tmp_path / "own.npz"
    table = small_table("a" * 64)
    (replace(table, high=table.low) if damage == "empty span" else table).write(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("not a table")
    elif damage == "missing":
        path.unlink()
    with pytest.raises(WeightsError, match=r"own\.npz"):
        Ranges.read(path, sha256="a" * 64)


class Program:
    """Does something when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self._made = made

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._made,)


def test_table_that_is_a_program_is_refused_and_not_run(tmp_path: Path) -> None:
    """A pickle may do anything; it is not read at all."""
    path, made = tmp_path / "own.npz", tmp_path / "made"
    small_table("a" * 64).write(path)
    with np.load(path) as tables:
        fields = dict(tables)
    fields["low"] = np.array([Program(made)], dtype=object)
    np.savez(path, **fields)
    with pytest.raises(WeightsError, match=r"^own\.npz: cannot be read"):
        Ranges.read(path, sha256="a" * 64)
    assert not made.exists()


def test_table_that_unpacks_to_very_much_is_refused(tmp_path: Path) -> None:
    """Its length is known before it is unpacked."""
    path = tmp_path / "own.npz"
    np.savez_compressed(path, sha256=np.array("a" * 64), low=np.zeros(1 << 24, np.float16))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(WeightsError, match=r"^own\.npz: longer than"):
        Ranges.read(path, sha256="a" * 64)
