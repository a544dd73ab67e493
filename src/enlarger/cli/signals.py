"""How commands that compute end after a signal: with what Ctrl-C does, so that they can clean up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

T = TypeVar("T")


async def until_told(working: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work. SIGTERM and SIGHUP end it as Ctrl-C does, so that no partial file is left.

    Raises:
        typer.Exit: a signal has ended the work.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(working)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        raise typer.Exit(128 + received[0]) from None  # as shells count it
