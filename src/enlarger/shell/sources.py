"""The pictures that a shell user means: named files, whole folders, patterns, a URL, standard input."""

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
"""The largest file that is read. No format needs as many bytes; a device may have no end."""


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to enlarge."""

    name: str
    """As the user knows it: its path, its URL, or ``-``."""

    place: PurePath
    """Its name, below the folder that was named."""

    path: Path | None = None
    """Its file; None for a URL and for standard input."""

    root: tuple[str, ...] = ()
    """Names of the folder that ``place`` is in, innermost first: what tells two equal places apart."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that cannot be enlarged, and why."""

    name: str
    error: EnlargerError


@dataclass(frozen=True, slots=True)
class Found:
    """All that was met."""

    sources: tuple[Source, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """Names of files that are not enlarged though nothing is wrong with them, each with the reason."""

    def __add__(self, other: Found) -> Found:
        return Found(
            self.sources + other.sources,
            self.failures + other.failures,
            self.skipped + other.skipped,
        )


def find(inputs: Sequence[str], *, leave_out: Path | None = None, recursive: bool = True) -> Found:
    """All pictures that the inputs mean, in their order, sorted within each folder.

    Args:
        inputs: files, folders, patterns such as ``*.jpg`` that the shell did not resolve, URLs, and ``-``.
        leave_out: a folder that is not searched, though it lies in one that is: that of the results.
        recursive: whether the folders below a folder are searched as well.
    """
    left_out = None if leave_out is None else names.identity(leave_out)
    found = Found()
    for text in inputs:
        found += _found(text, left_out, recursive=recursive)
    return _without_repeats(found)


def matches(text: str) -> list[str]:
    """The files and folders that a pattern means; none if it is the name of a file, or no pattern."""
    if os.path.lexists(text) or not glob.has_magic(text):
        return []
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - an absolute pattern, too
    # What ** matches is a file, or a folder whose files it matches as well.
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
    """What a folder holds, to the bottom. Links to folders are not followed: they may lead in a circle.

    Args:
        folder: as it was named.
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
        """All of it, in the order of its names."""
        pending = [Path(self._folder)]  # not by recursion: folders may be nested deeper than calls
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
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _without_repeats(found: Found) -> Found:
    """Each picture once, also where it is named and lies in a folder that is named, too."""
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
    """How many were skipped for which reason, most first."""
    return ", ".join(
        f"{count} {reason}" for reason, count in Counter(why for _, why in skipped).most_common()
    )


Fetch = Callable[[str], Awaitable[bytes]]
"""Returns the bytes behind a URL."""


@dataclass
class Reader:
    """Reads pictures; what can be read but once is kept."""

    fetch: Fetch | None = None
    """Fetches URLs; None where a server does that."""

    _kept: dict[str, bytes] = field(default_factory=dict)

    async def read(self, source: Source) -> bytes:
        """The bytes of a picture's file.

        Raises:
            UnreadableImage: it cannot be read, or has more than a picture may have.
            EnlargerError: the URL cannot be fetched.
        """
        if source.path is not None and _is_regular(source.path):
            return _read_file(source.path)
        if source.name not in self._kept:
            self._kept[source.name] = await self._read_once(source)
        return self._kept[source.name]

    async def _read_once(self, source: Source) -> bytes:
        if source.path is not None:  # a pipe, such as the shell's own <(...)
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
        return True  # reading it tells what is wrong


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
    """The bytes that ``read`` returns. It may wait for ever: its thread holds neither Ctrl-C nor the end of the process."""
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
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(tell, data, error)

    threading.Thread(target=run, name="reading", daemon=True).start()
    return await done
