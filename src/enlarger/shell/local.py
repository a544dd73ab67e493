"""Upscales pictures in this process. Each picture may use the whole engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial

from enlarger.engine import Engine
from enlarger.engine.device import Device
from enlarger.models import Catalogue, Model
from enlarger.options import Options
from enlarger.picture.formats import holds_frames, kind_for
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Header, Picture
from enlarger.pipeline.devices import Devices
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.limits import Limits
from enlarger.pipeline.outcome import Enlarged
from enlarger.pipeline.plan import Plan, choose_precision
from enlarger.pipeline.plan import plan as plan_of
from enlarger.pipeline.size_limit import write
from enlarger.pipeline.within_memory import within_memory
from enlarger.shell.estimates import Estimated, file_bytes
from enlarger.shell.progress import Follower
from enlarger.shell.sources import Reader, Source
from enlarger.shell.targets import Work
from enlarger.shell.writing import written_aside
from enlarger.storage.drafts import check_room
from enlarger.threads import finished, in_thread

_LIMITS = Limits(max_frame_px=1 << 30)
"""A user's own pictures have no limits, except for the memory that all frames of a result need until its file is
written."""

_OPAQUE = ("L", "RGB")
"""Modes without alpha, except for a rare transparent key colour."""

_NO_DEADLINE_S = 10 * 365 * 86_400
"""There is no deadline: a shell user waits, or presses Ctrl-C."""

_MAY_BE_LONG_MFLOP = 300_000
"""From this much computation on, a picture may take a minute: the slowest machines measured reach 5,000 MFLOP/s."""

_BASE_BYTES = 110_000_000
_BYTES_PER_WEIGHTS_BYTE = 6
"""A compiled network needs this multiple of its weights file: measured with x4plus, whose file is f16.

``_BASE_BYTES`` is the memory of this process without a network. Both come from the largest resident size of whole
runs.
"""

BeginToLoad = Callable[[str, int, str], Future[object]]
"""Begins to load a model in a precision, for a picture of so many tiles. The future ends when the model is loaded."""


def _memory_bytes(plan: Plan, model: Model, *, parallel: int) -> int:
    """Return the most memory that this process needs for a picture, with so many tiles at once."""
    network = _BYTES_PER_WEIGHTS_BYTE * (model.size_bytes or 0)
    tile = model.tile_bytes_per_px * plan.way.tile_lr_px
    return _BASE_BYTES + network + parallel * tile + plan.held_bytes


class LocalWorker:
    """Upscales pictures in this process; see ``run.Worker``.

    Args:
        engine: computes the tiles.
        catalogue: the available models.
        decoders: processes that read files; a crash of one does not end the run.
        executor: the threads that process samples.
        reader: reads the pictures' files.
        precision: the user's setting; ``auto`` leaves it to the engine and the picture's depth.
        begin_to_load: called with a model, a picture's number of tiles and its precision, as soon as these are known.
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
        self._devices = Devices()

    async def own_kind(self, source: Source) -> str:
        """See ``run.Worker``."""
        header = await self._decoders.probe(await self._reader.read(source))
        return kind_for("auto", header.format)

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """See ``run.Worker``."""
        data = await self._reader.read(item.source)
        header = await self._header(data, options)
        plan = self._planned(header, item.kind, options)
        precision = await self._precision_for(plan)
        await self._loaded(plan, precision)
        facts = self._engine.facts()
        speed = facts.all_mflop_per_s
        model = self._catalogue.choose(plan.model_id, scale=plan.model.scale).at(plan.noise_level)
        return Estimated(
            picture_px=(header.width_px, header.height_px),
            result_px=plan.out_px,
            kind=plan.kind,
            frames=plan.frames,
            precision=precision,
            seconds=plan.mflop / speed if speed else None,
            memory_bytes=_memory_bytes(plan, model, parallel=facts.parallel) + len(data),
            file_bytes=file_bytes(
                plan.kind,
                plan.out_px,
                frames=plan.frames,
                depth_bits=header.depth_bits,
                channels=3 + header.may_be_transparent,
                max_bytes=options.max_bytes,
            ),
        )

    async def enlarge(
        self, item: Work, options: Options, shown: Follower, *, overwrite: bool
    ) -> str:
        """See ``run.Worker``."""
        started = time.monotonic()
        data = await self._reader.read(item.source)
        header = await self._header(data, options)
        plan = self._planned(header, item.kind, options)
        precision = await self._precision_for(plan)
        loading: Future[object] | None = None
        # Alpha needs tiles of its own unless it is uniform, which is not known yet.
        if self._begin_to_load and (plan.tiles > 1 or header.mode in _OPAQUE):
            loading = self._begin_to_load(plan.model.id, plan.tiles, precision)
        picture = await self._decoders.decode(
            data, to_srgb=options.color == "srgb", frames=plan.frames, kind=item.kind
        )
        plan.check_alpha(options, has_alpha=picture.has_alpha)
        if loading is not None and plan.mflop > _MAY_BE_LONG_MFLOP:
            with suppress(Exception):  # an error here will occur again with the first tile
                await asyncio.wrap_future(loading)
        speed = self._engine.facts().all_mflop_per_s
        shown.plan(plan.most_tiles, plan.mflop / speed if speed else None)

        def once(plan: Plan) -> Awaitable[Enlarged]:
            return enlarge(
                picture,
                plan=plan,
                precision=precision,
                engine=self._engine,
                executor=self._executor,
                deadline=asyncio.get_running_loop().time() + _NO_DEADLINE_S,
                on_tile=shown.on_tile,
            )

        replan = partial(self._on, header, item.kind, options)
        enlarged, plan = await within_memory(once, plan, replan, self._devices)
        with written_aside(item.target, overwrite=overwrite) as aside:
            kind, least_px = plan.kind, plan.least_size_px
            writing = partial(write, enlarged, options, aside, kind=kind, least_px=least_px)
            # Writing runs to its end even if the user presses Ctrl-C, so that it leaves no partial file.
            written = await finished(in_thread(self._executor, writing))
            with aside.open("r+b") as file:
                check_room(file.fileno())
        return _line(item, picture, enlarged, written, took_s=time.monotonic() - started)

    async def _header(self, data: bytes, options: Options) -> Header:
        """Return the header of a file, with what its pixels show if the plan depends on that."""
        header = await self._decoders.probe(data)
        if options.looks_at_pixels:
            header = replace(header, content=await self._decoders.look(data))
        return header

    def _planned(self, header: Header, kind: str, options: Options) -> Plan:
        device = self._devices.choose(self._engine.facts(), None)
        return self._on(header, kind, options, device)

    def _on(self, header: Header, kind: str, options: Options, device: Device) -> Plan:
        options = _with_frames(options, kind, header)
        return plan_of(
            header, options, catalogue=self._catalogue, limits=_LIMITS, kind=kind, device=device
        )

    async def _precision_for(self, plan: Plan) -> str:
        facts = await self._engine.ready_for(plan.need)
        return choose_precision(
            "auto", setting=self._precision, depth_bits=plan.header.depth_bits, model=facts
        )

    async def _loaded(self, plan: Plan, precision: str) -> None:
        """Wait for the model. Its golden-picture check also measures its speed here."""
        if self._begin_to_load is not None:
            await asyncio.wrap_future(self._begin_to_load(plan.model.id, plan.tiles, precision))


def _with_frames(options: Options, kind: str, header: Header) -> Options:
    """Select all frames of an animation if the result's format can hold them and the user has set nothing else."""
    if options.frames is not None or not header.is_animation:
        return options
    return options.model_copy(update={"frames": "all" if holds_frames(kind) else "first"})


def _line(
    item: Work, picture: Picture, enlarged: Enlarged, written: Picture, *, took_s: float
) -> str:
    notes = "".join(f"\n  {note.code}: {note.detail}" for note in written.notes)
    frames = f", {len(written.frames)} frames" if written.motion else ""
    ran = enlarged.ran
    level = "" if ran.denoise is None else f", noise level {ran.denoise}"
    return (
        f"{item.shown_target}: {picture.width_px}x{picture.height_px} to {written.width_px}x{written.height_px}{frames}, "
        f"{ran.model} {ran.precision}{level}, {ran.tiles} tiles, {took_s:.1f} s{notes}"
    )
