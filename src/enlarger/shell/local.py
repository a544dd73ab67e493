"""Files that are enlarged in this process, each with all that the engine has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from rich.console import Console

from enlarger.engine import Engine
from enlarger.files import Work
from enlarger.job import Options
from enlarger.models import Catalogue
from enlarger.picture.encode import check_kind, holds_frames, kind_for, suffix_of
from enlarger.picture.values import Header, Picture
from enlarger.picture.workers import Decoders
from enlarger.pipeline.enlarging import Enlarged, OnTile, enlarge, plan_route, wanted_of
from enlarger.pipeline.fitting import write
from enlarger.pipeline.planning import choose_model, frame_count, least_size_px
from enlarger.shell.run import check_folder, is_there, named_kind, read, run, written_aside
from enlarger.store import check_room

_MOST_PX = 1 << 30
"""Pixels of all frames of one result: they are held in memory until the file is written."""

_OPAQUE = ("L", "RGB")
"""Modes that have no alpha, but for a rare key colour."""

_NO_DEADLINE_S = 10 * 365 * 86_400
"""A shell user waits, or presses Ctrl-C."""


class Shell:
    """Enlarges files, and tells on a console how it goes.

    Args:
        engine: where tiles go; each model is computed in the precision that it names first.
        catalogue: the models there are.
        decoders: where files are read; one that crashes its decoder does not end the run.
        executor: where samples are worked on.
        console: where progress, results and failures are shown.
        begin_to_load: told of a model and of how many tiles a picture has, as soon as that is known.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        decoders: Decoders,
        executor: Executor,
        console: Console,
        begin_to_load: Callable[[str, int], None] | None = None,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._decoders = decoders
        self._executor = executor
        self._console = console
        self._begin_to_load = begin_to_load

    async def run(self, work: Sequence[Work], options: Options, *, skip_existing: bool) -> int:
        """Enlarge all; gives the exit status. A picture that fails never stops those after it."""
        return await run(
            work,
            self._console,
            lambda item, on_tile: self._one(item, options, on_tile),
            is_there=partial(is_there, options=options) if skip_existing else None,
        )

    async def _one(self, item: Work, options: Options, on_tile: OnTile) -> str:
        """Enlarge one picture; gives what to say of it."""
        started = time.monotonic()
        data = read(item.source)
        header = await self._decoders.probe(data)
        kind = named_kind(item, options) or kind_for(options.format, header.format)
        wanted = wanted_of(options, header.width_px, header.height_px)
        size_px = (header.width_px, header.height_px)
        model = choose_model(self._catalogue, options.model, size_px, wanted)
        way = plan_route(header.width_px, header.height_px, model=model, wanted=wanted)
        frames = frame_count(
            _with_frames(options, kind, header),
            header,
            limit=max(1, _MOST_PX // (way.out.width_px * way.out.height_px)),
        )
        tiles = frames * sum(len(step.boxes) for step in way.passes)
        # Alpha would be tiles of its own, unless it is even: which nobody knows yet.
        if self._begin_to_load and (tiles > 1 or header.mode in _OPAQUE):
            self._begin_to_load(model.id, tiles)
        picture = await self._decoders.decode(data, to_srgb=options.color == "srgb", frames=frames)
        check_kind(
            kind,
            size_px=(way.out.width_px, way.out.height_px),
            has_alpha=picture.has_alpha,
            background=options.background_rgb,
            frames=frames,
        )
        target = item.target(suffix_of(kind))
        check_folder(item, target)
        facts = await self._engine.ready_for(model.id, model.sha256)
        enlarged = await enlarge(
            picture,
            model=facts,
            wanted=wanted,
            precision=facts.precisions[0],
            engine=self._engine,
            executor=self._executor,
            deadline=asyncio.get_running_loop().time() + _NO_DEADLINE_S,
            on_tile=on_tile,
        )
        least_px = least_size_px(wanted, header, way)
        written = _write(enlarged, options, target, kind=kind, least_px=least_px)
        return _line(target, picture, enlarged, written, took_s=time.monotonic() - started)


def _with_frames(options: Options, kind: str, header: Header) -> Options:
    """Unless told otherwise, all frames of an animation where the format of the result holds them."""
    if options.frames is not None or not header.is_animation:
        return options
    return options.model_copy(update={"frames": "all" if holds_frames(kind) else "first"})


def _write(
    enlarged: Enlarged, options: Options, target: Path, *, kind: str, least_px: tuple[int, int]
) -> Picture:
    """Whole, or not at all; gives what the file holds."""
    with written_aside(target) as aside:
        written = write(enlarged, options, aside, kind=kind, least_px=least_px)
        with aside.open("r+b") as file:
            check_room(file.fileno())
    return written


def _line(
    target: Path, picture: Picture, enlarged: Enlarged, written: Picture, *, took_s: float
) -> str:
    notes = "".join(f"\n  {note.code}: {note.detail}" for note in written.notes)
    frames = f", {len(written.frames)} frames" if written.motion else ""
    return (
        f"{target}: {picture.width_px}x{picture.height_px} to {written.width_px}x{written.height_px}{frames}, "
        f"{enlarged.ran.model} {enlarged.ran.precision}, {enlarged.ran.tiles} tiles, {took_s:.1f} s{notes}"
    )
