"""How far one picture is, for clients that wait for it."""

from __future__ import annotations

import asyncio
import time

from enlarger.shell.progress import Pace, span


class Progress:
    """The tiles of one picture that are done; see ``shell.progress.Follower``."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self._stage = "being read"
        self._pace = Pace(time.monotonic())
        self._changed = asyncio.Event()

    @property
    def fraction(self) -> float:
        """Return the share of the tiles that are done, from 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def left_s(self) -> float | None:
        """Return the seconds until the last tile is done; None while unknown."""
        return self._pace.left_s(time.monotonic())

    @property
    def text(self) -> str:
        """Return the progress in words."""
        parts = [f"{self.done} of {self.total} tiles"] if self.total else []
        parts += [self._stage] if self._stage else []
        left_s = self.left_s
        return ", ".join([*parts, *([f"about {span(left_s)} left"] if left_s else [])])

    async def changed(self) -> None:
        """Wait until something was reported since the last call."""
        await self._changed.wait()
        self._changed.clear()

    def stage(self, text: str) -> None:
        """See ``Follower``."""
        self._stage = text
        self._changed.set()

    def plan(self, tiles: int, expected_s: float | None) -> None:
        """See ``Follower``."""
        self.total, self._stage = tiles, ""
        self._pace = Pace(time.monotonic(), expected_s=expected_s)
        self._changed.set()

    def on_tile(self, done: int, total: int) -> None:
        """See ``Follower``."""
        self.done, self.total = done, total
        self._stage = "" if done < total else "being written"
        self._pace.on_tile(time.monotonic(), done, total)
        self._changed.set()

    def expect(self, left_s: float) -> None:
        """See ``Follower``."""
        self._pace.expect(time.monotonic(), left_s)
        self._changed.set()
