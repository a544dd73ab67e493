"""The pool's decisions, as pure functions of plain values: no await, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from enlarger.errors import EngineError, EngineLost, EnlargerError, OutOfMemory
from enlarger.wire import EngineFacts, ModelFacts, TileRequest

MAX_ATTEMPTS = 3
"""Times that an engine may fail on a tile before the tile's request fails."""

MAX_LOST = 5
"""A tile under which this many servers went away is the likely cause."""

MIN_ATTEMPT_S = 10
"""The shortest time an attempt gets."""

_ATTEMPT_FACTOR = 4
"""An attempt may take this many times what its server's measured speed says."""

_ASSUMED_MFLOP_PER_S = 5_000
"""Speed of a server that nobody measured: a slow core."""


class State(StrEnum):
    """A model server as the pool sees it. Being busy is a number, not a state."""

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    """Failed a tile; gets none until a probe says it is well."""
    DRAINING = "draining"
    FAILED = "failed"
    """Its self-test or its weights failed; it says so itself."""
    GONE = "gone"
    """Does not answer."""
    INCOMPATIBLE = "incompatible"
    """Speaks another version of the tile contract."""


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
    def last_used(self) -> int: ...  # noqa: D102


M = TypeVar("M", bound=Choosable)


def model_here(member: Choosable, model_id: str, weights_sha256: str) -> ModelFacts | None:
    """The model's facts if the member has it with exactly these weights."""
    model = member.facts.model(model_id) if member.facts is not None else None
    return model if model is not None and model.sha256 == weights_sha256 else None


def can_take(member: Choosable, request: TileRequest) -> bool:
    """Whether the member is ready, has room, and computes just what is asked."""
    if (
        member.state is not State.READY
        or member.facts is None
        or member.in_flight >= member.facts.capacity
    ):
        return False
    model = model_here(member, request.model, request.weights_sha256)
    return model is not None and request.precision in model.precisions


def choose(members: Iterable[M], request: TileRequest, *, avoid: Collection[M] = ()) -> M | None:
    """The free member with the least outstanding work, ties to the one used longest ago; None: wait.

    A member of ``avoid``, where the tile failed before, only if there is no other.
    """
    # This gateway sees every tile it sends, so looking at all members is exact; sampling two at random
    # (Mitzenmacher 2001) is for routers whose counts are stale.
    free = [member for member in members if can_take(member, request)]
    elsewhere = [member for member in free if member not in avoid]
    return min(
        elsewhere or free,
        key=lambda member: (member.outstanding_mflop, member.last_used),
        default=None,
    )


def attempt_limit_s(
    outstanding_mflop: float, mflop_per_s: float | None, *, at_least_s: float = MIN_ATTEMPT_S
) -> float:
    """Seconds after which an attempt counts as lost, from all the work its server holds, this tile included."""
    return max(
        at_least_s, _ATTEMPT_FACTOR * outstanding_mflop / (mflop_per_s or _ASSUMED_MFLOP_PER_S)
    )


@dataclass(slots=True)
class Tries:
    """What became of one tile so far."""

    sent: int = 0
    failed: int = 0
    lost: int = 0

    def count(self, error: EnlargerError) -> bool:
        """Take note of a failed attempt; whether another may follow."""
        if isinstance(error, EngineLost):
            self.lost += 1
            return self.lost < MAX_LOST
        if isinstance(error, (EngineError, OutOfMemory)):
            self.failed += 1
            return self.failed < MAX_ATTEMPTS
        return False
