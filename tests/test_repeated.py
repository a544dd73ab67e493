"""A trouble that lasts: which of its occurrences are logged."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.repeated import LONGEST_PAUSE_S, QUIET_S, Repeated


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def lines(*, every_s: float, for_s: float) -> list[tuple[float, int]]:
    """When a trouble that is met so often is logged, and how many occurrences were left out before each line."""
    clock = Clock()
    repeated = Repeated(clock)
    found = []
    for number in range(round(for_s / every_s) + 1):
        clock.now_s = 1000 + number * every_s
        left_out = repeated.occurred()
        if left_out is not None:
            found.append((number * every_s, left_out))
    return found


def test_trouble_is_logged_at_once_and_then_after_1_2_4_seconds() -> None:
    """Each line says how many occurrences there were since the last one."""
    assert lines(every_s=0.25, for_s=16) == [(0, 0), (1, 3), (3, 7), (7, 15), (15, 31)]


def test_trouble_of_a_week_is_logged_every_hour() -> None:
    """Longer pauses would look as if it had ended."""
    times = [at_s for at_s, _ in lines(every_s=2, for_s=7 * 24 * 3600)]
    assert len(times) < 7 * 24 + 13
    pauses = [after - before for before, after in pairwise(times)]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE_S


def test_trouble_that_ended_is_logged_at_once_when_it_comes_again() -> None:
    """Occurrences that were left out before are counted in the next line."""
    repeated = Repeated(Clock())
    assert [repeated.occurred() for _ in range(3)] == [0, None, None]
    repeated.over()
    assert [repeated.occurred() for _ in range(2)] == [2, None]


@pytest.mark.parametrize(("quiet_s", "is_logged"), [(QUIET_S, True), (QUIET_S - 1, False)])
def test_trouble_that_was_not_met_for_a_minute_has_ended(quiet_s: float, is_logged: bool) -> None:
    """Where nobody says that it is over."""
    clock = Clock()
    repeated = Repeated(clock)
    for _ in range(4 * 600):
        repeated.occurred()
        clock.now_s += 0.25
    clock.now_s += quiet_s - 0.25
    assert (repeated.occurred() is not None) is is_logged


@given(pauses_s=st.lists(st.floats(0, 7200), max_size=200))
def test_every_occurrence_is_logged_or_counted(pauses_s: list[float]) -> None:
    """Lines, those that they count and those that the next line will count are all that there were."""
    clock = Clock()
    repeated = Repeated(clock)
    told = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        left_out = repeated.occurred()
        told += 0 if left_out is None else left_out + 1
    clock.now_s += QUIET_S
    assert told + (repeated.occurred() or 0) == len(pauses_s)
