"""The work of all admitted and unfinished requests: its cost, and how much of it is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one request at most."""

    mflop: float
    """Computing for all frames."""

    tile_mflop: float
    """Computing for the largest tile, which one engine does alone."""

    planes: int
    """Planes that go through the network: the colours of all frames, and as many planes of alpha if the header says
    that there may be some. There are fewer if alpha turns out to be the same everywhere, or frames to be equal."""

    lr_px: int
    out_px: int
    """Pixels of the input and of the result, in all frames."""

    input_bytes: int
    """Bytes of the input file, which is held until the picture is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """An amount of work: that of all requests here, or of one."""

    requests: int
    """Requests that are admitted and unfinished."""

    mflop: float
    """Their computing that is not done yet, in million floating-point operations."""

    mflop_per_s: float | None
    """Measured speed of all ready servers together; if none is ready, of those that may return. None before the first
    measurement."""

    handling_s: float = 0.0
    """Estimated seconds for decoding and encoding; see ``Handling``."""

    input_bytes: int = 0
    """Bytes of their input files."""

    @property
    def wait_s(self) -> float:
        """Estimated seconds until all work is done; 0 while the speed is not known."""
        return self.mflop / self.mflop_per_s + self.handling_s if self.mflop_per_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The work that other gateways have admitted for the same engines, as they said last."""

    gateways: int = 0
    requests: int = 0
    mflop: float = 0.0

    here_requests: int = 0
    here_mflop: float = 0.0
    """The least that was admitted here when the others were asked the last two times: their reports are not older."""

    def with_load(self, here: Load) -> Load:
        """Return the work of all gateways."""
        return replace(here, requests=here.requests + self.requests, mflop=here.mflop + self.mflop)

    def with_growth(self, here: Load) -> Load:
        """Return what the work of all gateways may be by now, if each of the others has admitted as much as this one since.

        So each gateway uses its share of the room that was left, and no more. As each does that, and as no report is older
        than what is compared here, all of them together stay within a limit.
        """
        requests = max(0, here.requests - self.here_requests)
        mflop = max(0.0, here.mflop - self.here_mflop)
        return self.with_load(
            replace(
                here,
                requests=here.requests + self.gateways * requests,
                mflop=here.mflop + self.gateways * mflop,
            )
        )


NOWHERE = Elsewhere()
"""No other gateway."""


class Handling:
    """Measures the time of pictures besides their tiles: decoding, and colour lock, reduction and encoding.

    With a fast model, this is as much as the network takes. It is measured on finished pictures, in seconds of one
    worker. If more pictures than workers are handled at once, each gets an equal share of the workers' time, so that
    waiting for one another is not counted: the shares add up to what the workers did. A picture counts as its output
    in megapixels plus one, since even the smallest has to be decoded. The newest pictures count most. Nothing is
    counted while tiles are computed, since it is done at the same time.

    Args:
        workers: how many pictures are decoded or encoded at the same time.
        clock: returns seconds, and never goes back.
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
        """Begin to handle a picture; return the argument for ``end``."""
        self._look()
        self._at_it += 1
        return self._share_s

    def end(self, begun: float) -> float:
        """End the handling of a picture for now; return its share of the workers' time, in seconds of one worker."""
        self._look()
        self._at_it -= 1
        return self._share_s - begun

    def measure(self, out_px: int, took_s: float) -> None:
        """Add a finished picture to the measurement."""
        self._took_s = 0.7 * self._took_s + 0.3 * took_s
        self._measured_mpx = 0.7 * self._measured_mpx + 0.3 * _counted_mpx(out_px, pictures=1)

    def estimate_s(self, out_px: int, *, pictures: int) -> float:
        """Return the estimated seconds for pictures with so many output pixels in all; 0 before the first measurement."""
        if not self._measured_mpx:
            return 0.0
        per_mpx_s = self._took_s / self._measured_mpx
        # One worker handles a picture at a time.
        at_once = max(1, min(pictures, self._workers))
        return per_mpx_s * _counted_mpx(out_px, pictures=pictures) / at_once

    def _look(self) -> None:
        now = self._clock()
        self._share_s += (now - self._looked_at) * min(1, self._workers / max(1, self._at_it))
        self._looked_at = now


def _counted_mpx(out_px: int, *, pictures: int) -> float:
    return out_px / 1e6 + pictures


class Ledger:
    """Counts the work that is admitted now. ``with`` takes it out again, however a request ends."""

    def __init__(self, handling: Handling) -> None:
        self.requests = 0
        self.mflop = 0.0
        self.lr_px = 0
        self.out_px = 0
        self.input_bytes = 0
        self._handling = handling

    def load(self, mflop_per_s: float | None) -> Load:
        """Return all admitted work, for servers of this speed."""
        return Load(
            requests=self.requests,
            mflop=self.mflop,
            mflop_per_s=mflop_per_s,
            handling_s=self._handling.estimate_s(self.out_px, pictures=self.requests),
            input_bytes=self.input_bytes,
        )

    def load_of(self, cost: Cost, mflop_per_s: float | None, *, parallel: int) -> Load:
        """Return the work of one request, for servers that compute ``parallel`` tiles at the same time.

        Each tile is computed at the speed of one of them, so a picture of few tiles is no faster if more are free.
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
        """Count one admitted request for as long as the context lasts."""
        entry = Entry(self, self._handling, cost)
        self.requests += 1
        self.mflop += cost.mflop
        self.lr_px += cost.lr_px
        self.out_px += cost.out_px
        self.input_bytes += cost.input_bytes
        try:
            yield entry
        finally:
            entry.end_handling()
            self.requests -= 1
            # Sums of fractions drift: without a request, no work is left.
            self.mflop = self.mflop - entry.left_mflop if self.requests else 0.0
            self.lr_px -= cost.lr_px
            self.out_px -= cost.out_px
            self.input_bytes -= cost.input_bytes


class Entry:
    """One request in the ledger."""

    def __init__(self, ledger: Ledger, handling: Handling, cost: Cost) -> None:
        self._ledger = ledger
        self._handling = handling
        self._cost = cost
        self._begun: float | None = None
        self._handled_s = 0.0
        self._mflop = self.left_mflop = cost.mflop

    def needs(self, planes: int) -> None:
        """Correct the number of planes that go through the network, now that the pixels are known."""
        self._mflop = self._cost.mflop * min(1, planes / self._cost.planes)
        self._is_left(self._mflop)

    def progress(self, done: int, total: int) -> None:
        """Count finished tiles. After the last one, handling begins."""
        self._is_left(self._mflop * (1 - done / total))
        if done == total:
            self.begin_handling()

    def _is_left(self, mflop: float) -> None:
        self._ledger.mflop -= self.left_mflop - mflop
        self.left_mflop = mflop

    def begin_handling(self) -> None:
        """Begin to decode, or to encode; see ``Handling``."""
        if self._begun is None:
            self._begun = self._handling.begin()

    def end_handling(self) -> None:
        """End decoding, or encoding."""
        if self._begun is not None:
            self._handled_s += self._handling.end(self._begun)
            self._begun = None

    def complete(self) -> None:
        """End the request: its result is written."""
        self.end_handling()
        self._handling.measure(self._cost.out_px, self._handled_s)
