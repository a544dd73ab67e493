"""How much memory this process holds, that what it frees goes back to the system, and when garbage is looked for."""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
        import resource  # not on Windows, where the client runs and this module is imported, too

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024  # there in bytes, elsewhere in KiB
    return int(pages) * mmap.PAGESIZE


@contextmanager
def importing() -> Iterator[None]:
    """While modules are imported, no garbage is looked for, nor in what they leave ever after.

    What they make stays for good. To look through it again and again while it grows is a tenth of a start, and later
    of each full search.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
