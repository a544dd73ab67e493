"""Work beside the event loop's own: on a thread, or in a task that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(executor: Executor, function: Callable[..., T], *arguments: Any) -> T:
    """What ``function`` gives. It runs in the caller's context, so that what it logs has the request's id."""
    return await asyncio.get_running_loop().run_in_executor(
        executor, copy_context().run, function, *arguments
    )


async def dropped(work: asyncio.Future[Any]) -> None:
    """Cancel it, and wait until it has ended, however it ends."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def finished(work: Awaitable[T]) -> T:
    """Wait for it, to its end also when the caller is cancelled meanwhile: nothing of it happens later."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
