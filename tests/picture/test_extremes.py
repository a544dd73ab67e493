"""Alpha that is 0 or full all around stays exactly so, whatever the network makes of it."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import NearestEngine
from support.pictures import noise
from support.plans import planned

from enlarger.engine.tile import TileRequest, TileResult
from enlarger.geometry.axis import LOBES
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import result_window
from enlarger.picture.extremes import NETWORK_REACH_PX, Extremes
from enlarger.picture.values import Motion, Picture, Samples
from enlarger.pipeline.enlarging import enlarge


class InexactEngine(NearestEngine):
    """Is off by two steps of 8 bits everywhere, as networks are: no sample is 0 or full."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The repeated pixels, nearer to gray."""
        result = await super().enlarge(request)
        pixels = np.clip(result.pixels, 2 * 257, 253 * 257)
        return replace(result, pixels=pixels.astype(np.uint16))


def enlarged(picture: Picture, scale: float, region: Rect | None = None) -> Picture:
    """By ``InexactEngine``."""

    async def run() -> Picture:
        size_px = round(picture.width_px * scale), round(picture.height_px * scale)
        result = await enlarge(
            picture,
            plan=planned(
                picture.width_px, picture.height_px, size_px, region=region, color_lock=True
            ),
            precision="f32",
            engine=InexactEngine(),
            executor=executor,
            deadline=asyncio.get_running_loop().time() + 100,
        )
        return result.picture

    with ThreadPoolExecutor(1) as executor:
        return asyncio.run(run())


def with_alpha(alpha: Samples, channels: int = 3) -> Samples:
    """A picture of noise, seen through ``alpha``."""
    most = np.iinfo(alpha.dtype).max
    colour = noise(*alpha.shape, channels).astype(alpha.dtype) * alpha.dtype.type(most // 255)
    return np.dstack([colour, alpha])


def expected(alpha: Samples, size_px: tuple[int, int], scale: float, value: int) -> Samples:
    """Where a result of that width and height is ``value``, place by place: all within reach of it is."""
    network = NETWORK_REACH_PX * (
        1 if scale <= 4 else 1 + 1 / 4
    )  # the second pass sees smaller pixels

    def seen(place: int, length: int, wanted: int) -> slice:
        ratio = length / wanted
        around = network + (0 if scale == 4 else LOBES * ratio)
        first = math.floor(place * ratio - around + 1e-9)
        return slice(max(0, first), math.ceil((place + 1) * ratio + around - 1e-9))

    height, width = alpha.shape
    rows = [seen(y, height, size_px[1]) for y in range(size_px[1])]
    columns = [seen(x, width, size_px[0]) for x in range(size_px[0])]
    alike = alpha == value
    return np.array([[alike[row, column].all() for column in columns] for row in rows])


def blots(height: int, width: int, seed: int, depth: type[np.unsignedinteger]) -> Samples:
    """An alpha of rectangles that are clear, opaque, or anything between."""
    random = np.random.default_rng(seed)
    most = int(np.iinfo(depth).max)
    values = np.array([0, most, 1, most - 1, int(random.integers(most))])
    alpha = np.full((height, width), values[random.integers(2)], depth)
    for _ in range(random.integers(1, 4)):
        top, left = random.integers(height), random.integers(width)
        bottom, right = random.integers(top, height) + 1, random.integers(left, width) + 1
        alpha[top:bottom, left:right] = random.choice(values)
    return alpha


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    scale=st.sampled_from([1, 1.5, 2, 3, 3.3, 4, 5, 8]),
    depth=st.sampled_from([np.uint8, np.uint16]),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)
def test_alpha_is_exact_where_all_within_reach_is(
    height: int,
    width: int,
    scale: float,
    depth: type[np.unsignedinteger],
    channels: int,
    seed: int,
) -> None:
    """Any alpha, any scale, 8 and 16 bits, gray and RGB: 0 and full exactly there, and nowhere else by force."""
    alpha = blots(height, width, seed, depth)
    made = enlarged(Picture(samples=with_alpha(alpha, channels)), scale).alpha
    assert made is not None
    size_px = made.shape[1], made.shape[0]
    most = np.iinfo(depth).max
    clear = expected(alpha, size_px, scale, 0)
    opaque = expected(alpha, size_px, scale, int(most))
    assert (made[clear] == 0).all()
    assert (made[opaque] == most).all()
    if alpha.min() != alpha.max() and scale == 4:
        assert ((made > 0) & (made < most))[~clear & ~opaque].all()


@settings(max_examples=40)
@given(
    scale=st.sampled_from([1, 1.7, 2, 4, 5, 8]),
    left=st.integers(0, 59),
    top=st.integers(0, 49),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_region_has_the_alpha_of_the_whole(
    scale: float, left: int, top: int, width: int, height: int, seed: int
) -> None:
    """What is settled depends on the place in the whole result, in one pass and in two."""
    samples = with_alpha(blots(50, 60, seed, np.uint8))
    region = Rect(left, top, min(60, left + width), min(50, top + height))
    whole = enlarged(Picture(samples=samples), scale).samples
    part = enlarged(Picture(samples=samples), scale, region).samples
    place = result_window(region, (60, 50), (whole.shape[1], whole.shape[0]))
    assert np.array_equal(part, whole[place.slices])


def test_each_frame_of_an_animation_has_its_own_extremes() -> None:
    """A square that moves: clear and opaque where the frame is."""
    frames = []
    for left in (4, 20):
        alpha = np.zeros((32, 40), np.uint8)
        alpha[8:24, left : left + 16] = 255
        frames.append(with_alpha(alpha))
    motion = Motion(later=(frames[1],), durations_ms=(40, 40), plays=0)
    made = enlarged(Picture(samples=frames[0], motion=motion), 4)
    for frame, left in zip(made.frames, (4, 20), strict=True):
        assert (frame[36:92, 4 * (left + 1) : 4 * (left + 15), 3] == 255).all()
        outside = np.ones(frame.shape[:2], bool)
        outside[28:100, 4 * (left - 1) : 4 * (left + 17)] = False
        assert (frame[outside, 3] == 0).all()


def test_second_pass_gets_clear_alpha_that_is_one_tile() -> None:
    """Between passes alpha is settled, too: tiles of clear surroundings are equal then and are computed once."""
    alpha = np.zeros((60, 60), np.uint8)
    alpha[:4, :4] = 200
    seen: list[bytes] = []

    class Watched(InexactEngine):
        async def enlarge(self, request: TileRequest) -> TileResult:
            seen.append(request.pixels.tobytes())
            return await super().enlarge(request)

    async def run() -> None:
        await enlarge(
            Picture(samples=np.dstack([np.full((60, 60, 1), 90, np.uint8), alpha])),
            plan=planned(60, 60, (480, 480)),
            precision="f32",
            engine=Watched(),
            executor=executor,
            deadline=asyncio.get_running_loop().time() + 100,
        )

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(run())
    assert any(not any(pixels) for pixels in seen)
    assert len(seen) < 30


@pytest.mark.parametrize("value", [0, 255])
def test_reach_is_that_of_the_network_and_the_filter(value: int) -> None:
    """In a line of pixels, one differs. At 2x it changes its own two samples, and 1 + 3 / 2 pixels on either side."""
    alpha = np.full((1, 21), value, np.uint8)
    alpha[0, 10] = 128
    extremes = Extremes(
        alpha=alpha,
        width_px=42,
        height_px=2,
        left=0,
        top=0,
        network_reach_px=Fraction(1),
        is_reduced=True,
    )
    made = np.full((2, 42, 1), 77, np.uint8)
    extremes.settle(made, 0)
    assert (made[:, :15] == value).all()
    assert (made[:, 15:27] == 77).all()
    assert (made[:, 27:] == value).all()
