"""The networks of the wheels through the engine: held against ncnn's own runtime, and tiles against the whole picture."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from PIL import Image
from support.ncnn_networks import by_ncnn
from support.places import REPOSITORY

from enlarger.engine.openvino.runtime import OpenVINORuntime
from enlarger.engine.runtime import Network
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue, Model
from enlarger.models.builtin import builtin_wheels
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.models.readers.ncnn_network import read_network

NETWORKS = {
    network.id: network
    for model in Catalogue.installed(REPOSITORY / "no" / "such" / "folder")
    for network in model.networks
}
GENERIC = [name for name, network in NETWORKS.items() if network.architecture == "generic"]
EXACT = [name for name in GENERIC if NETWORKS[name].halo_is_exact]
BLENDED = [name for name in GENERIC if not NETWORKS[name].halo_is_exact]

SIZES = [(1, 1), (1, 40), (2, 7), (5, 3), (13, 24), (17, 1), (33, 19), (40, 33)]
"""Heights and widths, odd and even; most are shorter than the context that networks take."""

FEW_SIZES = [(1, 1), (5, 3), (40, 33)]
"""The same for networks that take long."""

RUNAWAY = 10.0
"""A network that makes numbers so many times as large as white is not stable for that picture, and sums in f32 differ more.

realcugan-pro-3x-conservative makes 47 of a picture of 3x5 px. What it makes in f64 is then 68 dB from what we make and
75 dB from what ncnn makes.
"""


@functools.lru_cache(maxsize=1)
def loaded(name: str) -> Network:
    """A network in f32. Tests of one network follow one another."""
    return OpenVINORuntime(threads=1).make(NETWORKS[name], "f32", 1)


def photo(height_px: int, width_px: int) -> Pixels:
    """A part of a photo, RGB of 16 bits."""
    with Image.open(REPOSITORY / "src/enlarger/sample.png") as image:
        part = np.asarray(image.convert("RGB"))[:height_px, :width_px]
    return part.astype(np.uint16) * 257


def gradient(height_px: int, width_px: int) -> Pixels:
    """Colours that change by less than half an 8-bit step from pixel to pixel, RGB of 16 bits."""
    rows, columns = np.mgrid[:height_px, :width_px]
    planes = (20_000 + 100 * columns, 30_000 + 80 * rows, 40_000 - 60 * (rows + columns))
    return np.stack(planes, -1).astype(np.uint16)


def by_ncnn_alone(
    model: Model, pixels: Pixels
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """What ncnn makes of a picture whose edges are mirrored, as its own programs do it: 0 is black, 1 white, and not clamped."""
    files = model.files
    assert isinstance(files, NcnnFiles)
    picture = pixels.astype(np.float32) / np.float32(65535)
    rows, columns = map(model.frame.around_px, pixels.shape[:2])
    black, span = files.black, files.white - files.black
    narrow = (picture * span + black).astype(np.float32)
    given = np.pad(narrow, (rows, columns, (0, 0)), "reflect").transpose(2, 0, 1)
    network = read_network(files.param.name, files.param.read_bytes())
    made = by_ncnn(files.param, files.binary, network, np.ascontiguousarray(given))
    height, width = (side * model.scale for side in pixels.shape[:2])
    result = made.transpose(1, 2, 0)[:height, :width].astype(np.float64)
    result = (result - black) / span
    if files.is_residual:
        result += picture.repeat(model.scale, 0).repeat(model.scale, 1)
    return result


def test_every_file_of_the_wheels_is_held_against_ncnn() -> None:
    """No network of the four wheels lacks a row, and so a place in the test below."""
    found = set()
    for wheel in builtin_wheels():
        found |= {path.resolve() for path in wheel.find().parent.rglob("*.param")}
    assert len(found) == len(NETWORKS) == 42
    assert found == {network.files.paths[0].resolve() for network in NETWORKS.values()}


@pytest.mark.parametrize("name", NETWORKS)
def test_network_makes_what_ncnn_makes(name: str) -> None:
    """At least 70 dB in f32, and exact sizes, also of pictures that are smaller than what the network sees."""
    for height, width in FEW_SIZES if NETWORKS[name].mflop_per_px > 10 else SIZES:
        pixels = photo(height, width)
        ours = loaded(name).enlarge(pixels, Rect.whole(width, height)).samples / 65535
        theirs = by_ncnn_alone(NETWORKS[name], pixels)
        assert ours.shape == theirs.shape
        largest = float(np.abs(theirs).max())
        error = float(np.mean((ours - np.clip(theirs, 0, 1)) ** 2))
        assert error <= 10**-7 * (largest**2 if largest > RUNAWAY else 1), (height, width)


def tiled(name: str, pixels: Pixels) -> Pixels:
    """A picture made of tiles that are hardly larger than their halos."""
    model, (height, width, _) = NETWORKS[name], pixels.shape
    boxes = plan(
        width,
        height,
        halo_px=model.halo_px,
        max_tile_px=(2 * model.halo_px + 24) ** 2,
        blend_px=model.blend_px,
        multiple_px=model.multiple_px,
    )
    assert len(boxes) > 1
    canvas = np.zeros((height * model.scale, width * model.scale, 3), np.uint16)
    for box in boxes:
        made = loaded(name).enlarge(np.ascontiguousarray(box.read(pixels)), box.kept_in_tile)
        box.paste(canvas, made.samples, model.scale)
    return canvas


def whole(name: str, pixels: Pixels) -> Pixels:
    """The same in one piece."""
    height, width, _ = pixels.shape
    return loaded(name).enlarge(pixels, Rect.whole(width, height)).samples


def difference(one: Pixels, other: Pixels) -> float:
    """The largest, in 8-bit code values."""
    return float(np.abs(one.astype(int) - other).max()) / 257


@pytest.mark.parametrize("name", EXACT)
def test_tiles_make_the_whole_picture(name: str) -> None:
    """Where the halo covers the reach, cutting changes nothing but the order of sums."""
    pixels = photo(91, 110)
    assert difference(tiled(name, pixels), whole(name, pixels)) < 0.02


@pytest.mark.parametrize("name", BLENDED)
def test_tiles_of_a_gradient_show_no_step(name: str) -> None:
    """Where a network computes means of all that it sees, smooth colours stay within three code values, and fade."""
    pixels = gradient(150, 170)
    made, right = tiled(name, pixels), whole(name, pixels)
    assert difference(made, right) < 3
    shift = (made.astype(int) - right).mean(axis=2) / 257
    files = NETWORKS[name].files
    assert isinstance(files, NcnnFiles)
    # What a network makes between its own numbers for black and white counts for more in the result.
    limit = 0.25 / (files.white - files.black)
    assert np.abs(np.diff(shift.mean(axis=0))).max() < limit
    assert np.abs(np.diff(shift.mean(axis=1))).max() < limit
