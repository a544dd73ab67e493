"""Admission: which requests may begin, decided from the work already admitted and the measured speed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from enlarger.config import LimitSettings
from enlarger.engine import Engine
from enlarger.errors import DeadlineTooShort, Draining, QueueFull
from enlarger.pipeline.ledger import Cost, Elsewhere, Entry, Handling, Ledger, Load

MIN_DEADLINE_S = 600
_DEADLINE_FACTOR = 4

_DOUBT = 2
"""An estimate may be wrong by this factor: equal tiles are computed once, and a speed that was measured in a bad
moment is corrected only by computing again. Within this factor, an idle gateway tries."""

INPUT_SHARE = 4
"""Input files may take one part in this many of the memory for pixels. By the defaults these are 73 of the largest
files, while the queue takes 256 requests. It is seldom the tighter limit: a pixel that is enlarged four times takes 392
bytes, and in its file at most 8."""


Charge = Callable[[int], Awaitable[None]]
"""Called with output pixels, which count against the caller's rate limit."""


def admit(
    here: Load,
    new: Load,
    *,
    queue_limit: int,
    max_wait_s: float,
    input_limit_bytes: int,
    deadline_s: float | None,
) -> None:
    """Admit one more request, or say when to come back. An idle gateway admits any request that can be done in time.

    Args:
        here: the work of all requests admitted before.
        new: the work of the new request.
        queue_limit: requests that may be admitted and unfinished.
        max_wait_s: seconds that the new request may wait for those before it.
        input_limit_bytes: bytes of all input files together.
        deadline_s: the operator's deadline; None: no limit.

    Raises:
        QueueFull: there are too many requests or bytes, or the request would wait too long.
        DeadlineTooShort: the request would not be done in time even alone.
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
    """Return the estimated seconds until a new request is done after all others; None while no speed is known."""
    return here.wait_s + new.wait_s if new.mflop_per_s else None


def time_limit_s(eta_s: float | None, *, setting: float | None) -> float:
    """Return the seconds that an admitted request may take: the setting, or four times its estimate and at least 600."""
    if setting is not None:
        return setting
    return max(MIN_DEADLINE_S, _DEADLINE_FACTOR * (eta_s or 0.0))


def retry_after(seconds: float | None) -> int:
    """Return the whole seconds of a ``Retry-After`` header, from 1 to 120."""
    return min(120, max(1, math.ceil(seconds or 1)))


class Arrivals:
    """Limits all requests, from the arrival of their file to their response.

    These include requests that are not admitted yet, and those that share the result of another one: their files are
    in memory as well, and a burst of them must not use up the memory.

    Args:
        limit: requests that may be here.
        limit_bytes: bytes of their files. A single request may have more.
    """

    def __init__(self, *, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self.count = 0
        self.held_bytes = 0

    @contextmanager
    def arrival(self, size_bytes: int, *, retry_after_s: float) -> Iterator[Callable[[int], None]]:
        """Count a request with a file of this size for as long as the context lasts.

        Yields:
            A function to call with bytes that come later.

        Raises:
            QueueFull: there are too many requests, or their files have too many bytes.
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


_ARRIVALS_PER_PLACE = 2
_ARRIVALS_SHARE = 2
"""There may be twice as many requests as are admitted, with files of half of the memory for pixels."""


class Admission:
    """Admits requests, counts the admitted ones, and estimates when they will be done.

    Args:
        engine: states its speed.
        limits: the operator's limits.
        decoders: processes that decode at the same time.
        draining: returns whether the gateway takes no new requests.
        elsewhere: returns what other gateways have admitted for the same engine.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        limits: LimitSettings,
        decoders: int,
        draining: Callable[[], bool],
        elsewhere: Callable[[], Elsewhere],
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._draining = draining
        self._elsewhere = elsewhere
        self._ledger = Ledger(Handling(decoders))
        memory_bytes = limits.picture_memory_mib << 20
        self._input_limit_bytes = memory_bytes // INPUT_SHARE
        self._arrivals = Arrivals(
            limit=_ARRIVALS_PER_PLACE * limits.queue_limit,
            limit_bytes=memory_bytes // _ARRIVALS_SHARE,
        )

    @property
    def load(self) -> Load:
        """The work that is admitted here now."""
        return self._ledger.load(self._engine.facts().all_mflop_per_s)

    @property
    def _load_of_all(self) -> Load:
        """The work for the engine that is admitted now, here and by other gateways."""
        return self._elsewhere().with_load(self.load)

    @property
    def queued_px(self) -> int:
        """LR pixels of all admitted and unfinished pictures."""
        return self._ledger.lr_px

    def check_open(self) -> None:
        """Raise ``Draining`` if the gateway takes no new requests."""
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)

    def arrival(self, size_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
        """Count a request with so many bytes for as long as the context lasts; see ``Arrivals``.

        Raises:
            QueueFull: there are too many requests.
        """
        load = self.load
        one_s = load.wait_s / max(1, load.requests)
        return self._arrivals.arrival(size_bytes, retry_after_s=one_s)

    def admit(self, cost: Cost) -> float | None:
        """Admit a request, and return the estimated seconds until it is done; None if no speed is known.

        Raises:
            CapacityError: there is no room now, or the request would not be done in time.
        """
        load, new = self.load, self._load_of(cost)
        here = self._elsewhere().with_load(load)
        admit(
            self._elsewhere().with_growth(load),
            new,
            queue_limit=self._limits.queue_limit,
            max_wait_s=self._limits.max_wait_s,
            input_limit_bytes=self._input_limit_bytes,
            deadline_s=self._limits.deadline_s,
        )
        self.check_open()
        return eta_s(here, new)

    def eta_s(self, cost: Cost) -> float | None:
        """Return the estimated seconds until a request would be done; None while no speed is known."""
        return eta_s(self._load_of_all, self._load_of(cost))

    @property
    def wait_s(self) -> float | None:
        """Seconds until all admitted requests are done, for which a new one may have to wait; None while no speed is known."""
        load = self._load_of_all
        return load.wait_s if load.mflop_per_s else None

    def entry(self, cost: Cost) -> AbstractContextManager[Entry]:
        """Count an admitted request for as long as the context lasts; see ``Ledger``."""
        return self._ledger.entry(cost)

    def _load_of(self, cost: Cost) -> Load:
        """Return the work of one more request."""
        facts = self._engine.facts()
        return self._ledger.load_of(cost, facts.all_mflop_per_s, parallel=facts.parallel)
