"""Files of a shell user, one after the other, each with all that the engine has."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from enlarger.engine import Engine
from enlarger.errors import (
    EnlargerError,
    InvalidOption,
    UnreadableImage,
    UnsupportedFormat,
    UnwritableFile,
)
from enlarger.files import Work
from enlarger.job import Options
from enlarger.models import Catalogue
from enlarger.picture import Header, Picture
from enlarger.picture.encode import (
    SUFFIXES,
    check_kind,
    format_for,
    holds_frames,
    kind_for,
    suffix_of,
)
from enlarger.picture.workers import Decoders
from enlarger.pipeline.enlarging import Enlarged, OnTile, enlarge, plan_route, wanted_of
from enlarger.pipeline.fitting import write
from enlarger.pipeline.planning import choose_model, frame_count, least_size_px
from enlarger.store import check_room

_MOST_PX = 1 << 30
"""Pixels of all frames of one result: they are held in memory until the file is written."""

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
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        decoders: Decoders,
        executor: Executor,
        console: Console,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._decoders = decoders
        self._executor = executor
        self._console = console

    async def run(self, work: Sequence[Work], options: Options, *, skip_existing: bool) -> int:
        """Enlarge all; gives the exit status. A picture that fails never stops those after it."""
        started = time.monotonic()
        done = skipped = 0
        failures: list[EnlargerError] = []
        with _bars(self._console, len(work)) as bars:
            for item in work:
                bars.begin(item.source)
                if skip_existing and _is_there(item, options):
                    skipped += 1
                    continue
                try:
                    self._say(await self._one(item, options, bars.on_tile))
                    done += 1
                except EnlargerError as error:
                    failures.append(error)
                    self._say(f"enlarger: {_named(error, item, len(work))}", style="red")
        if len(work) > 1:
            took_s = time.monotonic() - started
            self._say(f"{done} enlarged, {skipped} skipped, {len(failures)} failed, {took_s:.1f} s")
        if len(work) == 1 and failures:
            return failures[0].exit_status
        return EnlargerError.exit_status if failures else 0

    async def _one(self, item: Work, options: Options, on_tile: OnTile) -> str:
        """Enlarge one picture; gives what to say of it."""
        started = time.monotonic()
        data = _read(item.source)
        header = await self._decoders.probe(data)
        kind = _kind(item, options, header.format)
        wanted = wanted_of(options, header.width_px, header.height_px)
        model = choose_model(self._catalogue, options.model, header, wanted)
        way = plan_route(header.width_px, header.height_px, model=model, wanted=wanted)
        frames = frame_count(
            _with_frames(options, kind, header),
            header,
            limit=max(1, _MOST_PX // (way.out.width_px * way.out.height_px)),
        )
        picture = await self._decoders.decode(data, to_srgb=options.color == "srgb", frames=frames)
        check_kind(
            kind,
            size_px=(way.out.width_px, way.out.height_px),
            has_alpha=picture.has_alpha,
            background=options.background_rgb,
            frames=frames,
        )
        target = item.target(suffix_of(kind))
        if not item.into_folder and not target.absolute().parent.is_dir():
            raise UnwritableFile(f"cannot write '{target}': its folder does not exist")
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

    def _say(self, text: str, *, style: str | None = None) -> None:
        self._console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _named(error: EnlargerError, item: Work, pictures: int) -> str:
    """The error's text, with the picture's name before it where it does not say which one it is about."""
    about_picture = isinstance(error, (UnreadableImage, UnsupportedFormat))
    named = str(item.source) in str(error)
    return (
        f"'{item.source}': {error}" if (pictures > 1 or about_picture) and not named else str(error)
    )


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot read '{source}': {error.strerror}") from error


def _kind(item: Work, options: Options, picture_format: str) -> str:
    """The format of the result: that of its file's name, or the one that is asked for."""
    if item.into_folder:
        return kind_for(options.format, picture_format)
    kind = format_for(item.stem)
    if options.format not in (None, "auto", kind):
        raise InvalidOption(
            f"Invalid format: {options.format}, but the result is called '{item.stem}'"
        )
    return kind


def _is_there(item: Work, options: Options) -> bool:
    """Whether the result exists; where each picture keeps its format, in any format."""
    suffixes = SUFFIXES if options.format == "auto" else [suffix_of(options.format or "png")]
    return any(item.target(suffix).exists() for suffix in suffixes)


def _with_frames(options: Options, kind: str, header: Header) -> Options:
    """Unless told otherwise, all frames of an animation where the format of the result holds them."""
    if options.frames is not None or not header.is_animation:
        return options
    return options.model_copy(update={"frames": "all" if holds_frames(kind) else "first"})


def _write(
    enlarged: Enlarged, options: Options, target: Path, *, kind: str, least_px: tuple[int, int]
) -> Picture:
    """Whole, or not at all; gives what the file holds."""
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = write(enlarged, options, aside, kind=kind, least_px=least_px)
        with aside.open("r+b") as file:
            check_room(file.fileno())
        aside.replace(target)
    except OSError as error:
        raise UnwritableFile(f"cannot write '{target}': {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
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


class _Bars:
    """Tiles of the picture at hand, and pictures if there are several."""

    def __init__(self, progress: Progress, pictures: int) -> None:
        self._progress = progress
        self._all = (
            progress.add_task("all", total=pictures, unit="pictures") if pictures > 1 else None
        )
        self._tiles = progress.add_task("", total=None, unit="tiles")
        self._begun = 0

    def begin(self, source: Path) -> None:
        """The next picture."""
        if self._all is not None:
            self._progress.update(self._all, completed=self._begun)
        self._begun += 1
        self._progress.reset(self._tiles, total=None, description=source.name)

    def on_tile(self, done: int, total: int) -> None:
        """So many of its tiles are done."""
        self._progress.update(self._tiles, completed=done, total=total)


@contextmanager
def _bars(console: Console, pictures: int) -> Iterator[_Bars]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield _Bars(progress, pictures)
