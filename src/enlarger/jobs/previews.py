"""Finished tiles as small pictures, for clients that watch a job."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Executor
from functools import partial
from typing import Self

from enlarger.errors import EnlargerError
from enlarger.jobs.event_streams import EventStream, Shown
from enlarger.jobs.files import JobFiles
from enlarger.picture.preview import preview
from enlarger.pipeline.progress import Piece
from enlarger.threads import in_thread


class TilePreviews:
    """Keeps the finished tiles of one job as previews, and tells of each. One that cannot be kept is not shown.

    Args:
        files: where they are kept.
        stream: told of each.
        executor: makes them.
    """

    def __init__(self, files: JobFiles, stream: EventStream, executor: Executor) -> None:
        self._files = files
        self._stream = stream
        self._executor = executor
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(self, piece: Piece) -> None:
        """Keep a tile, then tell of it."""
        if piece.total == 1:  # the picture itself is there as soon
            return
        task = asyncio.create_task(self._keep(piece))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, piece: Piece) -> None:
        size_px = (piece.place.width_px, piece.place.height_px)
        show = partial(preview, piece.pixels, size_px, icc=piece.icc, stated=piece.stated)
        data = await in_thread(self._executor, show)
        with contextlib.suppress(EnlargerError):
            shown = Shown(piece.index, piece.place)
            await self._files.keep_preview(self._stream.job.id, shown, data)
            self._stream.show(shown)
