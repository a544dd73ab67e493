"""What a process that decodes may use of the machine."""

from __future__ import annotations

import math
import resource

_MEMORY_LIMIT_BYTES = 4 << 30
"""Address space: many times what the largest allowed picture takes, far less than a bomb wants."""

CPU_LIMIT_S = 60
"""Processor time for one picture, all threads together: the end of a decoder whose gateway no longer looks."""


def limit_cpu(limit_s: int) -> None:
    """Let the kernel kill this process once it has computed for so long from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    ends = math.ceil(used.ru_utime + used.ru_stime) + limit_s
    within = ends if hard == resource.RLIM_INFINITY else min(ends, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (within, hard))


def limit_memory() -> None:
    """Hold this process to its address space, or to less where whoever started it set a limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = (
        _MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_LIMIT_BYTES, hard)
    )
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
