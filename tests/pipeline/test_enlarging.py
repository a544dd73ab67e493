"""One picture through an engine: cut, enlarged, put together, and reduced where the scale is another."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.colours import cicp, png_with
from support.enlargements import enlarged, even_alpha, tiles_of
from support.fakes import NEAREST, FailsFirst, NearestEngine, StuckEngine, nearest
from support.oracles import lanczos, lanczos_to
from support.pictures import WIDE, icc_profile, noise, noise16, visible

from enlarger.engine.tile import TileRequest, TileResult
from enlarger.errors import EngineFailed, EnlargerError, WrongOutput
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.route import result_window
from enlarger.picture.decode import decode
from enlarger.picture.encoding import Statement
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Note, Picture
from enlarger.pipeline.progress import Piece

# The result


async def test_tiles_are_let_go_when_they_are_pasted(executor: ThreadPoolExecutor) -> None:
    """When the last one is told of, the memory of none is held."""
    answers: list[weakref.ref[Pixels]] = []
    held: list[int] = []

    class Watched(NearestEngine):
        async def enlarge(self, request: TileRequest) -> TileResult:
            result = await super().enlarge(request)
            answers.append(weakref.ref(result.pixels))
            return result

    def on_tile(done: int, total: int) -> None:
        held.append(sum(answer() is not None for answer in answers))

    await enlarged(noise(60, 80, 3), Watched(), executor, on_tile=on_tile)
    assert len(held) == tiles_of(80, 60) > 4
    assert held[-1] == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["gray", "gray-alpha", "rgb", "rgb-alpha"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (70, 33)])
async def test_picture_is_enlarged_by_the_engine(
    executor: ThreadPoolExecutor, channels: int, size: tuple[int, int]
) -> None:
    """With an engine that repeats pixels: exactly the repeated pixels, in the channels that went in."""
    samples = visible(noise(*size, channels))
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
    """Colour under nearly transparent pixels is neither lost nor mixed by weight of alpha."""
    samples = visible(noise(20, 30, 4))
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
    assert result.ran.tiles == tiles_of(50, 40)
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
    assert result.ran.tiles == len(engine.requests) + result.ran.reused == 2 * tiles_of(50, 40)
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


class Tinted(NearestEngine):
    """Adds something to each of the three channels."""

    def __init__(self, *tint: int) -> None:
        super().__init__()
        self._tint = np.array(tint, np.uint16)

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
    samples = (noise(9, 9, 1) // 2 + 100).astype(np.uint16)
    result = await enlarged(samples, Tinted(*tint), executor)
    assert np.array_equal(result.picture.samples, nearest(samples, 4) + added)


@given(height=st.integers(1, 90), width=st.integers(1, 90), channels=st.sampled_from([1, 3, 4]))
def test_every_size_is_put_together_whole(height: int, width: int, channels: int) -> None:
    """However it is cut, no pixel of the result is missing or misplaced."""
    samples = visible(noise(height, width, channels, seed=height * 100 + width))
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


@pytest.mark.parametrize(
    ("part", "is_whole"),
    [({}, True), ({"region": Rect.whole(5, 4)}, False), ({"crop": Rect(1, 0, 12, 9)}, False)],
    ids=["whole", "region", "crop"],
)
async def test_result_knows_what_it_shows_of_the_picture(
    executor: ThreadPoolExecutor, part: dict[str, Any], is_whole: bool
) -> None:
    """How much larger it is along each side, and whether it is all of it: metadata that speaks of places needs both."""
    picture = (
        await enlarged(noise(10, 15, 3), NearestEngine(), executor, scale=1.5, **part)
    ).picture
    assert picture.magnification == (23 / 15, 1.5)
    assert picture.is_whole == is_whole
    turned = Picture(samples=noise(10, 15, 3), is_whole=False)
    assert not (await enlarged(turned, NearestEngine(), executor)).picture.is_whole


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


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(
    ("scale", "region"),
    [(4, None), (16, None), (4, Rect(11, 7, 61, 50)), (16, Rect(3, 2, 70, 9))],
)
async def test_pieces_are_the_picture(
    executor: ThreadPoolExecutor, channels: int, scale: int, region: Rect | None
) -> None:
    """Put side by side, the pieces have the colours of the result: of the last pass, each with its place."""
    samples = visible(noise(60, 80, channels))
    pieces: list[Piece] = []
    result = await enlarged(
        samples, NearestEngine(), executor, scale=scale, region=region, on_piece=pieces.append
    )
    colour = result.picture.colour
    shown = np.zeros_like(colour, shape=(*colour.shape[:2], 3))
    for piece in pieces:
        assert piece.pixels.shape == (piece.place.height_px, piece.place.width_px, 3)
        shown[piece.place.slices] = (piece.pixels // 257).astype(np.uint8)
    assert np.array_equal(shown, np.broadcast_to(colour, shown.shape))
    assert len({piece.index for piece in pieces}) == len(pieces) > 1


async def test_pieces_say_which_colours_they_have(executor: ThreadPoolExecutor) -> None:
    """They have the colours of the picture, so that a viewer of the pieces sees the same colours."""
    stated = Statement(code_points=(12, 13))
    picture = Picture(samples=noise(60, 80, 3), icc=WIDE, stated=stated)
    pieces: list[Piece] = []
    await enlarged(picture, NearestEngine(), executor, on_piece=pieces.append)
    assert {(piece.icc, piece.stated) for piece in pieces} == {(WIDE, stated)}


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (12, 8)])
@pytest.mark.parametrize("kind", ["tiff", "png"])
async def test_region_of_stated_colours_has_the_pixels_of_the_whole(
    executor: ThreadPoolExecutor, kind: str, primaries: int, transfer: int
) -> None:
    """Light is made darker by the peak of the whole picture, whichever part of it is wanted."""
    samples = noise16(60, 80, 3) // 2
    samples[:20, :20] = 65535
    picture = decode(png_with(cicp(primaries, transfer), samples=samples), kind=kind)
    whole = prepare((await enlarged(picture, NearestEngine(), executor)).picture, kind=kind)
    region = Rect(30, 25, 46, 37)
    part = await enlarged(picture, NearestEngine(), executor, region=region)
    made = prepare(part.picture, kind=kind)
    assert np.array_equal(made.samples, whole.samples[region.times(4).slices])
    assert (made.icc, made.stated) == (whole.icc, whole.stated)


@pytest.mark.parametrize("scale", [1, 2, 3.3, 5])
async def test_pieces_cover_a_result_of_any_size(
    executor: ThreadPoolExecutor, scale: float
) -> None:
    """Each pixel of the result lies in a piece, and no piece reaches beyond it."""
    pieces: list[Piece] = []
    result = await enlarged(
        noise(60, 80, 3), NearestEngine(), executor, scale=scale, on_piece=pieces.append
    )
    shown = np.zeros((result.picture.height_px, result.picture.width_px), bool)
    for piece in pieces:
        assert piece.place.left >= 0
        assert piece.place.top >= 0
        assert piece.place.right <= shown.shape[1]
        assert piece.place.bottom <= shown.shape[0]
        shown[piece.place.slices] = True
    assert shown.all()


async def test_every_tile_says_all_that_an_engine_needs(executor: ThreadPoolExecutor) -> None:
    """Model, weights, precision, deadline and number; samples RGB, with no more than fit."""
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
        assert request.lr_px <= NEAREST.max_tile_px


async def test_every_picture_is_an_owner_of_tiles(executor: ThreadPoolExecutor) -> None:
    """One owner for all tiles of a picture, in both passes and for colour and alpha; another one for the same again."""
    engine = NearestEngine()
    for _ in range(2):
        await enlarged(noise(30, 40, 4), engine, executor, scale=6)
    owners = [request.owner for request in engine.requests]
    half = len(owners) // 2
    assert len(set(owners[:half])) == len(set(owners[half:])) == 1
    assert owners[0] != owners[-1]
    assert {request.request_id for request in engine.requests} == {"r-1"}


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
    assert (result.ran.model, result.ran.engine, result.ran.precision) == (
        "nearest",
        "nearest",
        "bf16",
    )
    assert result.ran.tiles == total
    assert result.ran.tiles_by_server == Counter(f"server-{index % 2}" for index in range(total))
    assert result.ran.retried == len(range(0, total, 3))
    assert result.ran.infer_s == pytest.approx(0.001 * total)


@pytest.mark.parametrize("precision", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
async def test_precision_that_loses_depth_is_noted(
    executor: ThreadPoolExecutor, precision: str, dtype: type[np.unsignedinteger[Any]]
) -> None:
    """bf16 and int8 make about 8 bits per sample, which is all that a picture of 8 bits has."""
    result = await enlarged(
        Picture(samples=noise(9, 9, 3).astype(dtype), depth_bits=8 * dtype(0).itemsize),
        NearestEngine(),
        executor,
        precision=precision,
    )
    loses = dtype is np.uint16 and precision != "f32"
    assert [note.code for note in result.picture.notes] == ["depth_limited"] * loses
    if loses:
        detail = result.picture.notes[0].detail
        assert detail.startswith(f"computed in {precision}, ")
        assert "8 of the 16 bits" in detail


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
    """An error with words for the caller goes before one without."""
    with pytest.raises((EnlargerError, ValueError)) as caught:
        await enlarged(noise(70, 70, 3), Failing(*errors), executor)
    assert caught.value is errors[raised]


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """What is in a group and in the groups within."""
    for error in group.exceptions:
        yield from leaves(error) if isinstance(error, BaseExceptionGroup) else [error]


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


# Depth, size, region, colours


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["gray", "gray-alpha", "rgb", "rgb-alpha"])
async def test_16_bits_come_back_exactly(executor: ThreadPoolExecutor, channels: int) -> None:
    """Every sample of a picture of 16 bits goes through tiles and back unchanged."""
    samples = visible(
        np.random.default_rng(1).integers(0, 65536, (37, 50, channels)).astype(np.uint16)
    )
    result = await enlarged(samples, NearestEngine(), executor)
    assert result.picture.samples.dtype == np.uint16
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1, 1.3, 2.5, 3, 3.9])
async def test_any_size_is_one_reduction(
    executor: ThreadPoolExecutor, depth: type[np.unsignedinteger], scale: float
) -> None:
    """The network's own size, then Lanczos to exactly the wanted one, rounded once."""
    samples = noise(33, 41, 3).astype(depth) * depth(np.iinfo(depth).max // 255)
    result = await enlarged(samples, NearestEngine(), executor, scale=scale)
    height, width = int(33 * scale + 0.5), int(41 * scale + 0.5)
    assert result.picture.samples.shape == (height, width, 3)
    expected = lanczos_to(nearest(samples, 4), width, height)
    assert np.abs(result.picture.samples - expected).max() <= (0.51 if depth == np.uint8 else 0.6)
    assert [note.code for note in result.picture.notes] == ["resampled"]


@pytest.mark.parametrize("scale", [4.5, 8])
async def test_more_than_the_network_s_scale_takes_a_second_pass(
    executor: ThreadPoolExecutor, scale: float
) -> None:
    """Over the result of the first; the tiles of both are counted."""
    samples = noise(12, 18, 3)
    seen: list[tuple[int, int]] = []
    result = await enlarged(
        samples,
        NearestEngine(),
        executor,
        scale=scale,
        on_tile=lambda done, total: seen.append((done, total)),
    )
    expected = lanczos_to(nearest(samples, 16), int(18 * scale), int(12 * scale))
    assert np.abs(result.picture.samples - expected).max() <= 0.51
    assert result.ran.tiles == tiles_of(18, 12) + tiles_of(72, 48)
    assert seen == [(done, result.ran.tiles) for done in range(1, result.ran.tiles + 1)]


class TintedEngine(NearestEngine):
    """Nearest, with a tint that grows over each tile: as networks drift, each tile in its own way."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The tile with each pixel repeated, and changed."""
        result = await super().enlarge(request)
        height, width, _ = result.pixels.shape
        tint = 2000 + 10 * np.arange(height)[:, np.newaxis] - 5 * np.arange(width)
        tinted = result.pixels.astype(np.int64) + tint[:, :, np.newaxis] * [1, -1, 2]
        return replace(result, pixels=np.clip(tinted, 0, 65535).astype(np.uint16))


@pytest.mark.parametrize("color_lock", [True, False])
@pytest.mark.parametrize("scale", [1, 2, 2.3, 4, 5])
@pytest.mark.parametrize(
    "region",
    [Rect.whole(40, 30), Rect(70, 60, 97, 88), Rect(45, 31, 46, 32), Rect.whole(130, 110)],
    ids=["corner", "inner", "pixel", "all"],
)
async def test_region_has_the_pixels_of_the_whole(
    executor: ThreadPoolExecutor, region: Rect, scale: float, color_lock: bool
) -> None:
    """Exactly those, whatever comes after the network."""
    samples = noise(110, 130, 4, seed=3)
    samples[40:60, 50:90, 3] = 0
    whole, part = [
        await enlarged(
            samples,
            TintedEngine(),
            executor,
            scale=scale,
            region=wanted,
            color_lock=color_lock,
        )
        for wanted in (None, region)
    ]
    height, width, _ = whole.picture.samples.shape
    place = result_window(region, (130, 110), (width, height))
    assert np.array_equal(part.picture.samples, whole.picture.samples[place.slices])
    assert part.ran.tiles <= whole.ran.tiles


@pytest.mark.parametrize("scale", [4, 2.5])
async def test_crop_has_the_pixels_of_the_whole(executor: ThreadPoolExecutor, scale: float) -> None:
    """A part that is named in pixels of the result is exactly that part."""
    samples, crop = noise(110, 130, 3, seed=4), Rect(31, 62, 108, 111)
    whole, part = [
        await enlarged(samples, TintedEngine(), executor, scale=scale, crop=wanted, color_lock=True)
        for wanted in (None, crop)
    ]
    assert np.array_equal(part.picture.samples, whole.picture.samples[crop.slices])


async def test_small_region_computes_few_tiles(executor: ThreadPoolExecutor) -> None:
    """A preview costs what it shows, and the margin that its colours need."""
    samples = noise(200, 200, 3)
    part = await enlarged(
        samples, NearestEngine(), executor, region=Rect(90, 90, 100, 100), color_lock=True
    )
    assert part.ran.tiles < tiles_of(200, 200) / 4


async def test_lock_takes_a_tint_off(executor: ThreadPoolExecutor) -> None:
    """The mean of each channel comes back to within half a code value; without the lock it does not."""
    samples = noise(90, 120, 3) // 2 + 64
    locked = await enlarged(samples, TintedEngine(), executor, color_lock=True)
    free = await enlarged(samples, TintedEngine(), executor)
    wanted = samples.mean(axis=(0, 1))
    assert np.abs(locked.picture.samples.mean(axis=(0, 1)) - wanted).max() < 0.5
    assert np.abs(free.picture.samples.mean(axis=(0, 1)) - wanted).max() > 5
    assert locked.ran.color_delta < free.ran.color_delta / 2


async def test_exact_engine_has_no_delta(executor: ThreadPoolExecutor) -> None:
    """Repeated pixels average to what they were; the lock changes nothing then."""
    samples = noise(20, 30, 3)
    result = await enlarged(samples, NearestEngine(), executor, color_lock=True)
    assert result.ran.color_delta == 0
    assert np.array_equal(result.picture.samples, nearest(samples, 4))


async def test_hidden_colour_does_not_reach_the_network(executor: ThreadPoolExecutor) -> None:
    """A red disc on hidden black is red all over to the network; alpha is as it was."""
    y, x = np.mgrid[0:30, 0:40]
    alpha = np.where((x - 20) ** 2 + (y - 15) ** 2 < 100, 255, 0).astype(np.uint8)
    red = np.dstack([alpha, np.zeros_like(alpha), np.zeros_like(alpha), alpha])
    engine = NearestEngine()
    result = await enlarged(red, engine, executor)
    colour = [
        request.pixels
        for request in engine.requests
        if (request.pixels[:, :, 0] != request.pixels[:, :, 1]).any()  # those of alpha are gray
    ]
    assert colour
    assert all((pixels == [65535, 0, 0]).all() for pixels in colour)
    assert (result.picture.samples[:, :, 0] == 255).all()
    assert np.array_equal(result.picture.samples[:, :, 3], nearest(alpha, 4))


class RepeatingEngine(NearestEngine):
    """Says of each second tile that it was computed again."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """The tile, with a reason."""
        result = await super().enlarge(request)
        return replace(result, repeated="constant" if request.index % 2 else None)


async def test_repeated_tiles_are_counted_by_reason(executor: ThreadPoolExecutor) -> None:
    """The caller learns what was computed again, and why."""
    result = await enlarged(noise(70, 33, 3), RepeatingEngine(), executor)
    assert result.ran.repeated == Counter(constant=result.ran.tiles // 2)
