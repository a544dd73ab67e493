"""A request does not wait for a database that it can do without."""

from __future__ import annotations

import asyncio

import pytest

from enlarger.errors import StorageUnavailable
from enlarger.jobs.rows.brief import PAUSE_S, BriefCalls
from enlarger.jobs.rows.failures import away


async def test_failed_call_is_not_tried_again_for_a_while() -> None:
    """Then it is, and what it returns is returned."""
    now, calls = [0.0], []
    brief = BriefCalls(lambda: now[0])

    async def fails() -> str:
        calls.append(now[0])
        raise away()

    async def works() -> str:
        return "answer"

    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await brief.call(fails)
    assert calls == [0.0]
    now[0] += PAUSE_S
    assert await brief.call(works) == "answer"


async def test_call_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counts as failed."""
    monkeypatch.setattr("enlarger.jobs.rows.brief.PATIENCE_S", 0.02)
    brief = BriefCalls(lambda: 0.0)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await brief.call(lambda: asyncio.sleep(60))


async def test_cancelled_call_is_no_failure() -> None:
    """The next one is tried."""
    brief = BriefCalls(lambda: 0.0)
    task = asyncio.create_task(brief.call(lambda: asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await brief.call(lambda: asyncio.sleep(0))
