"""Many engines as one: each tile goes to the member with the least work, and elsewhere if that one fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import structlog

from enlarger.engine import Engine
from enlarger.errors import (
    BadTile,
    Busy,
    DeadlineExceeded,
    Draining,
    EngineError,
    EngineLost,
    EnlargerError,
    ModelNotHere,
    NoEngineReady,
    Starting,
    TileTooLarge,
)
from enlarger.pool.policy import (
    MIN_ATTEMPT_S,
    State,
    Tries,
    attempt_limit_s,
    choose,
    model_here,
)
from enlarger.pool.remote import Readiness
from enlarger.wire import EngineFacts, ModelFacts, TileRequest, TileResult

log = structlog.get_logger()

PROBE_INTERVAL_S = 2.0
PROBE_INTERVAL_DOWN_S = 0.25
HOPELESS_S = 30.0
"""After this long without a member that is or may become ready, waiting tiles are given up."""

HUNG_S = 30.0
"""A member that does not answer for this long although its process lives is started again."""

_BUSY_PAUSE_S = 0.05
_MISSES_TO_LEAVE = 2
"""Probes in a row without an answer that make a ready member gone: one may be lost to a busy machine."""


@dataclass(eq=False)
class Member:
    """One engine of a pool, with what the pool knows of it."""

    name: str
    engine: Engine
    probe: Callable[[], Awaitable[Readiness]] | None = None
    """Asks the engine how it is; None for one that is always ready."""

    restart: Callable[[], None] | None = None
    """Ends its process, whose supervisor then starts another; None for one that somebody else runs."""

    state: State = State.STARTING
    facts: EngineFacts | None = None
    in_flight: int = 0
    outstanding_mflop: float = 0.0
    last_used: int = 0
    tiles_done: int = 0
    strikes: int = 0
    mflop_per_s: float | None = None
    """Speed measured on its tiles; before the first, what it says of itself."""

    instance: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to have it probed at once."""

    _misses: int = 0

    def __post_init__(self) -> None:
        if self.probe is None:
            self.state, self.facts = State.READY, self.engine.facts()

    @property
    def may_return(self) -> bool:
        """Whether it is ready, or is on its way: one that has a supervisor comes back when it is gone."""
        if self.state in {State.FAILED, State.INCOMPATIBLE}:
            return False
        return self.restart is not None or self.state in {
            State.READY,
            State.STARTING,
            State.SUSPECT,
        }

    @property
    def shown_state(self) -> str:
        """Its state for people, who also want to see that it is busy."""
        full = self.facts is not None and self.in_flight >= self.facts.capacity
        return "busy" if self.state is State.READY and full else self.state.value

    def take(self, mflop: float, turn: int) -> None:
        """It holds one tile more."""
        self.in_flight += 1
        self.outstanding_mflop += mflop
        self.last_used = turn

    def give_back(self, mflop: float) -> None:
        """It holds one tile less."""
        self.in_flight -= 1
        self.outstanding_mflop = self.outstanding_mflop - mflop if self.in_flight else 0.0

    def learn(self, readiness: Readiness) -> None:
        """What a probe found."""
        if readiness.state is State.GONE and self.state is State.READY:
            self._misses += 1
            if self._misses < _MISSES_TO_LEAVE:
                return
        self._misses = 0
        if readiness.instance != self.instance:
            self.instance, self.mflop_per_s = readiness.instance, None
        self.state = readiness.state
        self.facts = readiness.facts
        if readiness.facts is not None and self.mflop_per_s is None:
            self.mflop_per_s = readiness.facts.mflop_per_s

    def lose(self) -> None:
        """Its process ended; whoever supervises it starts another."""
        self.state, self.facts, self.instance = State.STARTING, None, None

    def strike(self, state: State = State.SUSPECT) -> None:
        """It failed a tile: no more for it until a probe says it is well."""
        if self.probe is not None:
            self.strikes += state is State.SUSPECT
            self.state = state
            self.changed.set()

    def measure(self, mflop: float, took_s: float) -> None:
        """Follow its speed, newest tiles counting most."""
        self.tiles_done += 1
        speed = mflop / max(took_s, 1e-6)
        self.mflop_per_s = (
            speed if self.mflop_per_s is None else 0.7 * self.mflop_per_s + 0.3 * speed
        )


@dataclass(eq=False, slots=True)
class _Waiting:
    """A tile that waits for a seat."""

    request: TileRequest
    mflop: float
    avoid: Collection[Member]
    seat: asyncio.Future[Member]


class Pool:
    """Members as one ``Engine``. Tiles of different requests take turns.

    Args:
        members: the engines.
        min_attempt_s: the shortest time that a member gets for a tile.
        hopeless_s: how long tiles wait while no member is, or may become, ready.
        hung_s: how long a supervised member may be silent before it is started again.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        min_attempt_s: float = MIN_ATTEMPT_S,
        hopeless_s: float = HOPELESS_S,
        hung_s: float = HUNG_S,
    ) -> None:
        self.members = list(members)
        self._min_attempt_s = min_attempt_s
        self._hopeless_s = hopeless_s
        self._hung_s = hung_s
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._turn = 0
        self._hopeless_since: float | None = None
        self._changed = asyncio.Event()
        self._probes: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Pool:
        self._probes = [
            asyncio.create_task(self._watch(member), name=f"probe {member.name}")
            for member in self.members
            if member.probe is not None
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    def __repr__(self) -> str:
        ready = sum(member.state is State.READY for member in self.members)
        waiting = sum(len(queue) for queue in self._waiting.values())
        in_flight = sum(member.in_flight for member in self.members)
        return (
            f"<Pool {ready}/{len(self.members)} ready | {waiting} waiting, {in_flight} in flight>"
        )

    @property
    def ready(self) -> list[Member]:
        """Members that take tiles now."""
        return [member for member in self.members if member.state is State.READY]

    def facts(self) -> EngineFacts:
        """What the ready members can do together."""
        ready = [(member, member.facts) for member in self.ready if member.facts is not None]
        models = {model.id: model for _, facts in reversed(ready) for model in facts.models}
        speeds = [
            member.mflop_per_s * facts.parallel
            for member, facts in ready
            if member.mflop_per_s is not None
        ]
        return EngineFacts(
            engine="pool",
            ready=bool(ready),
            models=tuple(models.values()),
            capacity=sum(facts.capacity for _, facts in ready),
            in_flight=sum(member.in_flight for member in self.members),
            mflop_per_s=sum(speeds) if speeds else None,
        )

    async def ready_for(self, model_id: str, weights_sha256: str) -> ModelFacts:
        """Wait until a member has the model ready; see ``Engine``."""
        while True:
            for member in self.ready:
                model = model_here(member, model_id, weights_sha256)
                if model is not None:
                    return model
            if not any(
                member.may_return and member.state is not State.READY for member in self.members
            ):
                raise NoEngineReady(f"no model server has {model_id} ready", retry_after_s=5)
            await self._changed.wait()

    async def started(self, *, patience_s: float) -> None:
        """Wait until a member is ready, and ``patience_s`` at most for the others."""
        while not self.ready:
            await self._changed.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while len(self.ready) < len(self.members):
                    await self._changed.wait()

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge a tile on some member; see ``Engine``.

        Raises:
            EngineFailed, WrongOutput, OutOfMemory: three members, or one three times, failed on it.
            EngineLost: five went away under it.
            NoEngineReady: there is no member left that could take it.
            DeadlineExceeded: the deadline passed.
        """
        tries = Tries()
        avoid: set[Member] = set()
        mflop = request.lr_px * self._mflop_per_px(request)
        while True:
            async with self._seat(request, mflop, avoid) as member:
                limit_s = attempt_limit_s(
                    member.outstanding_mflop, member.mflop_per_s, at_least_s=self._min_attempt_s
                )
                tries.sent += 1
                try:
                    result = await _within(
                        limit_s, member.engine.enlarge(request), request.deadline
                    )
                except (Busy, Starting, Draining, ModelNotHere) as refusal:
                    # Says where the tile cannot go now, nothing of the server's health or of the tile.
                    tries.sent -= 1
                    await self._reroute(member, refusal, request.deadline)
                except (DeadlineExceeded, TileTooLarge, BadTile):
                    raise
                except EnlargerError as error:
                    another = tries.count(error)
                    if isinstance(error, EngineError):  # not where memory ran out
                        member.strike()
                    avoid.add(member)
                    log.warning(
                        "tile_failed",
                        server=member.name,
                        code=error.code,
                        index=request.index,
                        tile_request_id=request.request_id,
                        another=another,
                    )
                    if not another:
                        raise
                else:
                    member.measure(mflop, result.infer_s)
                    return replace(result, server=member.name, attempts=tries.sent)

    def nudge(self) -> None:
        """A member changed from outside: seats may be free, hope may be gone."""
        self._dispatch()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _reroute(self, member: Member, refusal: EnlargerError, deadline: float) -> None:
        if isinstance(refusal, Busy) or member.probe is None:
            # Somebody else uses the server too. Its seat stays taken for a moment, so that we look elsewhere.
            left_s = deadline - asyncio.get_running_loop().time()
            await asyncio.sleep(min(refusal.retry_after_s or _BUSY_PAUSE_S, left_s))
        elif isinstance(refusal, Draining):
            member.strike(State.DRAINING)
        else:
            member.strike(State.STARTING)

    def _mflop_per_px(self, request: TileRequest) -> float:
        for member in self.members:
            model = model_here(member, request.model, request.weights_sha256)
            if model is not None:
                return model.mflop_per_px
        return 1.0

    @asynccontextmanager
    async def _seat(
        self, request: TileRequest, mflop: float, avoid: Collection[Member]
    ) -> AsyncIterator[Member]:
        """A member with room, held for one tile."""
        place = _Waiting(request, mflop, avoid, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(request.request_id, deque()).append(place)
        self._dispatch()
        try:
            try:
                async with asyncio.timeout_at(request.deadline):
                    member = await place.seat
            except TimeoutError as error:
                raise DeadlineExceeded(
                    "the deadline passed while the tile waited for a model server"
                ) from error
            yield member
        finally:
            self._leave(place)
            self._dispatch()

    def _leave(self, place: _Waiting) -> None:
        """Give back the seat, or the place in the queue."""
        if place.seat.done() and not place.seat.cancelled() and place.seat.exception() is None:
            place.seat.result().give_back(place.mflop)
            return
        queue = self._waiting.get(place.request.request_id)
        if queue is not None:
            with contextlib.suppress(ValueError):
                queue.remove(place)
            if not queue:
                del self._waiting[place.request.request_id]

    def _dispatch(self) -> None:
        """Seat waiting tiles, one of each request in turn, while there is room."""
        placed = True
        while placed:
            placed = False
            for request_id in list(self._waiting):
                queue = self._waiting[request_id]
                while queue and queue[0].seat.done():
                    queue.popleft()
                member = (
                    choose(self.members, queue[0].request, avoid=queue[0].avoid) if queue else None
                )
                if member is not None:
                    place = queue.popleft()
                    self._turn += 1
                    # No await since choosing: two tiles cannot take one seat.
                    member.take(place.mflop, self._turn)
                    place.seat.set_result(member)
                    placed = True
                    self._waiting.move_to_end(request_id)
                if not queue:
                    del self._waiting[request_id]
                if placed:
                    break
        self._give_up_if_hopeless()

    def _give_up_if_hopeless(self) -> None:
        """Fail waiting tiles when no member has been or may become ready for a while."""
        now = asyncio.get_running_loop().time()
        if any(member.may_return for member in self.members):
            self._hopeless_since = None
            return
        if self._hopeless_since is None:
            self._hopeless_since = now
        if now - self._hopeless_since < self._hopeless_s:
            return
        for queue in self._waiting.values():
            for place in queue:
                if not place.seat.done():
                    place.seat.set_exception(
                        NoEngineReady("no model server is left", retry_after_s=10)
                    )

    async def _watch(self, member: Member) -> None:
        """Probe a member for ever: often while it is not ready, at once when asked to."""
        assert member.probe is not None  # noqa: S101 - for the type checker; only such members are watched
        loop = asyncio.get_running_loop()
        silent_since: float | None = None
        while True:
            before = member.state
            member.changed.clear()
            readiness = await member.probe()
            member.learn(readiness)
            if member.state is not before:
                log.info(
                    "server_state",
                    server=member.name,
                    state=member.state.value,
                    before=before.value,
                )
            if member.state is not State.GONE:
                silent_since = None
            elif silent_since is None:
                silent_since = loop.time()
            elif member.restart is not None and loop.time() - silent_since >= self._hung_s:
                log.warning("server_hung", server=member.name, silent_s=round(self._hung_s, 1))
                silent_since = None
                member.restart()
            self.nudge()
            interval_s = PROBE_INTERVAL_S if member.state is State.READY else PROBE_INTERVAL_DOWN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await member.changed.wait()


async def _within(limit_s: float, work: Awaitable[TileResult], deadline: float) -> TileResult:
    """``work``, given up when it takes longer than its server's speed explains."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(min(deadline, loop.time() + limit_s)):
            return await work
    except TimeoutError as error:
        if loop.time() >= deadline:
            raise DeadlineExceeded("the deadline passed before the tile was done") from error
        raise EngineLost(f"a model server did not answer within {limit_s:.0f} s") from error
