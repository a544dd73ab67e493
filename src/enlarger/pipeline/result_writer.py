"""Writes results into the store, for requests that may be cancelled before their file is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TypeVar

from enlarger.options import Options
from enlarger.picture.formats import suffix_of
from enlarger.picture.values import Picture
from enlarger.pipeline.outcome import Enlarged, Outcome
from enlarger.pipeline.plan import Plan
from enlarger.pipeline.size_limit import write
from enlarger.store import Store, StoredFile

T = TypeVar("T")


class ResultWriter:
    """Writes the files of results, on threads.

    Args:
        store: where the files go.
        executor: threads for short work.
        encoders: threads that encode files.
    """

    def __init__(
        self, store: Store, *, executor: ThreadPoolExecutor, encoders: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._executor = executor
        self._encoders = encoders

    async def write(
        self, enlarged: Enlarged, options: Options, plan: Plan
    ) -> tuple[Picture, StoredFile]:
        """Write the file of a result.

        Returns:
            The picture that the file holds, and the file.

        Raises:
            InvalidOption: the format cannot hold the picture, or not in so few bytes.
            StorageFull: the file could not be written.
        """

        def put() -> tuple[Picture, StoredFile]:
            return self._store.put(
                lambda aside: write(
                    enlarged, options, aside, kind=plan.kind, least_px=plan.least_size_px
                ),
                suffix=suffix_of(plan.kind),
            )

        return await self._file(self._encoders, put, lambda written: written[1])

    async def copy(self, outcome: Outcome) -> Outcome | None:
        """Return the same result for another request, in a file of its own; None if the first file is gone."""
        copy = partial(self._store.copy, outcome.stored)
        stored = await self._file(self._executor, copy, lambda copied: copied)
        return None if stored is None else replace(outcome, stored=stored)

    async def _file(
        self,
        executor: ThreadPoolExecutor,
        make: Callable[[], T],
        file_of: Callable[[T], StoredFile | None],
    ) -> T:
        """Make a file on a thread. A thread cannot be interrupted: the file of a cancelled request is deleted."""

        def discard(done: Future[T]) -> None:
            if not done.cancelled() and done.exception() is None:
                file = file_of(done.result())
                if file is not None:
                    self._store.delete(file)

        # In the request's context, so that what is logged there has its id.
        making = executor.submit(copy_context().run, make)
        try:
            return await asyncio.wrap_future(making)
        except asyncio.CancelledError:
            making.add_done_callback(discard)
            raise
