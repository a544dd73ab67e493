"""Many engines as one: each tile goes to the member with the least work, and elsewhere if that one fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

import structlog

from enlarger.engine.status import ServerStatus
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import (
    BadTile,
    Busy,
    DeadlineExceeded,
    Draining,
    EngineError,
    EnlargerError,
    ModelNotHere,
    NoEngineReady,
    Starting,
    TileTooLarge,
    Unauthorized,
)
from enlarger.pool.fair_queue import FairQueue
from enlarger.pool.health import State
from enlarger.pool.member import Member
from enlarger.pool.policy import (
    MIN_ATTEMPT_S,
    Recalled,
    Tries,
    Wear,
    attempt_limit_s,
    choose,
    done_sooner,
    has_open_seat,
    in_rotation,
    is_idle,
    may_compute,
    may_eject,
    model_here,
    retry_fits,
)
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

PROBE_INTERVAL_S = 2.0
PROBE_INTERVAL_DOWN_S = 0.25
HOPELESS_S = 30.0
"""After this long without a member that is or may become ready, waiting tiles are given up."""

HUNG_S = 15.0
"""A member that is gone for this long although its process lives is started again."""

UNUSABLE = frozenset({State.GONE, State.FAILED, State.INCOMPATIBLE})
"""States of a member that may need somebody to mend it."""

_BUSY_PAUSE_S = 0.05
_GONE_RETRY_S = 10


@dataclass(eq=False, slots=True)
class _Tile:
    """A tile on its way: it waits for a seat, or has one."""

    request: TileRequest
    mflop: float
    seat: asyncio.Future[Member]
    tries: Tries = field(default_factory=Tries)
    avoid: set[Member] = field(default_factory=set)
    """Where it failed."""

    moves: bool = False
    """It is called back from where it waits, to go to a member that has nothing to do."""

    @property
    def again(self) -> bool:
        """Whether an engine failed on it before."""
        return self.tries.failed > 0

    @property
    def kind(self) -> _Kind:
        """All that decides who gets it. Hundreds of tiles wait, of one kind or a few."""
        request = self.request
        return request.model, request.weights_sha256, request.precision, frozenset(self.avoid)


_Kind = tuple[str, str, str, frozenset[Member]]
_Chosen = dict[_Kind, Member | None]
"""Who gets tiles of a kind, as long as nobody takes or leaves a seat; None: they wait."""


class Pool:
    """Members as one ``Engine``. Tiles of different owners take turns.

    Args:
        members: the engines.
        min_attempt_s: the shortest time that a member gets for a tile.
        hopeless_s: how long tiles wait while no member is, or may become, ready.
        hung_s: how long a supervised member may be gone before its process is ended.
        wear: what a supervised member may use and serve before its process is replaced.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        min_attempt_s: float = MIN_ATTEMPT_S,
        hopeless_s: float = HOPELESS_S,
        hung_s: float = HUNG_S,
        wear: Wear | None = None,
    ) -> None:
        self.members = list(members)
        self._min_attempt_s = min_attempt_s
        self._hopeless_s = hopeless_s
        self._hung_s = hung_s
        self._wear = wear or Wear()
        self._waiting: FairQueue[_Tile] = FairQueue()
        self._seated: dict[_Tile, Member] = {}
        self._retrying = 0
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
        again = f", {self._retrying} again" if self._retrying else ""
        members = "".join(f" | {member!r}" for member in self.members)
        return (
            f"<Pool {ready}/{len(self.members)} ready | "
            f"{len(self._waiting)} waiting, {self._in_flight} in flight{again}{members}>"
        )

    @property
    def ready(self) -> list[Member]:
        """Members that take tiles now."""
        return in_rotation(self.members)

    @property
    def states(self) -> tuple[str, ...]:
        """All states of a member; see ``EngineStatus``."""
        return tuple(state.value for state in State)

    @property
    def servers(self) -> tuple[ServerStatus, ...]:
        """The members as they are now; see ``EngineStatus``."""
        ready = self.ready
        return tuple(member.status(is_ready=member in ready) for member in self.members)

    @property
    def _in_flight(self) -> int:
        return sum(member.in_flight for member in self.members)

    @property
    def waiting(self) -> int:
        """Tiles that wait for a seat."""
        return len(self._waiting)

    def facts(self) -> EngineFacts:
        """What the ready members can do together.

        While none is ready, the speed is what those had that may return: it says who is admitted to wait for them.
        """
        ready = [(member, member.facts) for member in self.ready if member.facts is not None]
        models = {
            (model.id, model.sha256, model.scale): model
            for _, facts in reversed(ready)
            for model in facts.models
        }
        returning = [member for member in self.members if member.may_return]
        counted = [member for member, _ in ready] or returning
        # One that has computed nothing yet is taken to be as quick as the others.
        speeds = _speeds(counted) or _speeds(returning)
        return EngineFacts(
            engine="pool",
            ready=bool(ready),
            models=tuple(models.values()),
            capacity=sum(facts.capacity for _, facts in ready),
            in_flight=self._in_flight,
            mflop_per_s=fmean(speeds) if speeds else None,
            parallel=sum(member.parallel for member in counted),
        )

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait until a member has the model ready; see ``Engine``."""
        while True:
            for member in self.ready:
                model = model_here(member, need)
                if model is not None:
                    return model
            if not any(
                member.may_return and member.state is not State.READY for member in self.members
            ):
                raise NoEngineReady(f"no model server has {need.model} ready", retry_after_s=5)
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
        mflop = request.lr_px * self._mflop_per_px(request)
        tile = _Tile(request, mflop, asyncio.get_running_loop().create_future())
        tries = tile.tries
        while True:
            async with self._seat(tile) as member:
                limit_s = attempt_limit_s(
                    member.outstanding_mflop,
                    member.mflop_per_s,
                    lost=tries.lost,
                    left_s=request.deadline - asyncio.get_running_loop().time(),
                    at_least_s=self._min_attempt_s,
                )
                tries.sent += 1
                try:
                    result = await member.enlarge(
                        request, limit_s=limit_s, forgiven_s=self._min_attempt_s
                    )
                except Recalled:
                    tries.sent -= 1
                except (Busy, Starting, Draining, ModelNotHere, Unauthorized) as refusal:
                    # Says where the tile cannot go now, nothing of the server's health or of the tile.
                    tries.sent -= 1
                    await self._reroute(member, refusal, request.deadline)
                except (DeadlineExceeded, TileTooLarge, BadTile):
                    raise
                except EnlargerError as error:
                    another = tries.count(error)
                    if isinstance(error, EngineError):  # not where memory ran out
                        member.strike(may_eject=may_eject(self.members))
                    tile.avoid.add(member)
                    log.warning(
                        "tile_failed",
                        server=member.name,
                        code=error.code,
                        reason=reason_of(error),
                        index=request.index,
                        request_id=request.request_id,
                        another=another,
                        pool=str(self),
                    )
                    if not another:
                        raise
                else:
                    member.done(mflop, result.infer_s)
                    return replace(result, server=member.name, attempts=tries.sent)

    def nudge(self) -> None:
        """A member changed from outside: seats may be free, hope may be gone."""
        self._dispatch()
        self._give_up_what_nobody_has()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _reroute(self, member: Member, refusal: EnlargerError, deadline: float) -> None:
        if isinstance(refusal, Busy) or member.probe is None:
            # Somebody else uses the server too. Its seat stays taken for a moment, so that we look elsewhere.
            left_s = deadline - asyncio.get_running_loop().time()
            await asyncio.sleep(min(refusal.retry_after_s or _BUSY_PAUSE_S, left_s))
        elif isinstance(refusal, Draining):
            member.leave(State.DRAINING)
        elif isinstance(refusal, Unauthorized):
            member.leave(State.INCOMPATIBLE)
        else:
            member.leave(State.STARTING)

    def _mflop_per_px(self, request: TileRequest) -> float:
        for member in self.members:
            model = model_here(member, request.need)
            if model is not None:
                return model.mflop_per_px
        return 1.0

    @asynccontextmanager
    async def _seat(self, tile: _Tile) -> AsyncIterator[Member]:
        """A member with room, held for one tile."""
        request, tile.seat = tile.request, asyncio.get_running_loop().create_future()
        tile.moves = False
        self._waiting.add(tile, owner=request.owner, since=request.admitted_at)
        # Those that wait already do so since they do not fit: a new one changes nothing for them.
        if self._fits({}, tile):
            self._dispatch()
        again = tile.again
        try:
            try:
                async with asyncio.timeout_at(request.deadline):
                    member = await tile.seat
            except TimeoutError as error:
                raise DeadlineExceeded(
                    "the deadline passed while the tile waited for a model server"
                ) from error
            yield member
        finally:
            self._leave(tile, again=again)
            if (
                not tile.moves
            ):  # else it is back in a moment, and nobody else is to be moved meanwhile
                self._dispatch()

    def _leave(self, tile: _Tile, *, again: bool) -> None:
        """Give back the seat, or the place in the queue."""
        if self._seated.pop(tile, None) is not None:
            tile.seat.result().give_back(tile.mflop)
            self._retrying -= again
        else:
            self._waiting.discard(tile, owner=tile.request.owner)

    def _dispatch(self) -> None:
        """Seat waiting tiles while there is room."""
        while has_open_seat(self.members):
            chosen: _Chosen = {}
            tile = self._waiting.take(partial(self._fits, chosen))
            if tile is None:
                break
            member = chosen[tile.kind]
            assert member is not None  # noqa: S101 - for the type checker: it fits
            self._turn += 1
            self._retrying += tile.again
            # No await since choosing: two tiles cannot take one seat.
            member.take(tile.mflop, self._turn)
            self._seated[tile] = member
            tile.seat.set_result(member)
        self._keep_all_busy()
        self._give_up_if_hopeless()

    def _keep_all_busy(self) -> None:
        """While a member has nothing to do, no tile waits at another one behind what that computes.

        Tiles are sent ahead, so that a member has its next one when it is done with one. In the end, when nobody
        waits in the pool, one member may have two while another has none.
        """
        if len(self._waiting) or any(tile.moves for tile in self._seated):
            return
        for idle in filter(is_idle, in_rotation(self.members)):
            movable = [
                tile
                for tile, member in self._seated.items()
                if member.holds_back(tile.request)
                and idle not in tile.avoid
                and done_sooner(tile.request, tile.mflop, here=member, there=idle)
            ]
            if movable:
                # The one that would wait longest; each move is followed by another look.
                tile = max(movable, key=lambda tile: self._seated[tile].outstanding_mflop)
                tile.moves = True
                log.debug("tile_moves", index=tile.request.index, to=idle.name)
                self._seated[tile].recall(tile.request)
                return

    def _fits(self, chosen: _Chosen, tile: _Tile) -> bool:
        """Whether a tile may be seated now; for each kind of tile, who gets it is found once and kept in ``chosen``."""
        if tile.seat.done():  # cancelled, and about to leave
            return False
        if tile.again and not retry_fits(self._retrying, len(self._waiting) + self._in_flight):
            return False
        kind = tile.kind
        if kind not in chosen:
            chosen[kind] = choose(self.members, tile.request, avoid=tile.avoid)
        return chosen[kind] is not None

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
        for tile in self._waiting:
            if not tile.seat.done():
                tile.seat.set_exception(NoEngineReady("no model server is left", retry_after_s=10))

    def _give_up_what_nobody_has(self) -> None:
        """Fail waiting tiles of a model that no member has any more, as where its files were removed."""
        offered: dict[_Kind, bool] = {}
        returning = [member for member in self.members if member.may_return]
        for tile in self._waiting if returning else ():  # else see ``_give_up_if_hopeless``
            if tile.kind not in offered:
                offered[tile.kind] = any(may_compute(one, tile.request) for one in returning)
            if not offered[tile.kind] and not tile.seat.done():
                text = f"no model server has {tile.request.model} in {tile.request.precision} ready"
                tile.seat.set_exception(NoEngineReady(text, retry_after_s=_GONE_RETRY_S))

    @property
    def _is_anyone_retired(self) -> bool:
        return any(member.health.retired for member in self.members)

    async def _watch(self, member: Member) -> None:
        """Probe a member for ever: often while it is not ready, at once when asked to."""
        watch = _Watch()
        while True:
            member.changed.clear()
            try:
                await self._look(member, watch)
                watch.broken.over()
            except (
                Exception
            ):  # nobody waits for this task: it would end unseen, and the member with it
                if (left_out := watch.broken.occurred()) is not None:
                    log.exception("probe_failed", server=member.name, left_out=left_out)
            interval_s = PROBE_INTERVAL_S if member.state is State.READY else PROBE_INTERVAL_DOWN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await member.changed.wait()

    async def _look(self, member: Member, watch: _Watch) -> None:
        """Probe it once, and do what follows from that."""
        assert member.probe is not None  # noqa: S101 - for the type checker; only such members are watched
        before = member.state
        readiness = await member.probe()
        member.learn(readiness)
        if member.state is not before:
            log.info(
                "server_state",
                server=member.name,
                state=member.state.value,
                before=before.value,
            )
        if member.state is not before or member.state not in UNUSABLE:
            watch.unusable.over()
        if member.state in UNUSABLE and (left_out := watch.unusable.occurred()) is not None:
            log.warning(
                "server_unusable",
                server=member.name,
                state=member.state.value,
                reason=readiness.reason,
                left_out=left_out,
            )
        now = asyncio.get_running_loop().time()
        if member.state is not State.GONE:
            watch.silent_since = None
        elif watch.silent_since is None:
            watch.silent_since = now
        elif now - watch.silent_since >= self._hung_s:
            watch.silent_since = None
            member.end("it does not answer")
        if member.is_worn(readiness, self._wear) and not self._is_anyone_retired:
            member.retire()
        if member.health.retired and not member.in_flight:
            member.end("it is worn")
        self.nudge()


@dataclass(slots=True)
class _Watch:
    """What is kept of a member from one probe to the next."""

    silent_since: float | None = None
    unusable: Repeated = field(default_factory=Repeated)
    """It is of no use: gone, failed or incompatible."""

    broken: Repeated = field(default_factory=Repeated)
    """To probe it, or what follows from that, raised what nobody foresaw."""


def _speeds(members: Iterable[Member]) -> list[float]:
    """Of each tile that they compute at the same time, as far as they are known."""
    return [
        member.mflop_per_s
        for member in members
        for _ in range(member.parallel)
        if member.mflop_per_s is not None
    ]
