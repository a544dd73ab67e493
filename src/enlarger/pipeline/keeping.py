"""Writing results into the storage, for requests that may be gone by the time their result is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from enlarger.options import Options
from enlarger.picture.encode import suffix_of
from enlarger.picture.values import Picture
from enlarger.pipeline.outcome import Enlarged, Outcome
from enlarger.pipeline.plan import Plan
from enlarger.pipeline.size_limit import write
from enlarger.storage import Draft, ResultStore, StoredResult

Stored = TypeVar("Stored", StoredResult, StoredResult | None)


class Keeper:
    """Makes files of results.

    Args:
        store: Where results go.
        encoders: The threads that write files.
    """

    def __init__(self, store: ResultStore, *, encoders: ThreadPoolExecutor) -> None:
        self._store = store
        self._encoders = encoders
        self._discarding: set[asyncio.Future[None]] = set()

    async def keep(
        self, enlarged: Enlarged, options: Options, plan: Plan
    ) -> tuple[Picture, StoredResult]:
        """What the file of a result holds, and the result.

        Raises:
            InvalidOption: The format cannot hold the picture, or not in so few bytes.
            StorageFull, StorageUnavailable: The result could not be written.
        """
        draft = await self._draft(
            partial(write, enlarged, options, kind=plan.kind, least_px=plan.least_size_px)
        )
        stored = await self._stored(self._store.publish(draft, suffix=suffix_of(plan.kind)))
        return draft.written, stored

    async def copy(self, outcome: Outcome) -> Outcome | None:
        """The same result for another request, in a file of its own; None if its file is gone."""
        stored = await self._stored(self._store.copy(outcome.stored))
        return None if stored is None else replace(outcome, stored=stored)

    async def _draft(self, write: Any) -> Draft[Picture]:
        """Write on a thread, which cannot be interrupted: a draft for a request that has gone is discarded."""

        def discard(done: Future[Draft[Picture]]) -> None:
            if not done.cancelled() and done.exception() is None:
                done.result().discard()

        # In the request's context, so that what is logged there has its id.
        making = self._encoders.submit(copy_context().run, self._store.draft, write)
        try:
            return await asyncio.wrap_future(making)
        except asyncio.CancelledError:
            making.add_done_callback(discard)
            raise

    async def _stored(self, making: Coroutine[Any, Any, Stored]) -> Stored:
        """Wait for a result. The result of a request that has gone meanwhile is deleted when it is there."""
        task = asyncio.ensure_future(making)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            deleting = asyncio.ensure_future(self._discard(task))
            self._discarding.add(deleting)
            deleting.add_done_callback(self._discarding.discard)
            raise

    async def _discard(self, making: asyncio.Future[Any]) -> None:
        await asyncio.wait([making])
        if not making.cancelled() and making.exception() is None:
            stored = making.result()
            if stored is not None:
                await self._store.delete(stored.name)
