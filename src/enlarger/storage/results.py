"""Finished pictures: names that cannot be guessed, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

import structlog

from enlarger.errors import EnlargerError
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.storage.drafts import Draft
from enlarger.storage.folder import Folder
from enlarger.storage.storage import ObjectFacts, Storage, Sweep

log = structlog.get_logger()

_NAME = re.compile(r"upscaled_[0-9a-f]{32}\.(png|jpg|webp|avif|tif)")

_PREVIEW = re.compile(r"upscaled_[0-9a-f]{32}\.(input|result)\.jpg")

PreviewKind = Literal["input", "result"]
"""What a preview beside a result shows: the picture of the request, or the result itself."""

_ORPHAN_S = 60
"""A preview without a result is deleted at this age. Before, a listing may have missed a result that was just made."""

_SHARED_PREFIX = "results"
"""Where the shared storage keeps results, apart from the files of jobs."""

_DIGESTS_KEPT = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A finished picture in a storage."""

    token: str
    """128 random bits as 32 hexadecimal digits: the permission to read it."""

    suffix: str
    """For example ``.png``."""

    created_at: float
    """Seconds since the epoch."""

    size_bytes: int
    sha256: str
    """64 hexadecimal digits."""

    is_shared: bool = False
    """Whether it is in the storage that all gateways share, and not in that of results."""

    @property
    def name(self) -> str:
        """``{token}.{ext}``, as URLs have it."""
        return f"{self.token}{self.suffix}"

    @property
    def file_name(self) -> str:
        """The name of its file, or the last part of its object's key."""
        return f"upscaled_{self.name}"

    @property
    def url_path(self) -> str:
        """The path under which the gateway serves it."""
        return f"/files/{self.name}"


class ResultStore:
    """The results of all requests, and how long they live.

    The life of a result is counted by the system's clock, since it outlives the process. When the clock is set
    forward, results expire early. When it is set back, results from the future live as if they were new, and in a
    folder the next sweep dates them anew: nobody loses a result for it, and no file stays for much longer than two
    lives.

    Previews are objects beside a result, and are deleted with it. Their keys begin with ``upscaled_`` and its token.

    Args:
        storage: Where results are kept.
        max_age_s: The life of a result.
        shared: Where the results of jobs are moved to, since gateways without the folder of ``storage`` serve them as
            well. None: they stay, as every gateway reaches ``storage``.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        max_age_s: float,
        shared: Storage | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.storage = storage
        self.max_age_s = max_age_s
        self._shared = shared
        self._clock = clock
        self._digests: OrderedDict[str, str] = OrderedDict()
        """Digests of results whose file system keeps none."""
        self._listed: list[ObjectFacts] = []
        """The results that were in ``storage`` when it was last listed."""
        self._unlisted = Repeated()

    def draft(self, write: Callable[[Path], T]) -> Draft[T]:
        """Write a result that nobody can read yet; see ``Drafts.write``. It is called on a thread.

        Raises:
            StorageFull: The disk is full, or the folder cannot be written. Nothing half-written stays.
        """
        with self.storage.faults.told():
            return self.storage.drafts.write(write)

    async def publish(self, draft: Draft[object], *, suffix: str) -> StoredResult:
        """Make a result of a draft, which can be read from now on.

        Args:
            draft: It is gone afterwards, also if this fails.
            suffix: The suffix of its name.

        Raises:
            StorageFull, StorageUnavailable: It cannot be kept.
        """
        try:
            facts = await self.storage.adopt(draft, _new_key(suffix))
        finally:
            draft.discard()
        return _stored(facts, draft.sha256)

    async def copy(self, stored: StoredResult) -> StoredResult | None:
        """Another result of the same bytes, with a name and a life of its own; None if it has expired or is gone.

        Raises:
            StorageFull, StorageUnavailable: It cannot be kept.
        """
        if self.left_s(stored) <= 0:
            return None
        if not stored.is_shared:
            source = ObjectFacts(
                stored.file_name, stored.size_bytes, stored.created_at, stored.sha256
            )
            copied = await self.storage.duplicate(source, _new_key(stored.suffix))
            if copied is not None:
                return _stored(copied, stored.sha256)
        return await self._copy_of_shared(stored)

    async def _copy_of_shared(self, stored: StoredResult) -> StoredResult | None:
        """A result may have been moved to the shared storage since it was made."""
        if self._shared is None or await self._shared.facts(_shared_key(stored.name)) is None:
            return None
        write = partial(self._shared.download, _shared_key(stored.name))
        draft = await asyncio.to_thread(self.draft, write)
        return await self.publish(draft, suffix=stored.suffix)

    async def share(self, stored: StoredResult) -> StoredResult:
        """Move the result of a job to where all gateways find it; returns the result as it is from now on.

        Raises:
            StorageFull, StorageUnavailable: It cannot be kept there.
        """
        if self._shared is None or not isinstance(self.storage, Folder):
            return stored
        path = self.storage.folder / stored.file_name
        await self._shared.put_file(_shared_key(stored.name), path, sha256=stored.sha256)
        await self.storage.delete([stored.file_name])
        return replace(stored, is_shared=True)

    async def delete(self, name: str) -> None:
        """Delete the result ``{token}.{ext}``. A sweep deletes what cannot be deleted now."""
        token = name.partition(".")[0]
        names = [name, *(f"{token}.{kind}.jpg" for kind in get_args(PreviewKind))]
        with suppress(EnlargerError):
            await self.storage.delete([f"upscaled_{one}" for one in names])
            if self._shared is not None:
                await self._shared.delete([_shared_key(one) for one in names])

    async def keep_preview(self, stored: StoredResult, kind: PreviewKind, data: bytes) -> None:
        """Keep a preview, which is a JPEG file, beside a result.

        Raises:
            StorageFull, StorageUnavailable: It cannot be kept.
        """
        storage, key = self._beside(stored, kind)
        await storage.put(key, data)

    async def preview(self, stored: StoredResult, kind: PreviewKind) -> bytes | None:
        """Return a preview that was kept beside a result, a JPEG file; None if there is none.

        Raises:
            StorageUnavailable: The bucket cannot be reached.
        """
        storage, key = self._beside(stored, kind)
        return await storage.get(key)

    def _beside(self, stored: StoredResult, kind: PreviewKind) -> tuple[Storage, str]:
        """Where a preview is, which is where its result is, and under which key."""
        name = f"{stored.token}.{kind}.jpg"
        if self._shared is not None and stored.is_shared:
            return self._shared, _shared_key(name)
        return self.storage, f"upscaled_{name}"

    async def find(self, name: str, *, sha256: str | None = None) -> StoredResult | None:
        """Return the result ``{token}.{ext}``; None if it has expired, was deleted, or never existed.

        Args:
            name: The name of the result.
            sha256: Its digest, where it is known; None: an object that carries none is hashed.

        Raises:
            StorageUnavailable: The bucket cannot be reached.
        """
        if _NAME.fullmatch(f"upscaled_{name}") is None:
            return None
        for storage, key in self._places(name):
            if (facts := await storage.facts(key)) is not None:
                found = _stored(
                    facts,
                    facts.sha256 or sha256 or await self._digest(storage, key),
                    is_shared=storage is not self.storage,
                )
                return found if self.left_s(found) > 0 else None
        return None

    async def _digest(self, storage: Storage, key: str) -> str:
        """The digest of an object that carries none: it is hashed once, not each time that it is asked for."""
        if key not in self._digests:
            digest = hashlib.sha256()
            async for piece in storage.stream(key):
                await asyncio.to_thread(digest.update, piece)
            self._digests[key] = digest.hexdigest()
            if len(self._digests) > _DIGESTS_KEPT:
                self._digests.popitem(last=False)
            await storage.keep_digest(key, self._digests[key])
        return self._digests[key]

    async def open(
        self, stored: StoredResult, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes]:
        """Open a result, and return its bytes from ``start`` to before ``end`` in pieces; see ``Storage.open``.

        Raises:
            ResultLost: It was deleted.
            StorageFull, StorageUnavailable: It cannot be read.
        """
        if self._shared is not None and stored.is_shared:
            return await self._shared.open(_shared_key(stored.name), start, end)
        return await self.storage.open(stored.file_name, start, end)

    def left_s(self, stored: StoredResult) -> float:
        """Seconds that it still lives, at most as many as a new one."""
        return min(self.max_age_s, stored.created_at + self.max_age_s - self._clock())

    async def usage(self) -> list[int]:
        """Return the size in bytes of each result in ``storage``. Other files are not counted.

        While a bucket cannot be reached, the sizes are those of the last time that it was listed, by this method or by
        a sweep. A folder that cannot be read counts as empty.
        """
        try:
            self._listed, _ = await self._ours(self.storage, "")
        except OSError:
            self._listed = []
        except EnlargerError as error:
            if (left_out := self._unlisted.occurred()) is not None:
                log.warning("results_not_counted", reason=reason_of(error), left_out=left_out)
        else:
            self._unlisted.over()
        return [facts.size_bytes for facts in self._listed]

    async def sweep(self) -> Sweep:
        """Delete the results that have outlived their time, and the drafts that a sudden stop left.

        Raises:
            OSError: The folder cannot be read.
            StorageFull, StorageUnavailable: The bucket cannot be read.
        """
        swept = await self._swept(self.storage, "")
        errors = await asyncio.to_thread(self.storage.drafts.sweep, self._clock())
        deleted, all_errors = swept.deleted, [*swept.errors, *errors]
        if self._shared is not None:
            with suppress(FileNotFoundError):  # a folder that nothing was moved to yet
                shared = await self._swept(self._shared, _SHARED_PREFIX)
                deleted, all_errors = deleted + shared.deleted, [*all_errors, *shared.errors]
        return Sweep(deleted, tuple(all_errors))

    async def _swept(self, storage: Storage, prefix: str) -> Sweep:
        now = self._clock()
        results, previews = await self._ours(storage, prefix)
        await storage.redate(
            [facts.key for facts in (*results, *previews) if facts.modified_at > now], now
        )
        written_by = now - self.max_age_s
        if storage is self.storage:
            self._listed = [facts for facts in results if facts.modified_at > written_by]
        expired = [facts for facts in results if facts.modified_at <= written_by]
        all_tokens, gone = ({_token(one.key) for one in some} for some in (results, expired))
        left_over = [
            facts
            for facts in previews
            if _token(facts.key) in gone
            or (_token(facts.key) not in all_tokens and now - facts.modified_at >= _ORPHAN_S)
        ]
        return await storage.delete([facts.key for facts in (*expired, *left_over)])

    async def _ours(
        self, storage: Storage, prefix: str
    ) -> tuple[list[ObjectFacts], list[ObjectFacts]]:
        """List the results directly below a prefix, and their previews. Other files are not ours."""
        found = [(facts, _last(facts.key)) for facts in await storage.children(prefix)]
        return (
            [facts for facts, name in found if _NAME.fullmatch(name)],
            [facts for facts, name in found if _PREVIEW.fullmatch(name)],
        )

    def _places(self, name: str) -> list[tuple[Storage, str]]:
        """Where a result may be, and under which key."""
        shared = [] if self._shared is None else [(self._shared, _shared_key(name))]
        return [(self.storage, f"upscaled_{name}"), *shared]


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _token(key: str) -> str:
    return _last(key).removeprefix("upscaled_").partition(".")[0]


def _new_key(suffix: str) -> str:
    return f"upscaled_{secrets.token_hex(16)}{suffix}"


def _shared_key(name: str) -> str:
    return f"{_SHARED_PREFIX}/upscaled_{name}"


def _stored(facts: ObjectFacts, sha256: str, *, is_shared: bool = False) -> StoredResult:
    token, _, suffix = facts.key.rpartition("upscaled_")[2].partition(".")
    return StoredResult(
        token, f".{suffix}", facts.modified_at, facts.size_bytes, sha256, is_shared=is_shared
    )


async def sweep_regularly(store: ResultStore, *, interval_s: float) -> None:
    """Sweep now, to delete what an earlier run left, and every ``interval_s`` from then on."""
    failures = Repeated()
    while True:
        try:
            sweep = await store.sweep()
        except (OSError, EnlargerError) as error:
            if (left_out := failures.occurred()) is not None:
                log.warning("sweep_failed", reason=reason_of(error), left_out=left_out)
        else:
            failures.over()
            if sweep.deleted or sweep.errors:
                log.info("sweep_done", deleted=sweep.deleted, errors=sweep.errors)
        await asyncio.sleep(interval_s)
