"""Who may come in: from the work already here and the measured speed to a yes, a refusal, or a wait."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import DeadlineTooShort, QueueFull
from enlarger.pipeline.admission import Arrivals, admit, eta_s, retry_after, time_limit_s
from enlarger.pipeline.ledger import Cost, Handling, Ledger, Load
from enlarger.pipeline.memory_budget import MemoryBudget, Room


def load(
    *,
    requests: int = 1,
    mflop: float = 0,
    mflop_per_s: float | None = None,
    handling_s: float = 0,
    input_bytes: int = 0,
) -> Load:
    """A gateway's work, or a request's."""
    return Load(
        requests=requests,
        mflop=mflop,
        mflop_per_s=mflop_per_s,
        handling_s=handling_s,
        input_bytes=input_bytes,
    )


def come(
    here: Load,
    new: Load | None = None,
    *,
    queue_limit: int = 256,
    max_wait_s: float = 600,
    input_limit_bytes: int = 1000,
    deadline_s: float | None = None,
) -> None:
    """Ask to be admitted, with a picture that costs nothing unless told otherwise."""
    admit(
        here,
        new or load(mflop_per_s=here.mflop_per_s),
        queue_limit=queue_limit,
        max_wait_s=max_wait_s,
        input_limit_bytes=input_limit_bytes,
        deadline_s=deadline_s,
    )


# The decision


def test_wait_is_work_over_speed() -> None:
    """3000 MFLOP at 150 MFLOP/s last 20 s."""
    assert load(mflop=3000, mflop_per_s=150).wait_s == 20
    assert load(mflop=3000, mflop_per_s=150, handling_s=1.5).wait_s == 21.5


@pytest.mark.parametrize("mflop_per_s", [None, 0.0])
def test_wait_is_not_known_without_a_speed(mflop_per_s: float | None) -> None:
    """Nobody is turned away for a wait that nobody can estimate."""
    busy = load(requests=255, mflop=1e12, mflop_per_s=mflop_per_s, handling_s=5)
    new = load(mflop=1e12, mflop_per_s=mflop_per_s)
    assert busy.wait_s == 0
    assert eta_s(busy, new) is None
    come(busy, new, max_wait_s=0.001, deadline_s=0.001)


def test_idle_gateway_admits_any_one_request() -> None:
    """Whatever the limits say: else a large picture could never be made."""
    huge = load(mflop=1e12, mflop_per_s=1, input_bytes=10**9)
    come(load(requests=0, mflop_per_s=1), huge, queue_limit=0, max_wait_s=0, input_limit_bytes=0)


def test_request_beyond_the_queue_limit_is_refused() -> None:
    """The limit counts those admitted and unfinished: with 4 of 4 here, the next one is refused."""
    come(load(requests=3), queue_limit=4)
    with pytest.raises(QueueFull, match=r"4 requests .* the limit is 4"):
        come(load(requests=4), queue_limit=4)


def test_full_queue_says_when_one_request_is_done() -> None:
    """Four requests of 80 s together: one of them is done after 20 s."""
    with pytest.raises(QueueFull) as refusal:
        come(load(requests=4, mflop=800, mflop_per_s=10), queue_limit=4)
    assert refusal.value.retry_after_s == 20


def test_request_that_would_wait_too_long_is_refused() -> None:
    """A wait of exactly the limit passes, a longer one does not and says by how much it is longer."""
    come(load(mflop=6000, mflop_per_s=10))
    with pytest.raises(QueueFull, match="630 s, the limit is 600 s") as refusal:
        come(load(mflop=6300, mflop_per_s=10))
    assert refusal.value.retry_after_s == 30


def test_request_whose_file_finds_no_room_is_refused() -> None:
    """Up to exactly the limit; one byte more waits until one of the two requests here is done, 20 s from now."""
    here = load(requests=2, mflop=400, mflop_per_s=10, input_bytes=600)
    come(here, load(input_bytes=400))
    with pytest.raises(QueueFull, match="1001 bytes, the limit is 1000") as refusal:
        come(here, load(input_bytes=401))
    assert refusal.value.retry_after_s == 20


def test_request_that_comes_too_late_for_its_deadline_is_refused() -> None:
    """70 s of work here and 30 s of its own meet a deadline of 100 s; 71 s do not, and are one too many."""
    new = load(mflop=300, mflop_per_s=10)
    come(load(mflop=700, mflop_per_s=10), new, deadline_s=100)
    with pytest.raises(QueueFull, match="101 s, the limit is 100 s") as refusal:
        come(load(mflop=710, mflop_per_s=10), new, deadline_s=100)
    assert refusal.value.retry_after_s == 1


def test_request_that_takes_longer_than_its_deadline_even_alone_is_refused_for_good() -> None:
    """At once, idle or not; the text has both times, and what would help."""
    new = load(mflop=2010, mflop_per_s=10)
    for requests in (0, 1):
        with pytest.raises(
            DeadlineTooShort, match=r"^deadline exceeded .*201 s here, the limit is 100 s"
        ) as refusal:
            come(load(requests=requests, mflop_per_s=10), new, deadline_s=100)
        for help_ in ("quicker model", "smaller picture", "ENLARGER_DEADLINE"):
            assert help_ in str(refusal.value)
        assert refusal.value.retryable is False


def test_request_that_may_just_be_done_in_time_is_tried_when_nothing_else_is_here() -> None:
    """Estimates are wrong by as much; others come back when the work here, of 7 s, is done."""
    new = load(mflop=1900, mflop_per_s=10)
    come(load(requests=0, mflop_per_s=10), new, deadline_s=100)
    with pytest.raises(QueueFull) as refusal:
        come(load(mflop=70, mflop_per_s=10), new, deadline_s=100)
    assert refusal.value.retry_after_s == 7


@given(
    mflop=st.floats(0, 1e6),
    own_mflop=st.floats(0, 1e6),
    deadline_s=st.floats(1, 1e4),
    requests=st.integers(1, 10),
)
def test_who_is_admitted_behind_others_is_expected_to_be_done_in_time(
    mflop: float, own_mflop: float, deadline_s: float, requests: int
) -> None:
    """And who is told to come back is told a time after which the same request would be admitted."""
    here = load(requests=requests, mflop=mflop, mflop_per_s=10)
    new = load(mflop=own_mflop, mflop_per_s=10)
    try:
        come(here, new, max_wait_s=1e9, deadline_s=deadline_s)
    except DeadlineTooShort:
        assert own_mflop / 10 > deadline_s
    except QueueFull as refusal:
        left_mflop = mflop - 10 * (refusal.retry_after_s or 0)
        idle = left_mflop <= 1e-6 * mflop
        later = load(requests=0 if idle else requests, mflop=left_mflop * 0.999, mflop_per_s=10)
        come(later, new, max_wait_s=1e9, deadline_s=deadline_s * 1.001)
    else:
        estimate_s = eta_s(here, new)
        assert estimate_s is not None
        assert estimate_s <= deadline_s


# How long a request may take


def test_estimate_is_the_work_here_and_its_own() -> None:
    """Tiles at the measured speed, and handling: (9000 + 1000) / 10 + 5 + 2 = 1007 s."""
    here = load(mflop=9000, mflop_per_s=10, handling_s=5)
    assert eta_s(here, load(mflop=1000, mflop_per_s=10, handling_s=2)) == 1007


@pytest.mark.parametrize(
    ("estimate_s", "expected_s"), [(1000, 4000), (0, 600), (150, 600), (151, 604), (None, 600)]
)
def test_time_limit_is_four_times_the_estimate(estimate_s: float | None, expected_s: float) -> None:
    """At least ten minutes; that, too, where no speed is known."""
    assert time_limit_s(estimate_s, setting=None) == expected_s


@pytest.mark.parametrize("setting", [0.5, 5000])
def test_operators_time_limit_holds_as_it_is(setting: float) -> None:
    """Shorter or longer than our own."""
    assert time_limit_s(1000, setting=setting) == setting


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(None, 1), (0, 1), (-3, 1), (0.2, 1), (1, 1), (1.01, 2), (119.5, 120), (120.1, 120), (1e9, 120)],
)  # fmt: skip
def test_retry_after_is_in_whole_seconds_from_1_to_120(seconds: float | None, header: int) -> None:
    """Rounded up, so that nobody comes back too early."""
    assert retry_after(seconds) == header


# Decoding and encoding


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def test_handling_is_not_known_before_the_first_picture() -> None:
    """It then counts for nothing."""
    assert Handling(2).estimate_s(10**9, pictures=3) == 0


def test_handling_grows_with_megapixels_and_pictures() -> None:
    """A picture of 3 Mpx that took 2 s counts as 4: half a second each. Two of 9 Mpx count as 11, for two workers.

    One of 9 Mpx counts as 10, and only one worker can be at it.
    """
    handling = Handling(2)
    handling.measure(3_000_000, 2.0)
    assert handling.estimate_s(9_000_000, pictures=2) == pytest.approx(11 * 0.5 / 2)
    assert handling.estimate_s(9_000_000, pictures=1) == pytest.approx(10 * 0.5)
    assert handling.estimate_s(0, pictures=0) == 0


def test_newest_pictures_count_most() -> None:
    """Of two equal ones the second has 0.3 to the first one's 0.21 of 0.51; after many, the old is forgotten."""
    handling = Handling(1)
    handling.measure(0, 1.0)
    handling.measure(0, 2.0)
    assert handling.estimate_s(0, pictures=1) == pytest.approx((0.21 * 1 + 0.3 * 2) / 0.51)
    for _ in range(60):
        handling.measure(0, 5.0)
    assert handling.estimate_s(0, pictures=1) == pytest.approx(5)


def test_small_picture_on_a_cold_start_does_not_scare_large_ones_away() -> None:
    """A decoder that had to start made 0.07 Mpx take 0.6 s: 64 Mpx are then expected to take 36 s, not 550."""
    handling = Handling(1)
    handling.measure(70_000, 0.6)
    assert handling.estimate_s(64_000_000, pictures=1) == pytest.approx(65 * 0.6 / 1.07)


def test_pictures_that_wait_for_one_another_share_the_time() -> None:
    """Four at two workers for 10 s, of which one stays 2 s longer: 5 s each, and 2 s more for that one."""
    clock = Clock()
    handling = Handling(2, clock)
    begun = [handling.begin() for _ in range(4)]
    clock.now_s = 10
    assert [handling.end(one) for one in begun[:3]] == [5, 5, 5]
    clock.now_s = 12
    assert handling.end(begun[3]) == 7


@given(
    workers=st.integers(1, 4),
    steps=st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), max_size=30),
)
def test_shares_add_up_to_what_the_workers_did(
    workers: int, steps: list[tuple[int, float]]
) -> None:
    """Whoever comes and goes: a worker's second is counted once, and only while somebody has a use for it."""
    clock = Clock()
    handling = Handling(workers, clock)
    begun: dict[int, float] = {}
    given_s = worked_s = 0.0
    for who, lasts_s in steps:
        if who in begun:
            given_s += handling.end(begun.pop(who))
        else:
            begun[who] = handling.begin()
        clock.now_s += lasts_s
        worked_s += lasts_s * min(workers, len(begun))
    given_s += sum(handling.end(one) for one in begun.values())
    assert given_s == pytest.approx(worked_s)


# The ledger


def cost(
    *,
    mflop: float = 0,
    tile_mflop: float = 0,
    planes: int = 1,
    lr_px: int = 0,
    out_px: int = 0,
    input_bytes: int = 0,
) -> Cost:
    """What a picture asks for."""
    return Cost(
        mflop=mflop,
        tile_mflop=tile_mflop,
        planes=planes,
        lr_px=lr_px,
        out_px=out_px,
        input_bytes=input_bytes,
    )


def counts(ledger: Ledger) -> tuple[int, float, int]:
    """Requests, their computing and their LR pixels."""
    return ledger.requests, ledger.mflop, ledger.lr_px


def test_ledger_counts_what_is_admitted() -> None:
    """Requests, their computing and their LR pixels, summed; each leaves with its own."""
    ledger = Ledger(Handling(1))
    with ledger.entry(cost(mflop=100, lr_px=10, input_bytes=1000)):
        with ledger.entry(cost(mflop=30, lr_px=7, input_bytes=500)):
            assert counts(ledger) == (2, 130, 17)
            assert ledger.load(None).input_bytes == 1500
        assert counts(ledger) == (1, 100, 10)
        assert ledger.load(None).input_bytes == 1000
    assert counts(ledger) == (0, 0, 0)
    assert ledger.load(7) == load(requests=0, mflop_per_s=7)


def test_load_holds_the_handling_of_all_and_of_one() -> None:
    """At a second for each megapixel and picture: 3 Mpx of two pictures take 5 s, one of 4 Mpx takes 5 s."""
    handling = Handling(1)
    handling.measure(0, 1.0)
    ledger = Ledger(handling)
    with (
        ledger.entry(cost(mflop=10, out_px=1_000_000)),
        ledger.entry(cost(mflop=20, out_px=2_000_000)),
    ):
        assert ledger.load(10) == load(requests=2, mflop=30, mflop_per_s=10, handling_s=5)
    one = ledger.load_of(cost(mflop=50, out_px=4_000_000, input_bytes=9), 10, parallel=1)
    assert one == load(mflop=50, mflop_per_s=10, handling_s=5, input_bytes=9)
    assert one.wait_s == 10


@pytest.mark.parametrize(
    ("tiles", "alone_s"), [(1, 10), (2, 10), (5, 10), (10, 20), (12, 24)]
)  # fmt: skip
def test_tile_is_computed_by_one_of_those_that_compute_at_the_same_time(
    tiles: int, alone_s: float
) -> None:
    """Five at 10 MFLOP/s each: a tile of 100 takes 10 s, however many of them are idle; ten tiles keep all busy."""
    one = Ledger(Handling(1)).load_of(cost(mflop=tiles * 100, tile_mflop=100), 50, parallel=5)
    assert one.wait_s == alone_s


def test_handling_of_a_request_is_its_decoding_and_what_follows_its_last_tile() -> None:
    """1 s to decode, 100 s of tiles, 2 s to the end: 3 s for 2 Mpx and one more; nothing if it fails."""
    clock = Clock()
    handling = Handling(1, clock)
    ledger = Ledger(handling)
    with ledger.entry(cost(out_px=2_000_000)) as entry:
        entry.begin_handling()
        clock.now_s = 1
        entry.end_handling()
        clock.now_s = 51
        entry.progress(1, 2)
        clock.now_s = 101
        entry.progress(2, 2)
        clock.now_s = 103
        entry.complete()
    assert handling.estimate_s(2_000_000, pictures=1) == pytest.approx(3)
    with suppress(QueueFull), ledger.entry(cost(out_px=2_000_000)) as entry:
        entry.begin_handling()
        clock.now_s = 500
        raise QueueFull("any error")
    assert handling.estimate_s(2_000_000, pictures=1) == pytest.approx(3)
    begun = handling.begin()  # alone: the one that failed is at it no more
    clock.now_s = 501
    assert handling.end(begun) == 1


def test_progress_takes_finished_computing_off() -> None:
    """After 3 of 4 tiles a quarter of the computing is left; the request is still one."""
    ledger = Ledger(Handling(1))
    with (
        ledger.entry(cost(mflop=1000, lr_px=5)),
        ledger.entry(cost(mflop=400, lr_px=10)) as entry,
    ):
        entry.progress(1, 4)
        assert counts(ledger) == (2, 1300, 15)
        entry.progress(3, 4)
        assert counts(ledger) == (2, 1100, 15)
        assert entry.left_mflop == 100
    assert counts(ledger) == (0, 0, 0)


def test_planes_that_are_not_needed_are_given_back() -> None:
    """Admitted with colours and alpha, of which only the colours are computed: half is left before the first tile.

    A header that promised less than there is takes nothing from the others' work.
    """
    ledger = Ledger(Handling(1))
    with ledger.entry(cost(mflop=800, planes=2)) as entry:
        entry.needs(1)
        assert ledger.mflop == entry.left_mflop == 400
        entry.progress(1, 4)
        assert ledger.mflop == entry.left_mflop == 300
    with ledger.entry(cost(mflop=800, planes=2)) as entry:
        entry.needs(4)
        assert ledger.mflop == entry.left_mflop == 800
        entry.progress(8, 16)
        assert ledger.mflop == entry.left_mflop == 400
    assert ledger.mflop == 0


@given(
    mflops=st.lists(st.integers(1, 10**6), min_size=1, max_size=5),
    done=st.integers(0, 8),
    fails=st.booleans(),
)
def test_ledger_is_empty_when_all_have_left(mflops: list[int], done: int, fails: bool) -> None:
    """However far they came, and however they ended."""
    ledger = Ledger(Handling(1))
    for mflop in mflops:
        try:
            asked = cost(mflop=mflop, lr_px=mflop, out_px=mflop, input_bytes=mflop)
            with ledger.entry(asked) as entry:
                entry.progress(done, 8)
                if fails:
                    raise QueueFull("any error")
        except QueueFull:
            assert fails
    requests, left_mflop, lr_px = counts(ledger)
    assert (requests, lr_px, ledger.out_px, ledger.input_bytes) == (0, 0, 0, 0)
    assert left_mflop == pytest.approx(0, abs=1e-6)


# The memory: of 160 bytes, up to 10 are small, and 20 are for small ones alone


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
    """Each rule at its border."""
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
    """As many as the reserve takes; the next one waits for one of them, in order of arrival."""
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


LIMIT = 160

sizes = st.one_of(st.integers(1, 10), st.integers(11, 140), st.integers(141, 400))
"""Small, large, and larger than all but the reserve."""


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


# All who are here


def test_arrivals_are_counted_while_they_are_here() -> None:
    """With the bytes that they come with, and those that come later."""
    arrivals = Arrivals(limit=3, limit_bytes=100)
    with arrivals.arrival(40, retry_after_s=1), arrivals.arrival(0, retry_after_s=1) as holds:
        holds(30)
        assert (arrivals.count, arrivals.held_bytes) == (2, 70)
    assert (arrivals.count, arrivals.held_bytes) == (0, 0)


def test_too_many_arrivals_are_refused() -> None:
    """By number or by bytes; who is refused counts for nothing."""
    arrivals = Arrivals(limit=2, limit_bytes=100)
    with arrivals.arrival(60, retry_after_s=1):
        with pytest.raises(QueueFull) as refusal, arrivals.arrival(41, retry_after_s=7):
            pass
        assert refusal.value.retry_after_s == 7
        with (
            arrivals.arrival(40, retry_after_s=1),
            pytest.raises(QueueFull),
            arrivals.arrival(0, retry_after_s=1),
        ):
            pass
    assert (arrivals.count, arrivals.held_bytes) == (0, 0)


def test_one_arrival_may_always_be_here_alone() -> None:
    """Other limits say how large a file may be."""
    arrivals = Arrivals(limit=1, limit_bytes=10)
    with arrivals.arrival(1000, retry_after_s=1):
        assert arrivals.held_bytes == 1000


def test_arrival_that_fails_is_over() -> None:
    """However it ends."""
    arrivals = Arrivals(limit=2, limit_bytes=100)
    with suppress(ZeroDivisionError), arrivals.arrival(10, retry_after_s=1) as holds:
        holds(10)
        raise ZeroDivisionError
    assert (arrivals.count, arrivals.held_bytes) == (0, 0)
