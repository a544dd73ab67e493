"""Finds the pictures that a shell user means: files, folders, patterns, URLs, standard input."""

from __future__ import annotations

import asyncio
import glob
import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from enlarger.errors import EnlargerError, InvalidUrl, UnreadableImage
from enlarger.shell import names

STANDARD_INPUT = "-"

HIDDEN = "hidden"
NOT_A_PICTURE = "not a picture"
NAMED_TWICE = "named twice"
LINK_TO_FOLDER = "a link to a folder"
NOT_A_FILE = "not a file"
SUBFOLDER = "a folder below"

MOST_BYTES = 1 << 30
"""The largest file that is read. No format needs more, and a device may be endless."""


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to upscale."""

    name: str
    """The name that the user knows: its path, its URL, or ``-``."""

    place: PurePath
    """Its name, relative to the folder that was given."""

    path: Path | None = None
    """Its file; None for a URL and for standard input."""

    root: tuple[str, ...] = ()
    """Names of the folder that contains ``place``, innermost first. They distinguish two equal places."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that cannot be upscaled, and why."""

    name: str
    error: EnlargerError


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that a search found."""

    sources: tuple[Source, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """Names of intact files that are not upscaled, each with the reason."""

    def __add__(self, other: Found) -> Found:
        return Found(
            self.sources + other.sources,
            self.failures + other.failures,
            self.skipped + other.skipped,
        )


def find(inputs: Sequence[str], *, leave_out: Path | None = None, recursive: bool = True) -> Found:
    """Return all pictures that the inputs mean, in their order, sorted within each folder.

    Args:
        inputs: files, folders, patterns such as ``*.jpg`` that the shell did not expand, URLs, and ``-``.
        leave_out: the folder of the results, which is not searched even if it lies inside another input.
        recursive: whether the folders below a folder are searched as well.
    """
    left_out = None if leave_out is None else names.identity(leave_out)
    found = Found()
    for text in inputs:
        found += _found(text, left_out, recursive=recursive)
    return _without_repeats(found)


def matches(text: str) -> list[str]:
    """Return the files and folders that match a pattern.

    A name of a file, and a text that is not a pattern, match nothing.
    """
    if os.path.lexists(text) or not glob.has_magic(text):
        return []
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - an absolute pattern, too
    # ** matches files, and also folders, whose files it matches as well.
    return [match for match in found if not ("**" in text and names.is_folder(match))]


def _found(text: str, left_out: names.Identity | None, *, recursive: bool) -> Found:
    if not text:
        return Found(failures=(_unreadable(text, "the name is empty"),))
    if text == STANDARD_INPUT:
        return Found((Source(text, PurePath("stdin")),))
    if names.is_url(text):
        return _found_url(text)
    if names.is_folder(text):
        return _Search(text, left_out, recursive=recursive).found()
    if matching := matches(text):
        found = (_found(match, left_out, recursive=recursive) for match in matching)
        return sum(found, start=Found())
    path = Path(text)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if glob.has_magic(text):
            return Found(failures=(_unreadable(text, "no file has that name, or matches it"),))
        return Found(failures=(_unreadable(text, _reason(error)),))
    return Found((Source(text, PurePath(path.name), path, _root(path.parent)),))


def _found_url(url: str) -> Found:
    try:
        parts = urlsplit(url)
    except ValueError:
        return Found(
            failures=(Failure(url, InvalidUrl(f"'{names.shown(url)}' is not a valid URL")),)
        )
    if parts.scheme.lower() not in ("http", "https"):
        error = InvalidUrl(
            f"'{names.shown(url)}' is a URL that is not fetched here; http and https URLs are, and paths of files"
        )
        return Found(failures=(Failure(url, error),))
    last = PurePath(unquote(parts.path)).name.replace("\\", "_").replace("\0", "_").lstrip(".")
    return Found((Source(url, PurePath(last or "download"), root=(parts.hostname or "",)),))


def _root(folder: Path) -> tuple[str, ...]:
    return tuple(reversed(Path(names.absolute(folder)).parts[1:]))


def _unreadable(name: str, reason: str) -> Failure:
    return Failure(name, UnreadableImage(f"cannot read '{names.shown(name)}': {reason}"))


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


class _Search:
    """Searches a folder and its subfolders. Links to folders are not followed: they may form a cycle.

    Args:
        folder: the folder, as the user wrote it.
        left_out: the folder that is not searched.
        recursive: whether the folders below it are searched as well.
    """

    def __init__(self, folder: str, left_out: names.Identity | None, *, recursive: bool) -> None:
        self._folder = folder
        self._recursive = recursive
        self._left_out = left_out
        self._root = _root(Path(folder))
        self._sources: list[Source] = []
        self._failures: list[Failure] = []
        self._skipped: list[tuple[str, str]] = []

    def found(self) -> Found:
        """Return everything that was found, sorted by name."""
        pending = [
            Path(self._folder)
        ]  # a list instead of recursion: folders may be nested deeper than calls can be
        while pending:
            top = pending.pop()
            try:
                with os.scandir(top) as entries:
                    inside = [(top / entry.name, _is_folder(entry)) for entry in entries]
            except OSError as error:
                self._failures.append(_unreadable(str(top), _reason(error)))
                continue
            for path, is_folder in inside:
                if not is_folder:
                    self._meet(path)
                elif self._is_entered(path):
                    pending.append(path)
        return Found(
            tuple(sorted(self._sources, key=lambda source: source.place.parts)),
            tuple(sorted(self._failures, key=lambda failure: failure.name)),
            tuple(sorted(self._skipped)),
        )

    def _is_entered(self, folder: Path) -> bool:
        if names.is_hidden(folder.name):
            self._skipped.append((str(folder), HIDDEN))
        elif folder.is_symlink():
            self._skipped.append((str(folder), LINK_TO_FOLDER))
        elif self._left_out is None or names.identity(folder) != self._left_out:
            if not self._recursive:
                self._skipped.append((str(folder), SUBFOLDER))
            return self._recursive
        return False

    def _meet(self, path: Path) -> None:
        name = str(path)
        if names.is_hidden(path.name):
            self._skipped.append((name, HIDDEN))
        elif not names.is_picture_name(path.name):
            self._skipped.append((name, NOT_A_PICTURE))
        else:
            try:
                is_file = stat.S_ISREG(path.stat().st_mode)
            except OSError as error:
                self._failures.append(_unreadable(name, _reason(error)))
                return
            if is_file:
                place = path.relative_to(self._folder)
                self._sources.append(Source(name, place, path, self._root))
            else:
                self._skipped.append((name, NOT_A_FILE))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _without_repeats(found: Found) -> Found:
    """Keep each picture once, even if it was named and also lies in a folder that was named."""
    seen: set[str] = set()
    sources, repeated = [], []
    for source in found.sources:
        where = source.name if source.path is None else names.absolute(source.path)
        if where in seen:
            repeated.append((source.name, NAMED_TWICE))
        else:
            sources.append(source)
        seen.add(where)
    return Found(tuple(sources), found.failures, found.skipped + tuple(repeated))


def reasons(skipped: Sequence[tuple[str, str]]) -> str:
    """Return how many files were skipped for each reason, the most frequent first."""
    return ", ".join(
        f"{count} {reason}" for reason, count in Counter(why for _, why in skipped).most_common()
    )


Fetch = Callable[[str], Awaitable[bytes]]
"""Returns the bytes behind a URL."""


@dataclass
class Reader:
    """Reads pictures. It caches those that can be read only once."""

    fetch: Fetch | None = None
    """Fetches URLs; None if a server fetches them."""

    _kept: dict[str, bytes] = field(default_factory=dict)

    async def read(self, source: Source) -> bytes:
        """Return the bytes of a picture's file.

        Raises:
            UnreadableImage: the file cannot be read, or is too large.
            EnlargerError: the URL cannot be fetched.
        """
        if source.path is not None and _is_regular(source.path):
            return _read_file(source.path)
        if source.name not in self._kept:
            self._kept[source.name] = await self._read_once(source)
        return self._kept[source.name]

    async def _read_once(self, source: Source) -> bytes:
        if source.path is not None:  # a pipe, such as the shell's <(...)
            return await _in_daemon(partial(_read_file, source.path))
        if source.name == STANDARD_INPUT:
            return await _in_daemon(_read_standard_input)
        if self.fetch is None:
            raise InvalidUrl(f"'{names.shown(source.name)}' is fetched by the server")
        return await self.fetch(source.name)


def _is_regular(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # the attempt to read it will report the reason


def _read_file(path: Path) -> bytes:
    shown = names.shown(path)
    try:
        with path.open("rb") as file:
            kind = os.fstat(file.fileno())
            if stat.S_ISCHR(kind.st_mode) or stat.S_ISBLK(kind.st_mode):
                raise UnreadableImage(f"cannot read '{shown}': it is a device, not a file")
            if kind.st_size > MOST_BYTES:
                raise UnreadableImage(f"cannot read '{shown}': {_too_large(kind.st_size)}")
            return _bounded(file, f"'{shown}'")
    except OSError as error:
        raise UnreadableImage(f"cannot read '{shown}': {error.strerror}") from error


def _read_standard_input() -> bytes:
    try:
        if sys.stdin.isatty():
            raise UnreadableImage("standard input is a terminal; send a picture to it")
        data = _bounded(sys.stdin.buffer, "standard input")
    except OSError as error:
        raise UnreadableImage(f"cannot read standard input: {error.strerror}") from error
    if not data:
        raise UnreadableImage("standard input is empty")
    return data


def _bounded(file: BinaryIO, shown: str) -> bytes:
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UnreadableImage(f"cannot read {shown}: {_too_large(len(data))}")
    return data


def _too_large(size_bytes: int) -> str:
    return f"it has {size_bytes / 1e9:.1f} GB or more, and pictures of up to {MOST_BYTES / 1e9:.1f} GB are read"


async def _in_daemon(read: Callable[[], bytes]) -> bytes:
    """Return the bytes that ``read`` returns. Its thread may block forever without delaying Ctrl-C or the exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def tell(data: bytes | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        elif data is not None:
            done.set_result(data)

    def run() -> None:
        data, error = None, None
        try:
            data = read()
        except Exception as found:  # noqa: BLE001 - whoever waits gets it
            error = found
        with suppress(RuntimeError):  # the caller has stopped waiting
            loop.call_soon_threadsafe(tell, data, error)

    threading.Thread(target=run, name="reading", daemon=True).start()
    return await done
