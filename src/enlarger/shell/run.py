"""A shell user's files, one after the other: which are skipped, what is told, and how results are written."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
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

from enlarger.errors import (
    EnlargerError,
    InvalidOption,
    UnreadableImage,
    UnsupportedFormat,
    UnwritableFile,
)
from enlarger.files import Work
from enlarger.job import Options
from enlarger.picture.encode import SUFFIXES, format_for, suffix_of

OnTile = Callable[[int, int], None]
"""Told how many tiles of how many are done."""


async def run(
    work: Sequence[Work],
    console: Console,
    enlarge_one: Callable[[Work, OnTile], Awaitable[str]],
    *,
    is_there: Callable[[Work], bool] | None,
) -> int:
    """Enlarge all; gives the exit status. A picture that fails never stops those after it.

    Args:
        work: the pictures.
        console: where progress, results and failures are shown.
        enlarge_one: does one of them, and gives what to say of it.
        is_there: whether a result is there already, which is then left alone; None to make all anew.
    """
    started = time.monotonic()
    done = skipped = 0
    failures: list[EnlargerError] = []
    with _bars(console, len(work)) as bars:
        for item in work:
            bars.begin(item.source)
            if is_there is not None and is_there(item):
                skipped += 1
                continue
            try:
                _say(console, await enlarge_one(item, bars.on_tile))
                done += 1
            except EnlargerError as error:
                failures.append(error)
                _say(console, f"enlarger: {_named(error, item, len(work))}", style="red")
    if len(work) > 1:
        took_s = time.monotonic() - started
        _say(
            console,
            f"{done} enlarged, {skipped} skipped, {len(failures)} failed, {took_s:.1f} s",
        )
    if len(work) == 1 and failures:
        return failures[0].exit_status
    return EnlargerError.exit_status if failures else 0


def _say(console: Console, text: str, *, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _named(error: EnlargerError, item: Work, pictures: int) -> str:
    """The error's text, with the picture's name before it where it does not say which one it is about."""
    about_picture = isinstance(error, (UnreadableImage, UnsupportedFormat))
    named = str(item.source) in str(error)
    return (
        f"'{item.source}': {error}" if (pictures > 1 or about_picture) and not named else str(error)
    )


def read(source: Path) -> bytes:
    """A picture's file.

    Raises:
        UnreadableImage: there is none, or it cannot be read.
    """
    try:
        return source.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot read '{source}': {error.strerror}") from error


def named_kind(item: Work, options: Options) -> str | None:
    """The format that the name of the result asks for; None in a folder, where the picture has its say.

    Raises:
        InvalidOption: it is none, or contradicts the option.
    """
    if item.into_folder:
        return None
    kind = format_for(item.stem)
    if options.format not in (None, "auto", kind):
        raise InvalidOption(
            f"Invalid format: {options.format}, but the result is called '{item.stem}'"
        )
    return kind


def is_there(item: Work, options: Options) -> bool:
    """Whether the result exists; where each picture keeps its format, in any format."""
    suffixes = SUFFIXES if options.format == "auto" else [suffix_of(options.format or "png")]
    return any(item.target(suffix).exists() for suffix in suffixes)


def check_folder(item: Work, target: Path) -> None:
    """Before the work: a folder that is named with the file of the result must be there.

    Raises:
        UnwritableFile: it is not.
    """
    if not item.into_folder and not target.absolute().parent.is_dir():
        raise UnwritableFile(f"cannot write '{target}': its folder does not exist")


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """A place to write a file, which then takes its own; what fails leaves nothing.

    Raises:
        UnwritableFile: it cannot be written there.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(target)
    except OSError as error:
        raise UnwritableFile(f"cannot write '{target}': {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


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
