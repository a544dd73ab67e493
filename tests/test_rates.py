"""How much one caller may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.api.rates import Bucket, Rates
from enlarger.config import RateLimit
from enlarger.errors import RateLimited

LIMIT = RateLimit(megapixels=500, seconds=60)
MP = 1_000_000


class Clocked(Rates):
    """Rates at times that a test sets."""

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit, lambda: self.now_s)
        self.now_s = 0.0

    def at(self, now_s: float) -> Rates:
        """At this time."""
        self.now_s = now_s
        return self


def left(rates: Rates, caller: str = "a") -> str:
    """What the header says."""
    return rates.headers(caller)["RateLimit"]


def test_without_a_limit_nothing_is_counted() -> None:
    """Nor said."""
    rates = Rates(None)
    for _ in range(3):
        rates.charge("a", 10**12)
    assert rates.headers("a") == {}


def test_headers_say_what_is_left() -> None:
    """The quota, the window, the rest in whole megapixels, and seconds until all is back."""
    rates = Clocked(LIMIT)
    assert rates.headers("a") == {
        "RateLimit-Policy": '"output-mp";q=500;w=60',
        "RateLimit": '"output-mp";r=500;t=0',
    }
    rates.at(0).charge("a", 88 * MP + 1)
    assert left(rates) == '"output-mp";r=411;t=11'


def test_what_was_taken_comes_back_evenly() -> None:
    """500 in 60 s are 25 in 3 s; never more than the limit."""
    rates = Clocked(LIMIT)
    rates.at(0).charge("a", 100 * MP)
    assert left(rates.at(3)) == '"output-mp";r=425;t=9'
    assert left(rates.at(1000)) == '"output-mp";r=500;t=0'


def test_picture_above_the_limit_can_be_made() -> None:
    """By whoever has anything left; what is missing is owed."""
    rates = Clocked(RateLimit(megapixels=50, seconds=60))
    rates.at(0).charge("a", 67 * MP)
    assert left(rates) == '"output-mp";r=0;t=81'
    with pytest.raises(RateLimited) as refusal:
        rates.at(1).charge("a", MP)
    assert refusal.value.retry_after_s == pytest.approx(17 / 50 * 60 - 1)
    assert refusal.value.retry_after_s is not None
    assert str(refusal.value) == "more than 50 output megapixels in 60 s"
    rates.at(1 + refusal.value.retry_after_s + 0.01).charge("a", MP)


def test_refused_picture_costs_nothing() -> None:
    """However often it is tried."""
    rates = Clocked(RateLimit(megapixels=1, seconds=10))
    rates.at(0).charge("a", 2 * MP)
    for _ in range(5):
        with pytest.raises(RateLimited):
            rates.at(5).charge("a", 2 * MP)
    rates.at(10.1).charge("a", 2 * MP)


def test_callers_have_buckets_of_their_own() -> None:
    """One who has nothing left takes nothing from the others."""
    rates = Clocked(LIMIT)
    rates.at(0).charge("a", 600 * MP)
    assert left(rates, "b") == '"output-mp";r=500;t=0'


def test_number_of_remembered_callers_is_bounded() -> None:
    """Those who were quiet for longest begin anew."""
    rates = Clocked(LIMIT)
    for number in range(10_001):
        rates.at(0).charge(str(number), MP)
    assert left(rates, "0") == '"output-mp";r=500;t=0'
    assert left(rates, "1") == '"output-mp";r=499;t=1'


def test_clock_that_goes_back_gives_nothing() -> None:
    """Nor does it take anything."""
    bucket = Bucket(10, at_s=100)
    assert bucket.filled(LIMIT, 50).megapixels == 10


@given(
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 100 * MP)), min_size=1, max_size=50)
)
def test_nobody_gets_more_than_the_limit_and_one_picture(steps: list[tuple[float, int]]) -> None:
    """Over any time, whatever is tried and when."""
    rates, now, made, largest = Clocked(LIMIT), 0.0, 0.0, 0.0
    for pause_s, pixels in steps:
        now += pause_s
        try:
            rates.at(now).charge("a", pixels)
        except RateLimited:
            continue
        made, largest = made + pixels / 1e6, max(largest, pixels / 1e6)
    assert made <= 500 + now * 500 / 60 + largest + 1e-6
