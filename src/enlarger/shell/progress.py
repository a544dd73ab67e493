"""How a shell user sees that work goes on: bars on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

LINE_EVERY_S = 10.0
"""Seconds between two lines where the output is not a terminal."""

LONG_S = 60.0
"""A picture that takes longer says so before it starts."""

_LOOK_EVERY_S = 0.25


class Pace:
    """How long a picture will still take: what was expected at first, what was measured as soon as tiles are done.

    Args:
        started: when its first tile was sent, on any clock in seconds.
        expected_s: seconds that all of it is expected to take from then on; None while nobody knows.
    """

    def __init__(self, started: float, *, expected_s: float | None = None) -> None:
        self.started = started
        self._left_s = expected_s
        self._left_at = started
        """When ``_left_s`` was right."""

    def expect(self, now: float, left_s: float) -> None:
        """Somebody else, such as a server, says how long it will still take."""
        self._left_s, self._left_at = left_s, now

    def on_tile(self, now: float, done: int, total: int) -> None:
        """So many tiles of so many are done."""
        if done:
            self._left_s, self._left_at = (total - done) * (now - self.started) / done, now

    def left_s(self, now: float) -> float | None:
        """Seconds until the last tile is done; None while nobody knows."""
        return None if self._left_s is None else max(0.0, self._left_s - (now - self._left_at))


def span(seconds: float) -> str:
    """A time as people say it: ``8 s``, ``2 min 5 s``, ``3 h 20 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


class Shown:
    """Progress of a run, on a terminal or in lines.

    Args:
        console: where it is shown.
        pictures: how many there are.
        line_every_s: seconds between two lines.
        clock: seconds, never going back.
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
        """The next picture is read."""
        if self._begun:
            took_s = self._clock() - self._started
            left = self._pictures - self._begun
            self._bars.update(self._all, completed=self._begun, left_s=took_s / self._begun * left)
        self._begun += 1
        self._name, self._stage, self._done, self._total = name, "being read", 0, 0
        self._pace = Pace(self._clock())
        self._bars.reset(self._one, total=None, description=name, unit="tiles", left_s=None)

    def stage(self, text: str) -> None:
        """What happens to the picture, while no tiles are counted."""
        self._stage = text

    def plan(self, tiles: int, expected_s: float | None) -> None:
        """The picture has so many tiles; the first is about to be sent.

        Args:
            tiles: of the picture.
            expected_s: seconds that they will take; None while nobody knows.
        """
        self._stage = ""
        self._total = tiles
        self._pace = Pace(self._clock(), expected_s=expected_s)
        self._bars.update(self._one, completed=0, total=tiles or None, left_s=expected_s)
        if expected_s is not None and expected_s > LONG_S:
            self.say(f"{self._name}: this will take about {span(expected_s)}")

    def on_tile(self, done: int, total: int) -> None:
        """So many tiles of so many are done."""
        self._done, self._total = done, total
        self._stage = "" if done < total else "being written"
        now = self._clock()
        self._pace.on_tile(now, done, total)
        self._bars.update(self._one, completed=done, total=total, left_s=self._pace.left_s(now))

    def expect(self, left_s: float) -> None:
        """Somebody else, such as a server, says how long it will still take."""
        now = self._clock()
        self._pace.expect(now, left_s)
        self._bars.update(self._one, left_s=left_s)

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line that stays."""
        say(self.console, text, style=style)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Shows progress while the block runs, on an event loop."""
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
        """Where the picture at hand stands."""
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
    """How many of how many; nothing while that is not known."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        return Text(f"{int(task.completed)}/{int(task.total)} {task.fields['unit']}")


class _Elapsed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="progress.elapsed")


class _Left(ProgressColumn):
    """How long it will still take, as far as anybody knows."""

    def render(self, task: Task) -> Text:
        left_s = task.fields["left_s"]
        text = "" if not left_s else f"about {span(left_s)} left"
        return Text(text, style="progress.remaining")


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """A line, as it is: no markup, no emoji, no colours of its own, not broken."""
    console.print(text, style=style, highlight=False, markup=False, emoji=False, soft_wrap=True)
