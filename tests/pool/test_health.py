"""The health of a model server: how tiles and probes change it, without a clock and without a server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.pool.health import MAX_EJECTION_S, Health, State, ejection_s

READY = Health(state=State.READY)


def struck(health: Health, times: int = 1, *, now: float = 0.0, may_eject: bool = True) -> Health:
    """Return the health after this many failed tiles."""
    for _ in range(times):
        health = health.struck(now=now, chance=0.0, may_eject=may_eject)
    return health


def probed(health: Health, *found: State, now: float = 0.0) -> Health:
    """Return the health after probes with these results."""
    for state in found:
        health = health.probed(state, now=now)
    return health


# Strikes


def test_failed_tile_makes_it_suspect_until_a_probe() -> None:
    """It gets no more tiles until a probe finds it ready."""
    assert struck(READY).state is State.SUSPECT
    assert probed(struck(READY), State.READY).state is State.READY


def test_third_failure_in_a_row_ejects_it() -> None:
    """Good probes between the failures do not help: the server reports that it is well, and is not."""
    health = READY
    seen = []
    for _ in range(3):
        health = struck(health)
        seen.append(health.state)
        health = probed(health, State.READY)
    assert seen == [State.SUSPECT, State.SUSPECT, State.EJECTED]


def test_tile_done_between_failures_breaks_the_row() -> None:
    """After two failures, one success and two failures, it is not ejected."""
    health = struck(probed(struck(READY, 2), State.READY).succeeded(), 2)
    assert (health.state, health.strikes) == (State.SUSPECT, 2)


def test_nobody_is_ejected_whom_the_others_need() -> None:
    """It is probed as after a first failure. The next failure ejects it, if the others can do without it then."""
    health = struck(READY, 5, may_eject=False)
    assert (health.state, health.strikes, health.ejections) == (State.SUSPECT, 5, 0)
    assert struck(health).state is State.EJECTED


# Ejection


def test_ejected_one_returns_after_its_time() -> None:
    """The first ejection lasts five seconds, although all probes are good."""
    ejected = struck(READY, 3, now=100.0)
    assert probed(ejected, State.READY, State.READY, now=104.9).state is State.EJECTED
    returned = probed(ejected, State.READY, State.READY, now=105.0)
    assert (returned.state, returned.strikes) == (State.READY, 0)


def test_return_takes_two_good_probes() -> None:
    """One good probe may be luck."""
    ejected = struck(READY, 3)
    assert probed(ejected, State.READY, now=10.0).state is State.EJECTED
    assert probed(ejected, State.READY, State.READY, now=10.0).state is State.READY


def test_ejections_in_a_row_become_longer() -> None:
    """5 s, 10 s, 15 s; a tile done between them makes the next one short again."""
    health, until = READY, []
    for _ in range(3):
        health = struck(health, 3)
        until.append(health.ejected_until)
        health = probed(health, State.READY, State.READY, now=1000.0)
    assert until == [5, 10, 15]
    assert struck(health.succeeded(), 3).ejected_until == 5


def test_tile_done_while_ejected_ends_the_ejection() -> None:
    """It got a tile because no other server was left, and it works. Later probes do not eject it again, although its time is not over."""
    back = struck(READY, 3, now=100.0).succeeded()
    assert back.state is State.READY
    assert probed(back, State.READY, now=101.0).state is State.READY
    assert probed(struck(back), State.READY, now=101.0).state is State.READY


@pytest.mark.parametrize("may_eject", [True, False])
def test_tile_failed_while_ejected_changes_nothing(*, may_eject: bool) -> None:
    """The tile was in flight, or there was no other server. The ejection lasts as long as before, and then needs two good probes."""
    ejected = probed(struck(READY, 3, now=100.0), State.READY, now=100.0)
    health = struck(ejected, 4, now=104.0, may_eject=may_eject)
    assert (health.state, health.ejections, health.ejected_until) == (State.EJECTED, 1, 105.0)
    assert probed(health, State.READY, now=105.0).state is State.EJECTED
    assert probed(health, State.READY, State.READY, now=105.0).state is State.READY


@given(times=st.integers(1, 1000), chance=st.floats(0, 1))
def test_length_of_an_ejection(times: int, chance: float) -> None:
    """5 s times their number, at most 60 s, less up to a fifth by chance."""
    longest = min(60, 5 * times)
    assert 0.8 * longest - 1e-9 <= ejection_s(times, chance=chance) <= longest <= MAX_EJECTION_S


# Probes


@pytest.mark.parametrize(
    "found", [State.STARTING, State.DRAINING, State.FAILED, State.INCOMPATIBLE]
)
@pytest.mark.parametrize("before", [READY, struck(READY), struck(READY, 3), Health()])
def test_what_it_says_of_itself_counts(before: Health, found: State) -> None:
    """A server that reports a state of its own is in that state, whatever it was before."""
    assert probed(before, found).state is found


def test_ready_one_may_miss_a_probe() -> None:
    """It is gone after two missed probes in a row, and back after two good ones in a row."""
    gone, ready = State.GONE, State.READY
    assert probed(READY, gone).state is ready
    assert probed(READY, gone, ready, gone).state is ready
    assert probed(READY, gone, gone).state is gone
    assert probed(READY, gone, gone, ready, gone, ready).state is gone
    assert probed(READY, gone, gone, ready, ready).state is ready


def test_silence_is_no_way_out_of_an_ejection() -> None:
    """A server that disappears while ejected returns when both are over."""
    health = probed(struck(READY, 3), State.GONE)
    assert health.state is State.GONE
    assert probed(health, State.READY, State.READY, now=1.0).state is State.EJECTED
    assert probed(health, State.READY, State.READY, now=6.0).state is State.READY


# Leaving


def test_retired_one_never_returns() -> None:
    """It still answers its probes well, and its last tiles may fail or not."""
    health = READY.retire()
    steps: list[Callable[[Health], Health]] = [
        partial(probed, now=9.0),
        lambda health: probed(health, State.READY, State.READY),
        Health.succeeded,
        struck,
    ]
    for step in steps:
        health = step(health)
        assert (health.state, health.retired) == (State.DRAINING, True)
    assert probed(health, State.GONE).state is State.GONE


def test_one_that_refused_us_returns_after_two_good_probes() -> None:
    """It reported that it was ready when it refused a tile, so one good probe proves nothing."""
    refused = READY.left(State.INCOMPATIBLE)
    assert probed(refused, State.READY).state is State.INCOMPATIBLE
    assert probed(refused, State.READY, State.READY).state is State.READY


def test_one_that_drains_returns_when_it_says_so() -> None:
    """It said so itself; the next good probe is enough."""
    assert probed(READY.left(State.DRAINING), State.READY).state is State.READY
