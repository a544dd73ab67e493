"""Seats at the members: which waiting tile gets the next one, and which tile moves to a member that has nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog

from enlarger.engine.tile import NetworkKey, TileRequest
from enlarger.errors import DeadlineExceeded, NoEngineReady
from enlarger.pool.fair_queue import FairQueue
from enlarger.pool.member import Member
from enlarger.pool.policy import (
    Tries,
    choose,
    done_sooner,
    has_open_seat,
    in_rotation,
    is_idle,
    may_compute,
    retry_fits,
)

log = structlog.get_logger()

HOPELESS_S = 30.0
"""Waiting tiles are given up after this long without a member that is or may become ready."""

_GONE_RETRY_S = 10

_Kind = tuple[tuple[NetworkKey, str], str, frozenset[Member]]
_Chosen = dict[_Kind, Member | None]
"""The member for the tiles of a kind, as long as nobody takes or leaves a seat. None: they wait."""


@dataclass(eq=False, slots=True)
class PoolTile:
    """A tile that waits for a seat, or has one."""

    request: TileRequest
    mflop: float
    tries: Tries = field(default_factory=Tries)
    avoid: set[Member] = field(default_factory=set)
    """Members where the tile failed."""

    moves: bool = False
    """Whether the tile was called back from the member where it waits, to move to one that has nothing to do."""

    seat: asyncio.Future[Member] = field(init=False)
    """Gets the member, or the reason why there is none. Each time that the tile waits it has a new one."""

    @property
    def is_retry(self) -> bool:
        """Whether an engine failed on the tile before."""
        return self.tries.failed > 0

    @property
    def network(self) -> tuple[NetworkKey, str]:
        """The network that the tile is for, and its precision."""
        return self.request.network, self.request.precision

    @property
    def kind(self) -> _Kind:
        """Everything that decides which member gets the tile. Hundreds of tiles wait, but of few kinds."""
        return self.network, self.request.device, frozenset(self.avoid)


class Seats:
    """Seats waiting tiles at members. Tiles of different owners take turns.

    Args:
        members: the members of the pool.
        hopeless_s: how long tiles wait while no member is, or may become, ready.
    """

    def __init__(self, members: Sequence[Member], *, hopeless_s: float = HOPELESS_S) -> None:
        self._members = members
        self._hopeless_s = hopeless_s
        self._waiting: FairQueue[PoolTile] = FairQueue()
        self._seated: dict[PoolTile, Member] = {}
        self._retrying = 0
        self._turn = 0
        self._hopeless_since: float | None = None

    @property
    def waiting(self) -> int:
        """Tiles that wait for a seat."""
        return len(self._waiting)

    @property
    def retrying(self) -> int:
        """Tiles that have a seat after an engine failed on them."""
        return self._retrying

    @property
    def in_flight(self) -> int:
        """Tiles that the members hold."""
        return sum(member.in_flight for member in self._members)

    @asynccontextmanager
    async def seat(self, tile: PoolTile) -> AsyncIterator[Member]:
        """Wait for a member with room, and hold a seat there for one tile.

        Raises:
            DeadlineExceeded: the tile's deadline passed before.
            NoEngineReady: there is no member left that could take the tile.
        """
        request, tile.seat, tile.moves = (
            tile.request,
            asyncio.get_running_loop().create_future(),
            False,
        )
        self._waiting.add(tile, owner=request.owner, since=request.admitted_at)
        # The tiles that wait already do so since they do not fit: a new one changes nothing for them.
        if self._fits({}, tile):
            self.dispatch()
        is_retry = tile.is_retry
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
            self._leave(tile, is_retry=is_retry)
            # A tile that moves is back in a moment, and no other is to move meanwhile.
            if not tile.moves:
                self.dispatch()

    def dispatch(self) -> None:
        """Seat waiting tiles while there is room."""
        while has_open_seat(self._members):
            chosen: _Chosen = {}
            tile = self._waiting.take(partial(self._fits, chosen))
            if tile is None:
                break
            member = chosen[tile.kind]
            assert member is not None  # noqa: S101 - for the type checker: it fits
            self._turn += 1
            self._retrying += tile.is_retry
            # No await since choosing: two tiles cannot take one seat.
            member.take(tile.request, tile.mflop, self._turn)
            self._seated[tile] = member
            tile.seat.set_result(member)
        self._move_one()
        self._give_up_if_hopeless()

    def give_up_unavailable(self) -> None:
        """Fail waiting tiles of a model that no member has any more, for instance because its files were removed."""
        offered: dict[_Kind, bool] = {}
        returning = [member for member in self._members if member.may_return]
        for tile in self._waiting if returning else ():  # else see ``_give_up_if_hopeless``
            if tile.kind not in offered:
                offered[tile.kind] = any(may_compute(one, tile.request) for one in returning)
            if not offered[tile.kind] and not tile.seat.done():
                text = f"no model server has {tile.request.model} in {tile.request.precision} ready"
                tile.seat.set_exception(NoEngineReady(text, retry_after_s=_GONE_RETRY_S))

    def _leave(self, tile: PoolTile, *, is_retry: bool) -> None:
        """Give back the seat, or the place in the queue."""
        if self._seated.pop(tile, None) is not None:
            tile.seat.result().give_back(tile.mflop)
            self._retrying -= is_retry
        else:
            self._waiting.discard(tile, owner=tile.request.owner)

    def _fits(self, chosen: _Chosen, tile: PoolTile) -> bool:
        """Return whether a tile may be seated now. ``chosen`` caches the member for each kind of tile."""
        if tile.seat.done():  # cancelled, and about to leave
            return False
        if tile.is_retry and not retry_fits(self._retrying, self.waiting + self.in_flight):
            return False
        kind = tile.kind
        if kind not in chosen:
            waiting = sum(one.mflop for one in self._waiting if one.network == tile.network)
            chosen[kind] = choose(
                self._members, tile.request, avoid=tile.avoid, waiting_mflop=waiting
            )
        return chosen[kind] is not None

    def _move_one(self) -> None:
        """Call a tile back if it waits at a member behind others while another member has nothing to do.

        Tiles are sent ahead, so that a member has its next one as soon as it has computed one. At the end of a
        picture, when no tile waits in the pool, one member may have two while another has none.
        """
        if self.waiting or any(tile.moves for tile in self._seated):
            return
        for idle in filter(is_idle, in_rotation(self._members)):
            movable = [
                tile
                for tile, member in self._seated.items()
                if member.holds_back(tile.request)
                and idle not in tile.avoid
                and done_sooner(tile.request, tile.mflop, here=member, there=idle)
            ]
            if movable:
                # The tile that would wait longest. When it has moved, the next one is looked for.
                tile = max(movable, key=lambda tile: self._seated[tile].outstanding_mflop)
                tile.moves = True
                log.debug("tile_moves", index=tile.request.index, to=idle.name)
                self._seated[tile].recall(tile.request)
                return

    def _give_up_if_hopeless(self) -> None:
        """Fail waiting tiles when no member has been ready, or could become ready, for a while."""
        now = asyncio.get_running_loop().time()
        if any(member.may_return for member in self._members):
            self._hopeless_since = None
            return
        if self._hopeless_since is None:
            self._hopeless_since = now
        if now - self._hopeless_since < self._hopeless_s:
            return
        for tile in self._waiting:
            if not tile.seat.done():
                tile.seat.set_exception(NoEngineReady("no model server is left", retry_after_s=10))
