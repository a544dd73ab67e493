"""From a decoded picture to an enlarged one: plan, cut, send to the engine, put together, and finish.

The same code makes the picture in the command line and in the service, so both give the same bytes.
Between the network and the result, samples have 16 bits, and are rounded to fewer once, at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from enlarger import tracing
from enlarger.engine import Engine
from enlarger.errors import EnlargerError, InvalidOption
from enlarger.job import Options
from enlarger.picture import Note, Picture, colour_lock
from enlarger.picture.bleed import bled
from enlarger.picture.resample import reduce
from enlarger.picture.values import Samples, with_alpha
from enlarger.pipeline.once import Once
from enlarger.pipeline.passes import Network, Pass, Route, Window, kept_window, route
from enlarger.tiles import TileBox
from enlarger.wire import Keep, ModelFacts, TileRequest, TileResult

KEPT_BYTES = 256 << 20
"""Results that are kept for equal tiles of later frames."""

_TILES_AT_ONCE = 8

_BAND = 1 << 20
"""Samples that are worked on at once."""

OnTile = Callable[[int, int], None]
"""Called with tiles done and tiles planned after each tile, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What really ran for a picture."""

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

    reused: int = 0
    """Tiles that were equal to another one and needed no computing."""

    infer_s: float = 0.0
    """Seconds of computing, summed over tiles."""

    color_delta: float = 0.0
    """Mean absolute difference in 8-bit steps between the input and the result averaged to its size; of two
    passes, after the first; of an animation, the mean of its frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarged:
    """An enlarged picture, and what really ran."""

    picture: Picture
    ran: Ran


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
    admitted_at: float = 0.0,
    request_id: str = "-",
    on_tile: OnTile | None = None,
) -> Enlarged:
    """Enlarge a picture.

    Args:
        picture: gray or RGB, with or without alpha, 8 or 16 bits; of an animation each frame that differs
            from those before it is enlarged.
        model: what runs.
        wanted: size and part of the result, and whether its colours are locked.
        precision: ``f32``, ``bf16`` or ``int8``.
        engine: where tiles go, all at once; it decides how many run.
        executor: where samples are worked on, off the event loop.
        deadline: on the event loop's clock.
        admitted_at: on the same clock.
        request_id: for the logs of all who touch a tile.
        on_tile: told of each finished tile.

    Raises:
        EnlargerError: whatever the engine raises for a tile it cannot do; the other tiles are dropped.
    """
    way = plan_route(picture.width_px, picture.height_px, model=model, wanted=wanted)
    frames = picture.frames
    first_equal = await asyncio.get_running_loop().run_in_executor(executor, _first_equal, frames)
    distinct = sorted(set(first_equal))
    tiles_per_plane = sum(len(step.boxes) for step in way.passes)
    keep_bytes = KEPT_BYTES if len(frames) > 1 else 0
    async with Once(engine, keep_bytes=keep_bytes) as once:
        work = _Work(
            model=model,
            wanted=wanted,
            way=way,
            precision=precision,
            engine=once,
            executor=executor,
            deadline=deadline,
            admitted_at=admitted_at,
            request_id=request_id,
            total=tiles_per_plane * sum(_plane_count(frames[number]) for number in distinct),
            on_tile=on_tile,
        )
        try:
            made = await work.enlarge([frames[number] for number in distinct])
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
    by_number = dict(zip(distinct, made, strict=True))
    enlarged = picture.with_frames([by_number[number].samples for number in first_equal])
    done = work.done
    ran = Ran(
        model=model.id,
        model_sha256=model.sha256,
        engine=done[0].engine,
        precision=precision,
        tiles=work.total,
        tiles_by_server=Counter(result.server for result in done),
        retried=sum(result.attempts - 1 for result in done),
        repeated=Counter(result.repeated for result in done if result.repeated is not None),
        reused=once.reused,
        infer_s=sum(result.infer_s for result in done),
        color_delta=statistics.fmean(frame.color_delta for frame in made),
    )
    notes = (*picture.notes, *_notes(picture, way, wanted, model))
    return Enlarged(picture=replace(enlarged, notes=notes), ran=ran)


def frames_at_once(way: Route) -> int:
    """Frames of an animation that are worked on together: enough tiles to keep all engines busy."""
    return max(2, _TILES_AT_ONCE // max(len(step.boxes) for step in way.passes))


def _first_equal(frames: Sequence[Samples]) -> list[int]:
    """For each frame, the number of the first one with the same samples."""
    seen: dict[bytes, int] = {}
    return [
        seen.setdefault(hashlib.sha256(np.ascontiguousarray(frame).data).digest(), number)
        for number, frame in enumerate(frames)
    ]


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
        self._canvas = np.zeros((made.height_px, made.width_px, self._kept), np.uint16)
        self._adding = threading.Lock()

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
        """A tile's share into the canvas; a single channel is the mean of the network's three."""
        if self._kept == 1:
            # (sum + 1) // 3 is sum / 3 rounded to nearest.
            mean = (pixels.sum(axis=2, dtype=np.uint32, keepdims=True) + 1) // 3
            pixels = mean.astype(pixels.dtype)
        kept = kept_window(box)
        shared = kept.common(self._step.made)
        share = box.share(pixels, self._scale)[shared.within(kept).times(self._scale).slices]
        place = shared.within(self._step.made).times(self._scale).slices
        with self._adding:  # shares overlap, and tiles come from several threads
            self._canvas[place] += share

    def settle(self, locked: bool) -> float:
        """Lock the colours if that is wanted; gives what is left of the drift."""
        source = self._source.samples[self._step.made.within(self._source.window).slices]
        if locked:
            colour_lock.lock(self._canvas, source, scale=self._scale)
        return colour_lock.color_delta(self._canvas, source, scale=self._scale)


@dataclass(frozen=True, slots=True)
class _Made:
    """One finished frame."""

    samples: Samples
    color_delta: float


@dataclass(kw_only=True)
class _Work:
    """What is the same for all frames, and the facts of the tiles that are done."""

    model: ModelFacts
    wanted: Wanted
    way: Route
    precision: str
    engine: Engine
    executor: Executor
    deadline: float
    admitted_at: float
    request_id: str
    total: int
    on_tile: OnTile | None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    done: list[TileResult] = field(default_factory=list)

    async def enlarge(self, frames: Sequence[Samples]) -> list[_Made]:
        """All frames, a few at a time."""
        places = asyncio.Semaphore(frames_at_once(self.way))

        async def one(frame: Samples) -> _Made:
            async with places:
                return await self._frame(frame)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(frame)) for frame in frames]
        return [task.result() for task in tasks]

    async def _frame(self, frame: Samples) -> _Made:
        loop = asyncio.get_running_loop()
        picture = Picture(samples=frame)
        sources = await loop.run_in_executor(self.executor, _planes, picture)
        deltas: list[float] = []
        for step in self.way.passes:
            planes = [_Plane(source, step, self.model.scale) for source in sources]
            async with asyncio.TaskGroup() as group:
                for plane in planes:
                    for box in step.boxes:
                        group.create_task(self._tile(box, plane))
            # Alpha is not a colour: where it is 0 or full it must stay so, and it has no tint to lose.
            settle = planes[0].settle
            deltas.append(await loop.run_in_executor(self.executor, settle, self.wanted.color_lock))
            sources = [plane.result for plane in planes]
        canvases = [source.samples for source in sources]
        samples = await loop.run_in_executor(self.executor, _finish, picture, canvases, self.way)
        return _Made(samples, deltas[0])

    async def _tile(self, box: TileBox, plane: _Plane) -> None:
        request = TileRequest(
            pixels=plane.tile(box),
            model=self.model.id,
            weights_sha256=self.model.sha256,
            precision=self.precision,
            deadline=self.deadline,
            admitted_at=self.admitted_at,
            request_id=self.request_id,
            index=next(self.numbers),
            total=self.total,
            keep=Keep(*box.kept_in_tile),
        )
        with tracing.span("tile", index=request.index, lr_px=request.lr_px):
            result = await self.engine.enlarge(request)
            tracing.note(server=result.server, attempts=result.attempts, precision=result.precision)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.executor, plane.paste, box, result.pixels)
        # Only the facts are kept: the pixels are in the canvas now.
        self.done.append(replace(result, pixels=result.pixels[:0]))
        if self.on_tile is not None:
            self.on_tile(len(self.done), self.total)


def _plane_count(frame: Samples) -> int:
    """An even alpha needs no network."""
    alpha = Picture(samples=frame).alpha
    return 1 if alpha is None or alpha.min() == alpha.max() else 2


def _planes(picture: Picture) -> list[_Source]:
    """Colour, and alpha where it is not the same everywhere."""
    whole = Window(0, 0, picture.width_px, picture.height_px)
    colour = picture.colour if picture.alpha is None else bled(picture.colour, picture.alpha)
    planes = [_Source(_widened(colour), whole)]
    if picture.alpha is not None and _plane_count(picture.samples) == 2:
        planes.append(_Source(_widened(picture.alpha[:, :, np.newaxis]), whole))
    return planes


def _widened(samples: Samples) -> Samples:
    """With 16 bits: 257 is 65535 / 255, so that white stays white."""
    return samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)


def _narrowed(samples: Samples, like: Samples) -> Samples:
    """With the bits of ``like``, rounded to nearest. The memory of ``samples`` is used again."""
    if like.dtype == np.uint16:
        return samples
    wide = np.ascontiguousarray(samples).reshape(-1)
    narrow = wide.view(np.uint8)[: wide.size]
    # From the front, in bands: a band is written no further than the samples that were read.
    for first in range(0, wide.size, _BAND):
        band = slice(first, first + _BAND)
        narrow[band] = (wide[band].astype(np.uint32) + 128) // 257
    return narrow.reshape(samples.shape)


def _finish(picture: Picture, canvases: list[Samples], way: Route) -> Samples:
    """The planes as one picture of the wanted size and depth."""
    finished = [
        _narrowed(reduce(canvas, rows=way.rows, columns=way.columns), picture.samples)
        for canvas in canvases
    ]
    alpha: Samples | None = None
    if len(finished) > 1:
        alpha = finished[1][:, :, 0]
    elif picture.alpha is not None:
        alpha = np.full(finished[0].shape[:2], picture.alpha[0, 0], finished[0].dtype)
    return with_alpha(finished[0], alpha)


def _notes(picture: Picture, way: Route, wanted: Wanted, model: Network) -> list[Note]:
    """That the result has another size than what the network made."""
    native = model.scale ** len(way.passes)
    if wanted.size_px == (picture.width_px * native, picture.height_px * native):
        return []
    result = f"{wanted.size_px[0] / picture.width_px:.4g}x"
    return [Note("resampled", f"{native}x model, {result} result")]


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a caller should see of those that tiles raised together: one of ours, if there is one."""
    ours, others = errors.split(EnlargerError)
    error: BaseException | None = ours or others
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error or errors
