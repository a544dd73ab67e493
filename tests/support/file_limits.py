"""Open files that run out, in this process."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_more_open_files(*, but: int = 0) -> Iterator[None]:
    """Let this process open no more files until the end of the block, but so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = [os.open(os.devnull, os.O_RDONLY) for _ in range(but + 1)]
    for one in lowest_free:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
