"""The health of a model server, as a plain value that tiles and probes move from state to state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

STRIKES = 3
"""A server is ejected when it has failed this many tiles in a row."""

EJECTION_S = 5.0
"""Seconds of the first ejection. The n-th in a row is n times as long."""

MAX_EJECTION_S = 60.0

_JITTER = 0.2
"""Ejections are shortened at random by up to this share, so that servers that failed together do not return together."""

_GOOD_TO_RETURN = 2
_MISSED_TO_LEAVE = 2
"""A ready server is gone after this many probes in a row without an answer. One may be lost on a busy machine."""


class State(StrEnum):
    """A model server as the pool sees it. Being busy is a number, not a state."""

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    """It failed a tile, and gets none until a probe finds it ready."""
    EJECTED = "ejected"
    """It failed several tiles in a row, and gets none for a while, whatever probes find, unless no other is left."""
    DRAINING = "draining"
    FAILED = "failed"
    """It says itself that its self-test or its weights failed."""
    GONE = "gone"
    """It does not answer."""
    INCOMPATIBLE = "incompatible"
    """It speaks another version of the tile contract, or requires another token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known about a server. Times are those of the event loop, in seconds."""

    state: State = State.STARTING
    strikes: int = 0
    """Tiles that it failed in a row."""

    ejections: int = 0
    """Ejections in a row, without a finished tile between them."""

    ejected_until: float = 0.0
    good: int = 0
    """Probes in a row that found it ready."""

    missed: int = 0
    """Probes in a row without an answer."""

    retired: bool = False
    """Whether it gets no more tiles, because another process will replace it."""

    def succeeded(self) -> Health:
        """Return the health after a finished tile: earlier failures no longer count."""
        state = State.READY if self.state is State.EJECTED else self.state
        return replace(self, state=state, strikes=0, ejections=0, ejected_until=0.0)

    def struck(self, *, now: float, chance: float, may_eject: bool) -> Health:
        """Return the health after a failed tile.

        Args:
            now: the time.
            chance: random, from 0 to 1.
            may_eject: whether enough other servers are left to eject this one.
        """
        if self.retired:
            return self
        if self.state is State.EJECTED:
            # It had the tile before its ejection, or got it because no other is left. As a suspect it would no longer
            # count as ejected, and more than half of the servers could be ejected.
            return replace(self, good=0)
        strikes = self.strikes + 1
        if not may_eject or strikes < STRIKES:
            return replace(self, state=State.SUSPECT, strikes=strikes, good=0)
        ejections = self.ejections + 1
        return replace(
            self,
            state=State.EJECTED,
            strikes=0,
            ejections=ejections,
            ejected_until=now + ejection_s(ejections, chance=chance),
            good=0,
        )

    def probed(self, found: State, *, now: float) -> Health:
        """Return the health after a probe. ``GONE`` means that there was no answer."""
        good = self.good + 1 if found is State.READY else 0
        missed = self.missed + 1 if found is State.GONE else 0
        return replace(self, state=self._after(found, good, missed, now), good=good, missed=missed)

    def _after(self, found: State, good: int, missed: int, now: float) -> State:
        if found is State.GONE:
            return (
                State.READY
                if self.state is State.READY and missed < _MISSED_TO_LEAVE
                else State.GONE
            )
        if found is not State.READY:
            return found
        if self.retired:
            return State.DRAINING
        if now < self.ejected_until:
            return State.EJECTED
        # A server that was incompatible and is mended has been restarted, so it is another instance with a health of
        # its own. One that answers every probe but refuses tiles must not get one after the other.
        waits = {State.EJECTED, State.GONE, State.INCOMPATIBLE}
        if self.state in waits and good < _GOOD_TO_RETURN:
            return self.state
        return State.READY

    def left(self, state: State) -> Health:
        """Return the health after the server said that it takes no tiles now."""
        return replace(self, state=state, good=0)

    def retire(self) -> Health:
        """Return the health of a server that gets no more tiles."""
        return replace(self, state=State.DRAINING, retired=True)


def ejection_s(times: int, *, chance: float) -> float:
    """Return the seconds of the ``times``-th ejection in a row; ``chance`` is from 0 to 1."""
    return min(MAX_EJECTION_S, EJECTION_S * times) * (1 - _JITTER * chance)
