"""One engine of a pool, with what the pool knows of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from enlarger.engine import Engine
from enlarger.engine.status import ServerStatus
from enlarger.engine.tile import EngineFacts, NetworkKey, TileRequest, TileResult
from enlarger.errors import DeadlineExceeded, EngineLost
from enlarger.pool.attempts import Attempts
from enlarger.pool.health import Health, State
from enlarger.pool.policy import MIN_ATTEMPT_S, Wear
from enlarger.pool.remote import Readiness

log = structlog.get_logger()


@dataclass(eq=False)
class Member:
    """One engine of a pool, with what the pool knows of it."""

    name: str
    engine: Engine
    probe: Callable[[], Awaitable[Readiness]] | None = None
    """Asks the engine how it is; None for an engine that is always ready."""

    restart: Callable[[], None] | None = None
    """Ends the engine's process, whose supervisor then starts another; None if it is run elsewhere."""

    health: Health = field(default_factory=Health)
    facts: EngineFacts | None = None
    in_flight: int = 0
    outstanding_mflop: float = 0.0
    last_used: int = 0
    tiles_done: int = 0
    strikes: int = 0
    ejections: int = 0
    restarts: int = 0
    switches: int = 0
    """Tiles, failures, ejections, new processes, and networks released for others, since the gateway started."""

    mflop_per_s: float | None = None
    """Speed measured on this member's tiles; before the first, the speed that the engine states."""

    instance: str | None = None
    rss_bytes: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have the member probed at once."""

    others: int = 0
    """Tiles of other gateways that the engine held at the last probe."""

    _late_since: float | None = None
    _warmed: set[tuple[NetworkKey, str]] = field(default_factory=set)
    """Networks whose tiles were sent since the engine last said what is in its memory."""

    _switches_there: int = 0
    """Switches that the engine's process had counted at the last probe."""

    def __post_init__(self) -> None:
        self._attempts = Attempts(self.engine)
        if self.probe is None:
            self.health, self.facts = Health(state=State.READY), self.engine.facts()
            self.mflop_per_s, self._attempts.parallel = self.facts.mflop_per_s, self.facts.parallel

    def __repr__(self) -> str:
        facts = self.facts
        seats = f" {self.in_flight}/{facts.capacity}" if facts is not None else ""
        faults = f" {self.health.strikes} strikes" if self.health.strikes else ""
        return f"{self.name} {self.state.value}{seats}{faults}"

    @property
    def state(self) -> State:
        """The member's state; see ``Health``."""
        return self.health.state

    @property
    def parallel(self) -> int:
        """Tiles that the engine computes at the same time, as it last said."""
        return self._attempts.parallel

    @property
    def queued_mflop(self) -> float:
        """All the work that the engine holds. Tiles of other gateways are taken to be as large as those of this one."""
        return self.outstanding_mflop * (1 + self.others / max(1, self.in_flight))

    @property
    def may_return(self) -> bool:
        """Whether the member is or may become ready. A supervised one that is gone comes back."""
        if self.state in {State.FAILED, State.INCOMPATIBLE}:
            return False
        return self.restart is not None or self.state not in {State.GONE, State.DRAINING}

    def status(self, *, is_ready: bool) -> ServerStatus:
        """Return what is shown of the member. A ready one without a free seat is shown as busy."""
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
            switches=self.switches,
            rss_bytes=self.rss_bytes,
            facts=self.facts,
        )

    def is_warm(self, request: TileRequest) -> bool:
        """Return whether the engine has the tile's network in memory, or has got a tile to load it for."""
        model = self.facts.meeting(request.need) if self.facts is not None else None
        if model is None or model.loaded is None:
            return model is not None
        return request.precision in model.loaded or _network_of(request) in self._warmed

    def take(self, request: TileRequest, mflop: float, turn: int) -> None:
        """Count one tile more."""
        self._warmed.add(_network_of(request))
        self.in_flight += 1
        self.outstanding_mflop += mflop
        self.last_used = turn

    def give_back(self, mflop: float) -> None:
        """Count one tile less."""
        self.in_flight -= 1
        self.outstanding_mflop = self.outstanding_mflop - mflop if self.in_flight else 0.0

    async def enlarge(
        self, request: TileRequest, *, limit_s: float, forgiven_s: float = MIN_ATTEMPT_S
    ) -> TileResult:
        """Enlarge a tile; see ``Engine``.

        Args:
            request: the tile.
            limit_s: seconds after which the tile is lost.
            forgiven_s: seconds from the first lost tile in which more may be lost, before the engine is taken to
                hang.

        Raises:
            EngineLost: the engine took longer than ``limit_s``, or went away.
            NeverBegun: the engine went away while it computed other tiles.
            Recalled: the tile was called back while it waited behind others.
            DeadlineExceeded: the tile's deadline passed.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            return await self._attempts.enlarge(request, limit_s=limit_s)
        except TimeoutError as error:
            if loop.time() >= request.deadline:
                raise DeadlineExceeded("the deadline passed before the tile was done") from error
            if self.state is State.GONE:
                raise EngineLost("a model server stopped answering") from error
            self._was_late(started, loop.time(), forgiven_s)
            raise EngineLost(f"a model server did not answer within {limit_s:.1f} s") from error

    def holds_back(self, request: TileRequest) -> bool:
        """Return whether the engine has the tile, and computes others before it."""
        return self._attempts.holds_back(request)

    def recall(self, request: TileRequest) -> None:
        """Call back a tile that is wanted elsewhere."""
        self._attempts.recall(request)

    def _was_late(self, started: float, now: float, forgiven_s: float) -> None:
        """Count a tile that took too long: the first may be a slow start, one that started later means a hang.

        Where deadlines are short, attempts are short as well, but a start is as slow as ever.
        """
        if self._late_since is None:
            self._late_since = now
        elif started >= self._late_since and now - self._late_since >= forgiven_s:
            self.end("it hangs")

    def done(self, mflop: float, took_s: float) -> None:
        """Count a finished tile, and average its speed with that of earlier ones; the newest tiles count most."""
        self.tiles_done += 1
        self.health = self.health.succeeded()
        self._late_since = None
        speed = mflop / max(took_s, 1e-6)
        self.mflop_per_s = (
            speed if self.mflop_per_s is None else 0.7 * self.mflop_per_s + 0.3 * speed
        )

    def strike(self, *, may_eject: bool) -> None:
        """Count a failed tile. The member gets no more until a probe finds it ready, or longer if it is ejected."""
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
        """Take note that the engine refused a tile, and is in this state."""
        if self.probe is not None:
            self.health = self.health.left(state)
            self.changed.set()

    def learn(self, readiness: Readiness) -> None:
        """Take note of what a probe found."""
        if readiness.instance is not None and readiness.instance != self.instance:
            self.instance, self.health, self._switches_there = readiness.instance, Health(), 0
            # It may run on another machine now, unless we supervise it.
            if self.restart is None:
                self.mflop_per_s = None
        self.health = self.health.probed(readiness.state, now=asyncio.get_running_loop().time())
        if readiness.state is not State.GONE:
            self._count_switches(readiness.facts)
            self.facts, self.rss_bytes = readiness.facts, readiness.rss_bytes
            self._warmed = {_network_of(request) for request in self._attempts.requests}
        if self.state is State.GONE:
            self.facts, self.rss_bytes, self.others = None, None, 0
            self._attempts.lose_all()
        if self.facts is not None:
            self.others = max(0, self.facts.in_flight - self.in_flight)
            self._attempts.parallel = self.facts.parallel
            if self.mflop_per_s is None:
                self.mflop_per_s = self.facts.mflop_per_s

    def _count_switches(self, facts: EngineFacts | None) -> None:
        """Count the switches since the last probe: the engine counts those of its own process."""
        if facts is not None and facts.networks is not None:
            there = facts.networks.switches
            self.switches += max(0, there - self._switches_there)
            self._switches_there = there

    def is_worn(self, readiness: Readiness, wear: Wear) -> bool:
        """Return whether the engine's process has served long enough, and a supervisor can start another."""
        return (
            self.restart is not None
            and self.state is State.READY
            and wear.is_reached(rss_bytes=readiness.rss_bytes, tiles=readiness.tiles_done)
        )

    def retire(self) -> None:
        """Give the engine's process no more tiles. The process is ended once it has none."""
        log.info("server_retires", server=self.name, rss_bytes=self.rss_bytes)
        self.health = self.health.retire()

    def end(self, reason: str) -> None:
        """End the engine's process, if there is a supervisor that starts another."""
        if self.restart is not None:
            log.warning("server_replaced", server=self.name, reason=reason)
            self.restart()

    def lose(self) -> None:
        """Take note that the engine's process ended; its supervisor starts another."""
        self.restarts += 1
        self.health, self.facts, self.instance = Health(), None, None
        self.rss_bytes = self._late_since = None


def _network_of(request: TileRequest) -> tuple[NetworkKey, str]:
    return request.network, request.precision
