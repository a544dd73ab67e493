"""Who may come in: from the work already here and the measured speed to a yes, a refusal, or a wait."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import QueueFull
from enlarger.pipeline.admission import (
    Ledger,
    Load,
    MemoryBudget,
    admit,
    retry_after,
    time_limit_s,
)


def load(*, requests: int = 1, mflop: float = 0, mflop_per_s: float | None = None) -> Load:
    """A gateway's work."""
    return Load(requests=requests, mflop=mflop, mflop_per_s=mflop_per_s)


# The decision


def test_wait_is_work_over_speed() -> None:
    """3000 MFLOP at 150 MFLOP/s last 20 s."""
    assert load(mflop=3000, mflop_per_s=150).wait_s == 20


@pytest.mark.parametrize("mflop_per_s", [None, 0.0])
def test_wait_is_not_known_without_a_speed(mflop_per_s: float | None) -> None:
    """Nobody is turned away for a wait that nobody can estimate."""
    busy = load(requests=255, mflop=1e12, mflop_per_s=mflop_per_s)
    assert busy.wait_s == 0
    admit(busy, queue_limit=256, max_wait_s=0.001)


def test_idle_gateway_admits_any_one_request() -> None:
    """Whatever the limits say: else a large picture could never be made."""
    admit(load(requests=0, mflop=1e12, mflop_per_s=1), queue_limit=0, max_wait_s=0)


def test_request_beyond_the_queue_limit_is_refused() -> None:
    """The limit counts those admitted and unfinished: with 4 of 4 here, the next one is refused."""
    admit(load(requests=3), queue_limit=4, max_wait_s=600)
    with pytest.raises(QueueFull, match=r"4 requests .* the limit is 4"):
        admit(load(requests=4), queue_limit=4, max_wait_s=600)


def test_full_queue_says_when_one_request_is_done() -> None:
    """Four requests of 80 s together: one of them is done after 20 s."""
    with pytest.raises(QueueFull) as refusal:
        admit(load(requests=4, mflop=800, mflop_per_s=10), queue_limit=4, max_wait_s=600)
    assert refusal.value.retry_after_s == 20


def test_request_that_would_wait_too_long_is_refused() -> None:
    """A wait of exactly the limit passes, a longer one does not and says by how much it is longer."""
    admit(load(mflop=6000, mflop_per_s=10), queue_limit=256, max_wait_s=600)
    with pytest.raises(QueueFull, match="630 s, the limit is 600 s") as refusal:
        admit(load(mflop=6300, mflop_per_s=10), queue_limit=256, max_wait_s=600)
    assert refusal.value.retry_after_s == 30


# How long a request may take


def test_time_limit_is_four_times_the_estimate() -> None:
    """Work here and the request's own, at the measured speed: (9000 + 1000) / 10 = 1000 s."""
    assert time_limit_s(load(mflop=9000, mflop_per_s=10), 1000, setting=None) == 4000


@pytest.mark.parametrize(
    ("mflop", "mflop_per_s", "expected_s"),
    [(0, 10, 600), (500, 10, 600), (501, 10, 600.4), (1e9, None, 600)],
)
def test_time_limit_is_at_least_ten_minutes(
    mflop: float, mflop_per_s: float | None, expected_s: float
) -> None:
    """For short work, and where no speed is known: (500 + 1000) / 10 * 4 = 600 s."""
    limit_s = time_limit_s(load(mflop=mflop, mflop_per_s=mflop_per_s), 1000, setting=None)
    assert limit_s == pytest.approx(expected_s)


@pytest.mark.parametrize("setting", [0.5, 5000])
def test_operators_time_limit_holds_as_it_is(setting: float) -> None:
    """Shorter or longer than our own."""
    assert time_limit_s(load(mflop=9000, mflop_per_s=10), 1000, setting=setting) == setting


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(None, 1), (0, 1), (-3, 1), (0.2, 1), (1, 1), (1.01, 2), (119.5, 120), (120.1, 120), (1e9, 120)],
)  # fmt: skip
def test_retry_after_is_in_whole_seconds_from_1_to_120(seconds: float | None, header: int) -> None:
    """Rounded up, so that nobody comes back too early."""
    assert retry_after(seconds) == header


# The ledger


def counts(ledger: Ledger) -> tuple[int, float, int]:
    """All that a ledger counts."""
    return ledger.requests, ledger.mflop, ledger.lr_px


def test_ledger_counts_what_is_admitted() -> None:
    """Requests, their computing and their LR pixels, summed; each leaves with its own."""
    ledger = Ledger()
    with ledger.entry(mflop=100, lr_px=10):
        with ledger.entry(mflop=30, lr_px=7):
            assert counts(ledger) == (2, 130, 17)
        assert counts(ledger) == (1, 100, 10)
    assert counts(ledger) == (0, 0, 0)


def test_progress_takes_finished_computing_off() -> None:
    """After 3 of 4 tiles a quarter of the computing is left; the request is still one."""
    ledger = Ledger()
    with ledger.entry(mflop=1000, lr_px=5), ledger.entry(mflop=400, lr_px=10) as entry:
        entry.progress(1, 4)
        assert counts(ledger) == (2, 1300, 15)
        entry.progress(3, 4)
        assert counts(ledger) == (2, 1100, 15)
        assert entry.left_mflop == 100
    assert counts(ledger) == (0, 0, 0)


@given(
    mflops=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
    done=st.integers(0, 8),
    fails=st.booleans(),
)
def test_ledger_is_empty_when_all_have_left(mflops: list[int], done: int, fails: bool) -> None:
    """However far they came, and however they ended."""
    ledger = Ledger()
    for mflop in mflops:
        try:
            with ledger.entry(mflop=mflop, lr_px=mflop) as entry:
                entry.progress(done, 8)
                if fails:
                    raise QueueFull("any error")
        except QueueFull:
            assert fails
    requests, left_mflop, lr_px = counts(ledger)
    assert (requests, lr_px) == (0, 0)
    assert left_mflop == pytest.approx(0, abs=1e-6)


# The memory


class Holder:
    """A task that holds memory until it is told to leave."""

    def __init__(self, budget: MemoryBudget, size_bytes: int) -> None:
        self.holds = asyncio.Event()
        self.may_leave = asyncio.Event()
        self.task = asyncio.create_task(self._hold(budget, size_bytes))

    async def _hold(self, budget: MemoryBudget, size_bytes: int) -> None:
        async with budget.hold(size_bytes):
            self.holds.set()
            await self.may_leave.wait()

    async def leave(self) -> None:
        """Give the memory back."""
        self.may_leave.set()
        await self.task


async def settled() -> None:
    """Let all tasks run as far as they come: nothing here waits for anything outside."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_pictures_that_fit_together_are_held_together() -> None:
    """Up to exactly the limit."""
    budget = MemoryBudget(100)
    async with AsyncExitStack() as held, asyncio.timeout(5):
        for size_bytes in (60, 30, 10):
            await held.enter_async_context(budget.hold(size_bytes))
        assert budget.held_bytes == 100
    assert budget.held_bytes == 0


async def test_picture_that_does_not_fit_waits_for_room() -> None:
    """One byte too many waits until another picture leaves."""
    budget = MemoryBudget(100)
    first, second = Holder(budget, 60), Holder(budget, 41)
    await settled()
    assert (first.holds.is_set(), second.holds.is_set()) == (True, False)
    await first.leave()
    await second.holds.wait()
    assert budget.held_bytes == 41
    await second.leave()
    assert budget.held_bytes == 0


async def test_picture_larger_than_all_memory_is_held_alone() -> None:
    """It waits until nobody else is there, and then keeps all others out."""
    budget = MemoryBudget(100)
    small, huge, next_small = Holder(budget, 1), Holder(budget, 1000), Holder(budget, 1)
    await settled()
    assert not huge.holds.is_set()
    await small.leave()
    await huge.holds.wait()
    await settled()
    assert not next_small.holds.is_set()
    await huge.leave()
    await next_small.holds.wait()
    await next_small.leave()
    assert budget.held_bytes == 0


async def test_pictures_get_room_in_order_of_arrival() -> None:
    """A small one that would fit does not pass a large one that waits: else the large one might wait for ever."""
    budget = MemoryBudget(100)
    first, large, small = Holder(budget, 50), Holder(budget, 80), Holder(budget, 10)
    await settled()
    assert not large.holds.is_set()
    assert not small.holds.is_set()
    await first.leave()
    await large.holds.wait()
    await small.holds.wait()
    assert budget.held_bytes == 90
    await asyncio.gather(large.leave(), small.leave())


async def test_error_gives_memory_back() -> None:
    """A picture that fails holds nothing."""
    budget = MemoryBudget(100)
    with pytest.raises(QueueFull):
        async with budget.hold(70):
            raise QueueFull("any error")
    assert budget.held_bytes == 0


async def cancelled(holder: Holder) -> None:
    """Cancel and see it end."""
    holder.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder.task


async def test_cancelled_holder_gives_memory_back() -> None:
    """Who waits behind it gets its turn."""
    budget = MemoryBudget(100)
    first, second = Holder(budget, 70), Holder(budget, 70)
    await first.holds.wait()
    await cancelled(first)
    await second.holds.wait()
    assert budget.held_bytes == 70
    await second.leave()
    assert budget.held_bytes == 0


async def test_cancelled_waiter_leaves_the_queue() -> None:
    """One that gave up waiting does not hold up those behind it."""
    budget = MemoryBudget(100)
    first, large, small = Holder(budget, 50), Holder(budget, 80), Holder(budget, 50)
    await settled()
    await cancelled(large)
    await small.holds.wait()
    assert budget.held_bytes == 100
    await asyncio.gather(first.leave(), small.leave())
    assert budget.held_bytes == 0


async def test_waiter_cancelled_while_room_comes_free_ends_as_cancelled() -> None:
    """Both in one turn of the event loop: the waiter is cancelled first, then its room comes free."""
    budget = MemoryBudget(100)
    async with budget.hold(70):
        waiter, behind = Holder(budget, 70), Holder(budget, 70)
        await settled()
        waiter.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task
    await behind.holds.wait()
    await behind.leave()
    assert budget.held_bytes == 0


async def test_waiter_cancelled_after_it_was_given_room_gives_it_back() -> None:
    """Both in one turn of the event loop: the room comes free first, then the waiter is cancelled."""
    budget = MemoryBudget(100)
    async with budget.hold(70):
        waiter, behind = Holder(budget, 70), Holder(budget, 70)
        await settled()
    await cancelled(waiter)
    await behind.holds.wait()
    await behind.leave()
    assert budget.held_bytes == 0
