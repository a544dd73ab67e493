"""Admission: the work already here and the measured speed decide whether a request is accepted, refused, or waits."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import DeadlineTooShort, QueueFull
from enlarger.pipeline.admission import Arrivals, admit, eta_s, retry_after, time_limit_s
from enlarger.pipeline.ledger import Load


def load(
    *,
    requests: int = 1,
    mflop: float = 0,
    mflop_per_s: float | None = None,
    handling_s: float = 0,
    input_bytes: int = 0,
) -> Load:
    """Return the load of a gateway, or of a request."""
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
    """No request is refused because of a wait that cannot be estimated."""
    busy = load(requests=255, mflop=1e12, mflop_per_s=mflop_per_s, handling_s=5)
    new = load(mflop=1e12, mflop_per_s=mflop_per_s)
    assert busy.wait_s == 0
    assert eta_s(busy, new) is None
    come(busy, new, max_wait_s=0.001, deadline_s=0.001)


def test_idle_gateway_admits_any_one_request() -> None:
    """This holds whatever the limits are. Otherwise a large picture could never be made."""
    huge = load(mflop=1e12, mflop_per_s=1, input_bytes=10**9)
    come(load(requests=0, mflop_per_s=1), huge, queue_limit=0, max_wait_s=0, input_limit_bytes=0)


def test_request_beyond_the_queue_limit_is_refused() -> None:
    """The limit counts requests that are admitted and unfinished. If there are 4 of 4, the next one is refused."""
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
    """This happens at once, whether or not the gateway is idle. The text has both times, and says what would help."""
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
    """Estimates can be wrong by that much. Other requests are told to return when the 7 s of work here are done."""
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
    """A request that is refused is told a time after which it would be admitted."""
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
    """It is at least ten minutes, also if no speed is known."""
    assert time_limit_s(estimate_s, setting=None) == expected_s


@pytest.mark.parametrize("setting", [0.5, 5000])
def test_operators_time_limit_holds_as_it_is(setting: float) -> None:
    """It may be shorter or longer than the default."""
    assert time_limit_s(1000, setting=setting) == setting


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(None, 1), (0, 1), (-3, 1), (0.2, 1), (1, 1), (1.01, 2), (119.5, 120), (120.1, 120), (1e9, 120)],
)  # fmt: skip
def test_retry_after_is_in_whole_seconds_from_1_to_120(seconds: float | None, header: int) -> None:
    """The seconds are rounded up, so that no client returns too early."""
    assert retry_after(seconds) == header


# All who are here


def test_arrivals_are_counted_while_they_are_here() -> None:
    """Bytes that they bring at the start and bytes that follow are both counted."""
    arrivals = Arrivals(limit=3, limit_bytes=100)
    with arrivals.arrival(40, retry_after_s=1), arrivals.arrival(0, retry_after_s=1) as holds:
        holds(30)
        assert (arrivals.count, arrivals.held_bytes) == (2, 70)
    assert (arrivals.count, arrivals.held_bytes) == (0, 0)


def test_too_many_arrivals_are_refused() -> None:
    """Their number or their bytes are too many. A refused arrival is not counted."""
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
    """This holds for every way in which it may end."""
    arrivals = Arrivals(limit=2, limit_bytes=100)
    with suppress(ZeroDivisionError), arrivals.arrival(10, retry_after_s=1) as holds:
        holds(10)
        raise ZeroDivisionError
    assert (arrivals.count, arrivals.held_bytes) == (0, 0)
