"""Open files: how many this process may have, and what it says when it has no more.

Each connection is an open file, and a picture in work needs a few. Many systems allow 1,024 unless a process asks for
more, because programs that call ``select`` cannot use higher numbers. Nothing here calls it.
"""

from __future__ import annotations

import errno
import math
from contextlib import suppress

from enlarger.errors import OpenFilesExhausted

MOST = 65_536
"""How many open files are asked for; some systems would allow a thousand million."""

NUMBERS = (errno.EMFILE, errno.ENFILE)
"""What the system says when this process, or the machine, can open no more files."""

_RETRY_S = 5.0


def raise_limit() -> None:
    """Ask the system for as many open files as it allows this process, up to ``MOST``."""
    import resource

    allowed, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if highest == resource.RLIM_INFINITY else min(MOST, highest)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with suppress(OSError, ValueError):  # a system with another limit above this one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, highest))


def half() -> float:
    """Return half of the open files that this process may have: as many may be connections, or memory of model servers.

    Pictures in work, and connections to model servers and databases, need the rest.
    """
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if allowed == resource.RLIM_INFINITY else allowed // 2


def are_exhausted(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, says that no more files can be opened."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, OSError) and one.errno in NUMBERS:
            return True
        one = one.__cause__ or one.__context__
    return False


def raise_if_exhausted(error: BaseException) -> None:
    """Raise the error for a request that needs a file if that is what an error is about; otherwise do nothing.

    Raises:
        OpenFilesExhausted: ``error``, or one that caused it, says that no more files can be opened.
    """
    if are_exhausted(error):
        raise exhaustion() from error


def exhaustion() -> OpenFilesExhausted:
    """Return the error for a request that needs a file which cannot be opened."""
    return OpenFilesExhausted(
        "the server has too many files and connections open; try again later",
        retry_after_s=_RETRY_S,
    )
