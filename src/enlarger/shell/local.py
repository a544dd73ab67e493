"""Pictures that are enlarged in this process, each with all that the engine has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from enlarger.engine import Engine
from enlarger.job import Options
from enlarger.models import Catalogue, Model
from enlarger.picture.encode import check_kind, holds_frames, kind_for
from enlarger.picture.values import Header, Picture
from enlarger.picture.workers import Decoders
from enlarger.pipeline.enlarging import Enlarged, Wanted, enlarge, plan_route, wanted_of
from enlarger.pipeline.fitting import write
from enlarger.pipeline.passes import Route
from enlarger.pipeline.planning import (
    choose_model,
    choose_precision,
    frame_count,
    least_size_px,
    pixel_bytes,
)
from enlarger.shell.estimates import Estimated, file_bytes
from enlarger.shell.progress import Shown
from enlarger.shell.sources import Reader, Source
from enlarger.shell.targets import Work
from enlarger.shell.writing import written_aside
from enlarger.store import check_room
from enlarger.threads import finished, in_thread
from enlarger.wire import ModelFacts

_MOST_PX = 1 << 30
"""Pixels of all frames of one result: they are held in memory until the file is written."""

_OPAQUE = ("L", "RGB")
"""Modes that have no alpha, but for a rare key colour."""

_NO_DEADLINE_S = 10 * 365 * 86_400
"""A shell user waits, or presses Ctrl-C."""

_MAY_BE_LONG_MFLOP = 300_000
"""Computing from which on a picture may take a minute: the slowest machines seen make 5,000 MFLOP/s."""

_BYTES_PER_TILE_PX = {"rrdb": 2400, "compact": 1000}
"""Memory that a network holds for each pixel of a tile, in f32 (benchmarks/tile_memory.py)."""

_BASE_BYTES = 110_000_000
_BYTES_PER_WEIGHTS_BYTE = 6
"""Memory of this process without a network, and of a compiled one: of x4plus six times its file of f16. Both as the
largest resident size of whole runs shows them."""

BeginToLoad = Callable[[str, int, str], Future[object]]
"""Begins to load a model for a picture of so many tiles, in a precision; the future ends when it is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be done with one picture."""

    header: Header
    wanted: Wanted
    model: Model
    way: Route
    frames: int
    facts: ModelFacts
    """What the engine says of the model."""

    precision: str

    @property
    def tiles(self) -> int:
        """For the colours of all frames."""
        return self.frames * sum(len(step.boxes) for step in self.way.passes)

    @property
    def most_tiles(self) -> int:
        """With those of alpha, where the header says that there may be some."""
        return self.tiles * (2 if self.header.may_be_transparent else 1)

    @property
    def mflop(self) -> float:
        """Computing for all of them."""
        planes = self.frames * (2 if self.header.may_be_transparent else 1)
        return self.model.mflop_per_px * self.way.lr_px * planes

    def memory_bytes(self, *, parallel: int) -> int:
        """Memory that this process takes for it at most, with so many tiles at once."""
        lr_px = self.header.width_px * self.header.height_px
        network = _BYTES_PER_WEIGHTS_BYTE * (self.model.size_bytes or 0)
        tile = _BYTES_PER_TILE_PX[self.model.architecture] * self.way.tile_lr_px
        pixels = pixel_bytes(self.way, lr_px, scale=self.model.scale, frames=self.frames)
        return _BASE_BYTES + network + parallel * tile + pixels


class LocalWorker:
    """Enlarges pictures in this process; see ``run.Worker``.

    Args:
        engine: where tiles go.
        catalogue: the models there are.
        decoders: where files are read; one that crashes its decoder does not end the run.
        executor: where samples are worked on.
        reader: reads the pictures' files.
        precision: what the user set; ``auto`` leaves it to the engine and the picture's depth.
        begin_to_load: told of a model, of how many tiles a picture has and of its precision, as soon as that is known.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        decoders: Decoders,
        executor: Executor,
        reader: Reader,
        precision: str = "auto",
        begin_to_load: BeginToLoad | None = None,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._decoders = decoders
        self._executor = executor
        self._reader = reader
        self._precision = precision
        self._begin_to_load = begin_to_load

    async def own_kind(self, source: Source) -> str:
        """See ``run.Worker``."""
        header = await self._decoders.probe(await self._reader.read(source))
        return kind_for("auto", header.format)

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """See ``run.Worker``."""
        data = await self._reader.read(item.source)
        header = await self._decoders.probe(data)
        plan = await self._planned(header, item.kind, options)
        size_px = (plan.way.out.width_px, plan.way.out.height_px)
        check_kind(
            item.kind,
            size_px=size_px,
            has_alpha=False,
            background=options.background_rgb,
            frames=plan.frames,
        )
        await self._loaded(plan)
        speed = self._engine.facts().all_mflop_per_s
        return Estimated(
            picture_px=(header.width_px, header.height_px),
            result_px=size_px,
            kind=item.kind,
            frames=plan.frames,
            precision=plan.precision,
            seconds=plan.mflop / speed if speed else None,
            memory_bytes=plan.memory_bytes(parallel=self._engine.facts().parallel) + len(data),
            file_bytes=file_bytes(
                item.kind,
                size_px,
                frames=plan.frames,
                depth_bits=header.depth_bits,
                channels=3 + header.may_be_transparent,
                max_bytes=options.max_bytes,
            ),
        )

    async def enlarge(self, item: Work, options: Options, shown: Shown, *, overwrite: bool) -> str:
        """See ``run.Worker``."""
        started = time.monotonic()
        data = await self._reader.read(item.source)
        header = await self._decoders.probe(data)
        plan = await self._planned(header, item.kind, options)
        loading: Future[object] | None = None
        # Alpha would be tiles of its own, unless it is even: which nobody knows yet.
        if self._begin_to_load and (plan.tiles > 1 or header.mode in _OPAQUE):
            loading = self._begin_to_load(plan.model.id, plan.tiles, plan.precision)
        picture = await self._decoders.decode(
            data, to_srgb=options.color == "srgb", frames=plan.frames, kind=item.kind
        )
        check_kind(
            item.kind,
            size_px=(plan.way.out.width_px, plan.way.out.height_px),
            has_alpha=picture.has_alpha,
            background=options.background_rgb,
            frames=plan.frames,
        )
        if loading is not None and plan.mflop > _MAY_BE_LONG_MFLOP:
            with suppress(Exception):  # what fails will fail with the first tile, too
                await asyncio.wrap_future(loading)
        speed = self._engine.facts().all_mflop_per_s
        shown.plan(plan.most_tiles, plan.mflop / speed if speed else None)
        enlarged = await enlarge(
            picture,
            model=plan.facts,
            wanted=plan.wanted,
            precision=plan.precision,
            engine=self._engine,
            executor=self._executor,
            deadline=asyncio.get_running_loop().time() + _NO_DEADLINE_S,
            on_tile=shown.on_tile,
        )
        least_px = least_size_px(plan.wanted, header, plan.way)
        with written_aside(item.target, overwrite=overwrite) as aside:
            writing = partial(write, enlarged, options, aside, kind=item.kind, least_px=least_px)
            # To its end also when the user presses Ctrl-C: then nothing is left of it.
            written = await finished(in_thread(self._executor, writing))
            with aside.open("r+b") as file:
                check_room(file.fileno())
        return _line(item, picture, enlarged, written, took_s=time.monotonic() - started)

    async def _planned(self, header: Header, kind: str, options: Options) -> _Plan:
        wanted = wanted_of(options, header.width_px, header.height_px)
        size_px = (header.width_px, header.height_px)
        model = choose_model(self._catalogue, options.model, size_px, wanted)
        way = plan_route(header.width_px, header.height_px, model=model, wanted=wanted)
        frames = frame_count(
            _with_frames(options, kind, header),
            header,
            limit=max(1, _MOST_PX // (way.out.width_px * way.out.height_px)),
        )
        facts = await self._engine.ready_for(model.id, model.sha256)
        precision = choose_precision(
            "auto", setting=self._precision, depth_bits=header.depth_bits, model=facts
        )
        return _Plan(
            header=header,
            wanted=wanted,
            model=model,
            way=way,
            frames=frames,
            facts=facts,
            precision=precision,
        )

    async def _loaded(self, plan: _Plan) -> None:
        """Wait for the model: its check on the golden picture tells how fast it is here."""
        if self._begin_to_load is not None:
            await asyncio.wrap_future(
                self._begin_to_load(plan.model.id, plan.tiles, plan.precision)
            )


def _with_frames(options: Options, kind: str, header: Header) -> Options:
    """Unless told otherwise, all frames of an animation where the format of the result holds them."""
    if options.frames is not None or not header.is_animation:
        return options
    return options.model_copy(update={"frames": "all" if holds_frames(kind) else "first"})


def _line(
    item: Work, picture: Picture, enlarged: Enlarged, written: Picture, *, took_s: float
) -> str:
    notes = "".join(f"\n  {note.code}: {note.detail}" for note in written.notes)
    frames = f", {len(written.frames)} frames" if written.motion else ""
    return (
        f"{item.shown_target}: {picture.width_px}x{picture.height_px} to {written.width_px}x{written.height_px}{frames}, "
        f"{enlarged.ran.model} {enlarged.ran.precision}, {enlarged.ran.tiles} tiles, {took_s:.1f} s{notes}"
    )
