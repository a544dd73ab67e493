"""One engine of a pool, with what the pool knows of it."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from enlarger.engine import Engine
from enlarger.engine.status import ServerStatus
from enlarger.engine.tile import EngineFacts, TileRequest, TileResult
from enlarger.errors import DeadlineExceeded, EngineLost
from enlarger.pool.health import Health, State
from enlarger.pool.policy import MIN_ATTEMPT_S, NeverBegun, Recalled, Wear
from enlarger.pool.remote import Readiness

log = structlog.get_logger()

_AT_ONCE_S = 0.02
"""Tiles that are lost within this time are lost together."""


@dataclass(eq=False, slots=True)
class _Attempt:
    """A tile that is here."""

    request: TileRequest
    timeout: asyncio.Timeout
    begun_at: float | None
    """Since when it can have been worked on; None: it waits behind others."""

    recalled: bool = False


@dataclass(eq=False)
class Member:
    """One engine of a pool, with what the pool knows of it."""

    name: str
    engine: Engine
    probe: Callable[[], Awaitable[Readiness]] | None = None
    """Asks the engine how it is; None for one that is always ready."""

    restart: Callable[[], None] | None = None
    """Ends its process, whose supervisor then starts another; None for one that somebody else runs."""

    health: Health = field(default_factory=Health)
    facts: EngineFacts | None = None
    in_flight: int = 0
    outstanding_mflop: float = 0.0
    last_used: int = 0
    tiles_done: int = 0
    strikes: int = 0
    ejections: int = 0
    restarts: int = 0
    """Tiles, failures, ejections and new processes since the gateway started."""

    mflop_per_s: float | None = None
    """Speed measured on its tiles; before the first, what it says of itself."""

    parallel: int = 1
    """Tiles that it computes at the same time, as it last said."""

    instance: str | None = None
    rss_bytes: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have it probed at once."""

    _attempts: list[_Attempt] = field(default_factory=list)
    """Tiles that are here, oldest first: the order in which they are worked on."""

    _late_since: float | None = None

    def __post_init__(self) -> None:
        if self.probe is None:
            self.health, self.facts = Health(state=State.READY), self.engine.facts()
            self.mflop_per_s, self.parallel = self.facts.mflop_per_s, self.facts.parallel

    def __repr__(self) -> str:
        facts = self.facts
        seats = f" {self.in_flight}/{facts.capacity}" if facts is not None else ""
        faults = f" {self.health.strikes} strikes" if self.health.strikes else ""
        return f"{self.name} {self.state.value}{seats}{faults}"

    @property
    def state(self) -> State:
        """How it is."""
        return self.health.state

    @property
    def may_return(self) -> bool:
        """Whether it is ready, or is on its way: one that has a supervisor comes back when it is gone."""
        if self.state in {State.FAILED, State.INCOMPATIBLE}:
            return False
        return self.restart is not None or self.state not in {State.GONE, State.DRAINING}

    def status(self, *, is_ready: bool) -> ServerStatus:
        """What is shown of it; a ready one that has no seat left is shown as busy."""
        full = self.facts is not None and self.in_flight >= self.facts.capacity
        return ServerStatus(
            name=self.name,
            state=self.state.value,
            shown_state="busy" if self.state is State.READY and full else self.state.value,
            is_ready=is_ready,
            may_return=self.may_return,
            tiles_in_flight=self.in_flight,
            tiles_done=self.tiles_done,
            strikes=self.strikes,
            ejections=self.ejections,
            restarts=self.restarts,
            rss_bytes=self.rss_bytes,
            facts=self.facts,
        )

    def take(self, mflop: float, turn: int) -> None:
        """It holds one tile more."""
        self.in_flight += 1
        self.outstanding_mflop += mflop
        self.last_used = turn

    def give_back(self, mflop: float) -> None:
        """It holds one tile less."""
        self.in_flight -= 1
        self.outstanding_mflop = self.outstanding_mflop - mflop if self.in_flight else 0.0

    async def enlarge(
        self, request: TileRequest, *, limit_s: float, forgiven_s: float = MIN_ATTEMPT_S
    ) -> TileResult:
        """Have it enlarge a tile; see ``Engine``.

        Args:
            request: the tile.
            limit_s: seconds after which it is lost.
            forgiven_s: seconds from the first lost tile in which more may be lost, before the member hangs.

        Raises:
            EngineLost: it took longer than ``limit_s``, or went away.
            NeverBegun: it went away while it worked on others.
            Recalled: it was still waiting behind others.
            DeadlineExceeded: the tile's deadline passed.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        limit = asyncio.timeout_at(min(request.deadline, started + limit_s))
        attempt = _Attempt(request, limit, self._begins_at_once())
        try:
            async with limit:
                with self._holding(attempt):
                    try:
                        return await self.engine.enlarge(request)
                    except EngineLost as error:
                        if self._has_begun(attempt):
                            raise
                        raise NeverBegun(str(error)) from error
        except TimeoutError as error:
            if attempt.recalled:
                raise Recalled from error
            if loop.time() >= request.deadline:
                raise DeadlineExceeded("the deadline passed before the tile was done") from error
            if self.state is State.GONE:
                raise EngineLost("a model server stopped answering") from error
            self._was_late(started, loop.time(), forgiven_s)
            raise EngineLost(f"a model server did not answer within {limit_s:.1f} s") from error

    def holds_back(self, request: TileRequest) -> bool:
        """Whether a tile is here and waits behind others."""
        return any(one.request is request and one.begun_at is None for one in self._attempts)

    def recall(self, request: TileRequest) -> None:
        """A tile that waits here is wanted elsewhere."""
        for attempt in self._attempts:
            if attempt.request is request and not attempt.timeout.expired():
                attempt.recalled = True
                attempt.timeout.reschedule(asyncio.get_running_loop().time())

    @contextmanager
    def _holding(self, attempt: _Attempt) -> Iterator[None]:
        """A tile that is here."""
        self._attempts.append(attempt)
        try:
            yield
        finally:
            self._attempts.remove(attempt)
            now = asyncio.get_running_loop().time()
            for oldest in self._attempts[: self.parallel]:
                if oldest.begun_at is None:
                    oldest.begun_at = now

    def _begins_at_once(self) -> float | None:
        return -math.inf if len(self._attempts) < self.parallel else None

    def _has_begun(self, attempt: _Attempt) -> bool:
        """Whether the engine can have begun it: it works on the oldest ones first."""
        # When a process ends, all its tiles are lost one after the other: who became the oldest by that has not begun.
        since = attempt.begun_at
        return since is not None and asyncio.get_running_loop().time() - since > _AT_ONCE_S

    def _was_late(self, started: float, now: float, forgiven_s: float) -> None:
        """A tile took too long. Once may be a slow start; after that it hangs, whatever its probes say.

        Where deadlines are short, so are attempts; a start is as slow as ever.
        """
        if self._late_since is None:
            self._late_since = now
        elif started >= self._late_since and now - self._late_since >= forgiven_s:
            self.end("it hangs")

    def done(self, mflop: float, took_s: float) -> None:
        """It did a tile. Its speed is followed, newest tiles counting most."""
        self.tiles_done += 1
        self.health = self.health.succeeded()
        self._late_since = None
        speed = mflop / max(took_s, 1e-6)
        self.mflop_per_s = (
            speed if self.mflop_per_s is None else 0.7 * self.mflop_per_s + 0.3 * speed
        )

    def strike(self, *, may_eject: bool) -> None:
        """It failed a tile: no more for it until a probe says it is well, or longer."""
        if self.probe is None:
            return
        self.strikes += 1
        now, chance = asyncio.get_running_loop().time(), random.random()  # noqa: S311 - no secret
        before = self.state
        self.health = self.health.struck(now=now, chance=chance, may_eject=may_eject)
        if self.state is State.EJECTED and before is not State.EJECTED:
            self.ejections += 1
            log.warning("server_ejected", server=self.name, for_s=self.health.ejected_until - now)
        self.changed.set()

    def leave(self, state: State) -> None:
        """It said itself that it takes no tiles now."""
        if self.probe is not None:
            self.health = self.health.left(state)
            self.changed.set()

    def learn(self, readiness: Readiness) -> None:
        """What a probe found."""
        now = asyncio.get_running_loop().time()
        if readiness.instance is not None and readiness.instance != self.instance:
            self.instance, self.health = readiness.instance, Health()
            if (
                self.restart is None
            ):  # it may be another machine; one that is supervised is where it was
                self.mflop_per_s = None
        self.health = self.health.probed(readiness.state, now=now)
        if readiness.state is not State.GONE:
            self.facts, self.rss_bytes = readiness.facts, readiness.rss_bytes
        if self.state is State.GONE:
            self.facts = self.rss_bytes = None
            for attempt in self._attempts:
                if not attempt.timeout.expired():
                    attempt.timeout.reschedule(now)
        if self.facts is not None:
            self.parallel = self.facts.parallel
            if self.mflop_per_s is None:
                self.mflop_per_s = self.facts.mflop_per_s

    def is_worn(self, readiness: Readiness, wear: Wear) -> bool:
        """Whether its process has served long enough, and there is somebody to start another."""
        return (
            self.restart is not None
            and self.state is State.READY
            and wear.is_reached(rss_bytes=readiness.rss_bytes, tiles=readiness.tiles_done)
        )

    def retire(self) -> None:
        """No more tiles for its process; it is ended once it has none."""
        log.info("server_retires", server=self.name, rss_bytes=self.rss_bytes)
        self.health = self.health.retire()

    def end(self, reason: str) -> None:
        """End its process, if there is a supervisor who starts another."""
        if self.restart is not None:
            log.warning("server_replaced", server=self.name, reason=reason)
            self.restart()

    def lose(self) -> None:
        """Its process ended; whoever supervises it starts another."""
        self.restarts += 1
        self.health, self.facts, self.instance = Health(), None, None
        self.rss_bytes = self._late_since = None
