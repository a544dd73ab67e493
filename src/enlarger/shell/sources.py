"""The pictures that a shell user means: named files, whole folders, patterns, a URL, standard input."""

from __future__ import annotations

import asyncio
import glob
import os
import stat
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from enlarger.errors import EnlargerError, InvalidUrl, UnreadableImage
from enlarger.shell import names

STANDARD_INPUT = "-"

HIDDEN = "hidden"
NOT_A_PICTURE = "not a picture"
NAMED_TWICE = "named twice"
LINK_TO_FOLDER = "a link to a folder"
NOT_A_FILE = "not a file"


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


def find(inputs: Sequence[str], *, leave_out: Path | None = None) -> Found:
    """All pictures that the inputs mean, in their order, sorted within each folder.

    Args:
        inputs: files, folders, patterns such as ``*.jpg`` that the shell did not resolve, URLs, and ``-``.
        leave_out: a folder that is not searched, though it lies in one that is: that of the results.
    """
    left_out = None if leave_out is None else os.path.realpath(leave_out)
    found = Found()
    for text in inputs:
        found += _found(text, left_out)
    return _without_repeats(found)


def matches(text: str) -> list[str]:
    """The files and folders that a pattern means; none if it is the name of a file, or no pattern."""
    if os.path.lexists(text) or not glob.has_magic(text):
        return []
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - an absolute pattern, too
    # What ** matches is a file, or a folder whose files it matches as well.
    return [match for match in found if not ("**" in text and names.is_folder(match))]


def _found(text: str, left_out: str | None) -> Found:
    if text == STANDARD_INPUT:
        return Found((Source(text, PurePath("stdin")),))
    if names.is_url(text):
        return _found_url(text)
    if names.is_folder(text):
        return _Search(text, left_out).found()
    if matching := matches(text):
        return sum((_found(match, left_out) for match in matching), start=Found())
    path = Path(text)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        if glob.has_magic(text):
            return Found(failures=(_unreadable(text, "no file has that name, or matches it"),))
        return Found(failures=(_unreadable(text, _reason(error)),))
    return Found((Source(text, PurePath(path.name), path, _root(path.parent)),))


def _found_url(url: str) -> Found:
    parts = urlsplit(url)
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
        left_out: the real path of a folder that is not searched.
    """

    def __init__(self, folder: str, left_out: str | None) -> None:
        self._folder = folder
        self._left_out = left_out
        self._root = _root(Path(folder))
        self._sources: list[Source] = []
        self._failures: list[Failure] = []
        self._skipped: list[tuple[str, str]] = []

    def found(self) -> Found:
        """All of it, in the order of its names."""
        for top, folders, files in os.walk(self._folder, onerror=self._on_error):
            folders[:] = [name for name in folders if self._is_entered(Path(top, name))]
            for name in files:
                self._meet(Path(top, name))
        return Found(
            tuple(sorted(self._sources, key=lambda source: source.place.parts)),
            tuple(self._failures),
            tuple(self._skipped),
        )

    def _on_error(self, error: OSError) -> None:
        self._failures.append(_unreadable(str(error.filename), _reason(error)))

    def _is_entered(self, folder: Path) -> bool:
        if names.is_hidden(folder.name):
            self._skipped.append((str(folder), HIDDEN))
        elif folder.is_symlink():
            self._skipped.append((str(folder), LINK_TO_FOLDER))
        else:
            return os.path.realpath(folder) != self._left_out
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
            UnreadableImage: it cannot be read.
            EnlargerError: the URL cannot be fetched.
        """
        if source.path is not None and source.path.is_file():
            return _read_file(source.path)
        if source.name not in self._kept:
            self._kept[source.name] = await self._read_once(source)
        return self._kept[source.name]

    async def _read_once(self, source: Source) -> bytes:
        if source.name == STANDARD_INPUT:
            try:
                data: bytes = await asyncio.to_thread(sys.stdin.buffer.read)
            except OSError as error:
                raise UnreadableImage(f"cannot read standard input: {error.strerror}") from error
            if not data:
                raise UnreadableImage("standard input is empty")
            return data
        if source.path is not None:  # a pipe, such as the shell's own <(...)
            return _read_file(source.path)
        if self.fetch is None:
            raise InvalidUrl(f"'{names.shown(source.name)}' is fetched by the server")
        return await self.fetch(source.name)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot read '{names.shown(path)}': {error.strerror}") from error
