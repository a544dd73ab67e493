"""Animations from file to file: every frame is upscaled as it is seen, and only differences are computed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.fakes import NEAREST, FailsFirst, NearestEngine, StuckEngine, nearest
from support.oracles import lanczos_to
from support.pictures import WIDE, encoded, noise, visible
from support.plans import planned

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest
from enlarger.errors import EngineFailed, WrongOutput
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.route import result_window
from enlarger.geometry.tiles import plan
from enlarger.options import Options
from enlarger.picture.decode import decode
from enlarger.picture.values import Motion, Note, Picture
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.outcome import Enlarged
from enlarger.pipeline.progress import OnTile
from enlarger.pipeline.size_limit import write

TIMES_MS = (20, 30, 40, 50)


def moving(frames: list[Pixels], *, plays: int = 0, **fields: Any) -> Picture:
    """An animation of these frames, each shown for 10 ms more than the one before it."""
    times_ms = tuple(20.0 + 10 * number for number in range(len(frames)))
    motion = Motion(later=tuple(frames[1:]), durations_ms=times_ms, plays=plays)
    return Picture(samples=frames[0], motion=motion, **fields)


def different(count: int, *shape: int) -> list[Pixels]:
    """Frames that have no tile in common, nor a wholly transparent pixel."""
    return [visible(noise(*shape, seed=seed)) for seed in range(count)]


async def enlarged(
    picture: Picture,
    engine: Engine,
    executor: ThreadPoolExecutor,
    *,
    scale: float = 4,
    region: Rect | None = None,
    color_lock: bool = False,
    on_tile: OnTile | None = None,
) -> Enlarged:
    """``picture`` through ``engine``, by the model ``NEAREST``."""
    size_px = (int(picture.width_px * scale + 0.5), int(picture.height_px * scale + 0.5))
    return await enlarge(
        picture,
        plan=planned(
            picture.width_px, picture.height_px, size_px, region=region, color_lock=color_lock
        ),
        precision="f32",
        engine=engine,
        executor=executor,
        deadline=asyncio.get_running_loop().time() + 100,
        on_tile=on_tile,
    )


def tiles_of(width_px: int, height_px: int) -> int:
    """Tiles of one plane of a picture."""
    return len(plan(width_px, height_px, halo_px=NEAREST.halo_px, max_tile_px=NEAREST.max_tile_px))


# Every frame


@pytest.mark.parametrize("color_lock", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_every_frame_is_enlarged_exactly(
    executor: ThreadPoolExecutor, channels: int, color_lock: bool
) -> None:
    """Each frame is upscaled like a picture of its own. Times, plays, profile and notes stay."""
    note = Note("orientation_applied", "EXIF orientation 6")
    picture = moving(different(4, 40, 50, channels), plays=3, icc=WIDE, notes=(note,))
    made = (await enlarged(picture, NearestEngine(), executor, color_lock=color_lock)).picture
    assert len(made.frames) == 4
    for frame, source in zip(made.frames, picture.frames, strict=True):
        assert np.array_equal(frame, nearest(source, 4))
    assert made.motion is not None
    assert (made.motion.durations_ms, made.motion.plays) == (TIMES_MS, 3)
    assert (made.icc, made.notes) == (WIDE, (note,))


@settings(max_examples=25)
@given(
    numbers=st.lists(st.integers(0, 3), min_size=2, max_size=12),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
)
def test_any_order_of_frames_is_put_together(
    numbers: list[int], height: int, width: int, channels: int
) -> None:
    """Each frame is in its place, however often it is repeated and however many frames are computed at a time."""
    pool = different(4, height, width, channels)
    picture = moving([pool[number] for number in numbers])
    with ThreadPoolExecutor(2) as executor:
        made = asyncio.run(enlarged(picture, NearestEngine(), executor)).picture
    for frame, number in zip(made.frames, numbers, strict=True):
        assert np.array_equal(frame, nearest(pool[number], 4))


@pytest.mark.parametrize("scale", [1, 1.3, 2, 3.9])
async def test_other_sizes_are_one_reduction_of_each_frame(
    executor: ThreadPoolExecutor, scale: float
) -> None:
    """Samples are rounded once, and the note appears once."""
    picture = moving(different(3, 33, 41, 3))
    made = (await enlarged(picture, NearestEngine(), executor, scale=scale)).picture
    height, width = int(33 * scale + 0.5), int(41 * scale + 0.5)
    for frame, source in zip(made.frames, picture.frames, strict=True):
        expected = lanczos_to(nearest(source, 4), width, height)
        assert np.abs(frame - expected).max() <= 0.51
    assert [note.code for note in made.notes] == ["resampled"]


async def test_second_pass_goes_over_each_frame(executor: ThreadPoolExecutor) -> None:
    """Its tiles count for each."""
    picture = moving(different(3, 6, 9, 3))
    result = await enlarged(picture, NearestEngine(), executor, scale=8)
    for frame, source in zip(result.picture.frames, picture.frames, strict=True):
        assert np.abs(frame - lanczos_to(nearest(source, 16), 72, 48)).max() <= 0.51
    assert result.ran.tiles == 3 * (tiles_of(9, 6) + tiles_of(36, 24))


@pytest.mark.parametrize("scale", [2.3, 4])
async def test_region_of_an_animation_has_the_pixels_of_the_whole(
    executor: ThreadPoolExecutor, scale: float
) -> None:
    """In every frame, with its colours locked."""
    picture = moving(different(3, 70, 90, 4))
    region = Rect(20, 30, 51, 60)
    whole = await enlarged(picture, NearestEngine(), executor, scale=scale, color_lock=True)
    part = await enlarged(
        picture, NearestEngine(), executor, scale=scale, color_lock=True, region=region
    )
    size = (whole.picture.width_px, whole.picture.height_px)
    place = result_window(region, (90, 70), size)
    for frame, all_of_it in zip(part.picture.frames, whole.picture.frames, strict=True):
        assert np.array_equal(frame, all_of_it[place.slices])


# No unnecessary work


async def test_frame_that_comes_again_is_computed_once(executor: ThreadPoolExecutor) -> None:
    """It may be anywhere in the animation. Its tiles are counted once."""
    one, two = different(2, 40, 50, 3)
    engine = NearestEngine()
    result = await enlarged(moving([one, two, one, one, two]), engine, executor)
    assert len(engine.requests) == result.ran.tiles == 2 * tiles_of(50, 40)
    assert result.ran.reused == 0
    for frame, source in zip(result.picture.frames, (one, two, one, one, two), strict=True):
        assert np.array_equal(frame, nearest(source, 4))


async def test_what_stands_still_is_computed_once(executor: ThreadPoolExecutor) -> None:
    """The frames differ in one pixel. Tiles that do not read it are computed once."""
    first = noise(60, 80, 3)
    frames = [first.copy() for _ in range(6)]
    for number, frame in enumerate(frames):
        frame[0, 0] = number
    engine = NearestEngine()
    result = await enlarged(moving(frames), engine, executor)
    tiles = tiles_of(80, 60)
    assert tiles >= 5
    assert len(engine.requests) == tiles - 1 + 6
    assert result.ran.tiles == 6 * tiles
    assert result.ran.reused == 5 * (tiles - 1)
    assert result.ran.infer_s == pytest.approx(0.001 * len(engine.requests))
    for frame, source in zip(result.picture.frames, frames, strict=True):
        assert np.array_equal(frame, nearest(source, 4))


async def test_colours_are_locked_in_frames_that_share_tiles(executor: ThreadPoolExecutor) -> None:
    """Each frame has the same pixels as if it were alone: the correction of one frame does not change the tiles that another one shares."""
    first = noise(60, 80, 3)
    second = first.copy()
    second[:8, :8] = 255
    together = await enlarged(
        moving([first, second]), NearestEngine(), executor, scale=2, color_lock=True
    )
    for frame, source in zip(together.picture.frames, (first, second), strict=True):
        alone = await enlarged(
            Picture(samples=source), NearestEngine(), executor, scale=2, color_lock=True
        )
        assert np.array_equal(frame, alone.picture.samples)


async def test_alpha_is_computed_where_it_varies(executor: ThreadPoolExecutor) -> None:
    """In one frame of three; in the others it has the value that it has there."""
    frames = [np.dstack([noise(40, 50, 3, seed=n), np.full((40, 50), 255)]) for n in range(3)]
    frames = [frame.astype(np.uint8) for frame in frames]
    frames[1][:, :, 3] = noise(40, 50, seed=9) | 1
    frames[2][:, :, 3] = 77
    engine = NearestEngine()
    result = await enlarged(moving(frames), engine, executor)
    assert len(engine.requests) == result.ran.tiles == 4 * tiles_of(50, 40)
    for frame, source in zip(result.picture.frames, frames, strict=True):
        assert np.array_equal(frame, nearest(source, 4))


@pytest.mark.parametrize("channels", [3, 4])
async def test_tiles_are_counted_to_the_end(executor: ThreadPoolExecutor, channels: int) -> None:
    """One call for each, those that were reused included; the last says that all are done."""
    frames = different(3, 60, 80, channels)
    frames[1] = frames[0].copy()
    frames[1][-1, -1] ^= 2
    calls: list[tuple[int, int]] = []
    engine = NearestEngine()
    result = await enlarged(
        moving([*frames, frames[0]]), engine, executor, on_tile=lambda *call: calls.append(call)
    )
    total = 3 * (channels - 2) * tiles_of(80, 60)
    assert result.ran.tiles == total
    assert calls == [(done, total) for done in range(1, total + 1)]
    assert result.ran.reused == total - len(engine.requests) > 0


async def test_delta_is_the_mean_of_the_frames(executor: ThreadPoolExecutor) -> None:
    """An exact engine has none."""
    result = await enlarged(moving(different(3, 20, 30, 3)), NearestEngine(), executor)
    assert result.ran.color_delta == 0


# Failures


async def test_one_frame_that_fails_fails_all(executor: ThreadPoolExecutor) -> None:
    """The error itself is raised, not a group, and the tiles of all frames are dropped."""
    stuck = StuckEngine()
    error = WrongOutput("constant")
    engine = FailsFirst(stuck, failures=1, error=error)
    with pytest.raises(WrongOutput) as raised:
        await enlarged(moving(different(12, 40, 50, 3)), engine, executor)
    assert raised.value is error
    assert stuck.cancelled == len(stuck.requests)
    assert stuck.in_flight == 0


async def test_late_frame_that_fails_fails_all(executor: ThreadPoolExecutor) -> None:
    """This holds however many frames are done by then."""

    class FailsLate(NearestEngine):
        async def enlarge(self, request: TileRequest) -> Any:
            if len(self.requests) == 10:
                raise EngineFailed("the runtime failed")
            return await super().enlarge(request)

    engine = FailsLate()
    with pytest.raises(EngineFailed):
        await enlarged(moving(different(12, 20, 30, 3)), engine, executor)
    assert engine.in_flight == 0


async def test_cancellation_reaches_the_tiles_of_all_frames(executor: ThreadPoolExecutor) -> None:
    """Frames that only wait for the tiles of another one are cancelled as well."""
    stuck = StuckEngine()
    frames = different(5, 40, 50, 3)
    frames[1][:20] = frames[0][:20]
    task = asyncio.create_task(enlarged(moving(frames), stuck, executor))
    await stuck.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stuck.cancelled == len(stuck.requests)
    assert stuck.in_flight == 0


# From file to file

SOURCES: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "GIF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
"""Formats that move, and how to write them with as little loss as they can."""


def areas(number: int) -> Pixels:
    """Areas of 16 x 16 in six colours, which move on: 32 x 48, RGB."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0], [255] * 3])
    picture = colours.reshape(2, 3, 3).repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)
    return np.roll(picture, 5 * number, axis=1)


@pytest.mark.parametrize("target", ["png", "webp", "avif"])
@pytest.mark.parametrize("source", SOURCES)
async def test_animation_of_any_format_becomes_one_of_any_other(
    executor: ThreadPoolExecutor, tmp_path: Path, source: str, target: str
) -> None:
    """Frames, times and plays come through; a PNG of what was without loss is exact."""
    frames = [Image.fromarray(areas(number)) for number in range(3)]
    data = encoded(
        frames[0],
        source,
        save_all=True,
        append_images=frames[1:],
        duration=[20, 30, 40],
        loop=0,
        **SOURCES[source],
    )
    picture = decode(data, frames=3)
    result = await enlarged(picture, NearestEngine(), executor)
    path = tmp_path / f"out.{target}"
    options = Options(quality=None if target == "png" else 100)
    written = write(result, options, path, kind=target, least_px=(48, 32))
    assert written.notes == ()
    with Image.open(path) as image:
        assert (image.format, image.size) == (target.upper(), (192, 128))
        assert getattr(image, "n_frames", 1) == 3
        assert image.info.get("loop", 0) == 0
        for number in range(3):
            image.seek(number)
            image.load()
            assert image.info["duration"] == 20 + 10 * number
            # Decoders return full alpha for every WebP.
            samples = np.asarray(image.convert("RGB")).astype(int)
            error = np.abs(samples - nearest(areas(number), 4))
            if target == "png" and source != "AVIF":
                assert error.max() == 0
            assert error.mean() < 4


@pytest.mark.parametrize(
    ("frames", "note"), [(1, "first_frame_only"), (2, "frames_left_out"), (3, None)]
)
async def test_what_was_left_out_is_told_in_the_end(
    executor: ThreadPoolExecutor, tmp_path: Path, frames: int, note: str | None
) -> None:
    """Together with what else was changed, in its order."""
    images = [Image.fromarray(areas(number)) for number in range(3)]
    data = encoded(images[0], "GIF", save_all=True, append_images=images[1:], loop=4)
    result = await enlarged(decode(data, frames=frames), NearestEngine(), executor, scale=2)
    written = write(result, Options(), tmp_path / "a", kind="avif", least_px=(48, 32))
    looped = ["loop_dropped"] if frames > 1 else []
    assert [found.code for found in written.notes] == [
        *([note] if note else []),
        "resampled",
        *looped,
    ]
    assert len(written.frames) == frames
