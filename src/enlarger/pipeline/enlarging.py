"""Enlarges a decoded picture: cuts it into tiles, sends these to the engine, joins the results, and finishes them.

The command line and the service use the same code, so both make the same bytes. Between the network and the result,
samples have 16 bits; they are rounded to fewer bits once, at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import TypeVar
from uuid import uuid4

import numpy as np

from enlarger import tracing
from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult, sha256_of
from enlarger.geometry.axis import whole
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import Pass, Route, result_window
from enlarger.geometry.tiles import TileBox
from enlarger.large_arrays import large_array
from enlarger.picture.bleed import bleed_colour
from enlarger.picture.encoding import Statement
from enlarger.picture.extremes import NETWORK_REACH_PX, Extremes
from enlarger.picture.rim import without_ground
from enlarger.picture.values import Note, Picture, Samples
from enlarger.pipeline.dedupe import TileDeduplicator
from enlarger.pipeline.outcome import Enlarged, Ran
from enlarger.pipeline.plan import TILE_CACHE_BYTES, Plan
from enlarger.pipeline.planes import Goal, Plane, Source
from enlarger.pipeline.progress import OnPiece, OnTile, Piece
from enlarger.pipeline.together import together
from enlarger.threads import in_thread

_BITS = {"f16": 10}
"""Bits of a sample that a precision preserves, about; 8 for bf16 and int8."""

_NO_PIXELS = np.empty((0, 0, 3), np.uint16)

T = TypeVar("T")


async def enlarge(
    picture: Picture,
    *,
    plan: Plan,
    precision: str,
    engine: Engine,
    executor: Executor,
    deadline: float,
    admitted_at: float = 0.0,
    request_id: str = "-",
    on_planes: Callable[[int], None] | None = None,
    on_total: Callable[[int], None] | None = None,
    on_tile: OnTile | None = None,
    on_piece: OnPiece | None = None,
) -> Enlarged:
    """Enlarge a picture.

    Args:
        picture: gray or RGB, with or without alpha, 8 or 16 bits per sample. Frames of an animation that are equal to
            an earlier one are not enlarged again.
        plan: the plan for the picture.
        precision: ``f32``, ``f16``, ``bf16`` or ``int8``.
        engine: gets all tiles at once; it decides how many of them run.
        executor: threads that work on samples, off the event loop.
        deadline: seconds on the event loop's clock.
        admitted_at: seconds on the same clock.
        request_id: for the logs of everything that handles a tile.
        on_planes: called before the first tile with the number of planes that go through the network: the colours
            of each distinct frame, and its alpha unless that is the same everywhere.
        on_total: called with the number of tiles, before any is sent.
        on_tile: called after each finished tile.
        on_piece: called with the pixels of each finished tile.

    Raises:
        EnlargerError: the engine failed on a tile; the other tiles are cancelled.
    """
    frames = picture.frames
    first_equal = await in_thread(executor, _first_equal, frames)
    distinct = sorted(set(first_equal))
    planes = sum(_plane_count(frames[number]) for number in distinct)
    cache_bytes = TILE_CACHE_BYTES if len(frames) > 1 else 0
    async with TileDeduplicator(engine, cache_bytes=cache_bytes) as deduplicator:
        work = _Work(
            plan=plan,
            precision=precision,
            engine=deduplicator,
            executor=executor,
            deadline=deadline,
            admitted_at=admitted_at,
            request_id=request_id,
            total=sum(len(step.boxes) for step in plan.way.passes) * planes,
            on_tile=on_tile,
            on_piece=on_piece,
            icc=picture.icc,
            stated=picture.stated,
        )
        if on_planes is not None:
            on_planes(planes)
        if on_total is not None:
            on_total(work.total)
        made = await work.enlarge([frames[number] for number in distinct])
    by_number = dict(zip(distinct, made, strict=True))
    enlarged = picture.with_frames([by_number[number].samples for number in first_equal])
    done = work.done
    ran = Ran(
        model=plan.model_id,
        denoise=plan.noise_level,
        model_sha256=plan.model.sha256,
        engine=done[0].engine,
        precision=precision,
        tiles=work.total,
        device=plan.device,
        computed_in=tuple(sorted({result.precision for result in done})),
        tiles_by_server=Counter(result.server for result in done),
        retried=sum(result.attempts - 1 for result in done),
        repeated=Counter(result.repeated for result in done if result.repeated is not None),
        reused=deduplicator.reused,
        infer_s=sum(result.infer_s for result in done),
        color_delta=statistics.fmean(frame.color_delta for frame in made),
    )
    notes = (
        *picture.notes,
        *_choice_notes(plan),
        *_notes(picture, plan),
        *_depth_notes(picture, precision),
    )
    enlarged = replace(
        enlarged,
        notes=notes,
        magnification=(
            plan.size_px[0] / picture.width_px,
            plan.size_px[1] / picture.height_px,
        ),
        is_whole=picture.is_whole and not plan.is_part,
    )
    return Enlarged(picture=enlarged, ran=ran, content=plan.header.content)


def _first_equal(frames: Sequence[Samples]) -> list[int]:
    """Return for each frame the number of the first frame with the same samples."""
    seen: dict[bytes, int] = {}
    return [seen.setdefault(sha256_of(frame), number) for number, frame in enumerate(frames)]


@dataclass(frozen=True, slots=True)
class _Made:
    """One finished frame."""

    samples: Samples
    color_delta: float


@dataclass(kw_only=True)
class _Work:
    """What all frames share, and the results of the finished tiles without their pixels."""

    plan: Plan
    precision: str
    engine: Engine
    executor: Executor
    deadline: float
    admitted_at: float
    request_id: str
    total: int
    on_tile: OnTile | None
    on_piece: OnPiece | None
    icc: bytes | None
    stated: Statement | None
    owner: str = field(default_factory=lambda: uuid4().hex)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    done: list[TileResult] = field(default_factory=list)

    async def enlarge(self, frames: Sequence[Samples]) -> list[_Made]:
        """Enlarge all frames, a few at a time."""
        places = asyncio.Semaphore(self.plan.frames_at_once)

        async def one(frame: Samples) -> _Made:
            async with places:
                return await self._frame(frame, is_shown=frame is frames[0])

        return await together(one(frame) for frame in frames)

    async def _frame(self, frame: Samples, *, is_shown: bool) -> _Made:
        picture = Picture(samples=frame)
        make = partial(_sources, picture, cleans_edges=self.plan.cleans_edges)
        sources = await in_thread(self.executor, make)
        out = self.plan.way.out
        made = large_array((out.height_px, out.width_px, frame.shape[2]), frame.dtype)
        deltas: list[float] = []
        for step in self.plan.way.passes:
            if step is self.plan.way.passes[-1]:
                goals = _goals(made, sources, self.plan.way)
            else:
                goals = [_between(source, step, self.plan.model.scale) for source in sources]
            planes = [
                Plane(
                    source,
                    step,
                    self.plan.model.scale,
                    goal,
                    is_colour=source is sources[0],
                    locked=self.plan.color_lock,
                    extremes=None if source is sources[0] else self._extremes(picture, step),
                )
                for source, goal in zip(sources, goals, strict=True)
            ]
            shown = planes[0] if is_shown and step is self.plan.way.passes[-1] else None
            tiles = [(plane, box) for plane in planes for box in step.boxes]
            digests = await in_thread(self.executor, _digests, tiles)
            keeps = _keeps(tiles, digests)
            await together(
                self._tile(box, plane, keep, digest, is_shown=plane is shown)
                for (plane, box), keep, digest in zip(tiles, keeps, digests, strict=True)
            )
            deltas.append(planes[0].color_delta)
            window = step.made.times(self.plan.model.scale)
            sources = [Source(goal.samples, window) for goal in goals]
        if picture.alpha is not None and len(sources) == 1:
            await in_thread(self.executor, made[:, :, -1].fill, picture.alpha[0, 0])
        return _Made(made, deltas[0])

    def _extremes(self, picture: Picture, step: Pass) -> Extremes | None:
        """Return where alpha is certain to be 0 or full after a pass; None if the picture has no alpha."""
        if picture.alpha is None:
            return None
        scale, way = self.plan.model.scale, self.plan.way
        number, made = way.passes.index(step) + 1, step.made.times(scale)
        # Between two passes, the goal is everything that the first one makes, at its own size.
        is_last = number == len(way.passes)
        width, height = (
            self.plan.size_px
            if is_last
            else (picture.width_px * scale**number, picture.height_px * scale**number)
        )
        left, top = (way.out.left, way.out.top) if is_last else (made.left, made.top)
        return Extremes(
            alpha=picture.alpha,
            width_px=width,
            height_px=height,
            left=left,
            top=top,
            network_reach_px=sum(
                (Fraction(NETWORK_REACH_PX, scale**before) for before in range(number)), Fraction(0)
            ),
            is_reduced=is_last and not (way.rows.is_cut and way.columns.is_cut),
        )

    async def _tile(
        self, box: TileBox, plane: Plane, keep: Rect, digest: bytes, *, is_shown: bool
    ) -> None:
        """Enlarge one tile. ``keep`` is the part of the tile that the engine returns: its own part or more."""
        request = TileRequest(
            pixels=plane.tile(box),
            model=self.plan.model.id,
            weights_sha256=self.plan.model.sha256,
            graph_sha256=self.plan.model.graph_sha256,
            scale=self.plan.model.scale,
            precision=self.precision,
            deadline=self.deadline,
            owner=self.owner,
            admitted_at=self.admitted_at,
            request_id=self.request_id,
            index=next(self.numbers),
            total=self.total,
            keep=keep,
            device=self.plan.device.id,
            pixels_sha256=digest,
        )
        with tracing.span("tile", index=request.index, lr_px=request.lr_px):
            result = await self.engine.enlarge(request)
            tracing.note(server=result.server, attempts=result.attempts, precision=result.precision)
        result = replace(result, pixels=box.kept_in_tile.cut(result.pixels, keep))
        if is_shown and self.on_piece is not None and (piece := self._piece(box, request, result)):
            self.on_piece(piece)
        await in_thread(self.executor, plane.paste, box, result.pixels)
        # The list of results must not hold pixels, nor a view, which would hold all of them.
        result = replace(result, pixels=_NO_PIXELS)
        async with plane.finishing:
            await in_thread(self.executor, plane.finish)
        self.done.append(result)
        if self.on_tile is not None:
            self.on_tile(len(self.done), self.total)

    def _piece(self, box: TileBox, request: TileRequest, result: TileResult) -> Piece | None:
        """Return the part of a tile that can be shown; None if the tile only adds to its neighbours."""
        step, scale, out = self.plan.way.passes[-1], self.plan.model.scale, self.plan.way.out
        kept = box.kept
        shared = kept.common(step.made)
        # The size of the whole picture after the last pass, before the reduction.
        made_px = (self.plan.way.columns.length_px, self.plan.way.rows.length_px)
        place = result_window(shared.times(scale), made_px, self.plan.size_px).common(out)
        if place.width_px < 1 or place.height_px < 1:
            return None
        pixels = result.pixels[shared.within(kept).times(scale).slices]
        return Piece(
            index=request.index,
            total=request.total,
            place=place.within(out),
            pixels=pixels,
            icc=self.icc,
            stated=self.stated,
        )


def _digests(tiles: Sequence[tuple[Plane, TileBox]]) -> list[bytes]:
    """Return the digests of the tiles' pixels. Everything that compares tiles later uses these."""
    return [sha256_of(plane.tile(box)) for plane, box in tiles]


def _keeps(tiles: Sequence[tuple[Plane, TileBox]], digests: Sequence[bytes]) -> list[Rect]:
    """Return the part of each tile that the engine returns: its own part, or for equal tiles what any of them needs.

    Where a tile lies in the picture decides which part is its own. With only its own part, equal tiles would differ by
    that, and could not share one computation.
    """
    own = [box.kept_in_tile for _, box in tiles]
    keys = [
        (plane.tile(box).shape, digest) for (plane, box), digest in zip(tiles, digests, strict=True)
    ]
    hulls: dict[object, Rect] = {}
    for key, keep in zip(keys, own, strict=True):
        hulls[key] = hulls.get(key, keep).hull(keep)
    return [hulls[key] for key in keys]


def _plane_count(frame: Samples) -> int:
    """Return how many planes of a frame go through the network. An alpha that is the same everywhere does not."""
    alpha = Picture(samples=frame).alpha
    return 1 if alpha is None or alpha.min() == alpha.max() else 2


def _sources(picture: Picture, *, cleans_edges: bool) -> list[Source]:
    """Return the colours, and alpha unless it is the same everywhere."""
    whole = Rect.whole(picture.width_px, picture.height_px)
    colour, alpha = picture.colour, picture.alpha
    if alpha is not None:
        colour = bleed_colour(without_ground(colour, alpha) if cleans_edges else colour, alpha)
    sources = [Source(_widened(colour), whole)]
    if picture.alpha is not None and _plane_count(picture.samples) == 2:
        sources.append(Source(_widened(picture.alpha[:, :, np.newaxis]), whole))
    return sources


def _widened(samples: Samples) -> Samples:
    """Return samples of 16 bits. 257 is 65535 / 255, so that white stays white."""
    return samples if samples.dtype == np.uint16 else samples.astype(np.uint16) * np.uint16(257)


def _goals(made: Samples, sources: Sequence[Source], way: Route) -> list[Goal]:
    """Return the goals of the last pass: the channels of the result."""
    channels = sources[0].samples.shape[2]
    parts = [made[:, :, :channels], made[:, :, channels:]][: len(sources)]
    return [Goal(part, way.rows, way.columns) for part in parts]


def _between(source: Source, step: Pass, scale: int) -> Goal:
    """Return the goal of a pass before the last: everything that the network makes, with all bits."""
    made = step.made.times(scale)
    samples = large_array((made.height_px, made.width_px, source.samples.shape[2]), np.uint16)
    return Goal(samples, whole(made.height_px, made.height_px), whole(made.width_px, made.width_px))


def _notes(picture: Picture, plan: Plan) -> list[Note]:
    """Return a note if the result has another size than the network's output."""
    native = plan.model.scale ** len(plan.way.passes)
    if plan.size_px == (picture.width_px * native, picture.height_px * native):
        return []
    result = f"{plan.size_px[0] / picture.width_px:.4g}x"
    return [Note("resampled", f"{native}x model, {result} result")]


def _choice_notes(plan: Plan) -> list[Note]:
    """Return a note on what the pixels show, if the model was chosen by that."""
    content = plan.header.content
    return [] if content is None else [Note("content_detected", f"{content}: {plan.model_id}")]


def _depth_notes(picture: Picture, precision: str) -> list[Note]:
    """Return a note if the precision cannot preserve the depth of the picture."""
    # A picture of 10 or 12 bits that was read as 8 loses nothing.
    if precision == "f32" or picture.samples.dtype != np.uint16:
        return []
    detail = f"computed in {precision}, which is exact to about {_BITS.get(precision, 8)} of the {picture.depth_bits} bits per sample; f32 keeps all"
    return [Note("depth_limited", detail)]
