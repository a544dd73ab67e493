"""Previews of results: small JPEG files, kept beside the results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from quart import Response, request
from werkzeug.datastructures import MultiDict

from enlarger.api.downloads import download
from enlarger.errors import EnlargerError, Fault, InvalidOption
from enlarger.picture.preview import LEAST_SIDE_PX, MEDIA_TYPE, MOST_SIDE_PX, reduced
from enlarger.pipeline.pipeline import Pipeline
from enlarger.storage import ResultStore, StoredResult
from enlarger.threads import in_thread


def max_side_px(query: MultiDict[str, str]) -> int | None:
    """Return the longest side of the preview that a query asks for; None if it asks for the picture itself.

    Raises:
        InvalidOption: it is not a whole number of pixels in the range of previews.
    """
    text = query.get("max_side")
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and LEAST_SIDE_PX <= int(text[:9]) <= MOST_SIDE_PX:
        return int(text)
    detail = f"it must be a number of pixels from {LEAST_SIDE_PX} to {MOST_SIDE_PX}"
    raise InvalidOption.of(Fault("max_side", "range", detail))


async def preview_answer(data: bytes, headers: Mapping[str, str]) -> Response:
    """Return the answer with a preview, or with what the request asks for of it."""

    async def read(start: int, end: int) -> bytes:
        return data[start:end]

    return await download(
        request.headers,
        request.method,
        etag=f'"sha256-{sha256(data).hexdigest()}"',
        size_bytes=len(data),
        headers={"Content-Type": MEDIA_TYPE, "Content-Disposition": "inline", **headers},
        read=read,
    )


@dataclass(frozen=True, kw_only=True)
class ResultPreviews:
    """Makes the previews of results when they are first asked for.

    Only the largest one is kept, so a result has one preview at most, whatever sizes are asked for. Smaller ones are made
    from it.
    """

    pipeline: Pipeline
    store: ResultStore
    executor: Executor
    _making: dict[str, asyncio.Task[bytes]] = field(default_factory=dict, init=False)
    """By the name of the result."""

    async def of(self, stored: StoredResult, max_side_px: int) -> bytes:
        """Return a result as a JPEG file in sRGB with no side longer than ``max_side_px``.

        Raises:
            StorageFull, StorageUnavailable: the result cannot be read.
            UnreadableImage: the result is too large to be decoded.
        """
        largest = await self.store.preview(stored, "result")
        if largest is None:
            largest = await asyncio.shield(self._task(stored))
        return await self.smaller(largest, max_side_px)

    async def smaller(self, preview: bytes, max_side_px: int) -> bytes:
        """Return a preview with no side longer than ``max_side_px``."""
        return await in_thread(self.executor, reduced, preview, max_side_px)

    def _task(self, stored: StoredResult) -> asyncio.Task[bytes]:
        """Return the task that makes the largest preview: one for all requests that come meanwhile."""
        task = self._making.get(stored.name)
        if task is None:
            task = self._making[stored.name] = asyncio.create_task(self._make(stored))
            task.add_done_callback(lambda _: self._making.pop(stored.name))
        return task

    async def _make(self, stored: StoredResult) -> bytes:
        pieces = await self.store.open(stored)
        data = b"".join([piece async for piece in pieces])
        largest = await self.pipeline.previews.make(data, MOST_SIDE_PX)
        with suppress(EnlargerError):  # it is made again next time
            await self.store.keep_preview(stored, "result", largest)
        return largest
