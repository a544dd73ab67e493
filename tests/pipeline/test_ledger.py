"""The ledger of admitted work, and the measured time of decoding and encoding."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import QueueFull
from enlarger.pipeline.ledger import NOWHERE, Cost, Elsewhere, Handling, Ledger, Load

# Decoding and encoding


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_handling_is_not_known_before_the_first_picture() -> None:
    """Until then, no time is added for decoding and encoding."""
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
    """The weights of two equal pictures are 0.3 for the second and 0.21 for the first, of 0.51. After many pictures, the old speed has no weight."""
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
    """Four pictures are at two workers for 10 s, and one of them stays 2 s longer. Each counts 5 s, and that one 2 s more."""
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
    """In any order of beginnings and ends, each second of a worker is counted once, and only while there is a picture for it."""
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
    assert ledger.load(7) == Load(requests=0, mflop=0, mflop_per_s=7)


def test_load_holds_the_handling_of_all_and_of_one() -> None:
    """At a second for each megapixel and picture: 3 Mpx of two pictures take 5 s, one of 4 Mpx takes 5 s."""
    handling = Handling(1)
    handling.measure(0, 1.0)
    ledger = Ledger(handling)
    with (
        ledger.entry(cost(mflop=10, out_px=1_000_000)),
        ledger.entry(cost(mflop=20, out_px=2_000_000)),
    ):
        assert ledger.load(10) == Load(requests=2, mflop=30, mflop_per_s=10, handling_s=5)
    one = ledger.load_of(cost(mflop=50, out_px=4_000_000, input_bytes=9), 10, parallel=1)
    assert one == Load(requests=1, mflop=50, mflop_per_s=10, handling_s=5, input_bytes=9)
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
    """This holds however far requests came, and however they ended."""
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


# Other gateways


def load(requests: int) -> Load:
    """So many requests, of 10 mflop each."""
    return Load(requests=requests, mflop=10.0 * requests, mflop_per_s=5.0)


def test_alone_a_gateway_counts_its_own_work() -> None:
    """With or without a thought of others."""
    assert NOWHERE.with_load(load(3)) == NOWHERE.with_growth(load(3)) == load(3)


def test_work_of_others_counts() -> None:
    """As they reported it; what was admitted here since is supposed to have been admitted by each of them as well."""
    others = Elsewhere(gateways=2, requests=7, mflop=70.0, here_requests=3, here_mflop=30.0)
    assert others.with_load(load(3)) == others.with_growth(load(3)) == load(10)
    assert others.with_load(load(4)) == load(11)
    assert others.with_growth(load(4)) == load(13)
    assert others.with_growth(load(1)) == load(8)


LIMIT = 60
"""Requests that all gateways together may have."""


class Reporting:
    """A gateway that admits requests, and reports."""

    def __init__(self) -> None:
        self.requests = self.reported = self.before = 0
        self.elsewhere = NOWHERE

    def admit(self) -> bool:
        """Take a request if there seems to be room for it."""
        seen = self.elsewhere.with_growth(load(self.requests))
        self.requests += seen.requests < LIMIT
        return seen.requests < LIMIT

    def report(self, others: list[Reporting]) -> None:
        """Report, and learn what the others reported last."""
        self.before, self.reported = self.reported, self.requests
        self.elsewhere = Elsewhere(
            gateways=len(others),
            requests=sum(other.reported for other in others),
            mflop=10.0 * sum(other.reported for other in others),
            here_requests=min(self.before, self.reported),
            here_mflop=10.0 * min(self.before, self.reported),
        )


@given(
    count=st.integers(2, 6),
    seconds=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(-LIMIT, LIMIT)), max_size=12), max_size=8
    ),
    first_burst=st.booleans(),
)
def test_all_gateways_together_keep_the_limit(
    count: int, seconds: list[list[tuple[int, int]]], first_burst: bool
) -> None:
    """Whatever comes to which of them, and ends, between their reports, which each makes once a second."""
    gateways = [Reporting() for _ in range(count)]
    for gateway in gateways:
        gateway.report([other for other in gateways if other is not gateway])
    for second in [[(number, LIMIT) for number in range(count)] * first_burst, *seconds]:
        for turn, gateway in enumerate(gateways):
            # What comes before each report: a part of the second.
            for number, change in second[turn::count]:
                one = gateways[number % count]
                one.requests = max(0, one.requests + min(0, change))
                while change > 0 and one.admit():
                    change -= 1
                assert sum(each.requests for each in gateways) <= LIMIT + count
            gateway.report([other for other in gateways if other is not gateway])


def test_even_load_uses_the_limit() -> None:
    """Requests that come to all gateways in turn fill the room."""
    gateways = [Reporting(), Reporting()]
    for gateway in gateways:
        gateway.report([other for other in gateways if other is not gateway])
    for _ in range(10):
        for _ in range(LIMIT):
            for gateway in gateways:
                gateway.admit()
        for gateway in gateways:
            gateway.report([other for other in gateways if other is not gateway])
        assert sum(gateway.requests for gateway in gateways) <= LIMIT + 2
    assert sum(gateway.requests for gateway in gateways) >= LIMIT
