"""Memory of this process: how much it holds, how freed memory returns to the system, and when garbage is collected."""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of these settings in glibc's malloc.h."""

_STATM = Path("/proc/self/statm")


def keep_large_blocks_apart(least_bytes: int, *, heap_bytes: int | None = None) -> None:
    """Make glibc map each block of this size or more by itself, so that it returns to the system when it is freed.

    By default glibc soon keeps blocks of up to 32 MB on its heap, where they leave holes that nothing fits.

    Args:
        least_bytes: size of such a block.
        heap_bytes: free memory that each thread's heap keeps at its end; twice ``least_bytes`` by default, which is
            glibc's own ratio. Arithmetic that takes several smaller blocks for a moment needs more: if the heap shrank after
            each use, getting its pages again would take longer than the arithmetic.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, least_bytes)
        mallopt(_M_TRIM_THRESHOLD, 2 * least_bytes if heap_bytes is None else heap_bytes)


def large_block(size_bytes: int) -> mmap.mmap:
    """Return a block of zeros that returns to the system when nothing refers to it.

    A page takes memory from when it is first written. Pages are large where the system has such pages: one of 4 KiB takes
    longer to get than to fill.
    """
    block = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


def rss_bytes(statm: Path = _STATM) -> int:
    """Return the memory that this process holds, or its peak on systems without ``statm``."""
    try:
        _, pages, *_ = statm.read_text().split()
    except OSError:
        import resource  # not available on Windows, where the client imports this module

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024  # bytes on macOS, KiB elsewhere
    return int(pages) * mmap.PAGESIZE


@contextmanager
def importing() -> Iterator[None]:
    """Turn off garbage collection while modules are imported, and exclude their objects from it afterwards.

    These objects stay for good. Scanning them again and again while they grow takes a tenth of a start, and later a
    part of each full collection.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
