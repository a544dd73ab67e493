"""One picture through an engine: cut, enlarged, put together, and reduced where the scale is another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fakes import NEAREST, FailsFirst, NearestEngine, StuckEngine, nearest
from hypothesis import given
from hypothesis import strategies as st
from oracles import lanczos
from pictures import icc_profile, noise

from enlarger.engine import Engine
from enlarger.errors import EngineFailed, EnlargerError, WrongOutput
from enlarger.picture import Note, Picture
from enlarger.pipeline.enlarging import Enlarged, OnTile, enlarge
from enlarger.tiles import plan
from enlarger.wire import Pixels, TileRequest, TileResult

LONG_S = 100
"""A deadline that plays no part."""


@pytest.fixture(scope="module")
def executor() -> Iterator[ThreadPoolExecutor]:
    """Threads, as the service has them."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


async def enlarged(
    samples: Pixels | Picture,
    engine: Engine,
    executor: ThreadPoolExecutor,
    *,
    scale: int = 4,
    precision: str = "f32",
    deadline: float | None = None,
    on_tile: OnTile | None = None,
) -> Enlarged:
    """``samples`` through ``engine``, by the model ``NEAREST``."""
    return await enlarge(
        samples if isinstance(samples, Picture) else Picture(samples=samples),
        model=NEAREST,
        scale=scale,
        precision=precision,
        engine=engine,
        executor=executor,
        deadline=asyncio.get_running_loop().time() + LONG_S if deadline is None else deadline,
        request_id="r-1",
        on_tile=on_tile,
    )


def tiles_of(width_px: int, height_px: int) -> int:
    """How many tiles the plan of a picture has."""
    return len(plan(width_px, height_px, halo_px=NEAREST.halo_px, max_tile_px=NEAREST.max_tile_px))


def even_alpha(samples: Pixels, value: int) -> Pixels:
    """The colour with an alpha that is the same everywhere."""
    return np.concatenate([samples, np.full_like(samples[:, :, :1], value)], axis=2)


# The result


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["gray", "gray-alpha", "rgb", "rgb-alpha"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (70, 33)])
async def test_picture_is_enlarged_by_the_engine(
    executor: ThreadPoolExecutor, channels: int, size: tuple[int, int]
) -> None:
    """With an engine that repeats pixels: exactly the repeated pixels, in the channels that went in."""
    samples = noise(*size, channels)
    result = await enlarged(samples, NearestEngine(), executor)
    assert result.picture.samples.dtype == np.uint8
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


async def test_half_scale_is_reduced_by_lanczos(executor: ThreadPoolExecutor) -> None:
    """Scale 2 by a model of scale 4: the model's picture, reduced."""
    samples = noise(33, 21, 3)
    result = await enlarged(samples, NearestEngine(), executor, scale=2)
    assert result.picture.samples.shape == (66, 42, 3)
    assert np.abs(result.picture.samples - lanczos(nearest(samples, 4), 2)).max() <= 0.501


async def test_alpha_is_reduced_by_itself(executor: ThreadPoolExecutor) -> None:
    """Colour under transparent pixels is neither lost nor mixed by weight of alpha."""
    samples = noise(20, 30, 4)
    result = await enlarged(samples, NearestEngine(), executor, scale=2)
    assert result.picture.samples.shape == (40, 60, 4)
    assert np.abs(result.picture.samples - lanczos(nearest(samples, 4), 2)).max() <= 0.501


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("value", [0, 128, 255])
async def test_even_alpha_costs_no_tiles_and_stays(
    executor: ThreadPoolExecutor, scale: int, value: int
) -> None:
    """An opaque picture with an alpha channel costs what one without costs."""
    colour = noise(40, 50, 3)
    result = await enlarged(even_alpha(colour, value), NearestEngine(), executor, scale=scale)
    assert result.tiles == tiles_of(50, 40)
    assert (result.picture.samples[:, :, 3] == value).all()
    assert result.picture.samples.shape == (40 * scale, 50 * scale, 4)


@pytest.mark.parametrize("channels", [2, 4])
async def test_alpha_that_varies_goes_through_the_network(
    executor: ThreadPoolExecutor, channels: int
) -> None:
    """One pixel that differs is enough: alpha is a plane of its own, as many tiles as the colour."""
    samples = even_alpha(noise(40, 50, channels - 1), 255)
    samples[39, 49, -1] = 254
    engine = NearestEngine()
    result = await enlarged(samples, engine, executor)
    assert result.tiles == len(engine.requests) == 2 * tiles_of(50, 40)
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


class Tinted(NearestEngine):
    """Adds something to each of the three channels."""

    def __init__(self, *tint: int) -> None:
        super().__init__()
        self._tint = np.array(tint, np.uint8)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The repeated pixels, tinted."""
        result = await super().enlarge(request)
        return replace(result, pixels=result.pixels + self._tint)


@pytest.mark.parametrize(
    ("tint", "added"),
    [((0, 0, 1), 0), ((0, 1, 1), 1), ((1, 0, 0), 0), ((5, 5, 5), 5), ((0, 0, 4), 1), ((0, 0, 5), 2)],
)  # fmt: skip
async def test_gray_is_the_rounded_mean_of_three_channels(
    executor: ThreadPoolExecutor, tint: tuple[int, int, int], added: int
) -> None:
    """1/3 is rounded down and 2/3 up; a sum of three samples does not wrap around."""
    samples = noise(9, 9, 1) // 2 + 100
    result = await enlarged(samples, Tinted(*tint), executor)
    assert np.array_equal(result.picture.samples, nearest(samples, 4) + added)


@given(height=st.integers(1, 90), width=st.integers(1, 90), channels=st.sampled_from([1, 3, 4]))
def test_every_size_is_put_together_whole(height: int, width: int, channels: int) -> None:
    """However it is cut, no pixel of the result is missing or misplaced."""
    samples = noise(height, width, channels, seed=height * 100 + width)
    with ThreadPoolExecutor(1) as executor:
        result = asyncio.run(enlarged(samples, NearestEngine(), executor))
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


# What goes with it


async def test_what_the_file_carried_stays_with_the_picture(executor: ThreadPoolExecutor) -> None:
    """Colour profile, EXIF and notes; a result of the model's own scale has no note of resampling."""
    note = Note("first_frame_only", "1 of 3")
    icc = icc_profile(b"RGB ")
    given = Picture(samples=noise(5, 5, 3), icc=icc, exif=b"Exif", notes=(note,))
    made = (await enlarged(given, NearestEngine(), executor)).picture
    assert (made.icc, made.exif, made.notes) == (icc, b"Exif", (note,))


async def test_another_scale_is_noted_after_earlier_notes(executor: ThreadPoolExecutor) -> None:
    """The words are those of the HTTP contract's example."""
    note = Note("first_frame_only", "1 of 3")
    given = Picture(samples=noise(5, 5, 3), notes=(note,))
    made = (await enlarged(given, NearestEngine(), executor, scale=2)).picture
    assert made.notes == (note, Note("resampled", "4x model, 2x result"))


async def test_tiles_are_counted_as_they_are_done(executor: ThreadPoolExecutor) -> None:
    """One call per tile, alpha's included, each with the tiles done and the tiles in all."""
    calls: list[tuple[int, int]] = []
    total = 2 * tiles_of(80, 60)
    await enlarged(
        noise(60, 80, 4),
        NearestEngine(),
        executor,
        on_tile=lambda done, planned: calls.append((done, planned)),
    )
    assert total >= 10
    assert calls == [(done, total) for done in range(1, total + 1)]


async def test_every_tile_says_all_that_an_engine_needs(executor: ThreadPoolExecutor) -> None:
    """Model, weights, precision, deadline and number; samples RGB, in one piece, with no more than fit."""
    engine = NearestEngine()
    deadline = asyncio.get_running_loop().time() + 12
    await enlarged(noise(60, 80, 2), engine, executor, precision="bf16", deadline=deadline)
    total = 2 * tiles_of(80, 60)
    assert [request.index for request in engine.requests] == list(range(total))
    for request in engine.requests:
        assert (request.model, request.weights_sha256) == (NEAREST.id, NEAREST.sha256)
        assert (request.precision, request.deadline) == ("bf16", deadline)
        assert (request.request_id, request.total) == ("r-1", total)
        assert request.pixels.shape[2] == 3
        assert request.pixels.flags.c_contiguous
        assert request.lr_px <= NEAREST.max_tile_px


class Pooled(NearestEngine):
    """Two servers in turn; each third tile needed a second attempt."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The repeated pixels, and who made them."""
        return replace(
            await super().enlarge(request),
            server=f"server-{request.index % 2}",
            attempts=2 if request.index % 3 == 0 else 1,
        )


async def test_what_really_ran_is_summed_over_tiles(executor: ThreadPoolExecutor) -> None:
    """Engine, precision, tiles by server, tiles sent again, seconds of computing."""
    result = await enlarged(noise(70, 70, 3), Pooled(), executor, precision="bf16")
    total = tiles_of(70, 70)
    assert total >= 5
    assert (result.model, result.engine, result.precision) == ("nearest", "nearest", "bf16")
    assert result.tiles == total
    assert result.tiles_by_server == Counter(f"server-{index % 2}" for index in range(total))
    assert result.retried == len(range(0, total, 3))
    assert result.infer_s == pytest.approx(0.001 * total)


# Errors and cancellation


async def test_error_of_one_tile_drops_the_others(executor: ThreadPoolExecutor) -> None:
    """The error itself is raised, not a group; every other tile is cancelled."""
    stuck = StuckEngine()
    error = WrongOutput("constant")
    with pytest.raises(WrongOutput, match="constant") as raised:
        await enlarged(noise(70, 70, 3), FailsFirst(stuck, failures=1, error=error), executor)
    assert raised.value is error
    assert stuck.cancelled == tiles_of(70, 70) - 1
    assert stuck.in_flight == 0


class Failing(NearestEngine):
    """Raises its own error for each tile."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self._errors = errors

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Fail, or enlarge where no error is left."""
        if request.index < len(self._errors):
            raise self._errors[request.index]
        return await super().enlarge(request)


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([WrongOutput("one"), EngineFailed("two")], 0),
        ([ValueError("not ours"), EngineFailed("two"), WrongOutput("three")], 1),
        ([ValueError("not ours"), OSError("nor this")], 0),
    ],
    ids=["both-ours", "not-all-ours", "none-ours"],
)
async def test_first_of_our_errors_is_raised(
    executor: ThreadPoolExecutor, errors: list[Exception], raised: int
) -> None:
    """An error with words for the caller goes before one without; the group is kept as its cause."""
    with pytest.raises((EnlargerError, ValueError)) as caught:
        await enlarged(noise(70, 70, 3), Failing(*errors), executor)
    assert caught.value is errors[raised]
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)
    assert set(caught.value.__cause__.exceptions) == set(errors)


async def test_cancellation_reaches_the_engine(executor: ThreadPoolExecutor) -> None:
    """A caller that goes away takes all its tiles with it."""
    stuck = StuckEngine()
    task = asyncio.create_task(enlarged(noise(70, 70, 3), stuck, executor))
    await stuck.started.wait()
    assert stuck.in_flight == tiles_of(70, 70)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stuck.cancelled == tiles_of(70, 70)
    assert stuck.in_flight == 0
