"""The work that was admitted and is not finished: what it takes, and how much of it is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a picture asks for."""

    mflop: float
    """Computing, of all its frames."""

    tile_mflop: float
    """Computing of its largest tile, which is done in one piece."""

    planes: int
    """What goes through the network: colours of all its frames, and as many planes of alpha where its header says
    that there may be some. Fewer, if alpha turns out to be the same everywhere, or frames to be equal."""

    lr_px: int
    out_px: int
    """Pixels before and after, of all its frames."""

    input_bytes: int
    """Its file as it came, which is held until the picture is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Work: all that a gateway holds, or one request's own."""

    requests: int
    """Admitted and unfinished."""

    mflop: float
    """Their computing that is not done yet."""

    mflop_per_s: float | None
    """Measured speed of all ready servers together, or if there is none, of those that may return; None before the
    first measurement."""

    handling_s: float = 0.0
    """Estimated seconds for what is not tiles; see ``Handling``."""

    input_bytes: int = 0
    """Their files as they came."""

    @property
    def wait_s(self) -> float:
        """Estimated seconds until all of it is done; 0 while the speed is not known."""
        return self.mflop / self.mflop_per_s + self.handling_s if self.mflop_per_s else 0.0


class Handling:
    """What pictures take besides their tiles: to be decoded, and after the last tile locked, reduced and encoded.

    With a quick model that is as much as the network takes. It is measured on finished pictures, in seconds of
    one worker. Where more pictures than workers are at it, each is given an equal share of the workers' time,
    so that waiting for one another is not counted: the shares add up to what the workers did. A picture
    counts as its output in megapixels and one more, since the smallest has to be decoded, too. The newest
    count most. While tiles run nothing is counted: what happens then is hidden behind them.

    Args:
        workers: pictures that are decoded or encoded at the same time.
        clock: seconds, never going back.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._at_it = 0
        self._share_s = 0.0
        self._looked_at = clock()
        self._took_s = 0.0
        self._measured_mpx = 0.0

    def begin(self) -> float:
        """One more picture is at it; gives what ``end`` is to be told."""
        self._look()
        self._at_it += 1
        return self._share_s

    def end(self, begun: float) -> float:
        """It is at it no more; gives the seconds of one worker that it was given."""
        self._look()
        self._at_it -= 1
        return self._share_s - begun

    def measure(self, out_px: int, took_s: float) -> None:
        """A picture is finished."""
        self._took_s = 0.7 * self._took_s + 0.3 * took_s
        self._measured_mpx = 0.7 * self._measured_mpx + 0.3 * _counted_mpx(out_px, pictures=1)

    def estimate_s(self, out_px: int, *, pictures: int) -> float:
        """Seconds for pictures of so many output pixels in all; 0 before the first measurement."""
        if not self._measured_mpx:
            return 0.0
        per_mpx_s = self._took_s / self._measured_mpx
        # A picture is at one worker at a time.
        at_once = max(1, min(pictures, self._workers))
        return per_mpx_s * _counted_mpx(out_px, pictures=pictures) / at_once

    def _look(self) -> None:
        now = self._clock()
        self._share_s += (now - self._looked_at) * min(1, self._workers / max(1, self._at_it))
        self._looked_at = now


def _counted_mpx(out_px: int, *, pictures: int) -> float:
    return out_px / 1e6 + pictures


class Ledger:
    """What is admitted now: counts that ``with`` gives back whichever way a request ends."""

    def __init__(self, handling: Handling) -> None:
        self.requests = 0
        self.mflop = 0.0
        self.lr_px = 0
        self.out_px = 0
        self.input_bytes = 0
        self._handling = handling

    def load(self, mflop_per_s: float | None) -> Load:
        """All of it, for servers of that speed."""
        return Load(
            requests=self.requests,
            mflop=self.mflop,
            mflop_per_s=mflop_per_s,
            handling_s=self._handling.estimate_s(self.out_px, pictures=self.requests),
            input_bytes=self.input_bytes,
        )

    def load_of(self, cost: Cost, mflop_per_s: float | None, *, parallel: int) -> Load:
        """That of one request, admitted or not, for servers that compute so many tiles at the same time.

        A tile is computed at the speed of one of these: a picture of few tiles takes no less when many are free.
        """
        return Load(
            requests=1,
            mflop=max(cost.mflop, cost.tile_mflop * parallel),
            mflop_per_s=mflop_per_s,
            handling_s=self._handling.estimate_s(cost.out_px, pictures=1),
            input_bytes=cost.input_bytes,
        )

    @contextmanager
    def entry(self, cost: Cost) -> Iterator[Entry]:
        """One admitted request."""
        entry = Entry(self, self._handling, cost)
        self.requests += 1
        self.mflop += cost.mflop
        self.lr_px += cost.lr_px
        self.out_px += cost.out_px
        self.input_bytes += cost.input_bytes
        try:
            yield entry
        finally:
            entry.rests()
            self.requests -= 1
            # Sums of fractions drift; with nobody here, nothing is left.
            self.mflop = self.mflop - entry.left_mflop if self.requests else 0.0
            self.lr_px -= cost.lr_px
            self.out_px -= cost.out_px
            self.input_bytes -= cost.input_bytes


class Entry:
    """The part of the ledger that one request owns."""

    def __init__(self, ledger: Ledger, handling: Handling, cost: Cost) -> None:
        self._ledger = ledger
        self._handling = handling
        self._cost = cost
        self._begun: float | None = None
        self._handled_s = 0.0
        self._mflop = self.left_mflop = cost.mflop

    def needs(self, planes: int) -> None:
        """So many planes go through the network, as its pixels tell. What others would take is given back."""
        self._mflop = self._cost.mflop * min(1, planes / self._cost.planes)
        self._is_left(self._mflop)

    def progress(self, done: int, total: int) -> None:
        """So many of its tiles are done. After the last one it is handled."""
        self._is_left(self._mflop * (1 - done / total))
        if done == total:
            self.handled()

    def _is_left(self, mflop: float) -> None:
        self._ledger.mflop -= self.left_mflop - mflop
        self.left_mflop = mflop

    def handled(self) -> None:
        """It is being decoded, or finished: see ``Handling``."""
        if self._begun is None:
            self._begun = self._handling.begin()

    def rests(self) -> None:
        """No longer."""
        if self._begun is not None:
            self._handled_s += self._handling.end(self._begun)
            self._begun = None

    def finished(self) -> None:
        """Its result is written."""
        self.rests()
        self._handling.measure(self._cost.out_px, self._handled_s)
