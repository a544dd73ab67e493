"""The one interface to what is kept: bytes by key, in a folder or a bucket."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import obstore
import structlog
from obstore.store import LocalStore, MemoryStore, S3Store

from enlarger.errors import ResultLost
from enlarger.reasons import reason_of
from enlarger.storage.drafts import Draft, Drafts
from enlarger.storage.faults import Faults, Wording

log = structlog.get_logger()

SHA256 = "sha256"
"""The name of the attribute that holds the digest of an object."""

_CHUNK_BYTES = 1 << 20
"""The size of the pieces of a stream, about."""

_PREFIX = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What is known of an object without reading it."""

    key: str
    size_bytes: int

    modified_at: float
    """When it was written, in seconds since the epoch, by the clock of the disk or the bucket. A date that is only
    known to the second is rounded up, so that nothing is older than it seems."""

    sha256: str | None = None
    """64 hexadecimal digits. None: it was written without a digest, or the file system keeps no attributes."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did."""

    deleted: int

    errors: tuple[str, ...]
    """Texts with file names only."""


class Storage(ABC):
    """Bytes by key, such as ``job_x/work/input`` or ``upscaled_ab12.png``. Keys are ours, and safe as paths.

    A value is written whole or not at all: it replaces what was there in one step, and nobody reads half. When a write
    that was cancelled has raised, it is over: what is deleted then stays deleted. A digest that a value is written
    with belongs to it from then on.

    All methods raise ``StorageFull`` where the operator has to do something, and ``StorageUnavailable`` where a bucket
    cannot be reached; the texts say what to do.

    Args:
        store: The folder or bucket, as obstore has it.
        drafts: Where files are written before they are put into the storage.
        wording: How its errors are told.
    """

    def __init__(
        self, store: LocalStore | S3Store | MemoryStore, drafts: Drafts, wording: Wording
    ) -> None:
        self.store = store
        self.drafts = drafts
        self.faults = Faults(wording)

    @abstractmethod
    async def check(self) -> None:
        """Write something and delete it.

        Raises:
            BackendAway: The bucket cannot be reached now.
            ConfigError: The place cannot be used.
        """

    @abstractmethod
    async def put(self, key: str, data: bytes, *, sha256: str | None = None) -> None:
        """Keep these bytes under this key, with their digest where it is known."""

    @abstractmethod
    async def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Keep the bytes of a file, which are never all in memory. The file stays where it is."""

    @abstractmethod
    async def adopt(self, draft: Draft[object], key: str) -> ObjectFacts:
        """Keep a draft of this storage under this key, with its digest. The caller discards the draft afterwards."""

    @abstractmethod
    async def duplicate(self, source: ObjectFacts, key: str) -> ObjectFacts | None:
        """Keep the same bytes under another key, written now; returns None if the source is gone."""

    @abstractmethod
    async def facts(self, key: str) -> ObjectFacts | None:
        """What is known of an object; None if there is none."""

    @abstractmethod
    async def keep_digest(self, key: str, sha256: str) -> None:
        """Add the digest to an object that was written without one, where that is possible."""

    @abstractmethod
    async def children(self, prefix: str = "") -> list[ObjectFacts]:
        """The objects directly below a prefix, without their digests.

        Raises:
            OSError: The folder cannot be read.
        """

    @abstractmethod
    async def redate(self, keys: Sequence[str], now: float) -> None:
        """Date objects anew whose time lies in the future, where that is possible."""

    @abstractmethod
    async def delete(self, keys: Iterable[str]) -> Sweep:
        """Delete these objects, of which some may be gone already."""

    @abstractmethod
    async def delete_under(self, prefix: str) -> None:
        """Delete everything below ``prefix``, and what a sudden stop left half-written there."""

    async def get(self, key: str) -> bytes | None:
        """All bytes of an object; None if there is none."""
        with self.faults.told(), suppress(FileNotFoundError):
            found = await obstore.get_async(self.store, key)
            return bytes(await found.bytes_async())
        return None

    @abstractmethod
    async def get_with_digest(self, key: str) -> tuple[bytes, str | None] | None:
        """All bytes of an object, and the digest that it was written with; None if there is no such object."""

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """Open an object, and return its bytes from ``start`` to before ``end`` in pieces.

        In a folder, whoever has opened an object reads all of it, even if it is deleted meanwhile.

        Args:
            key: The object.
            start: Less than its size, or 0.
            end: At most its size; None: everything that follows.

        Raises:
            ResultLost: There is no such object.
        """
        if end is not None and start >= end:
            return _nothing()
        options: obstore.GetOptions = {}
        if (start, end) != (0, None):
            options = {"range": {"offset": start} if end is None else (start, end)}
        with self.faults.told():
            try:
                found = await obstore.get_async(self.store, key, options=options)
            except FileNotFoundError as error:
                raise lost(error) from error
        return self._pieces(found)

    async def _pieces(self, found: obstore.GetResult) -> AsyncGenerator[bytes]:
        pieces = found.stream(min_chunk_size=_CHUNK_BYTES)
        while True:
            with self.faults.told():
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield bytes(piece)

    async def stream(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes]:
        """The same as ``open``, for callers that want nothing opened before the first piece is read."""
        async with aclosing(await self.open(key, start, end)) as pieces:
            async for piece in pieces:
                yield piece

    def download(self, key: str, path: Path) -> None:
        """Write the bytes of an object into a file, on a thread.

        Raises:
            FileNotFoundError: There is no such object.
        """
        with path.open("r+b") as file:
            for piece in obstore.get(self.store, key).stream(min_chunk_size=_CHUNK_BYTES):
                file.write(piece)

    async def keys(self, prefix: str) -> list[str]:
        """All keys below ``prefix``, sorted: ``job_x`` finds ``job_x/input``, not ``job_xy/input``."""
        with self.faults.told():
            found = await obstore.list(self.store, prefix).collect_async()
        return sorted(blob["path"] for blob in found)


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield b""


def lost(error: FileNotFoundError) -> ResultLost:
    """Log that an object is missing, and return the error for its reader."""
    log.warning("result_lost", reason=reason_of(error))
    return ResultLost("the result went away before it could be sent; try again")


def below(prefix: str) -> PurePosixPath:
    """The path of a prefix, which is relative and leads down: deleting below any other could reach anything.

    Raises:
        ValueError: It is not made of names of letters, digits, ``_`` and ``-``.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"'{prefix}' is no prefix of keys")
    return PurePosixPath(prefix)
