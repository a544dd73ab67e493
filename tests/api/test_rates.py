"""How much one caller may ask for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.api.rates import Bucket, Rates
from enlarger.config import RateLimit
from enlarger.errors import RateLimited
from enlarger.jobs.rows import Rows

LIMIT = RateLimit(megapixels=500, seconds=60)
MP = 1_000_000


class Clocked(Rates):
    """Rates at times that a test sets."""

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit, clock=lambda: self.now_s)
        self.now_s = 0.0

    def at(self, now_s: float) -> Rates:
        """At this time."""
        self.now_s = now_s
        return self


async def left(rates: Rates, caller: str = "a") -> str:
    """What the header says."""
    return (await rates.headers(caller))["RateLimit"]


async def test_without_a_limit_nothing_is_counted() -> None:
    """The response has no header about rates either."""
    rates = Rates(None)
    for _ in range(3):
        await rates.charge("a", 10**12)
    assert await rates.headers("a") == {}


async def test_headers_say_what_is_left() -> None:
    """The quota, the window, the rest in whole megapixels, and seconds until all is back."""
    rates = Clocked(LIMIT)
    assert await rates.headers("a") == {
        "RateLimit-Policy": '"output-mp";q=500;w=60',
        "RateLimit": '"output-mp";r=500;t=0',
    }
    await rates.at(0).charge("a", 88 * MP + 1)
    assert await left(rates) == '"output-mp";r=411;t=11'


async def test_what_was_taken_comes_back_evenly() -> None:
    """500 in 60 s are 25 in 3 s; never more than the limit."""
    rates = Clocked(LIMIT)
    await rates.at(0).charge("a", 100 * MP)
    assert await left(rates.at(3)) == '"output-mp";r=425;t=9'
    assert await left(rates.at(1000)) == '"output-mp";r=500;t=0'


async def test_picture_above_the_limit_can_be_made() -> None:
    """A caller who has anything left can make it. The rest is a debt."""
    rates = Clocked(RateLimit(megapixels=50, seconds=60))
    await rates.at(0).charge("a", 67 * MP)
    assert await left(rates) == '"output-mp";r=0;t=81'
    with pytest.raises(RateLimited) as refusal:
        await rates.at(1).charge("a", MP)
    assert refusal.value.retry_after_s == pytest.approx(17 / 50 * 60 - 1)
    assert refusal.value.retry_after_s is not None
    assert str(refusal.value) == "more than 50 output megapixels in 60 s"
    await rates.at(1 + refusal.value.retry_after_s + 0.01).charge("a", MP)


async def test_refused_picture_costs_nothing() -> None:
    """This holds however often the caller tries."""
    rates = Clocked(RateLimit(megapixels=1, seconds=10))
    await rates.at(0).charge("a", 2 * MP)
    for _ in range(5):
        with pytest.raises(RateLimited):
            await rates.at(5).charge("a", 2 * MP)
    await rates.at(10.1).charge("a", 2 * MP)


async def test_callers_have_buckets_of_their_own() -> None:
    """A caller who has used up a quota takes nothing from the others."""
    rates = Clocked(LIMIT)
    await rates.at(0).charge("a", 600 * MP)
    assert await left(rates, "b") == '"output-mp";r=500;t=0'


async def test_number_of_remembered_callers_is_bounded() -> None:
    """The caller that has been quiet for the longest time is forgotten, and starts with a full quota."""
    rates = Clocked(LIMIT)
    for number in range(10_001):
        await rates.at(0).charge(str(number), MP)
    assert await left(rates, "0") == '"output-mp";r=500;t=0'
    assert await left(rates, "1") == '"output-mp";r=499;t=1'


def test_clock_that_goes_back_gives_nothing() -> None:
    """The quota does not shrink either."""
    bucket = Bucket(10, at_s=100)
    assert bucket.filled(LIMIT, 50).megapixels == 10


@given(
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 100 * MP)), min_size=1, max_size=50)
)
async def test_nobody_gets_more_than_the_limit_and_one_picture(
    steps: list[tuple[float, int]],
) -> None:
    """This holds over any period, whatever callers try and when."""
    rates, now, made, largest = Clocked(LIMIT), 0.0, 0.0, 0.0
    for pause_s, pixels in steps:
        now += pause_s
        try:
            await rates.at(now).charge("a", pixels)
        except RateLimited:
            continue
        made, largest = made + pixels / 1e6, max(largest, pixels / 1e6)
    assert made <= 500 + now * 500 / 60 + largest + 1e-6


async def test_gateways_on_one_database_share_the_limit(database: str) -> None:
    """Whichever is asked; each says what is left of all."""
    now = [1000.0]
    async with Rows(database) as first, Rows(database) as second:
        one, other = (Rates(LIMIT, rows.rates, lambda: now[0]) for rows in (first, second))
        await one.charge("a", 300 * MP)
        await other.charge("a", 250 * MP)
        for rates in (one, other):
            assert await left(rates) == '"output-mp";r=0;t=66'
            with pytest.raises(RateLimited) as refusal:
                await rates.charge("a", MP)
            assert refusal.value.retry_after_s == pytest.approx(6)
        assert await left(other, "b") == '"output-mp";r=500;t=0'
        now[0] += 12
        assert await left(one) == '"output-mp";r=50;t=54'
        await other.charge("a", 20 * MP)
        assert await left(one) == '"output-mp";r=30;t=57'


async def test_callers_at_once_take_no_more_than_there_is(database: str) -> None:
    """At two gateways, with nothing that keeps them apart but the row."""
    limit = RateLimit(megapixels=10, seconds=1000)
    async with Rows(database) as first, Rows(database) as second:
        both = [Rates(limit, rows.rates, lambda: 1000.0) for rows in (first, second)]
        calls = [rates.charge("a", MP) for _ in range(15) for rates in both]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(end is None for end in ends) == 10
    assert all(end is None or isinstance(end, RateLimited) for end in ends)


async def test_what_comes_back_meanwhile_is_not_given_away(database: str) -> None:
    """A caller who has something again while the refusal is made up is refused, or pays: the limit holds."""
    limit = RateLimit(megapixels=10, seconds=100)
    began_s, tick_s = 1000.0, 2.0
    moments = itertools.count(began_s, tick_s)
    made = 0
    async with Rows(database) as rows:
        rates = Rates(limit, rows.rates, lambda: float(next(moments)))
        for _ in range(60):
            with contextlib.suppress(RateLimited):
                await rates.charge("a", MP)
                made += 1
    passed_s = next(moments) - began_s
    assert 10 < made <= 10 + passed_s * 0.1 + 1


async def test_who_has_the_whole_limit_is_forgotten(database: str) -> None:
    """And nobody else."""
    async with Rows(database) as rows:
        rates = Rates(LIMIT, rows.rates, lambda: 1000.0)
        await rates.charge("little", MP)
        await rates.charge("much", 600 * MP)
        await rows.rates.forget(LIMIT, now=1001.0)
        assert await rows.rates.get("little") is None
        assert await rows.rates.get("much") == (-100.0, 1000.0)


async def test_clock_of_a_gateway_that_is_behind_gives_nothing(database: str) -> None:
    """Nor does it take anything."""
    async with Rows(database) as rows:
        await Rates(LIMIT, rows.rates, lambda: 1000.0).charge("a", 100 * MP)
        await Rates(LIMIT, rows.rates, lambda: 990.0).charge("a", 100 * MP)
        assert await rows.rates.get("a") == (300.0, 1000.0)


async def test_without_the_database_each_gateway_counts_for_itself(database: str) -> None:
    """From what it saw last."""
    async with Rows(database) as rows:
        rates = Rates(LIMIT, rows.rates, lambda: 1000.0)
        await rates.charge("a", 100 * MP)
    await rates.charge("a", 500 * MP)  # the database is closed
    assert await left(rates) == '"output-mp";r=0;t=72'
    with pytest.raises(RateLimited):
        await rates.charge("a", MP)
