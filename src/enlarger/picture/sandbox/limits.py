"""Limits on memory and CPU time of a decoder process."""

from __future__ import annotations

import math
import resource

_MEMORY_LIMIT_BYTES = 4 << 30
"""Address space: many times what the largest allowed picture needs, and far less than a decompression bomb needs."""

CPU_LIMIT_S = 60
"""CPU time for one picture, all threads together. It ends a decoder whose gateway no longer waits."""


def limit_cpu(limit_s: int) -> None:
    """Make the kernel kill this process after this much CPU time from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    ends = math.ceil(used.ru_utime + used.ru_stime) + limit_s
    within = ends if hard == resource.RLIM_INFINITY else min(ends, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (within, hard))


def limit_memory() -> None:
    """Limit the address space of this process, unless a lower limit is already set."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = (
        _MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_LIMIT_BYTES, hard)
    )
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
