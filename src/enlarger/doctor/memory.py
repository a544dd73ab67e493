"""Memory for the gateway and that many model servers."""

from __future__ import annotations

from dataclasses import dataclass

from enlarger.config import Settings
from enlarger.doctor import system
from enlarger.doctor.finding import Finding

_SERVER_BYTES = 1_000_000_000
"""What a model server needs with x4plus, as docs/reference/settings.md states it."""

_GATEWAY_BYTES = 100_000_000 + (128 << 20)
"""What a gateway needs besides the pixels of pictures: see there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFacts:
    """The memory that is there, and what is to run in it."""

    available_bytes: int | None
    """Memory that can be used now, on this machine and in this container; None if it is unknown."""

    limit_bytes: int | None
    """Limit of the container; None without one."""

    servers: int
    """Model servers that are started here; 0 if others run them."""

    pictures_bytes: int
    """``ENLARGER_PICTURE_MEMORY`` in bytes."""


def gather(settings: Settings) -> MemoryFacts:
    """Ask Linux what is available."""
    machine, group = system.memory_bytes(), system.cgroup()
    rooms = [] if machine is None else [machine[1]]
    if group.memory_bytes is not None:
        rooms.append(max(0, group.memory_bytes - group.memory_used_bytes))
    return MemoryFacts(
        available_bytes=min(rooms, default=None),
        limit_bytes=group.memory_bytes,
        servers=0 if settings.pool.servers else settings.pool.server_count,
        pictures_bytes=settings.limits.picture_memory_mib << 20,
    )


def findings(facts: MemoryFacts) -> list[Finding]:
    """Return whether the memory is enough."""
    if facts.available_bytes is None:
        return [
            Finding.warning("the available memory is unknown", hint="look at it by other means")
        ]
    least = _GATEWAY_BYTES + facts.servers * _SERVER_BYTES
    most = least + facts.pictures_bytes
    title = f"{_gb(facts.available_bytes)} of memory available"
    if facts.limit_bytes is not None:
        title += f", of {_gb(facts.limit_bytes)} that the container may use"
    servers = f" and {facts.servers} model servers need" if facts.servers else " needs"
    what = f"the gateway{servers} {_gb(least)}"
    if facts.available_bytes < least:
        fitting = max(1, (facts.available_bytes - _GATEWAY_BYTES) // _SERVER_BYTES)
        return [
            Finding.error(
                title,
                what,
                hint=f"set NUM_SERVERS={fitting}, or free memory"
                if facts.servers > fitting
                else "free memory, or use a larger machine",
            )
        ]
    detail = f"{what}, and up to {_gb(most)} with all pictures that ENLARGER_PICTURE_MEMORY admits"
    if facts.available_bytes < most:
        room_mib = (facts.available_bytes - least) >> 20
        return [
            Finding.warning(
                title,
                detail,
                hint=f"set ENLARGER_PICTURE_MEMORY={max(64, room_mib)}, or start fewer model servers",
            )
        ]
    return [Finding.ok(title, detail)]


def _gb(count_bytes: int) -> str:
    return f"{count_bytes / 1e9:.1f} GB"
