"""Shows the progress to a shell user: bars on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

LINE_EVERY_S = 10.0
"""Seconds between two lines if the output is not a terminal."""

LONG_S = 60.0
"""A picture that takes longer than this is announced before it starts."""

_LOOK_EVERY_S = 0.25


class Pace:
    """Estimates the time left for a picture: from an expectation at first, from measurements once tiles are done.

    Args:
        started: the time at which the first tile was sent, on any clock in seconds.
        expected_s: the expected seconds from then on; None while unknown.
    """

    def __init__(self, started: float, *, expected_s: float | None = None) -> None:
        self.started = started
        self._left_s = expected_s
        self._left_at = started
        """The time for which ``_left_s`` was computed."""

    def expect(self, now: float, left_s: float) -> None:
        """Take over an estimate of the time left, for example from a server."""
        self._left_s, self._left_at = left_s, now

    def on_tile(self, now: float, done: int, total: int) -> None:
        """Report how many of all tiles are done."""
        if done:
            self._left_s, self._left_at = (total - done) * (now - self.started) / done, now

    def left_s(self, now: float) -> float | None:
        """Return the seconds until the last tile is done; None while unknown."""
        return None if self._left_s is None else max(0.0, self._left_s - (now - self._left_at))


def span(seconds: float) -> str:
    """Return a duration as readable text: ``8 s``, ``2 min 5 s``, ``3 h 20 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


class Follower(Protocol):
    """Is told how far one picture is."""

    def stage(self, text: str) -> None:
        """Report what happens to the picture while there are no tiles to count."""

    def plan(self, tiles: int, expected_s: float | None) -> None:
        """Report the number of tiles, and the seconds that they will take; None while unknown."""

    def on_tile(self, done: int, total: int) -> None:
        """Report how many of all tiles are done."""

    def expect(self, left_s: float) -> None:
        """Take over an estimate of the time left, for example from a server."""


class Shown:
    """The progress of a run, on a terminal or as lines.

    Args:
        console: where the progress is shown.
        pictures: number of pictures.
        line_every_s: seconds between two lines.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        console: Console,
        pictures: int,
        *,
        line_every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self._pictures = pictures
        self._clock = clock
        self._line_every_s = line_every_s
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Count(),
            _Elapsed(),
            _Left(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._started = clock()
        self._all = self._bars.add_task("all", total=pictures, unit="pictures", left_s=None)
        self._bars.update(self._all, visible=pictures > 1)
        self._one = self._bars.add_task("", total=None, unit="tiles", left_s=None)
        self._begun = 0
        self._name = ""
        self._stage = ""
        self._done = self._total = 0
        self._pace = Pace(self._started)
        self._line_at = self._started + line_every_s

    def begin(self, name: str) -> None:
        """Report that the next picture is being read."""
        if self._begun:
            took_s = self._clock() - self._started
            left = self._pictures - self._begun
            self._bars.update(self._all, completed=self._begun, left_s=took_s / self._begun * left)
        self._begun += 1
        self._name, self._stage, self._done, self._total = name, "being read", 0, 0
        self._pace = Pace(self._clock())
        self._bars.reset(self._one, total=None, description=name, unit="tiles", left_s=None)

    def stage(self, text: str) -> None:
        """Report what happens to the picture while there are no tiles to count."""
        self._stage = text

    def plan(self, tiles: int, expected_s: float | None) -> None:
        """Report the number of tiles, just before the first is sent.

        Args:
            tiles: number of tiles of the picture.
            expected_s: seconds that they will take; None while unknown.
        """
        self._stage = ""
        self._total = tiles
        self._pace = Pace(self._clock(), expected_s=expected_s)
        self._bars.update(self._one, completed=0, total=tiles or None, left_s=expected_s)
        if expected_s is not None and expected_s > LONG_S:
            self.say(f"{self._name}: this will take about {span(expected_s)}")

    def on_tile(self, done: int, total: int) -> None:
        """Report how many of all tiles are done."""
        self._done, self._total = done, total
        self._stage = "" if done < total else "being written"
        now = self._clock()
        self._pace.on_tile(now, done, total)
        self._bars.update(self._one, completed=done, total=total, left_s=self._pace.left_s(now))

    def expect(self, left_s: float) -> None:
        """Take over an estimate of the time left, for example from a server."""
        now = self._clock()
        self._pace.expect(now, left_s)
        self._bars.update(self._one, left_s=left_s)

    def say(self, text: str, *, style: str | None = None) -> None:
        """Print a line that stays on the screen."""
        say(self.console, text, style=style)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show progress while the block runs, on an event loop."""
        ticking = asyncio.get_running_loop().create_task(self._tick())
        try:
            with self._bars:
                yield
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, self._line_every_s))
            now = self._clock()
            self._bars.update(self._one, left_s=self._pace.left_s(now))
            if not self.console.is_terminal and now >= self._line_at:
                self._line_at = now + self._line_every_s
                self.say(self._line(now))

    def _line(self, now: float) -> str:
        """Return the progress of the current picture as a line of text."""
        parts = [f"{self._done} of {self._total} tiles"] if self._total else []
        parts += [self._stage] if self._stage else []
        left_s = self._pace.left_s(now)
        if left_s:
            parts.append(f"about {span(left_s)} left")
        elif not parts:
            parts.append(f"{span(now - self._pace.started)} so far")
        number = f"[{self._begun} of {self._pictures}] " if self._pictures > 1 else ""
        return f"{number}{self._name}: {', '.join(parts)}"


class _Count(ProgressColumn):
    """A column with the number done and the total; empty while the total is unknown."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        return Text(f"{int(task.completed)}/{int(task.total)} {task.fields['unit']}")


class _Elapsed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="progress.elapsed")


class _Left(ProgressColumn):
    """A column with the time left; empty while unknown."""

    def render(self, task: Task) -> Text:
        left_s = task.fields["left_s"]
        text = "" if not left_s else f"about {span(left_s)} left"
        return Text(text, style="progress.remaining")


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a line without markup, emoji, highlighting or wrapping."""
    console.print(text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)
