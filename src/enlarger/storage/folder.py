"""A storage in a folder. Several gateways may share it, where locks on files hold between them."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

import obstore
from obstore.store import LocalStore

from enlarger.errors import ConfigError
from enlarger.storage.drafts import Draft, Drafts
from enlarger.storage.faults import Wording
from enlarger.storage.storage import SHA256, ObjectFacts, Storage, Sweep, below, lost
from enlarger.threads import finished

_ATTRIBUTE = f"user.enlarger.{SHA256}"
"""Extended attribute of a file that holds its digest: it is renamed and deleted with the file."""

_COPIED_BYTES = 1 << 20
"""Bytes that are copied at a time."""

_READ_BYTES = 3 << 18
"""Bytes that are read at a time: a multiple of three, so that the base64 of the pieces joins without padding."""

T = TypeVar("T")


class Folder(Storage):
    """Objects are files. A draft is renamed, so that nobody reads half of it.

    Args:
        folder: It is made if it is missing, also later.
        wording: How its errors are told.

    Raises:
        ConfigError: The folder cannot be made.
    """

    def __init__(self, folder: Path, wording: Wording) -> None:
        self.folder = folder.absolute()
        self._shown = f"{wording.variable}: cannot write to '{folder}'"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error
        super().__init__(LocalStore(self.folder, mkdir=True), Drafts(self.folder), wording)

    def _refusal(self, error: OSError) -> ConfigError:
        if isinstance(error, FileExistsError | NotADirectoryError):
            way_out = "it, or what should be a folder above it, is a file: name another folder"
        else:
            way_out = "let the user that runs enlarger do it, or name another folder"
        return ConfigError(f"{self._shown}: {error.strerror}; {way_out}")

    async def check(self) -> None:
        """See ``Storage.check``."""

        def try_it() -> None:
            self.drafts.write(lambda path: path.write_bytes(b"enlarger was here")).discard()

        try:
            await asyncio.to_thread(try_it)
        except OSError as error:
            raise self._refusal(error) from error

    async def put(self, key: str, data: bytes, *, sha256: str | None = None) -> None:
        """See ``Storage.put``."""
        await self._put(key, data, sha256)

    async def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """See ``Storage.put_file``."""
        await self._put(key, path, sha256)

    async def _put(self, key: str, content: bytes | Path, sha256: str | None) -> None:
        with self.faults.told():
            await finished(obstore.put_async(self.store, key, content))
        if sha256 is not None:
            await self.keep_digest(key, sha256)

    async def adopt(self, draft: Draft[object], key: str) -> ObjectFacts:
        """See ``Storage.adopt``."""
        return await self._on_thread(self._adopt, draft, key)

    def _adopt(self, draft: Draft[object], key: str) -> ObjectFacts:
        _write_digest(draft.path, draft.sha256)
        draft.path.replace(self.folder / key)
        modified_at = os.fstat(draft.descriptor).st_mtime
        return ObjectFacts(key, draft.size_bytes, modified_at, draft.sha256)

    async def duplicate(self, source: ObjectFacts, key: str) -> ObjectFacts | None:
        """See ``Storage.duplicate``."""
        return await self._on_thread(self._duplicate, source, key)

    def _duplicate(self, source: ObjectFacts, key: str) -> ObjectFacts | None:
        try:
            file = (self.folder / source.key).open("rb")
        except OSError:  # it was swept, or the folder is gone: it is made anew
            return None

        def write(path: Path) -> None:
            file.seek(0)
            with path.open("wb") as target:
                shutil.copyfileobj(file, target, _COPIED_BYTES)

        with file:
            draft = self.drafts.write(write, sha256=source.sha256)
        try:
            return self._adopt(draft, key)
        finally:
            draft.discard()

    async def facts(self, key: str) -> ObjectFacts | None:
        """See ``Storage.facts``."""
        return await asyncio.to_thread(self._facts, key)

    def _facts(self, key: str) -> ObjectFacts | None:
        path = self.folder / key
        try:
            known = path.stat()
        except OSError:
            return None
        return ObjectFacts(key, known.st_size, known.st_mtime, _read_digest(path))

    async def get_with_digest(self, key: str) -> tuple[bytes, str | None] | None:
        """See ``Storage.get_with_digest``."""
        data = await self.get(key)
        return None if data is None else (data, _read_digest(self.folder / key))

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """See ``Storage.open``. Reading on a thread takes a tenth of the processor time of obstore's stream."""
        with self.faults.told():
            try:
                file = await asyncio.to_thread((self.folder / key).open, "rb")
            except FileNotFoundError as error:
                raise lost(error) from error
        return self._read(file, start, sys.maxsize if end is None else end - start)

    async def _read(self, file: BufferedReader, start: int, left: int) -> AsyncGenerator[bytes]:
        with file:
            file.seek(start)
            while left > 0:
                with self.faults.told():
                    piece = await asyncio.to_thread(file.read, min(left, _READ_BYTES))
                if not piece:
                    return
                left -= len(piece)
                yield piece

    async def keep_digest(self, key: str, sha256: str) -> None:
        """See ``Storage.keep_digest``."""
        await asyncio.to_thread(_write_digest, self.folder / key, sha256)

    async def children(self, prefix: str = "") -> list[ObjectFacts]:
        """See ``Storage.children``."""
        return await asyncio.to_thread(self._children, prefix)

    def _children(self, prefix: str) -> list[ObjectFacts]:
        found = []
        for path in (self.folder / prefix).iterdir():
            key = f"{prefix}/{path.name}" if prefix else path.name
            with suppress(OSError):
                known = path.stat()
                found.append(ObjectFacts(key, known.st_size, known.st_mtime))
        return found

    async def redate(self, keys: Sequence[str], now: float) -> None:
        """See ``Storage.redate``."""
        for key in keys:
            with suppress(OSError):
                os.utime(self.folder / key, (now, now))

    async def delete(self, keys: Iterable[str]) -> Sweep:
        """See ``Storage.delete``."""
        return await asyncio.to_thread(self._delete, keys)

    def _delete(self, keys: Iterable[str]) -> Sweep:
        deleted, errors = 0, []
        for path in (self.folder / key for key in keys):
            try:
                path.unlink()
                deleted += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                errors.append(f"{path.name}: {error.strerror}")
        return Sweep(deleted, tuple(errors))

    async def delete_under(self, prefix: str) -> None:
        """See ``Storage.delete_under``."""
        place = below(prefix)
        await self._on_thread(self._remove, self.folder / place)

    def _remove(self, place: Path) -> None:
        target = place.resolve()
        if self.folder.resolve() not in target.parents:  # a link leads elsewhere
            raise ValueError(f"'{place.name}' is not in the folder")
        # Somebody may be writing there, or removing the same.
        with suppress(FileNotFoundError):
            shutil.rmtree(target)

    async def _on_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function on a thread, to its end also if the caller is cancelled."""
        with self.faults.told():
            return await finished(asyncio.to_thread(function, *arguments))


def _read_digest(path: Path) -> str | None:
    """The digest that a file carries; None where it has none, or the file system keeps no attributes."""
    with suppress(OSError, AttributeError):  # only Linux has the function
        text = os.getxattr(path, _ATTRIBUTE).decode("ascii", "replace")
        return text if len(text) == 64 else None
    return None


def _write_digest(path: Path, sha256: str) -> None:
    with suppress(OSError, AttributeError):
        os.setxattr(path, _ATTRIBUTE, sha256.encode())
