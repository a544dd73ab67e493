"""From a decoded picture to an enlarged one: plan, cut, send to the engine, put together, and finish.

The same code makes the picture in the command line and in the service, so both give the same bytes.
Between the network and the result, samples have 16 bits, and are rounded to fewer once, at the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from enlarger.engine import Engine
from enlarger.errors import EnlargerError, InvalidOption
from enlarger.job import Options
from enlarger.picture import Note, Picture, colour_lock
from enlarger.picture.bleed import bled
from enlarger.picture.resample import reduce
from enlarger.picture.values import Samples, with_alpha
from enlarger.pipeline.passes import Network, Pass, Route, Window, route
from enlarger.tiles import TileBox
from enlarger.wire import ModelFacts, TileRequest, TileResult

OnTile = Callable[[int, int], None]
"""Called with tiles done and tiles planned after each tile, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarged:
    """An enlarged picture, and what really ran."""

    picture: Picture
    model: str
    model_sha256: str
    engine: str
    precision: str
    tiles: int
    tiles_by_server: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    """Times that a tile had to be sent again."""

    repeated: Counter[str] = field(default_factory=Counter)
    """Tiles that were computed again, by reason."""

    infer_s: float = 0.0
    """Seconds of computing, summed over tiles."""

    color_delta: float = 0.0
    """Mean absolute difference in 8-bit steps between the input and the result averaged to its size; of two
    passes, after the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be made of a picture."""

    size_px: tuple[int, int]
    """Width and height of the whole result."""

    region: Window | None = None
    """The part of the picture whose result is wanted; None for all of it."""

    color_lock: bool = True
    """Set the low frequencies back to those of the input."""


async def enlarge(
    picture: Picture,
    *,
    model: ModelFacts,
    wanted: Wanted,
    precision: str,
    engine: Engine,
    executor: Executor,
    deadline: float,
    request_id: str = "-",
    on_tile: OnTile | None = None,
) -> Enlarged:
    """Enlarge a picture.

    Args:
        picture: gray or RGB, with or without alpha, 8 or 16 bits.
        model: what runs.
        wanted: size and part of the result, and whether its colours are locked.
        precision: ``f32`` or ``bf16``.
        engine: where tiles go, all at once; it decides how many run.
        executor: where samples are worked on, off the event loop.
        deadline: on the event loop's clock.
        request_id: for the logs of all who touch a tile.
        on_tile: told of each finished tile.

    Raises:
        EnlargerError: whatever the engine raises for a tile it cannot do; the other tiles are dropped.
    """
    loop = asyncio.get_running_loop()
    way = plan_route(picture.width_px, picture.height_px, model=model, wanted=wanted)
    sources = await loop.run_in_executor(executor, _planes, picture)
    total = len(sources) * sum(len(step.boxes) for step in way.passes)
    done: list[TileResult] = []

    async def one_tile(number: int, box: TileBox, plane: _Plane) -> None:
        result = await engine.enlarge(
            TileRequest(
                pixels=plane.tile(box),
                model=model.id,
                weights_sha256=model.sha256,
                precision=precision,
                deadline=deadline,
                request_id=request_id,
                index=number,
                total=total,
            )
        )
        await loop.run_in_executor(executor, plane.paste, box, result.pixels)
        # Only the facts are kept: the pixels are in the canvas now.
        done.append(replace(result, pixels=result.pixels[:0]))
        if on_tile is not None:
            on_tile(len(done), total)

    deltas: list[float] = []
    for step in way.passes:
        planes = [_Plane(source, step, model.scale) for source in sources]
        try:
            async with asyncio.TaskGroup() as group:
                tiles = [(plane, box) for plane in planes for box in step.boxes]
                for number, (plane, box) in enumerate(tiles, start=len(done)):
                    group.create_task(one_tile(number, box, plane))
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        # Alpha is not a colour: where it is 0 or full it must stay so, and it has no tint to lose.
        deltas.append(await loop.run_in_executor(executor, planes[0].settle, wanted.color_lock))
        sources = [plane.result for plane in planes]
    enlarged = await loop.run_in_executor(
        executor, _finish, picture, [source.samples for source in sources], way, wanted, model.scale
    )
    return Enlarged(
        picture=enlarged,
        model=model.id,
        model_sha256=model.sha256,
        engine=done[0].engine,
        precision=precision,
        tiles=total,
        tiles_by_server=Counter(result.server for result in done),
        retried=sum(result.attempts - 1 for result in done),
        repeated=Counter(result.repeated for result in done if result.repeated is not None),
        infer_s=sum(result.infer_s for result in done),
        color_delta=deltas[0],
    )


def wanted_of(options: Options, width_px: int, height_px: int) -> Wanted:
    """What ``options`` ask of a picture of that size.

    Raises:
        InvalidOption: the size or the region is not to be had of it.
    """
    region = None
    if options.region is not None:
        left, top, width, height = options.region
        region = Window(left, top, left + width, top + height)
        if region.right > width_px or region.bottom > height_px:
            raise InvalidOption(
                f"Invalid region: it ends at {region.right},{region.bottom}; the picture has {width_px}x{height_px} px"
            )
    return Wanted(
        size_px=options.size_px(width_px, height_px), region=region, color_lock=options.color_lock
    )


def plan_route(width_px: int, height_px: int, *, model: Network, wanted: Wanted) -> Route:
    """What has to be computed for ``wanted``."""
    return route(
        width_px,
        height_px,
        model=model,
        size_px=wanted.size_px,
        region=wanted.region,
        margin_px=colour_lock.MARGIN_PX if wanted.color_lock else 0,
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """Samples to enlarge, and which part of the picture they are."""

    samples: Samples
    """(H, W, 3) or (H, W, 1), uint16."""

    window: Window


class _Plane:
    """Channels that go through the network together in one pass, and where the result grows."""

    def __init__(self, source: _Source, step: Pass, scale: int) -> None:
        self._source = source
        self._step = step
        self._scale = scale
        self._kept = source.samples.shape[2]
        made = step.made.times(scale)
        self._canvas = np.empty((made.height_px, made.width_px, self._kept), np.uint16)

    @property
    def result(self) -> _Source:
        """What was made, to be enlarged further or finished."""
        return _Source(self._canvas, self._step.made.times(self._scale))

    def tile(self, box: TileBox) -> Samples:
        """What the network sees of a tile, (H, W, 3): a view, also where one channel stands for three."""
        place = Window(box.columns.first, box.rows.first, box.columns.last, box.rows.last)
        pixels = self._source.samples[place.within(self._source.window).slices]
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))

    def paste(self, box: TileBox, pixels: Samples) -> None:
        """The core of an enlarged tile into the canvas; a single channel is the mean of the network's three."""
        core = Window(box.columns.start, box.rows.start, box.columns.stop, box.rows.stop)
        shared = core.common(self._step.made)
        first = Window(box.columns.first, box.rows.first, box.columns.last, box.rows.last)
        pixels = pixels[shared.within(first).times(self._scale).slices]
        if self._kept == 1:
            # (sum + 1) // 3 is sum / 3 rounded to nearest.
            pixels = (pixels.sum(axis=2, dtype=np.uint32, keepdims=True) + 1) // 3
        self._canvas[shared.within(self._step.made).times(self._scale).slices] = pixels

    def settle(self, locked: bool) -> float:
        """Lock the colours if that is wanted; gives what is left of the drift."""
        source = self._source.samples[self._step.made.within(self._source.window).slices]
        if locked:
            colour_lock.lock(self._canvas, source, scale=self._scale)
        return colour_lock.color_delta(self._canvas, source, scale=self._scale)


def _planes(picture: Picture) -> list[_Source]:
    """Colour, and alpha where it is not the same everywhere: an even alpha needs no network."""
    whole = Window(0, 0, picture.width_px, picture.height_px)
    colour = picture.colour if picture.alpha is None else bled(picture.colour, picture.alpha)
    planes = [_Source(_widened(colour), whole)]
    if picture.alpha is not None and picture.alpha.min() != picture.alpha.max():
        planes.append(_Source(_widened(picture.alpha[:, :, np.newaxis]), whole))
    return planes


def _widened(samples: Samples) -> Samples:
    """With 16 bits: 257 is 65535 / 255, so that white stays white."""
    return samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)


def _narrowed(samples: Samples, like: Samples) -> Samples:
    """With the bits of ``like``, rounded to nearest."""
    if like.dtype == np.uint16:
        return samples
    # In bands: the sum needs more bits than the samples have.
    narrow = np.empty(samples.shape, np.uint8)
    for first in range(0, len(samples), 256):
        narrow[first : first + 256] = (samples[first : first + 256].astype(np.uint32) + 128) // 257
    return narrow


def _finish(
    picture: Picture, canvases: list[Samples], way: Route, wanted: Wanted, scale: int
) -> Picture:
    """The planes as one picture of the wanted size and depth."""
    native = scale ** len(way.passes)
    notes = list(picture.notes)
    if wanted.size_px != (picture.width_px * native, picture.height_px * native):
        result = f"{wanted.size_px[0] / picture.width_px:.4g}x"
        notes.append(Note("resampled", f"{native}x model, {result} result"))
    finished = [
        _narrowed(reduce(canvas, rows=way.rows, columns=way.columns), picture.samples)
        for canvas in canvases
    ]
    alpha: Samples | None = None
    if len(finished) > 1:
        alpha = finished[1][:, :, 0]
    elif picture.alpha is not None:
        alpha = np.full(finished[0].shape[:2], picture.alpha[0, 0], finished[0].dtype)
    return replace(picture, samples=with_alpha(finished[0], alpha), notes=tuple(notes))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a caller should see of those that tiles raised together: one of ours, if there is one."""
    ours, others = errors.split(EnlargerError)
    error: BaseException | None = ours or others
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error or errors
