"""The pool's decisions, as pure functions of plain values: no await, no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from enlarger.engine.tile import EngineFacts, ModelFacts, Need, NetworkKey, TileRequest
from enlarger.errors import EngineError, EngineLost, EnlargerError, OutOfMemory
from enlarger.pool.health import State

MAX_ATTEMPTS = 3
"""A tile's request fails after engines failed on the tile this many times."""

MAX_LOST = 5
"""A tile is taken to be the cause if this many servers went away while they had it."""

RETRY_SHARE = 0.2
"""At most this share of all tiles may be retries at the same time."""

MIN_RETRIES = 3
"""This many retries are allowed at the same time, however few tiles there are."""

MIN_ATTEMPT_S = 10
"""The shortest time that an attempt gets, as long as that leaves time for another one."""

_MOST_OF_THE_TIME_LEFT = 0.5
"""The shortest time of an attempt is at most this share of the time left, so that a second attempt is possible.
Otherwise one attempt would use up a deadline of 10 s, and a server that hangs could not be told from a picture that
has no time."""

_ATTEMPT_FACTOR = 4
"""An attempt may take this many times as long as its server's measured speed says."""

LOAD_S = 2.0
"""Loading a network is taken to last this long: x4plus takes 0.5 s of an idle core from the cache, and 5 s without."""

_ASSUMED_MFLOP_PER_S = 5_000
"""The speed that a server is taken to have until it is measured: that of a slow core."""


class Choosable(Protocol):
    """What a choice between members looks at."""

    @property
    def state(self) -> State: ...  # noqa: D102
    @property
    def facts(self) -> EngineFacts | None: ...  # noqa: D102
    @property
    def in_flight(self) -> int: ...  # noqa: D102
    @property
    def outstanding_mflop(self) -> float: ...  # noqa: D102
    @property
    def mflop_per_s(self) -> float | None: ...  # noqa: D102
    @property
    def last_used(self) -> int: ...  # noqa: D102

    def is_warm(self, request: TileRequest) -> bool: ...  # noqa: D102


M = TypeVar("M", bound=Choosable)


def model_here(member: Choosable, need: Need) -> ModelFacts | None:
    """Return the model's facts if the member has exactly these weights and this scale, and takes such a tile."""
    return member.facts.meeting(need) if member.facts is not None else None


def may_notice(member: Choosable, need: Need) -> bool:
    """Return whether the member has another version of the model, so that it may notice the needed one in a moment."""
    facts = member.facts
    return (
        facts is not None
        and need.device in {"", facts.device.id}
        and facts.model(need.model) is not None
        and facts.model_of(need.network) is None
    )


def computes(member: Choosable, request: TileRequest) -> bool:
    """Return whether the member computes exactly what the request asks for."""
    model = model_here(member, request.need)  # which looks at the device as well
    return model is not None and request.precision in model.precisions


def may_compute(member: Choosable, request: TileRequest) -> bool:
    """Return whether the member computes exactly what the request asks for, or has not said yet what it computes."""
    return member.facts is None or computes(member, request)


def has_room(member: Choosable) -> bool:
    """Return whether the member takes one tile more."""
    return member.facts is not None and member.in_flight < member.facts.capacity


def in_rotation(members: Iterable[M]) -> list[M]:
    """Return the members that get tiles: the ready ones, or the ejected ones if none is ready."""
    members = list(members)
    ready = [member for member in members if member.state is State.READY]
    return ready or [member for member in members if member.state is State.EJECTED]


def has_open_seat(members: Collection[Choosable]) -> bool:
    """Return whether there may be a tile that ``choose`` finds a member for.

    That is so if a ready member has room, or an ejected one that has a model which no ready one has.
    """
    ready = [member for member in members if member.state is State.READY]
    if any(has_room(member) for member in ready):
        return True
    ejected = [m for m in members if m.state is State.EJECTED and has_room(m)]
    if not ejected:
        return False
    offered = {what for member in ready for what in _computable(member)}
    return any(not _computable(member) <= offered for member in ejected)


def _computable(member: Choosable) -> set[tuple[NetworkKey, str]]:
    """Return network and precision of all tiles that the member computes."""
    models = member.facts.models if member.facts is not None else ()
    return {(model.network, precision) for model in models for precision in model.precisions}


def choose(
    members: Iterable[M],
    request: TileRequest,
    *,
    avoid: Collection[M] = (),
    waiting_mflop: float = 0.0,
) -> M | None:
    """Return the free member with the least outstanding work; of several, the one used longest ago. None: wait.

    Members that have the network in memory are preferred. Another one loads it only if the work that waits for them
    takes longer than that.

    Args:
        members: the members of the pool.
        request: the tile.
        waiting_mflop: work of tiles like this one that wait for a seat.
        avoid: members where the tile failed before. One of them is chosen only if no other member gets such tiles.
            If the others are full, the tile waits for them: a server that fails quickly always has room.
    """
    # This gateway sees every tile it sends, so looking at all members is exact; sampling two at random
    # (Mitzenmacher 2001) is for routers whose counts are stale.
    able = in_rotation(member for member in members if computes(member, request))
    candidates = [member for member in able if member not in avoid] or able
    warm = [member for member in candidates if member.is_warm(request)]
    if warm and _seconds_for(warm, waiting_mflop) <= LOAD_S:
        candidates = warm
    return min(
        filter(has_room, candidates),
        key=lambda member: (member.outstanding_mflop, member.last_used),
        default=None,
    )


def _seconds_for(members: Collection[Choosable], waiting_mflop: float) -> float:
    """Return the seconds in which members finish what they have and what waits for them."""
    outstanding = sum(member.outstanding_mflop for member in members)
    speed = sum(
        (member.mflop_per_s or _ASSUMED_MFLOP_PER_S)
        * (member.facts.parallel if member.facts is not None else 1)
        for member in members
    )
    return (waiting_mflop + outstanding) / speed


def is_idle(member: Choosable) -> bool:
    """Return whether the member could begin one tile more at once."""
    return member.facts is not None and member.in_flight < member.facts.parallel


def done_sooner(request: TileRequest, mflop: float, *, here: Choosable, there: Choosable) -> bool:
    """Return whether a tile that waits ``here`` behind others would be done sooner ``there``, where it begins at once.

    If the speed of one of the two is not known, it is taken to be that of the other.
    """
    here_mflop_per_s = here.mflop_per_s or there.mflop_per_s or _ASSUMED_MFLOP_PER_S
    there_mflop_per_s = there.mflop_per_s or here_mflop_per_s
    load_s = 0.0 if there.is_warm(request) else LOAD_S
    parallel = here.facts.parallel if here.facts is not None else 1
    before_mflop = _before_it_is_done(here.outstanding_mflop, mflop, parallel)
    return (
        computes(there, request)
        and load_s + mflop / there_mflop_per_s < before_mflop / here_mflop_per_s
    )


def _before_it_is_done(outstanding_mflop: float, tile_mflop: float, parallel: int) -> float:
    """Return the work that one of so many parallel threads does until the newest of its tiles is done."""
    return tile_mflop + max(0.0, outstanding_mflop - tile_mflop) / parallel


def may_eject(members: Collection[Choosable]) -> bool:
    """Return whether one more member may be ejected. No more than half of them may be."""
    ejected = sum(member.state is State.EJECTED for member in members)
    return ejected + 1 <= len(members) // 2


def retry_fits(retrying: int, tiles: int) -> bool:
    """Return whether one more tile may be retried now.

    Without a bound, a fault that all tiles meet would triple the work just when the fewest servers are left.

    Args:
        retrying: tiles that are being retried.
        tiles: all tiles that wait or are in flight.
    """
    return retrying < max(MIN_RETRIES, int(RETRY_SHARE * tiles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """Limits after which a model server is replaced; None is no limit."""

    rss_bytes: int | None = None
    tiles: int | None = None

    def is_reached(self, *, rss_bytes: int | None, tiles: int | None) -> bool:
        """Return whether a server with this much memory and this many tiles is to be replaced. None is not known."""
        return _exceeds(rss_bytes, self.rss_bytes) or _exceeds(tiles, self.tiles)


def _exceeds(value: int | None, limit: int | None) -> bool:
    return value is not None and limit is not None and value >= limit


def attempt_limit_s(
    outstanding_mflop: float,
    mflop_per_s: float | None,
    *,
    tile_mflop: float = 0.0,
    parallel: int = 1,
    lost: int = 0,
    left_s: float = math.inf,
    at_least_s: float = MIN_ATTEMPT_S,
) -> float:
    """Return after how many seconds an attempt counts as lost.

    The result may be longer than ``left_s``, so that a slow server is not taken to hang.

    Args:
        outstanding_mflop: all the work that the server holds, this tile included.
        mflop_per_s: the server's measured speed.
        tile_mflop: the work of this tile.
        parallel: tiles that it computes at the same time, each at that speed.
        lost: attempts of this tile that were lost before. Each doubles the time, so that a tile is not given up
            when the whole machine has become slow.
        left_s: time until the tile's deadline.
        at_least_s: the shortest time, or half of ``left_s`` if that is less.
    """
    before_mflop = _before_it_is_done(outstanding_mflop, tile_mflop, parallel)
    expected_s = before_mflop / (mflop_per_s or _ASSUMED_MFLOP_PER_S)
    patience = 2.0**lost
    shortest_s = min(at_least_s * patience, _MOST_OF_THE_TIME_LEFT * left_s)
    return max(shortest_s, _ATTEMPT_FACTOR * expected_s * patience)


class Recalled(Exception):
    """The tile was called back: it waited at a member behind others while another member had nothing to do."""


class NeverBegun(EngineLost):
    """The server went away while the tile still waited behind another one, so that the tile is not the cause."""


@dataclass(slots=True)
class Tries:
    """Counts the attempts of one tile, and those that failed or were lost."""

    sent: int = 0
    failed: int = 0
    lost: int = 0

    def count(self, error: EnlargerError) -> bool:
        """Count a failed attempt; return whether another may follow."""
        if isinstance(error, NeverBegun):
            return True
        if isinstance(error, EngineLost):
            self.lost += 1
            return self.lost < MAX_LOST
        if isinstance(error, (EngineError, OutOfMemory)):
            self.failed += 1
            return self.failed < MAX_ATTEMPTS
        return False
