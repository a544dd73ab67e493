"""Results that gateways share: made once, found by all, and left to others when their gateway is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.results import FolderResults

from enlarger.engine.device import Device
from enlarger.jobs.rows import Rows
from enlarger.jobs.shared_results import LEASE_S, SharedOutcomes
from enlarger.picture.values import Header, Note
from enlarger.pipeline.outcome import Outcome, Ran
from enlarger.pipeline.result_cache import Found, Results
from enlarger.storage import StoredResult

HEADER = Header(format="png", width_px=1, height_px=1, mode="RGB", depth_bits=8, frames=1)


@dataclass
class Gateways:
    """Gateways on one database and one folder, at a time that a test sets."""

    folder: Path
    database: str
    stack: AsyncExitStack
    now: float = 1000.0
    stores: list[FolderResults] = field(default_factory=list)

    async def shared(self, kind: str = "1 f32", *, beats: bool = True) -> SharedOutcomes:
        """The results as one more gateway sees them; it gives signs of life unless it is about to be dead."""
        rows = await self.stack.enter_async_context(Rows(self.database))
        store = FolderResults(self.folder, max_age_s=300, clock=lambda: self.now)
        shared = SharedOutcomes(rows=rows, store=store, kind=kind, clock=lambda: self.now)
        return await self.stack.enter_async_context(shared) if beats else shared

    def outcome(self, number: int = 1) -> Outcome:
        """A finished result."""
        stored = StoredResult(f"{number:032x}", ".png", self.now, 3, "ab" * 32)
        return Outcome(
            ran=Ran(
                model="m",
                model_sha256="0",
                engine="nearest",
                precision="f32",
                tiles=2,
                device=Device(name="A card", driver="1.2", tile_class="gpu-4g"),
                computed_in=("f16", "f32"),
                tiles_by_server=Counter(one=2),
                repeated=Counter(not_finite=1),
            ),
            stored=stored,
            width_px=4,
            height_px=4,
            scale=4,
            notes=(Note("depth", "The result has 8 bits."),),
            kept=("icc",),
            header=HEADER,
            input_bytes=3,
            stages_s={"decode": 0.5},
        )


@pytest.fixture
async def gateways(database: str, tmp_path: Path) -> AsyncIterator[Gateways]:
    """None yet, on either kind of database."""
    async with AsyncExitStack() as stack:
        yield Gateways(tmp_path, database, stack)


async def test_finished_result_is_found_by_all(gateways: Gateways) -> None:
    """With all that is known of it."""
    one, other = await gateways.shared(), await gateways.shared()
    assert await one.take("a") is None
    await one.keep("a", gateways.outcome())
    assert await other.take("a") == (gateways.outcome(), "hit")
    assert await other.take("b") is None


async def test_running_work_is_waited_for(gateways: Gateways) -> None:
    """And taken on if it was not finished."""
    one, other = await gateways.shared(), await gateways.shared()
    for key, finishes in (("a", True), ("b", False)):
        assert await one.take(key) is None
        waiting = asyncio.create_task(other.take(key))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await (one.keep(key, gateways.outcome()) if finishes else one.drop(key))
        taken = await waiting
        assert (taken and taken[0]) == (gateways.outcome() if finishes else None)


async def test_work_of_a_dead_gateway_is_taken_on(gateways: Gateways) -> None:
    """When it has given no sign of life for the time of its lease, and not before."""
    dead, other = await gateways.shared(beats=False), await gateways.shared()
    assert await dead.take("a") is None
    waiting = asyncio.create_task(other.take("a"))
    gateways.now += LEASE_S - 0.1
    await asyncio.sleep(1.5)
    assert not waiting.done()
    gateways.now += 0.2
    assert await waiting is None


async def test_killed_gateway_on_sqlite_delays_nobody_after_its_restart(
    gateways: Gateways, database: str
) -> None:
    """The lease that it left is deleted at the start. On PostgreSQL it may be that of another gateway, and runs out."""
    dead, finished = await gateways.shared(beats=False), gateways.outcome()
    assert await dead.take("a") is None
    await dead.keep("b", finished)
    restarted = await gateways.shared()
    waiting = asyncio.create_task(restarted.take("a"))
    await asyncio.wait([waiting], timeout=1)
    assert waiting.done() != database.startswith("postgresql")
    gateways.now += LEASE_S + 0.1
    assert await waiting is None
    assert await restarted.take("b") == (finished, "hit")


async def test_result_whose_file_is_gone_is_made_anew(gateways: Gateways) -> None:
    """By whoever finds out, while the others wait for it."""
    one, other = await gateways.shared(), await gateways.shared()
    await one.keep("a", gateways.outcome())
    assert await other.take("a", lost=gateways.outcome()) is None
    waiting = asyncio.create_task(one.take("a"))
    await asyncio.sleep(0.1)
    await other.keep("a", gateways.outcome(2))
    taken = await waiting
    assert taken is not None
    assert taken[0] == gateways.outcome(2)


async def test_expired_result_is_none(gateways: Gateways) -> None:
    """It lives as long as its file."""
    one = await gateways.shared()
    await one.keep("a", gateways.outcome())
    gateways.now += 300
    assert await one.take("a") is None


async def test_other_version_shares_nothing(gateways: Gateways) -> None:
    """Its file of the same request may be another one."""
    one, other = await gateways.shared(), await gateways.shared(kind="2 f32")
    await one.keep("a", gateways.outcome())
    assert await other.take("a") is None


async def test_gateway_that_ends_leaves_its_work_at_once(gateways: Gateways) -> None:
    """Nobody waits for its lease."""
    other = await gateways.shared()
    async with AsyncExitStack() as stack:
        one = await replace(gateways, stack=stack).shared()
        assert await one.take("a") is None
    assert await other.take("a") is None


async def test_cancelled_wait_holds_nothing(gateways: Gateways) -> None:
    """Another one makes the result, and the one who left is not waited for."""
    one, other = await gateways.shared(), await gateways.shared()
    assert await one.take("a") is None
    waiting = asyncio.create_task(other.take("a"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await one.drop("a")
    assert await one.take("a") is None


async def test_claim_that_is_cancelled_holds_nothing(gateways: Gateways) -> None:
    """At whatever moment: another gateway makes the result at once, and does not wait for a lease to run out."""
    one, other = await gateways.shared(), await gateways.shared()
    cache = Results(_same, one)
    for turns in range(12):
        getting = asyncio.create_task(cache.get(f"{turns}", _never))
        for _ in range(turns):
            await asyncio.sleep(0)
        getting.cancel()
        await asyncio.gather(getting, return_exceptions=True)
        async with asyncio.timeout(1):
            assert await other.take(f"{turns}") is None


async def _same(outcome: Outcome) -> Outcome:
    return outcome


async def _never(_: object) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def test_identical_requests_at_two_gateways_are_made_once(gateways: Gateways) -> None:
    """At the same time, by whichever is first; each request gets a copy of its own."""
    made: list[int] = []

    async def make(_: object) -> Outcome:
        made.append(1)
        await asyncio.sleep(0.2)
        return gateways.outcome(len(made))

    async def copy(outcome: Outcome) -> Outcome:
        return replace(outcome, took_s=outcome.took_s + 1)

    caches = [Results(copy, await gateways.shared()) for _ in range(2)]
    calls = [cache.get("a", make) for cache in caches for _ in range(3)]
    found: list[Found] = [found for _, found in await asyncio.gather(*calls)]
    assert made == [1]
    assert found.count("miss") == 1


async def test_without_the_database_each_gateway_works_alone(
    gateways: Gateways, tmp_path: Path
) -> None:
    """No request fails for it."""
    rows = Rows(gateways.database)
    async with rows:
        pass  # closed: every call is refused
    store = FolderResults(tmp_path, max_age_s=300, clock=lambda: gateways.now)
    alone = SharedOutcomes(rows=rows, store=store, kind="1")
    assert await alone.take("a") is None
    await alone.keep("a", gateways.outcome())
    await alone.drop("a")
    assert await alone.take("a") is None
