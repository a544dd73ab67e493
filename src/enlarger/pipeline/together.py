"""Runs coroutines at the same time, so that they end together."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from enlarger.errors import EnlargerError

T = TypeVar("T")


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in order. If one fails or the caller is cancelled, the others are cancelled and awaited.

    This is not ``asyncio.TaskGroup``: until Python 3.14 its frame and its error hold each other, and everything that
    the frames of its callers hold. After a cancelled request these are its pictures, until the garbage collector
    looks at its oldest objects.

    Raises:
        the first error that was raised: one of ours, if there is one.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [
            task for task in tasks if task.done() and not task.cancelled() and task.exception()
        ]
        if failed:
            raise _error_of(failed)
        return [task.result() for task in tasks]
    finally:
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        # An error holds this frame, and must not be held by it.
        tasks.clear()
        failed = running = []


def _error_of(failed: list[asyncio.Task[T]]) -> BaseException:
    """Return the error for the caller, without the objects that its frames held."""
    errors = [error for task in failed if (error := task.exception()) is not None]
    error = next((error for error in errors if isinstance(error, EnlargerError)), errors[0])
    traceback.clear_frames(error.__traceback__)
    return error
