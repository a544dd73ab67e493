"""The budget of memory for pixels: of 160 bytes, pictures of up to 10 are small, and 20 are reserved for these."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import QueueFull
from enlarger.pipeline.memory_budget import MemoryBudget, Room


@pytest.mark.parametrize(
    ("size", "small", "large", "large_waits", "expected"),
    [
        (10, 0, 0, False, True),
        (10, 10, 140, True, True),  # the reserve is theirs, whoever waits or works
        (10, 11, 140, True, False),
        (10, 11, 100, False, True),  # beyond it they take what nobody waits for
        (10, 11, 100, True, False),
        (10, 50, 100, False, True),
        (10, 51, 100, False, False),
        (11, 0, 129, False, True),  # a large one takes all but the reserve
        (11, 0, 130, False, False),
        (11, 20, 129, True, True),
        (140, 20, 0, True, True),
        (140, 21, 0, True, False),  # small ones have more than the reserve, but no more come in
        (1000, 20, 0, True, True),  # larger than all: as if it were all but the reserve
        (1000, 21, 0, True, False),
        (1000, 0, 1, True, False),
    ],
)
def test_who_may_come_in(
    size: int, small: int, large: int, large_waits: bool, expected: bool
) -> None:
    """Each rule is checked at its limit."""
    room = Room(limit_bytes=160, small_bytes=small, large_bytes=large)
    assert room.takes(size, large_waits=large_waits) is expected


def test_lanes_are_shares_of_the_limit() -> None:
    """2 GiB: up to 128 MiB is small, and 256 MiB are kept for small ones."""
    room = Room(limit_bytes=2 << 30)
    assert (room.is_small(128 << 20), room.is_small((128 << 20) + 1)) == (True, False)
    assert room.reserve_bytes == 256 << 20


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
    """Large ones up to all but the reserve, small ones up to exactly the limit."""
    budget = MemoryBudget(160)
    async with AsyncExitStack() as held, asyncio.timeout(5):
        for size_bytes in (60, 80, 10, 10):
            await held.enter_async_context(budget.hold(size_bytes))
        assert budget.held_bytes == 160
    async with AsyncExitStack() as held, asyncio.timeout(5):
        for _ in range(16):
            await held.enter_async_context(budget.hold(10))
        assert budget.held_bytes == 160
    assert budget.held_bytes == 0


async def test_picture_that_does_not_fit_waits_for_room() -> None:
    """One byte too many waits until another picture leaves."""
    budget = MemoryBudget(160)
    first, second = Holder(budget, 60), Holder(budget, 81)
    await settled()
    assert (first.holds.is_set(), second.holds.is_set()) == (True, False)
    await first.leave()
    await second.holds.wait()
    assert budget.held_bytes == 81
    await second.leave()
    assert budget.held_bytes == 0


async def test_picture_larger_than_all_memory_waits_for_all_large_ones() -> None:
    """It comes in beside small ones in their reserve, and they pass it; no large one does."""
    budget = MemoryBudget(160)
    large, small = Holder(budget, 11), Holder(budget, 10)
    huge, next_large, next_small = Holder(budget, 1000), Holder(budget, 11), Holder(budget, 10)
    await settled()
    assert not huge.holds.is_set()
    assert next_small.holds.is_set()
    await large.leave()
    await huge.holds.wait()
    await settled()
    assert not next_large.holds.is_set()
    assert budget.held_bytes == 1020
    await huge.leave()
    await next_large.holds.wait()
    await asyncio.gather(next_large.leave(), small.leave(), next_small.leave())
    assert budget.held_bytes == 0


async def test_large_pictures_get_room_in_order_of_arrival() -> None:
    """One that would fit does not pass a larger one that waits: else the larger one might wait for ever."""
    budget = MemoryBudget(160)
    first, larger, other = Holder(budget, 80), Holder(budget, 120), Holder(budget, 20)
    await settled()
    assert not larger.holds.is_set()
    assert not other.holds.is_set()
    await first.leave()
    await larger.holds.wait()
    await other.holds.wait()
    assert budget.held_bytes == 140
    await asyncio.gather(larger.leave(), other.leave())


async def test_small_picture_passes_a_large_one_that_waits() -> None:
    """As many pass as fit into the reserve. The next one waits for one of them, in order of arrival."""
    budget = MemoryBudget(160)
    first, large = Holder(budget, 80), Holder(budget, 100)
    small = [Holder(budget, 10) for _ in range(4)]
    await settled()
    assert [one.holds.is_set() for one in small] == [True, True, False, False]
    assert not large.holds.is_set()
    await small[1].leave()
    await small[2].holds.wait()
    assert not small[3].holds.is_set()
    await first.leave()
    await large.holds.wait()
    await small[3].holds.wait()  # nobody waits any more: what is left is for all
    await asyncio.gather(large.leave(), *(small[number].leave() for number in (0, 2, 3)))
    assert budget.held_bytes == 0


async def test_small_pictures_do_not_keep_a_large_one_waiting() -> None:
    """They have all memory and more of them wait; as they leave, the large one comes in before the fourteenth has left."""
    budget = MemoryBudget(160)
    small = [Holder(budget, 10) for _ in range(40)]
    await settled()
    large = Holder(budget, 140)
    await settled()
    for number in range(14):
        assert not large.holds.is_set()
        await small[number].leave()
        await settled()
    assert large.holds.is_set()
    assert [one.holds.is_set() for one in small[14:17]] == [True, True, False]
    await large.leave()
    await asyncio.gather(*(one.leave() for one in small[14:]))
    assert budget.held_bytes == 0


sizes = st.one_of(st.integers(1, 10), st.integers(11, 140), st.integers(141, 400))
"""Small, large, and larger than all but the reserve."""

LIMIT = 160


@given(steps=st.lists(st.one_of(sizes, st.none()), max_size=30), choices=st.randoms())
def test_memory_is_bounded_and_nobody_waits_for_ever(
    steps: list[int | None], choices: Random
) -> None:
    """Pictures come, and any of them leaves, held or waiting. Then those that hold leave in order, a small one comes for each."""

    async def scene() -> None:
        budget = MemoryBudget(LIMIT)
        here: list[tuple[int, Holder]] = []

        async def check() -> None:
            await settled()
            held = [size for size, holder in here if holder.holds.is_set()]
            assert budget.held_bytes == sum(held)
            beyond = [size for size in held if size > LIMIT - LIMIT // 8]
            assert len(beyond) <= 1
            assert sum(held) <= max(LIMIT, sum(beyond) + LIMIT // 8)

        for size in steps:
            if size is not None:
                here.append((size, Holder(budget, size)))
            elif here:
                _, holder = here.pop(choices.randrange(len(here)))
                if holder.holds.is_set():
                    await holder.leave()
                else:
                    await cancelled(holder)
            await check()
        waiting = [holder for _, holder in here if not holder.holds.is_set()]
        for _ in range(4 * len(here)):
            held = [one for one in here if one[1].holds.is_set()]
            here.remove(held[0])
            await held[0][1].leave()
            here.append((10, Holder(budget, 10)))
            await check()
        assert all(holder.holds.is_set() for holder in waiting)
        while here:
            held = [one for one in here if one[1].holds.is_set()]
            here.remove(held[0])
            await held[0][1].leave()
            await check()
        assert budget.held_bytes == 0

    asyncio.run(scene())


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
    """The picture that waits behind it gets the memory."""
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
    first, larger, large = Holder(budget, 50), Holder(budget, 80), Holder(budget, 30)
    await settled()
    assert not large.holds.is_set()
    await cancelled(larger)
    await large.holds.wait()
    assert budget.held_bytes == 80
    await asyncio.gather(first.leave(), large.leave())
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
