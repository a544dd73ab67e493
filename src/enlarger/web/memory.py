"""How much memory this process holds."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


def rss_bytes(statm: Path = _STATM) -> int:
    """Memory that this process holds; where the system keeps no ``statm``, the most that it ever held."""
    try:
        _, pages, *_ = statm.read_text().split()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024  # there in bytes, elsewhere in KiB
    return int(pages) * resource.getpagesize()
