"""Who may come in: decided from the work already here and the measured speed."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from enlarger.errors import DeadlineTooShort, QueueFull

MIN_DEADLINE_S = 600
_DEADLINE_FACTOR = 4

_DOUBT = 2
"""An estimate may be wrong by this factor: tiles that are equal are computed once, and a speed measured in
a bad moment is mended only by computing again. Within it a gateway with nothing else to do tries."""

INPUT_SHARE = 4
"""Files as they came may take one part in so many of the memory for pixels. That is 73 of the largest by the
defaults, where the queue takes 256. Seldom less than pixels need: a pixel enlarged four times takes 392 bytes,
and in its file at most 8."""


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


def admit(
    here: Load,
    new: Load,
    *,
    queue_limit: int,
    max_wait_s: float,
    input_limit_bytes: int,
    deadline_s: float | None,
) -> None:
    """Let one more request in, or say when to come back. An idle gateway admits any one that can be done in time.

    Args:
        here: the work of those admitted before.
        new: its own.
        queue_limit: requests admitted and unfinished.
        max_wait_s: for those before it.
        input_limit_bytes: of files as they came.
        deadline_s: the operator's; None: as long as it takes.

    Raises:
        QueueFull: too many requests or bytes are here, or it would wait too long.
        DeadlineTooShort: it would not be done in time even alone.
    """
    if deadline_s is not None and new.wait_s > _DOUBT * deadline_s:
        raise DeadlineTooShort(
            f"deadline exceeded before it began: alone it takes about {new.wait_s:.0f} s here, the limit is "
            f"{deadline_s:.0f} s; use a quicker model or a smaller picture, or ask the operator for a longer "
            "ENLARGER_DEADLINE"
        )
    if here.requests == 0:
        return
    one_s = here.wait_s / here.requests
    if here.requests >= queue_limit:
        raise QueueFull(
            f"{here.requests} requests are waiting or running, the limit is {queue_limit}",
            retry_after_s=one_s,
        )
    held_bytes = here.input_bytes + new.input_bytes
    if held_bytes > input_limit_bytes:
        raise QueueFull(
            f"the files of waiting and running requests would have {held_bytes} bytes, the limit is "
            f"{input_limit_bytes}",
            retry_after_s=one_s,
        )
    if here.wait_s > max_wait_s:
        raise QueueFull(
            f"the work here takes about {here.wait_s:.0f} s, the limit is {max_wait_s:.0f} s",
            retry_after_s=here.wait_s - max_wait_s,
        )
    if deadline_s is not None and here.wait_s + new.wait_s > deadline_s:
        raise QueueFull(
            f"it would be done in about {here.wait_s + new.wait_s:.0f} s, the limit is {deadline_s:.0f} s",
            retry_after_s=min(here.wait_s, here.wait_s + new.wait_s - deadline_s),
        )


def eta_s(here: Load, new: Load) -> float | None:
    """Estimated seconds until a new request is done, behind all that is here; None while no speed is known."""
    return here.wait_s + new.wait_s if new.mflop_per_s else None


def time_limit_s(eta_s: float | None, *, setting: float | None) -> float:
    """Seconds a request may take once admitted: four times its estimate, at least ten minutes, or the setting."""
    if setting is not None:
        return setting
    return max(MIN_DEADLINE_S, _DEADLINE_FACTOR * (eta_s or 0.0))


def retry_after(seconds: float | None) -> int:
    """Whole seconds of a ``Retry-After`` header: 1 to 120."""
    return min(120, max(1, math.ceil(seconds or 1)))


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


class Arrivals:
    """All who are here, from the first look at their file to their answer.

    That are also those who are not admitted yet, and those who share what another one makes: their files are held
    as well, and a burst of them must not take what there is.

    Args:
        limit: how many may be here.
        limit_bytes: of their files. One may always be here alone.
    """

    def __init__(self, *, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self.count = 0
        self.held_bytes = 0

    @contextmanager
    def arrival(self, size_bytes: int, *, retry_after_s: float) -> Iterator[Callable[[int], None]]:
        """One who comes with a file of that size; gives what is to be told of bytes that come later.

        Raises:
            QueueFull: too many are here, or their files have too many bytes.
        """
        held_bytes = size_bytes

        def holds(more_bytes: int) -> None:
            nonlocal held_bytes
            held_bytes += more_bytes
            self.held_bytes += more_bytes

        if self.count and (
            self.count >= self._limit or self.held_bytes + size_bytes > self._limit_bytes
        ):
            raise QueueFull(
                f"{self.count} requests with {self.held_bytes} bytes are here, the limits are {self._limit} and "
                f"{self._limit_bytes}",
                retry_after_s=retry_after_s,
            )
        self.count += 1
        self.held_bytes += size_bytes
        try:
            yield holds
        finally:
            self.count -= 1
            self.held_bytes -= held_bytes


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Memory for pixels, in two lanes: small pictures do not wait behind large ones.

    A part is kept back for small ones, so that there is always a way past a large one that waits or works.
    While a large one waits, small ones have that part alone, so they cannot keep it waiting for ever.
    """

    limit_bytes: int
    small_bytes: int = 0
    """Held by small pictures."""

    large_bytes: int = 0
    """Held by large ones, as ``counted``."""

    @property
    def reserve_bytes(self) -> int:
        """For small pictures alone."""
        return self.limit_bytes // 8

    def is_small(self, size_bytes: int) -> bool:
        """Up to a sixteenth of all, so two at least fit into the reserve."""
        return 16 * size_bytes <= self.limit_bytes

    def counted(self, size_bytes: int) -> int:
        """What a picture takes of the room.

        One that is larger than all but the reserve counts as just that: it comes in when no other large one is
        here, and leaves small ones their reserve. Only then is more held than the limit: its size and the reserve.
        """
        return min(size_bytes, self.limit_bytes - self.reserve_bytes)

    def takes(self, size_bytes: int, *, large_waits: bool) -> bool:
        """Whether the next one of its lane may come in now."""
        counted = self.counted(size_bytes)
        fits = self.small_bytes + self.large_bytes + counted <= self.limit_bytes
        if self.is_small(size_bytes):
            return self.small_bytes + counted <= self.reserve_bytes or (fits and not large_waits)
        return fits and self.large_bytes + counted <= self.limit_bytes - self.reserve_bytes


_Queue = deque[tuple[int, asyncio.Future[None]]]


class MemoryBudget:
    """Bytes of pixels held at once; who does not fit waits. ``Room`` says who fits; each lane is in order of arrival."""

    def __init__(self, limit_bytes: int) -> None:
        self.held_bytes = 0
        self._room = Room(limit_bytes=limit_bytes)
        self._small: _Queue = deque()
        self._large: _Queue = deque()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for room, and give it back in the end."""
        lane = self._small if self._room.is_small(size_bytes) else self._large
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.append((size_bytes, place))
        self._grant()
        try:
            await place
            yield
        finally:
            if place.done() and not place.cancelled():
                self._count(size_bytes, leaves=True)
            else:
                # Whoever left in the same turn of the loop may have taken it out already.
                with contextlib.suppress(ValueError):
                    lane.remove((size_bytes, place))
            self._grant()

    def _grant(self) -> None:
        for lane in (self._large, self._small):
            while lane:
                size_bytes, place = lane[0]
                if not place.cancelled():
                    if not self._room.takes(size_bytes, large_waits=bool(self._large)):
                        break
                    self._count(size_bytes)
                    place.set_result(None)
                lane.popleft()

    def _count(self, size_bytes: int, *, leaves: bool = False) -> None:
        sign = -1 if leaves else 1
        self.held_bytes += sign * size_bytes
        room, counted = self._room, sign * self._room.counted(size_bytes)
        if room.is_small(size_bytes):
            self._room = replace(room, small_bytes=room.small_bytes + counted)
        else:
            self._room = replace(room, large_bytes=room.large_bytes + counted)
