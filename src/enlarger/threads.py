"""Work beside the event loop: on a thread, or in a task whose result is no longer wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(executor: Executor, function: Callable[..., T], *arguments: Any) -> T:
    """Run ``function`` on a thread and return its result.

    The caller's context is kept, so that logs have the request's id.
    """
    return await asyncio.get_running_loop().run_in_executor(
        executor, copy_context().run, function, *arguments
    )


async def dropped(work: asyncio.Future[Any]) -> None:
    """Cancel the work, and wait until it has ended in whatever way."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def finished(work: Awaitable[T]) -> T:
    """Wait for the work to its end, even if the caller is cancelled meanwhile, so that nothing of it happens later."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
