"""Many engines as one: each tile goes to the member with the least work, and elsewhere if that one fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

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
    OpenFilesExhausted,
    Starting,
    TileTooLarge,
    Unauthorized,
)
from enlarger.pool.facts import facts_of_all
from enlarger.pool.health import State
from enlarger.pool.member import Member
from enlarger.pool.policy import (
    MIN_ATTEMPT_S,
    Recalled,
    Wear,
    attempt_limit_s,
    in_rotation,
    may_eject,
    may_notice,
    model_here,
)
from enlarger.pool.prober import HUNG_S, Prober
from enlarger.pool.seats import HOPELESS_S, PoolTile, Seats
from enlarger.reasons import reason_of

log = structlog.get_logger()

_BUSY_PAUSE_S = 0.05

NOTICE_S = 5.0
"""A member has a new version of a model after this long, or it does not get it: it looks for one each second until it
finds it twice, and is asked every two seconds."""


class Pool:
    """Members as one ``Engine``. Tiles of different owners take turns.

    Args:
        members: the engines.
        min_attempt_s: the shortest time that a member gets for a tile.
        hopeless_s: how long tiles wait while no member is, or may become, ready.
        hung_s: how long a supervised member may be gone before its process is ended.
        wear: what a supervised member may use and serve before its process is replaced.
        notice_s: how long a picture waits for a version of a model that ready members have not noticed yet.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        min_attempt_s: float = MIN_ATTEMPT_S,
        hopeless_s: float = HOPELESS_S,
        hung_s: float = HUNG_S,
        wear: Wear | None = None,
        notice_s: float = NOTICE_S,
    ) -> None:
        self.members = list(members)
        self._seats = Seats(self.members, hopeless_s=hopeless_s)
        self._min_attempt_s = min_attempt_s
        self._hung_s = hung_s
        self._wear = wear or Wear()
        self._notice_s = notice_s
        self._changed = asyncio.Event()
        self._probes: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Pool:
        self._probes = [
            asyncio.create_task(self._prober(member).run(), name=f"probe {member.name}")
            for member in self.members
            if member.probe is not None
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    def __repr__(self) -> str:
        seats = self._seats
        ready = sum(member.state is State.READY for member in self.members)
        again = f", {seats.retrying} again" if seats.retrying else ""
        members = "".join(f" | {member!r}" for member in self.members)
        return (
            f"<Pool {ready}/{len(self.members)} ready | "
            f"{seats.waiting} waiting, {seats.in_flight} in flight{again}{members}>"
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
    def waiting(self) -> int:
        """Tiles that wait for a seat."""
        return self._seats.waiting

    def facts(self) -> EngineFacts:
        """Return what the ready members can do together; see ``Engine``."""
        return facts_of_all(self.members)

    async def ready_for(self, need: Need) -> ModelFacts:
        """Wait until a member has the model ready; see ``Engine``."""
        now = asyncio.get_running_loop().time
        noticed_by = now() + self._notice_s
        while True:
            for member in self.ready:
                model = model_here(member, need)
                if model is not None:
                    return model
            returns = any(
                member.may_return and member.state is not State.READY for member in self.members
            )
            # Each member follows its own MODEL_DIR, and the gateway offers a version that one of them has.
            notices = now() < noticed_by and any(may_notice(one, need) for one in self.ready)
            if not returns and not notices:
                raise NoEngineReady(f"no model server has {need.model} ready", retry_after_s=5)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if returns else noticed_by):
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
        """Enlarge a tile on a member, and on another one if that fails; see ``Engine``.

        Raises:
            EngineFailed, WrongOutput, OutOfMemory: three members, or one three times, failed on the tile.
            EngineLost: five members went away under the tile.
            NoEngineReady: there is no member left that could take the tile.
            OpenFilesExhausted: until the deadline, no file was left for a connection.
            DeadlineExceeded: the deadline passed.
        """
        tile = PoolTile(request, request.lr_px * self._mflop_per_px(request))
        tries = tile.tries
        while True:
            async with self._seats.seat(tile) as member:
                tries.sent += 1
                try:
                    result = await self._attempt(tile, member)
                except Recalled:
                    tries.sent -= 1
                except (Busy, Starting, Draining, ModelNotHere, Unauthorized) as refusal:
                    # A refusal says where the tile cannot go now. It is no fault of the server or of the tile.
                    tries.sent -= 1
                    await self._reroute(member, refusal, request.deadline)
                except OpenFilesExhausted as refusal:
                    # This process serves all members with the same files, and they are free again when other requests end.
                    tries.sent -= 1
                    await self._wait_for_files(refusal, request.deadline)
                except (DeadlineExceeded, TileTooLarge, BadTile):
                    raise
                except EnlargerError as error:
                    if not self._may_retry(tile, member, error):
                        raise
                else:
                    member.done(tile.mflop, result.infer_s)
                    return replace(result, server=member.name, attempts=tries.sent)

    def nudge(self) -> None:
        """Look at all members again after one of them changed: seats may be free, or hope may be gone."""
        self._seats.dispatch()
        self._seats.give_up_unavailable()
        self._changed.set()
        self._changed = asyncio.Event()

    def _prober(self, member: Member) -> Prober:
        return Prober(
            member, self.members, hung_s=self._hung_s, wear=self._wear, on_probed=self.nudge
        )

    async def _attempt(self, tile: PoolTile, member: Member) -> TileResult:
        """Have one member enlarge the tile, within the time that its speed allows."""
        request = tile.request
        limit_s = attempt_limit_s(
            member.queued_mflop,
            member.mflop_per_s,
            tile_mflop=tile.mflop,
            parallel=member.parallel,
            lost=tile.tries.lost,
            left_s=request.deadline - asyncio.get_running_loop().time(),
            at_least_s=self._min_attempt_s,
        )
        return await member.enlarge(request, limit_s=limit_s, forgiven_s=self._min_attempt_s)

    def _may_retry(self, tile: PoolTile, member: Member, error: EnlargerError) -> bool:
        """Count a failed attempt against the tile and the member; return whether another attempt follows."""
        another = tile.tries.count(error)
        if isinstance(error, EngineError):  # not where memory ran out
            member.strike(may_eject=may_eject(self.members))
        tile.avoid.add(member)
        log.warning(
            "tile_failed",
            server=member.name,
            code=error.code,
            reason=reason_of(error),
            index=tile.request.index,
            request_id=tile.request.request_id,
            another=another,
            pool=str(self),
        )
        return another

    async def _reroute(self, member: Member, refusal: EnlargerError, deadline: float) -> None:
        """Take note of a member's refusal, so that the tile goes elsewhere."""
        if isinstance(refusal, Busy) or member.probe is None:
            # Another gateway uses the server too. The seat stays taken for a moment, so that the tile goes elsewhere.
            left_s = deadline - asyncio.get_running_loop().time()
            await asyncio.sleep(min(refusal.retry_after_s or _BUSY_PAUSE_S, left_s))
        elif isinstance(refusal, Draining):
            member.leave(State.DRAINING)
        elif isinstance(refusal, Unauthorized):
            member.leave(State.INCOMPATIBLE)
        else:
            member.leave(State.STARTING)

    async def _wait_for_files(self, refusal: OpenFilesExhausted, deadline: float) -> None:
        """Wait until files may be free; the tile keeps its seat, so that not all tiles try at once.

        Raises:
            OpenFilesExhausted: the deadline passes before that.
        """
        pause_s = refusal.retry_after_s or _BUSY_PAUSE_S
        if asyncio.get_running_loop().time() + pause_s >= deadline:
            raise refusal
        await asyncio.sleep(pause_s)

    def _mflop_per_px(self, request: TileRequest) -> float:
        for member in self.members:
            model = model_here(member, request.need)
            if model is not None:
                return model.mflop_per_px
        return 1.0
