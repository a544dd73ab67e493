"""How a shell user sees that work goes on."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from enlarger.shell.progress import Pace, Shown, say, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3599.6, "1 h"),
        (12_000, "3 h 20 min"),
        (200_000, "55 h 33 min"),
    ],
)
def test_spans_are_said_as_people_say_them(seconds: float, text: str) -> None:
    """In two units at most; never nothing."""
    assert span(seconds) == text


def test_pace_is_unknown_without_a_measurement() -> None:
    """Rather than wrong."""
    assert Pace(100).left_s(105) is None


def test_pace_is_as_expected_until_a_tile_is_done() -> None:
    """The expectation counts down, and never below nothing."""
    pace = Pace(100, expected_s=30)
    assert pace.left_s(110) == 20
    assert pace.left_s(200) == 0


def test_pace_follows_what_was_measured() -> None:
    """Four of twenty tiles took 12 s: the others take 48 s, whatever was expected."""
    pace = Pace(100, expected_s=5)
    pace.on_tile(112, 4, 20)
    assert pace.left_s(112) == pytest.approx(48)
    assert pace.left_s(115) == pytest.approx(45)


def test_pace_believes_a_server() -> None:
    """It knows what else it has to do."""
    pace = Pace(100)
    pace.on_tile(110, 1, 2)
    pace.expect(110, 25)
    assert pace.left_s(112) == 23


@given(
    per_tile_s=st.floats(0.01, 100),
    total=st.integers(1, 500),
    done=st.integers(1, 500),
    expected_s=st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_pace_is_exact_where_tiles_take_equally_long(
    per_tile_s: float, total: int, done: int, expected_s: float | None
) -> None:
    """After each of them."""
    done = min(done, total)
    pace = Pace(0, expected_s=expected_s)
    now = 0.0
    for number in range(1, done + 1):
        now = number * per_tile_s
        pace.on_tile(now, number, total)
    assert pace.left_s(now) == pytest.approx((total - done) * per_tile_s)


class Seen(StringIO):
    """What is printed, and when a line is."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def write(self, text: str) -> int:
        if "\n" in text:
            self.changed.set()
        return super().write(text)


def shown_on(*, terminal: bool, pictures: int = 1, line_every_s: float = 10) -> tuple[Shown, Seen]:
    """Progress, and what is seen of it."""
    seen = Seen()
    console = Console(file=seen, force_terminal=terminal, width=100)
    return Shown(console, pictures, line_every_s=line_every_s), seen


def test_picture_that_will_take_long_says_so_before_it_starts() -> None:
    """From a minute on; a short one says nothing."""
    shown, seen = shown_on(terminal=False)
    shown.begin("quick.png")
    shown.plan(10, 59)
    assert seen.getvalue() == ""
    shown.begin("slow.png")
    shown.plan(10, 200)
    assert seen.getvalue() == "slow.png: this will take about 3 min 20 s\n"


async def test_lines_are_printed_where_there_is_no_terminal() -> None:
    """One at a time, with tiles and what is left; the number of tiles is known from the plan."""
    shown, seen = shown_on(terminal=False, pictures=2, line_every_s=0.05)
    with shown.running():
        shown.begin("a.png")
        await _next_line(seen)
        shown.plan(40, None)
        await _next_line(seen)
        shown.on_tile(10, 40)
        await _next_line(seen)
        shown.on_tile(40, 40)
        await _next_line(seen)
    lines = seen.getvalue().splitlines()
    assert lines[0] == "[1 of 2] a.png: being read"
    assert "[1 of 2] a.png: 0 of 40 tiles" in lines
    assert any(line.startswith("[1 of 2] a.png: 10 of 40 tiles, about 1 s left") for line in lines)
    assert lines[-1] == "[1 of 2] a.png: 40 of 40 tiles, being written"


async def _next_line(seen: Seen) -> None:
    """Wait until there is one more line."""
    seen.changed.clear()
    async with asyncio.timeout(10):
        await seen.changed.wait()


@pytest.mark.alone
async def test_lines_come_at_their_time() -> None:
    """None before the first ten seconds are over, by the clock that is given."""
    now = [0.0]
    seen = Seen()
    shown = Shown(Console(file=seen), 1, clock=lambda: now[0])
    with shown.running():
        shown.begin("a.png")
        shown.plan(4, None)
        now[0] = 9.9
        await asyncio.sleep(0.6)
        assert seen.getvalue() == ""
        now[0] = 10.1
        await _next_line(seen)
        await asyncio.sleep(0.6)
    assert seen.getvalue() == "a.png: 0 of 4 tiles\n"


@pytest.mark.alone
async def test_terminal_shows_how_many_tiles_there_are() -> None:
    """From the plan on; before it no number is shown, rather than a question mark."""
    shown, seen = shown_on(terminal=True)
    with shown.running():
        shown.begin("a.png")
        await asyncio.sleep(0.3)
        assert "tiles" not in seen.getvalue()
        shown.plan(12, 30)
        await asyncio.sleep(0.3)
        assert "0/12 tiles" in seen.getvalue()
        assert "about 30 s left" in seen.getvalue()
        shown.on_tile(6, 12)
        await asyncio.sleep(0.3)
        assert "6/12 tiles" in seen.getvalue()
    assert "/?" not in seen.getvalue()


def test_lines_are_printed_as_they_are() -> None:
    """No markup, no emoji, not broken."""
    seen = Seen()
    say(Console(file=seen, width=20), ":cat:.png [red]and[/red] " + "x" * 60)
    assert seen.getvalue() == ":cat:.png [red]and[/red] " + "x" * 60 + "\n"
