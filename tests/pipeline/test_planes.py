"""Tiles that add up to a plane: in any order, finished as they come, and forgotten when they are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import NEAREST, nearest
from support.pictures import noise16

from enlarger.engine.tile import ModelFacts
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.route import Route, route
from enlarger.large_arrays import BlockPool, large_array
from enlarger.memory import large_block
from enlarger.picture.resample import reduce
from enlarger.pipeline.planes import Goal, Plane, Source

SCALE = NEAREST.scale


FADING = replace(NEAREST, halo_px=8, halo_is_exact=False, blend_px=2, max_tile_px=64 * 64)
"""The same network, if its tiles faded into one another."""


def way_of(
    samples: Pixels, factor: float, region: Rect | None = None, *, model: ModelFacts = NEAREST
) -> Route:
    """One pass over a picture, with what the colour lock looks at."""
    height, width, _ = samples.shape
    size_px = round(width * factor), round(height * factor)
    return route(width, height, model=model, size_px=size_px, region=region, margin_px=25)


def plane_of(samples: Pixels, way: Route, depth: type = np.uint16) -> tuple[Plane, Pixels]:
    """Return a plane with locked colours, and the array that it fills, which starts with ones because the result has none."""
    height, width, channels = samples.shape
    made: Pixels = np.ones((way.out.height_px, way.out.width_px, channels), depth)
    source = Source(samples, Rect.whole(width, height))
    goal = Goal(made, way.rows, way.columns)
    return Plane(source, way.passes[0], SCALE, goal, is_colour=True, locked=True), made


def tiles(samples: Pixels, way: Route) -> list[Pixels]:
    """What a network would answer that repeats pixels: without drift."""
    return [nearest(samples[box.kept.slices], SCALE) for box in way.passes[0].boxes]


@given(
    height=st.integers(1, 150),
    width=st.integers(1, 60),
    factor=st.sampled_from([1.3, 2, 4]),
    seed=st.integers(0, 99),
)
def test_order_of_tiles_does_not_matter(height: int, width: int, factor: float, seed: int) -> None:
    """The result is the same as that of reducing the whole picture at once, in any order and however often finished rows are requested."""
    samples = noise16(height, width, 3)
    way = way_of(samples, factor)
    expected = reduce(nearest(samples, SCALE), rows=way.rows, columns=way.columns)
    plane, made = plane_of(samples, way)
    order = list(zip(way.passes[0].boxes, tiles(samples, way), strict=True))
    Random(seed).shuffle(order)  # noqa: S311 - no secret
    for box, pixels in order:
        plane.paste(box, pixels)
        plane.finish()
    assert np.array_equal(made, expected)
    assert plane.color_delta == 0


@pytest.mark.parametrize("factor", [4, 2])
def test_rows_are_finished_while_others_are_missing(factor: int) -> None:
    """All above the next tile's, but for those that the colour lock and the reduction look at beyond."""
    samples = noise16(200, 30, 3)
    way = way_of(samples, factor)
    plane, made = plane_of(samples, way)
    *first, last = zip(way.passes[0].boxes, tiles(samples, way), strict=True)
    assert len(first) >= 5
    for box, pixels in first:
        plane.paste(box, pixels)
        plane.finish()
    there = (made != 1).any(axis=(1, 2))
    rows = (last[0].rows.start - 25) * factor - 10
    assert there[:rows].all()
    assert not there[-1]


def test_rounding_to_8_bits_is_to_nearest() -> None:
    """This applies to every sample of 16 bits, if the result has 8."""
    samples = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256, 1)
    way = way_of(samples, 4)
    plane, made = plane_of(samples, way, np.uint8)
    for box, pixels in zip(way.passes[0].boxes, tiles(samples, way), strict=True):
        plane.paste(box, np.repeat(pixels, 3, axis=2))
    plane.finish()
    assert np.array_equal(made, np.rint(nearest(samples, SCALE) / 257))


@pytest.mark.parametrize("region", [None, Rect(37, 20, 110, 170)])
@pytest.mark.parametrize("factor", [4, 2])
def test_samples_of_an_earlier_picture_never_show(factor: int, region: Rect | None) -> None:
    """A canvas may lie in memory that another picture has left, also where tiles fade into one another."""
    samples = noise16(200, 150, 3)
    way = way_of(samples, factor, region, model=FADING)
    assert any(box.shared for box in way.passes[0].boxes)
    blocks = [large_array((size,), np.uint16) for size in range(600_000, 1_800_000, 60_000)]
    for block in blocks:
        block.fill(65535)
    del block, blocks
    plane, made = plane_of(samples, way)
    for box, pixels in zip(way.passes[0].boxes, tiles(samples, way), strict=True):
        plane.paste(box, pixels)
        plane.finish()
    whole = way_of(samples, factor)
    expected = reduce(nearest(samples, SCALE), rows=whole.rows, columns=whole.columns)
    assert np.array_equal(made, expected[way.out.slices])


def test_large_canvas_leaves_no_memory_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that earlier tiles have left return to the system: a large picture needs all the memory that there is."""
    pool = BlockPool(1 << 30, large_block, lambda _: True)
    monkeypatch.setattr("enlarger.large_arrays._own", pool)
    samples = noise16(40, 30, 3)
    way = way_of(samples, 4)
    for largest_bytes, left_bytes in ((1 << 20, 2 << 20), (1000, 0)):
        monkeypatch.setattr("enlarger.pipeline.planes.LARGEST_BYTES", largest_bytes)
        plane, _ = plane_of(samples, way)
        for box, pixels in zip(way.passes[0].boxes, tiles(samples, way), strict=True):
            large_array((1 << 20,), np.uint16)
            plane.paste(box, pixels)
            plane.finish()
        assert pool.idle_bytes == left_bytes


MEASURED = """
import sys
from dataclasses import replace
import numpy as np
from support.fakes import NEAREST, nearest
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import route
from enlarger.pipeline.planes import Goal, Plane, Source

def peak_bytes():
    return 1024 * next(
        int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")
    )

height, width = 4096, 256
samples = np.full((height, width, 3), 30000, np.uint16)
model = replace(NEAREST, max_tile_px=128 * 128)
way = route(width, height, model=model, size_px=(4 * width, 4 * height), margin_px=25)
made = np.empty((4 * height, 4 * width, 3), np.uint8)
before = peak_bytes()
plane = Plane(
    Source(samples, Rect.whole(width, height)),
    way.passes[0], 4, Goal(made, way.rows, way.columns), is_colour=True, locked=True,
)
boxes = list(way.passes[0].boxes)
for box in boxes[::-1] if sys.argv[1] == "backward" else boxes:
    plane.paste(box, nearest(samples[box.kept.slices], 4))
    plane.finish()
print((peak_bytes() - before) / made.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_result_is_held_in_16_bits_only_where_it_is_worked_on() -> None:
    """With tiles in order it takes little more than its own 8 bits; in the worst order also the canvas."""

    def took(order: str) -> float:
        ran = subprocess.run(
            [sys.executable, "-c", MEASURED, order],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return float(ran.stdout)

    assert took("forward") < 1.4 < 2 < took("backward")
