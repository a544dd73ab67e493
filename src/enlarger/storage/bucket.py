"""A storage in a bucket, which several gateways share without sharing a disk."""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, S3Store

from enlarger.config import bucket_endpoint, bucket_region
from enlarger.errors import BackendAway, ConfigError
from enlarger.storage.drafts import Draft, Drafts
from enlarger.storage.faults import Wording, first_line
from enlarger.storage.storage import SHA256, ObjectFacts, Storage, Sweep, below
from enlarger.threads import finished

_CONNECT_S = 5
_SILENCE_S = 15
"""A bucket that sends no byte for so long counts as away."""

_DATE_S = 1
"""A bucket dates objects to the second, and cuts off the rest."""

_TRANSFER_S = 24 * 3600
"""One transfer may take so long: the reader of a stream may be slow."""

_ATTEMPTS_S = 20
_ATTEMPTS = 3
"""A call to a bucket is repeated so often, as long as the repeats begin within so many seconds."""

_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
"""The error code in a bucket's answer, which is XML."""

_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
"""The status in a bucket's answer."""

_NOBODY = "169.254.169.254"
"""Amazon's machines have credentials at this address: a program without credentials asks there."""

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([^?#]*))?")


class Bucket(Storage):
    """Objects carry their digests as metadata. Drafts are files in the system's folder for temporary ones.

    Args:
        store: The bucket, below its prefix.
        wording: How its errors are told.
    """

    def __init__(self, store: S3Store | MemoryStore, wording: Wording) -> None:
        super().__init__(store, Drafts(Path(tempfile.gettempdir()), is_private=True), wording)

    async def check(self) -> None:
        """See ``Storage.check``."""
        key = f"check_{secrets.token_hex(16)}"
        try:
            await finished(obstore.put_async(self.store, key, b"enlarger was here"))
            await obstore.delete_async(self.store, key)
        except (BaseError, OSError) as error:
            raise _refusal(error, self.faults.wording.variable) from error

    async def put(self, key: str, data: bytes, *, sha256: str | None = None) -> None:
        """See ``Storage.put``."""
        await self._put(key, data, sha256)

    async def put_file(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """See ``Storage.put_file``."""
        await self._put(key, path, sha256)

    async def _put(self, key: str, content: bytes | Path, sha256: str | None) -> None:
        attributes = {} if sha256 is None else {SHA256: sha256}
        with self.faults.told():
            await finished(obstore.put_async(self.store, key, content, attributes=attributes))

    async def adopt(self, draft: Draft[object], key: str) -> ObjectFacts:
        """See ``Storage.adopt``. The bucket may date an upload by its beginning, so the time is taken before it."""
        began_at = time.time()
        await self._put(key, draft.path, draft.sha256)
        return ObjectFacts(key, draft.size_bytes, began_at, draft.sha256)

    async def duplicate(self, source: ObjectFacts, key: str) -> ObjectFacts | None:
        """See ``Storage.duplicate``. The bucket copies by itself, and the digest with the bytes."""
        began_at = time.time()
        with self.faults.told():
            try:
                await finished(obstore.copy_async(self.store, source.key, key))
            except FileNotFoundError:
                return None
        return ObjectFacts(key, source.size_bytes, began_at, source.sha256)

    async def facts(self, key: str) -> ObjectFacts | None:
        """See ``Storage.facts``."""
        with self.faults.told():
            try:
                found = await obstore.get_async(self.store, key, options={"head": True})
            except FileNotFoundError:
                return None
        return _facts(found.meta, found.attributes.get(SHA256))

    async def get_with_digest(self, key: str) -> tuple[bytes, str | None] | None:
        """See ``Storage.get_with_digest``."""
        with self.faults.told():
            try:
                found = await obstore.get_async(self.store, key)
                return bytes(await found.bytes_async()), found.attributes.get(SHA256)
            except FileNotFoundError:
                return None

    async def keep_digest(self, key: str, sha256: str) -> None:
        """See ``Storage.keep_digest``. The metadata of an object cannot be changed."""

    async def children(self, prefix: str = "") -> list[ObjectFacts]:
        """See ``Storage.children``."""
        with self.faults.told():
            found = await obstore.list_with_delimiter_async(self.store, prefix or None)
        return [_facts(meta) for meta in found["objects"]]

    async def redate(self, keys: Sequence[str], now: float) -> None:
        """See ``Storage.redate``. Objects are dated by the bucket alone."""

    async def delete(self, keys: Iterable[str]) -> Sweep:
        """See ``Storage.delete``."""
        listed = list(keys)
        if listed:
            with self.faults.told():
                await obstore.delete_async(self.store, listed)
        return Sweep(len(listed), ())

    async def delete_under(self, prefix: str) -> None:
        """See ``Storage.delete_under``."""
        await self.delete(await self.keys(str(below(prefix))))


def _facts(meta: Any, sha256: str | None = None) -> ObjectFacts:
    modified_at = meta["last_modified"].timestamp() + _DATE_S
    return ObjectFacts(meta["path"], meta["size"], modified_at, sha256)


def opened_bucket(url: str, wording: Wording) -> Bucket:
    """The storage at a URL such as ``s3://bucket/prefix``.

    Where the bucket is and who may use it stands in the variables that all programs for it read: ``AWS_REGION``,
    ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and so on.

    Raises:
        ConfigError: This is not such a URL, or one of the variables is wrong.
    """
    match = _URL.fullmatch(url)
    if match is None:  # the URL may hold a secret, so it is not shown
        raise ConfigError(f"{wording.variable}: it must be a folder or s3://bucket/prefix")
    name, prefix = match.groups()
    endpoint = bucket_endpoint()
    if endpoint and not re.match(r"https?://[^/]", endpoint):
        raise ConfigError("AWS_ENDPOINT_URL: it must begin with http:// or https://")
    try:
        store = S3Store(
            name,
            prefix=prefix or None,
            client_options={
                # An operator who writes http:// means it.
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
    except BaseError as error:  # one of two variables that belong together is missing
        raise ConfigError(
            f"{wording.variable}: cannot use the bucket: {first_line(error)}; check its AWS_ variables"
        ) from error
    return Bucket(store, wording)


def _refusal(error: BaseError | OSError, variable: str) -> ConfigError:
    """Why a bucket cannot be used, and what to do."""
    reason = first_line(error)
    answers = [
        found.group(1) for found in (_STATUS.search(reason), _CODE.search(str(error))) if found
    ]
    said = f" (it answers {', '.join(answers)})" if answers else ""
    if isinstance(error, FileNotFoundError):
        text = "is not there; make it, or correct the name"
    elif _NOBODY in reason:
        text = "needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in said:
        text = "does not let us in; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and what they may do"
    elif not answers:
        address = re.sub("//[^/@]*@", "//", bucket_endpoint())  # without a password
        place = f"at {address}" if address else f"in {bucket_region()}"
        return BackendAway(
            f"{variable}: cannot reach the bucket {place}; check AWS_ENDPOINT_URL and AWS_REGION"
        )
    else:
        text = "cannot be written; check AWS_ENDPOINT_URL and AWS_REGION"
    return ConfigError(f"{variable}: the bucket {text}{said}")
