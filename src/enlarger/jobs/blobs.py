"""Bytes of jobs, in a local folder or in a bucket: what came in, tiles that are done, results."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Self

import obstore
import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from enlarger.config import bucket_endpoint, bucket_region
from enlarger.errors import (
    BackendAway,
    ConfigError,
    EnlargerError,
    StorageFull,
    StorageUnavailable,
)
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.threads import finished

log = structlog.get_logger()

_CHUNK_BYTES = 1 << 20
"""Of a stream, about."""

_CONNECT_S = 5
_SILENCE_S = 15
"""Without a byte, a bucket counts as away."""

_TRANSFER_S = 24 * 3600
"""One transfer may take as long: the reader of a stream may be slow."""

_ATTEMPTS_S = 20
_ATTEMPTS = 3
"""Of a call to a bucket after the first, begun within so many seconds."""

_RETRY_S = 5
"""After which a sender may ask again."""

_ROOM = "no room for the job on the server's disk; ask the operator to make room"
_WRITABLE = "the server may not write into its folder of jobs; ask the operator to let it"
_FOLDER = (
    "where the server's folder of jobs should be is something else; ask the operator to mend that"
)
_OTHERWISE = "the job's files could not be written or read; the server's log says why"
_REFUSED = "the server's bucket does not let it in; ask the operator to mend that"
_GONE = "the server's folder or bucket of jobs is not there; ask the operator to mend that"
_AWAY = "the server's bucket cannot be reached now; try again later"
_LOST = "the result went away before it could be sent; try again"

_TEXTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _WRITABLE),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), _FOLDER),
}
"""What the sender is told, by what the system says."""

_ERRNO = re.compile(r"\(os error (\d+)\)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
"""The error code in a bucket's answer, which is XML."""

_NOBODY = "169.254.169.254"
"""Where Amazon's machines have credentials: who has none himself asks there."""

_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
"""The status in a bucket's answer."""
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#]*))?")


@dataclass(frozen=True, slots=True)
class Blobs:
    """Bytes by key, such as ``job_x/input`` or ``job_x/tiles/ab12``. Keys are ours, and safe as paths.

    A key is written whole or not at all: what is written replaces what was there in one step, and nobody reads half.
    When a write that was cancelled has raised, it is over: what is deleted then stays deleted.
    """

    store: LocalStore | S3Store

    folder: Path | None
    """None: a bucket."""

    _failures: Repeated = field(default_factory=Repeated, repr=False, compare=False)

    @classmethod
    def at(cls, place: str | Path) -> Self:
        """Blobs in a folder, which is made if missing, or below ``s3://bucket/prefix``.

        Where the bucket is and who may use it stands in the variables that all its programs know: ``AWS_REGION``,
        ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and so on.

        Raises:
            ConfigError: the folder cannot be made, or this is no such URL.
        """
        if "://" in str(place):
            return cls(_bucket(str(place)), None)
        folder = Path(place).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigError(
                f"ENLARGER_BLOBS: cannot write to '{place}': {error.strerror}; it, or what should be a folder above it, is "
                "a file: name another folder"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"ENLARGER_BLOBS: cannot write to '{place}': {error.strerror}; let the user that runs enlarger do it, "
                "or name another folder"
            ) from error
        return cls(LocalStore(folder, mkdir=True), folder)

    async def check(self) -> None:
        """Write something and delete it.

        Raises:
            BackendAway: the bucket cannot be reached now.
            ConfigError: it does not work.
        """
        key = f"check_{secrets.token_hex(16)}"
        try:
            await finished(obstore.put_async(self.store, key, b"enlarger was here"))
            await obstore.delete_async(self.store, key)
        except (BaseError, OSError) as error:
            raise self._refusal(error) from error

    def _refusal(self, error: BaseError | OSError) -> ConfigError:
        """Why it cannot be used, and what to do."""
        reason = _reason(error)
        if self.folder is not None:
            number = _ERRNO.search(reason)
            reason = os.strerror(int(number.group(1))) if number else reason
            return ConfigError(
                f"ENLARGER_BLOBS: cannot write to '{self.folder}': {reason}; let the user that runs enlarger do it, "
                "or name another folder"
            )
        answers = [
            found.group(1) for found in (_STATUS.search(reason), _CODE.search(str(error))) if found
        ]
        said = f" (it answers {', '.join(answers)})" if answers else ""
        if isinstance(error, FileNotFoundError):
            text = "is not there; make it, or correct the name"
        elif _NOBODY in reason:
            text = "needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif (
            isinstance(error, PermissionDeniedError | UnauthenticatedError)
            or "403 Forbidden" in said
        ):
            text = "does not let us in; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and what they may do"
        elif not answers:
            address = re.sub("//[^/@]*@", "//", bucket_endpoint())  # without a password
            place = f"at {address}" if address else f"in {bucket_region()}"
            return BackendAway(
                f"ENLARGER_BLOBS: cannot reach the bucket {place}; check AWS_ENDPOINT_URL and AWS_REGION"
            )
        else:
            text = "cannot be written; check AWS_ENDPOINT_URL and AWS_REGION"
        return ConfigError(f"ENLARGER_BLOBS: the bucket {text}{said}")

    async def put(self, key: str, data: bytes) -> None:
        """These bytes under this key.

        Raises:
            StorageFull, StorageUnavailable: from here and from all others; the text says what to do.
        """
        with _told(self._failures):
            await finished(obstore.put_async(self.store, key, data))

    async def put_file(self, key: str, path: Path) -> None:
        """The bytes of a file, without reading all of them into memory."""
        with _told(self._failures):
            await finished(obstore.put_async(self.store, key, path))

    async def get(self, key: str) -> bytes | None:
        """All bytes; None: there are none of this key."""
        with _told(self._failures):
            try:
                found = await obstore.get_async(self.store, key)
                return bytes(await found.bytes_async())
            except FileNotFoundError:
                return None

    async def size(self, key: str) -> int | None:
        """How many bytes; None: there are none of this key."""
        with _told(self._failures):
            try:
                return (await obstore.head_async(self.store, key))["size"]
            except FileNotFoundError:
                return None

    async def stream(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Bytes from ``start`` to before ``end``, in pieces; in a folder also if they are deleted meanwhile.

        Args:
            key: of something that is there.
            start: less than its size, or 0.
            end: not more than its size; None: all that follow.

        Raises:
            StorageFull: there is nothing of this key, or no more of it.
        """
        if end is not None and start >= end:
            return
        with _told(self._failures):
            try:
                found = await obstore.get_async(
                    self.store,
                    key,
                    options={"range": {"offset": start} if end is None else (start, end)}
                    if (start, end) != (0, None)
                    else {},
                )
                pieces = found.stream(min_chunk_size=_CHUNK_BYTES)
            except FileNotFoundError as error:
                raise StorageFull(_LOST) from error
        while True:
            with _told(self._failures):
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield bytes(piece)

    async def keys(self, prefix: str) -> list[str]:
        """All below ``prefix``, sorted: ``job_x`` finds ``job_x/input``, not ``job_xy/input``."""
        with _told(self._failures):
            found = await obstore.list(self.store, prefix).collect_async()
        return sorted(blob["path"] for blob in found)

    async def delete_under(self, prefix: str) -> None:
        """Delete all below ``prefix``, and what a sudden stop left half-written there."""
        place = below(prefix)
        with _told(self._failures):
            if self.folder is not None:
                await asyncio.to_thread(_remove, self.folder, place)
            elif keys := await self.keys(prefix):
                await obstore.delete_async(self.store, keys)


def below(prefix: str) -> PurePosixPath:
    """The path of a prefix, which is relative and leads down: deleting below any other could reach anything.

    Raises:
        ValueError: it is not made of names of letters, digits, ``_`` and ``-``.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"'{prefix}' is no prefix of keys")
    return PurePosixPath(prefix)


def _remove(folder: Path, place: PurePosixPath) -> None:
    target = (folder / place).resolve()
    if folder.resolve() not in target.parents:  # a link leads elsewhere
        raise ValueError(f"'{place}' is not in the folder of jobs")
    # Somebody may be writing there, or removing the same.
    with suppress(FileNotFoundError):
        shutil.rmtree(target)


def _bucket(url: str) -> S3Store:
    match = _BUCKET.fullmatch(url)
    if match is None:  # which may hold a secret, so it is not shown
        raise ConfigError("ENLARGER_BLOBS: it must be a folder or s3://bucket/prefix")
    name, prefix = match.groups()
    endpoint = bucket_endpoint()
    if endpoint and not re.match(r"https?://[^/]", endpoint):
        raise ConfigError("AWS_ENDPOINT_URL: it must begin with http:// or https://")
    try:
        return S3Store(
            name,
            prefix=prefix or None,
            client_options={
                # Who writes http:// means it.
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=_CONNECT_S),
                "read_timeout": timedelta(seconds=_SILENCE_S),
                "timeout": timedelta(seconds=_TRANSFER_S),
            },
            retry_config={
                "max_retries": _ATTEMPTS,
                "retry_timeout": timedelta(seconds=_ATTEMPTS_S),
            },
        )
    except BaseError as error:  # of two variables that belong together, one is set
        raise ConfigError(
            f"ENLARGER_BLOBS: cannot use the bucket: {_reason(error)}; check its AWS_ variables"
        ) from error


@contextmanager
def _told(failures: Repeated) -> Iterator[None]:
    """Errors of files and buckets become ours; ``failures`` decides which of them are logged."""
    try:
        yield
    except (BaseError, OSError) as error:
        if (left_out := failures.occurred()) is not None:
            log.warning("blobs_failed", reason=reason_of(error), left_out=left_out)
        raise _error(error, _reason(error)) from error


def _error(error: BaseError | OSError, reason: str) -> EnlargerError:
    number = _ERRNO.search(reason)
    code = int(number.group(1)) if number else getattr(error, "errno", None)
    if code in _TEXTS:
        return StorageFull(_TEXTS[code])
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return StorageFull(_REFUSED)
    if isinstance(error, FileNotFoundError):
        return StorageFull(_GONE)
    if reason.startswith("Generic S3 error"):
        return StorageUnavailable(_AWAY, retry_after_s=_RETRY_S)
    return StorageFull(_OTHERWISE)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
