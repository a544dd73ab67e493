"""What the gateway shows of those who compute: a narrow view, which a pool of model servers gives, and a cluster can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from enlarger.engine import Engine
from enlarger.engine.tile import EngineFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One of those who compute, as it is now."""

    name: str
    """Its name in logs."""

    state: str
    """One of ``EngineStatus.states``."""

    shown_state: str
    """The same for people, who also want to see that it is busy."""

    is_ready: bool
    """Whether it gets tiles now."""

    may_return: bool
    """Whether it is ready, or is on its way."""

    tiles_in_flight: int
    """Tiles it holds now."""

    tiles_done: int
    strikes: int
    ejections: int
    restarts: int
    switches: int
    """Tiles, failures, ejections, new processes, and networks released for others, since the gateway started."""

    rss_bytes: int | None
    """Memory of its process; None where it does not say."""

    facts: EngineFacts | None
    """What it can do; None while nobody knows."""


class EngineStatus(Protocol):
    """Those who compute, in their order."""

    @property
    def states(self) -> Sequence[str]:
        """All states that there are."""

    @property
    def servers(self) -> Sequence[ServerStatus]:
        """Each of them as it is now."""

    @property
    def waiting(self) -> int:
        """Tiles that wait for one of them."""

    def facts(self) -> EngineFacts:
        """What they can do together."""

    async def started(self, *, patience_s: float) -> None:
        """Wait until one is ready, and ``patience_s`` at most for the others."""


class Engines(Engine, EngineStatus, Protocol):
    """Several engines as one that computes tiles, and tells how each of them is."""


def ready_count(status: EngineStatus) -> int:
    """How many of them get tiles now."""
    return sum(server.is_ready for server in status.servers)
