"""Identical requests: one is computed, the others wait or find the result, and what happens when one is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from enlarger.errors import EngineFailed
from enlarger.pipeline.progress import OnTile
from enlarger.pipeline.result_cache import Results


class Works:
    """Makes numbered results when the test allows it."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None
        self.tell: OnTile | None = None

    async def make(self, on_tile: OnTile) -> str:
        """Return a result with the number of those started before."""
        self.begun += 1
        self.tell = on_tile
        name = f"result {self.begun}"
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return name


@pytest.fixture
def works() -> Works:
    """Return works that may not end yet."""
    return Works()


async def copied(result: str) -> str | None:
    """A copy that can be told from what it was made of."""
    return f"{result}, copied"


async def gone(_: str) -> str | None:
    """The file has been swept."""
    return None


Copy = Callable[[str], Awaitable[str | None]]


def results_of(copy: Copy = copied) -> Results[str]:
    """Return an empty cache of results."""
    return Results(copy)


async def begun(works: Works, task: asyncio.Task[tuple[str, str]]) -> None:
    """Let the other tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert works.begun
    assert not task.done()


async def test_first_request_is_worked_for(works: Works) -> None:
    """The cache is empty."""
    works.may_end.set()
    assert await results_of().get("a", works.make) == ("result 1", "miss")


async def test_finished_result_is_found_again(works: Works) -> None:
    """A request gets a copy. The next one finds that copy, because it lives longest."""
    works.may_end.set()
    results = results_of()
    await results.get("a", works.make)
    assert await results.get("a", works.make) == ("result 1, copied", "hit")
    assert await results.get("a", works.make) == ("result 1, copied, copied", "hit")
    assert works.begun == 1


async def test_other_key_is_other_work(works: Works) -> None:
    """Nothing is shared between different requests."""
    works.may_end.set()
    results = results_of()
    await results.get("a", works.make)
    assert await results.get("b", works.make) == ("result 2", "miss")


async def test_identical_requests_share_the_work(works: Works) -> None:
    """One request is computed, the other gets a copy, and both are told of tiles."""
    results = results_of()
    told: list[tuple[str, int, int]] = []
    first, second = (
        asyncio.create_task(
            results.get(
                "a", works.make, on_tile=lambda *tiles, name=name: told.append((name, *tiles))
            )
        )
        for name in ("first", "second")
    )
    await begun(works, second)
    assert works.tell is not None
    works.tell(1, 2)
    works.may_end.set()
    assert await first == ("result 1", "miss")
    assert await second == ("result 1, copied", "coalesced")
    assert told == [("first", 1, 2), ("second", 1, 2)]
    assert works.begun == 1


async def test_result_whose_file_is_gone_is_made_anew(works: Works) -> None:
    """An expired file does not count as a result."""
    works.may_end.set()
    results = results_of(gone)
    await results.get("a", works.make)
    assert await results.get("a", works.make) == ("result 2", "miss")


async def test_anew_looks_at_nothing_and_is_found_by_others(works: Works) -> None:
    """``no-cache`` computes again, beside work that runs; the newest result is the one that is kept."""
    works.may_end.set()
    results = results_of()
    await results.get("a", works.make)
    assert await results.get("a", works.make, skip_cache=True) == ("result 2", "miss")
    assert await results.get("a", works.make) == ("result 2, copied", "hit")


async def test_error_reaches_all_and_is_not_kept(works: Works) -> None:
    """The next request tries again."""
    results = results_of()
    works.error = EngineFailed("broken")
    tasks = [asyncio.create_task(results.get("a", works.make)) for _ in range(2)]
    await begun(works, tasks[1])
    works.may_end.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [works.error] * 2
    works.error = None
    assert await results.get("a", works.make) == ("result 2", "miss")


@pytest.mark.parametrize("leaver", [0, 1], ids=["who-began", "who-joined"])
async def test_one_who_leaves_takes_nothing_from_the_other(works: Works, leaver: int) -> None:
    """The work continues as long as a request waits for it, and its result is cached."""
    results = results_of()
    tasks = [asyncio.create_task(results.get("a", works.make)) for _ in range(2)]
    await begun(works, tasks[1])
    tasks[leaver].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[leaver]
    third = asyncio.create_task(results.get("a", works.make))
    await begun(works, third)
    works.may_end.set()
    assert (await tasks[1 - leaver])[0].startswith("result 1")
    assert await third == ("result 1, copied", "coalesced")
    assert (works.begun, works.cancelled) == (1, 0)


async def test_last_one_who_leaves_ends_the_work(works: Works) -> None:
    """When the cancelled request ends, the work has ended. A new request starts again."""
    results = results_of()
    tasks = [asyncio.create_task(results.get("a", works.make)) for _ in range(2)]
    await begun(works, tasks[1])
    for task in tasks:
        task.cancel()
    newcomer = asyncio.create_task(results.get("a", works.make))
    assert all(
        isinstance(end, asyncio.CancelledError)
        for end in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert works.cancelled == 1
    works.may_end.set()
    assert await newcomer == ("result 2", "miss")


async def test_oldest_facts_are_forgotten(works: Works) -> None:
    """What is kept is bounded; what was asked for lately stays."""
    works.may_end.set()
    results = results_of()
    await results.get("first", works.make)
    for number in range(1000):
        await results.get(str(number), works.make)
        if number % 500 == 0:
            await results.get("first", works.make)
    assert (await results.get("first", works.make))[1] == "hit"
    assert (await results.get("0", works.make))[1] == "miss"
