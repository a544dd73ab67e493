"""Rows of architecture ``generic``: any ncnn network that enlarges 2, 3 or 4 times is a model like the others."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.ncnn_networks import FIRST, LAST, by_ncnn, param_text, random_weights, wheel_networks
from support.places import REPOSITORY

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest
from enlarger.errors import WeightsError
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue, Model
from enlarger.models.architectures import KINDS
from enlarger.models.readers.ncnn_network import read_network
from enlarger.models.shapes import most_held, shapes

VALID = [
    "Convolution m 1 1 a b 0=8 1=5 5=1 6=1600 9=2 -23310=1,0.1",
    "Deconvolution n 1 1 b z 0=8 1=4 3=2 4=1 5=1 6=1024",
]
"""Layers that take two pixels of context at each side, and enlarge twice."""

STRIDED = [
    "Convolution m 1 1 a b 0=8 1=2 3=2 5=1 6=256",
    "Interp i 1 1 b z 0=1 1=4 2=4",
]
GLOBAL = [
    "Split s 1 2 a b c",
    "Pooling p 1 1 c d 0=1 4=1",
    "BinaryOp y 2 1 b d e 0=2",
    "Interp i 1 1 e z 0=1 1=2 2=2",
]


def write_row(folder: Path, lines: list[str], *, scale: int = 2) -> None:
    """Write a row ``own`` for a network of lines with random weights."""
    text = param_text(lines)
    binary = random_weights(read_network("own.param", text))
    (folder / "own.param").write_bytes(text)
    (folder / "own.bin").write_bytes(binary)
    row = {
        "id": "own",
        "title": "made in a test",
        "architecture": "generic",
        "param": "own.param",
        "bin": "own.bin",
        "sha256": hashlib.sha256(binary).hexdigest(),
        "licence": "none",
        "source": "tests/models/test_generic.py",
    }
    fields = "".join(f"{name} = '{value}'\n" for name, value in row.items())
    (folder / "own.toml").write_text(f"{fields}scale = {scale}\n")


def own(folder: Path) -> Model:
    """The model of that row."""
    return Catalogue.installed(folder).choose("own", scale=2)


def enlarged(folder: Path, pixels: Pixels, keep: Rect | None = None) -> Pixels:
    """A tile, enlarged by an engine that has the row."""
    model = own(folder)

    async def run() -> Pixels:
        async with OpenVINOEngine(Catalogue([model]), threads=1) as engine:
            request = TileRequest(
                pixels=pixels,
                keep=keep,
                model=model.id,
                weights_sha256=model.sha256,
                scale=model.scale,
                precision="f32",
                deadline=asyncio.get_running_loop().time() + 60,
                request_id="-",
            )
            return (await engine.enlarge(request)).pixels

    return asyncio.run(run())


def photo(height_px: int, width_px: int) -> Pixels:
    """A part of a photo, RGB of 8 bits."""
    with Image.open(REPOSITORY / "src/enlarger/sample.png") as image:
        return np.asarray(image.convert("RGB"))[:height_px, :width_px].copy()


def test_facts_follow_from_the_graph(tmp_path: Path) -> None:
    """Nothing of them stands in the row but the scale, which is checked."""
    write_row(tmp_path, VALID)
    model = own(tmp_path)
    assert (model.scale, model.frame.margin_px) == (2, 2)
    assert model.halo_is_exact
    assert model.halo_px == model.reach_px == 4
    assert model.mflop_per_px > 0


@pytest.mark.parametrize(("height_px", "width_px"), [(24, 31), (1, 1), (2, 7)])
def test_result_has_the_size_of_the_picture(tmp_path: Path, height_px: int, width_px: int) -> None:
    """Context that the network takes away is mirrored around the picture, also around one of a single pixel."""
    write_row(tmp_path, VALID)
    made = enlarged(tmp_path, photo(height_px, width_px))
    assert made.shape == (2 * height_px, 2 * width_px, 3)


def test_result_is_what_ncnn_makes(tmp_path: Path) -> None:
    """The inner part, that no mirrored context reaches, is what ncnn's own runtime makes of the same picture."""
    pytest.importorskip("ncnn")
    write_row(tmp_path, VALID)
    pixels = photo(24, 31)
    network = read_network("own.param", (tmp_path / "own.param").read_bytes())
    floats = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)
    theirs = by_ncnn(tmp_path / "own.param", tmp_path / "own.bin", network, floats)
    expected = np.clip(np.rint(theirs.transpose(1, 2, 0) * 255), 0, 255)
    # ncnn makes nothing of the outermost two pixels, and sees nothing beyond the picture, which the next two notice.
    ours = enlarged(tmp_path, pixels)[8:-8, 8:-8]
    assert np.abs(ours - expected[4:-4, 4:-4]).max() <= 1


def test_tile_is_a_part_of_the_whole(tmp_path: Path) -> None:
    """A tile with its halo has the pixels of the whole picture, since the halo covers the reach."""
    write_row(tmp_path, VALID)
    pixels, halo = photo(40, 50), own(tmp_path).halo_px
    whole = enlarged(tmp_path, pixels)
    core = Rect(12, 9, 30, 25)
    tile = pixels[core.top - halo : core.bottom + halo, core.left - halo : core.right + halo]
    part = enlarged(tmp_path, tile, Rect.sized(halo, halo, core.width_px, core.height_px))
    expected = whole[2 * core.top : 2 * core.bottom, 2 * core.left : 2 * core.right]
    assert np.abs(part.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("lines", "scale", "reason"),
    [
        (VALID, 3, "it makes 2 times the size; the row says 3"),
        (["Sigmoid s 1 1 a z"], 2, "it makes 1 times the size; the row says 2"),
        (VALID, 17, "scale: it must be 1 or 2 or 3 .* or 16: networks"),
    ],
)
def test_network_that_cannot_run_here_is_refused(
    tmp_path: Path, lines: list[str], scale: int, reason: str
) -> None:
    """The row is named, and why."""
    write_row(tmp_path, lines, scale=scale)
    with pytest.raises(WeightsError, match=rf"^own\.toml: .*{reason}"):
        own(tmp_path)


def test_strided_network_takes_any_side(tmp_path: Path) -> None:
    """What is missing of a multiple is mirrored, and cut off the result; tiles begin at multiples."""
    write_row(tmp_path, STRIDED)
    assert own(tmp_path).multiple_px == 2
    whole = enlarged(tmp_path, photo(33, 41))
    assert whole.shape == (66, 82, 3)
    even = enlarged(tmp_path, np.pad(photo(33, 41), ((0, 1), (0, 1), (0, 0)), "reflect"))
    assert np.array_equal(whole, even[:66, :82])


def test_tiles_of_a_strided_network_are_parts_of_the_whole(tmp_path: Path) -> None:
    """The strides fall on the same pixels, because tiles begin at multiples."""
    write_row(tmp_path, STRIDED)
    model, pixels = own(tmp_path), photo(61, 75)
    boxes = plan(75, 61, halo_px=model.halo_px, max_tile_px=25 * 25, multiple_px=model.multiple_px)
    assert len(boxes) > 4
    whole = enlarged(tmp_path, pixels).astype(int)
    for box in boxes[:: len(boxes) // 4]:
        tile = enlarged(tmp_path, np.ascontiguousarray(box.read(pixels)), box.kept_in_tile)
        assert np.abs(tile - whole[box.kept.times(2).slices]).max() <= 1


def test_network_that_looks_at_the_whole_picture_blends(tmp_path: Path) -> None:
    """Its tiles differ from the whole, so they fade into one another, and each is right as far as it fades."""
    write_row(tmp_path, GLOBAL)
    model = own(tmp_path)
    assert not model.halo_is_exact
    assert model.blend_px > 0
    assert model.halo_px == model.reach_px + model.blend_px


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    """Without reading them as a whole."""
    write_row(tmp_path, VALID)
    with (tmp_path / "own.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(WeightsError, match=r"^own\.toml: bin: own\.bin: \d+ bytes"):
        own(tmp_path)


def test_other_kinds_keep_their_scale(tmp_path: Path) -> None:
    """A network of kind rrdb runs at 4x alone, whatever scales a generic one may have."""
    write_row(tmp_path, VALID)
    path = tmp_path / "own.toml"
    path.write_text(path.read_text().replace("'generic'", "'rrdb'"))
    assert KINDS["rrdb"].scales == (4,)
    with pytest.raises(WeightsError, match="scale: it must be 4: networks of other scales"):
        own(tmp_path)


@pytest.mark.parametrize(("stem", "scale"), [("UP2X", 2), ("UP3X", 3)])
def test_networks_of_2x_and_3x_of_the_wheel_run(tmp_path: Path, stem: str, scale: int) -> None:
    """They end in an interpolation, which no other kind of network has."""
    param = next(path for path in wheel_networks() if path.stem.endswith(f"ANIMAVIDEOV3_{stem}"))
    write_row(tmp_path, VALID, scale=scale)
    shutil.copy(param, tmp_path / "own.param")
    shutil.copy(param.with_suffix(".bin"), tmp_path / "own.bin")
    sha256 = hashlib.sha256((tmp_path / "own.bin").read_bytes()).hexdigest()
    path = tmp_path / "own.toml"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(f"sha256 = '{sha256}'" if line.startswith("sha256") else line for line in lines)
    )
    made = enlarged(tmp_path, photo(40, 48))
    assert made.shape == (40 * scale, 48 * scale, 3)
    shrunk = made.reshape(40, scale, 48, scale, 3).mean((1, 3))
    assert np.abs(shrunk - photo(40, 48)).mean() < 4


def test_first_and_last_layer_are_there() -> None:
    """The lines around those of the tests above read three channels, and make three."""
    assert FIRST.split()[4] == "in"
    assert LAST.split()[5] == "out"


MEASURED = {
    "realesr-animevideov3-x2": 824,
    "realesr-animevideov3-x3": 931,
    "realcugan-se-2x": 4082,
    "realcugan-se-3x": 8980,
    "realcugan-se-4x": 5196,
    "waifu2x-anime-2x": 1671,
    "waifu2x-cunet-1x": 1823,
    "waifu2x-cunet-2x": 5646,
}
"""Bytes that a process took for each LR pixel in f32: benchmarks/tile_memory.py, from a tile of 128 px a side to one of 384."""


@pytest.mark.parametrize("model_id", MEASURED)
def test_memory_of_a_tile_is_bounded_by_the_graph(tmp_path: Path, model_id: str) -> None:
    """No network takes more than it is counted with, nor less than half of that; the largest tiles have a limit."""
    model = Catalogue.installed(tmp_path).choose(model_id, scale=4)
    counted = model.tile_bytes_per_px
    assert MEASURED[model_id] <= counted <= 2 * MEASURED[model_id]
    assert counted * model.max_tile_px <= 1.4e9
    side = model.max_tile_px**0.5
    assert (side - 2 * model.halo_px) ** 2 >= model.max_tile_px / 2


def wide(channels: int) -> list[str]:
    """Layers of which one makes so many channels."""
    return [
        f"Convolution m 1 1 a b 0={channels} 1=1 5=1 6={8 * channels}",
        f"Convolution n 1 1 b c 0=8 1=1 5=1 6={8 * channels}",
        "Interp i 1 1 c z 0=1 1=2 2=2",
    ]


def test_tiles_of_a_wide_network_are_small(tmp_path: Path) -> None:
    """A short text with few weights may state a network that needs much memory for each pixel."""
    write_row(tmp_path, wide(20_000))
    model = own(tmp_path)
    assert model.max_tile_px < 100**2
    assert 1.2e9 < model.max_tile_px * model.tile_bytes_per_px <= 1.4e9
    halo_px, multiple_px = model.halo_px, model.multiple_px
    assert plan(500, 400, halo_px=halo_px, max_tile_px=model.max_tile_px, multiple_px=multiple_px)


def test_network_whose_smallest_tile_is_too_large_is_refused(tmp_path: Path) -> None:
    """Before anything is computed."""
    seeing_far = "Convolution f 1 1 y z 0=8 1=41 4=20 5=1 6=107584"
    write_row(tmp_path, [*wide(60_000)[:-1], "Interp i 1 1 c y 0=1 1=2 2=2", seeing_far])
    with pytest.raises(
        WeightsError, match=r"it needs \d.\d MB for each pixel, so that its smallest"
    ):
        own(tmp_path)


def test_memory_is_that_of_the_layers_that_need_each_other(tmp_path: Path) -> None:
    """One input and one output are held at a time in a chain; a tensor that is used again later stays."""
    network = read_network(
        "n",
        b"7767517\n5 6\nInput in 0 1 a\nSplit s 1 2 a b c\nConvolution w 1 1 b d 0=8 1=1 6=24\n"
        b"Convolution n 1 1 d e 0=3 1=1 6=24\nBinaryOp y 2 1 e c f 0=0\n",
    )
    side = 10
    found = shapes(network, side, side)
    assert most_held(network, found) == (3 + 8 + 3) * side**2
