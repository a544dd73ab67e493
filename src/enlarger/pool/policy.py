"""The pool's decisions, as pure functions of plain values: no await, no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest
from enlarger.errors import EngineError, EngineLost, EnlargerError, OutOfMemory
from enlarger.pool.health import State

MAX_ATTEMPTS = 3
"""Times that an engine may fail on a tile before the tile's request fails."""

MAX_LOST = 5
"""A tile under which this many servers went away is the likely cause."""

RETRY_SHARE = 0.2
"""Of all tiles, those that may be tried again at the same time after an engine failed on them."""

MIN_RETRIES = 3
"""Tiles that may in any case."""

MIN_ATTEMPT_S = 10
"""The shortest time an attempt gets, as long as that leaves time for another."""

_MOST_OF_THE_TIME_LEFT = 0.5
"""Of it, what the shortest time may take: of a deadline of 10 s or less an attempt would otherwise take all, and a
server that hangs would never be told from a picture that has no time."""

_ATTEMPT_FACTOR = 4
"""An attempt may take this many times what its server's measured speed says."""

_ASSUMED_MFLOP_PER_S = 5_000
"""Speed of a server that nobody measured: a slow core."""


class Choosable(Protocol):
    """What a choice looks at."""

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


M = TypeVar("M", bound=Choosable)


def model_here(member: Choosable, need: Need) -> ModelFacts | None:
    """The model's facts if the member has it with exactly these weights and scale, and takes such a tile."""
    return member.facts.meeting(need) if member.facts is not None else None


def computes(member: Choosable, request: TileRequest) -> bool:
    """Whether the member computes just what is asked."""
    model = model_here(member, request.need)
    return model is not None and request.precision in model.precisions


def may_compute(member: Choosable, request: TileRequest) -> bool:
    """Whether the member computes just what is asked, or has not said yet what it computes."""
    return member.facts is None or computes(member, request)


def has_room(member: Choosable) -> bool:
    """Whether the member takes one tile more."""
    return member.facts is not None and member.in_flight < member.facts.capacity


def in_rotation(members: Iterable[M]) -> list[M]:
    """Members that get tiles: the ready ones; if there is none, those that were ejected, rather than nobody."""
    members = list(members)
    ready = [member for member in members if member.state is State.READY]
    return ready or [member for member in members if member.state is State.EJECTED]


def has_open_seat(members: Collection[Choosable]) -> bool:
    """Whether there may be a tile that ``choose`` finds a member for.

    A ready one has room; or an ejected one that has what no ready one has.
    """
    ready = [member for member in members if member.state is State.READY]
    if any(has_room(member) for member in ready):
        return True
    ejected = [m for m in members if m.state is State.EJECTED and has_room(m)]
    if not ejected:
        return False
    offered = {what for member in ready for what in _computable(member)}
    return any(not _computable(member) <= offered for member in ejected)


def _computable(member: Choosable) -> set[tuple[str, str, str]]:
    """Model, weights and precision of all tiles that the member computes."""
    models = member.facts.models if member.facts is not None else ()
    return {
        (model.id, model.sha256, precision) for model in models for precision in model.precisions
    }


def choose(members: Iterable[M], request: TileRequest, *, avoid: Collection[M] = ()) -> M | None:
    """The free member with the least outstanding work, ties to the one used longest ago; None: wait.

    A member of ``avoid``, where the tile failed before, only if no other one gets such tiles. One that is full is
    waited for: it will have room, and a server that fails quickly always has.
    """
    # This gateway sees every tile it sends, so looking at all members is exact; sampling two at random
    # (Mitzenmacher 2001) is for routers whose counts are stale.
    able = in_rotation(member for member in members if computes(member, request))
    elsewhere = [member for member in able if member not in avoid]
    return min(
        filter(has_room, elsewhere or able),
        key=lambda member: (member.outstanding_mflop, member.last_used),
        default=None,
    )


def is_idle(member: Choosable) -> bool:
    """Whether it could compute one tile more at once."""
    return member.facts is not None and member.in_flight < member.facts.parallel


def done_sooner(request: TileRequest, mflop: float, *, here: Choosable, there: Choosable) -> bool:
    """Whether a tile that waits ``here`` behind others would be done sooner ``there``, where it would begin at once.

    A speed that nobody measured is taken to be the other one's.
    """
    here_mflop_per_s = here.mflop_per_s or there.mflop_per_s or _ASSUMED_MFLOP_PER_S
    there_mflop_per_s = there.mflop_per_s or here_mflop_per_s
    return (
        computes(there, request)
        and mflop / there_mflop_per_s < here.outstanding_mflop / here_mflop_per_s
    )


def may_eject(members: Collection[Choosable]) -> bool:
    """Whether one more may be ejected: never more than half."""
    ejected = sum(member.state is State.EJECTED for member in members)
    return ejected + 1 <= len(members) // 2


def retry_fits(retrying: int, tiles: int) -> bool:
    """Whether one more tile may be tried again now, of so many that wait or are computed.

    Without a bound, a fault that all tiles meet would triple the work just when there is the least strength.
    """
    return retrying < max(MIN_RETRIES, int(RETRY_SHARE * tiles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """How much a model server may use and serve before another takes its place."""

    rss_bytes: int | None = None
    tiles: int | None = None

    def is_reached(self, *, rss_bytes: int | None, tiles: int | None) -> bool:
        """Whether a server of so much memory and so many tiles is to be replaced; None is not known."""
        return _exceeds(rss_bytes, self.rss_bytes) or _exceeds(tiles, self.tiles)


def _exceeds(value: int | None, limit: int | None) -> bool:
    return value is not None and limit is not None and value >= limit


def attempt_limit_s(
    outstanding_mflop: float,
    mflop_per_s: float | None,
    *,
    lost: int = 0,
    left_s: float = math.inf,
    at_least_s: float = MIN_ATTEMPT_S,
) -> float:
    """Seconds after which an attempt counts as lost. It may be longer than ``left_s``: a slow server does not hang.

    Args:
        outstanding_mflop: all the work that its server holds, this tile included.
        mflop_per_s: the server's measured speed.
        lost: attempts of this tile that were lost before. Each doubles its time: where a whole machine became
            slow, the tile must not be given up everywhere.
        left_s: time until the tile's deadline.
        at_least_s: the shortest time; half of ``left_s``, where that is less.
    """
    expected_s = outstanding_mflop / (mflop_per_s or _ASSUMED_MFLOP_PER_S)
    patience = 2.0**lost
    shortest_s = min(at_least_s * patience, _MOST_OF_THE_TIME_LEFT * left_s)
    return max(shortest_s, _ATTEMPT_FACTOR * expected_s * patience)


class Recalled(Exception):
    """The tile waited at a member behind others, while another member has nothing to do."""


class NeverBegun(EngineLost):
    """The server went away while the tile still waited behind another one: that says nothing of the tile."""


@dataclass(slots=True)
class Tries:
    """What became of one tile so far."""

    sent: int = 0
    failed: int = 0
    lost: int = 0

    def count(self, error: EnlargerError) -> bool:
        """Take note of a failed attempt; whether another may follow."""
        if isinstance(error, NeverBegun):
            return True
        if isinstance(error, EngineLost):
            self.lost += 1
            return self.lost < MAX_LOST
        if isinstance(error, (EngineError, OutOfMemory)):
            self.failed += 1
            return self.failed < MAX_ATTEMPTS
        return False
