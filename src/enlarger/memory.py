"""How much memory this process holds, and that what it frees goes back to the system."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""The numbers of these settings in glibc's malloc.h."""

_STATM = Path("/proc/self/statm")


def keep_large_blocks_apart(least_bytes: int) -> None:
    """Have glibc map each block of so many bytes by itself, so that it goes back to the system when it is freed.

    Left alone it soon keeps blocks of up to 32 MB on its heap, where they leave holes that nothing fits.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, least_bytes)
        # As glibc does when it moves the former by itself: else smaller blocks go and come with each use.
        mallopt(_M_TRIM_THRESHOLD, 2 * least_bytes)


def rss_bytes(statm: Path = _STATM) -> int:
    """Memory that this process holds; where the system keeps no ``statm``, the most that it ever held."""
    try:
        _, pages, *_ = statm.read_text().split()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024  # there in bytes, elsewhere in KiB
    return int(pages) * resource.getpagesize()
