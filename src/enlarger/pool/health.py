"""How a model server fares, as a plain value that tiles and probes move from state to state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

STRIKES = 3
"""Tiles in a row that a server fails before it is ejected."""

EJECTION_S = 5.0
"""How long it is ejected the first time; as many times this the n-th time in a row."""

MAX_EJECTION_S = 60.0

_JITTER = 0.2
"""Ejections are up to this share shorter, so that servers which failed together do not return together."""

_GOOD_TO_RETURN = 2
_MISSED_TO_LEAVE = 2
"""Probes in a row without an answer that make a ready server gone: one may be lost to a busy machine."""


class State(StrEnum):
    """A model server as the pool sees it. Being busy is a number, not a state."""

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    """Failed a tile; gets none until a probe says it is well."""
    EJECTED = "ejected"
    """Failed several in a row; gets none for a while, whatever probes say, unless there is no other."""
    DRAINING = "draining"
    FAILED = "failed"
    """Its self-test or its weights failed; it says so itself."""
    GONE = "gone"
    """Does not answer."""
    INCOMPATIBLE = "incompatible"
    """Speaks another version of the tile contract, or wants another token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of a server. Times are the event loop's, in seconds."""

    state: State = State.STARTING
    strikes: int = 0
    """Tiles it failed in a row."""

    ejections: int = 0
    """Times it was ejected in a row, with no tile done between them."""

    ejected_until: float = 0.0
    good: int = 0
    """Probes in a row that found it ready."""

    missed: int = 0
    """Probes in a row that it did not answer."""

    retired: bool = False
    """It gets no more tiles: another will take its place."""

    def succeeded(self) -> Health:
        """It did a tile: whatever was held against it is over."""
        state = State.READY if self.state is State.EJECTED else self.state
        return replace(self, state=state, strikes=0, ejections=0, ejected_until=0.0)

    def struck(self, *, now: float, chance: float, may_eject: bool) -> Health:
        """It failed a tile.

        Args:
            now: the time.
            chance: random, from 0 to 1.
            may_eject: whether the others can do without it.
        """
        if self.retired:
            return self
        if self.state is State.EJECTED:
            # It had the tile before, or got it since no other is left. Suspect, it would be counted as one of those
            # that are in, and more than half could be put out.
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
        """A probe found it so; ``GONE`` is no answer."""
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
        # An incompatible one that is mended was started again, so it is another instance and begins anew. If it
        # is well whenever it is asked and refuses tiles, it must not be tried with one after the other.
        waits = {State.EJECTED, State.GONE, State.INCOMPATIBLE}
        if self.state in waits and good < _GOOD_TO_RETURN:
            return self.state
        return State.READY

    def left(self, state: State) -> Health:
        """It said itself that it takes no tiles now."""
        return replace(self, state=state, good=0)

    def retire(self) -> Health:
        """It gets no more tiles."""
        return replace(self, state=State.DRAINING, retired=True)


def ejection_s(times: int, *, chance: float) -> float:
    """Seconds of the ``times``-th ejection in a row; ``chance`` is from 0 to 1."""
    return min(MAX_EJECTION_S, EJECTION_S * times) * (1 - _JITTER * chance)
