"""Blocks of memory that another process of the same user writes to.

A block is a file without a name in any folder (``memfd_create(2)``): it needs no room in ``/dev/shm`` and ends with the
last process that has it open. The other process finds it under ``/proc/PID/fd``, which the system opens to the same user
in the same container only. It need not be a child, and nothing has to be configured.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enlarger.geometry.rect import Pixels

_REFERENCE = re.compile(r"([0-9]{1,10}),([0-9]{1,10}),(enlarger-[0-9a-f]{32})")


class SharedBlock(mmap.mmap):
    """A block of zeros that a process with its reference can write to. Linux only.

    Raises:
        OSError: this process has too many open files, or is not allowed to make such a block.
    """

    reference: str
    """``PID,NUMBER,NAME``: the process and the number of its open file, and a name that nobody can guess."""

    is_lent: bool
    """Whether another process may still write to it."""

    def __new__(cls, size_bytes: int) -> SharedBlock:
        """Make a block of ``size_bytes``."""
        import fcntl  # not available on Windows, where the client imports this package

        # A number is used again for other files, and a process that was slow to open this one would get those. Its
        # name is never used again.
        name = f"enlarger-{secrets.token_hex(16)}"
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size_bytes)
            # Reading a block that became shorter would end this process.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            block = super().__new__(cls, descriptor, size_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        weakref.finalize(block, os.close, descriptor).atexit = False
        block.reference = f"{os.getpid()},{descriptor},{name}"
        block.is_lent = False
        return block


def can_share() -> bool:
    """Return whether this system has such blocks."""
    return hasattr(os, "memfd_create")


def write_to(reference: str, samples: Pixels) -> bool:
    """Write contiguous samples to the block of another process.

    Returns:
        Whether all of them are there. A reference of another machine, container or user, or of a block that is gone or too
        small, opens nothing.
    """
    parts = _REFERENCE.fullmatch(reference)
    if parts is None:
        return False
    pid, number, name = parts.groups()
    try:
        with _opened(Path(f"/proc/{pid}/fd/{number}"), name) as descriptor:
            if descriptor is None or os.fstat(descriptor).st_size < samples.nbytes:
                return False
            # A system call fills pages that this process has not mapped, which takes less than to map them.
            data, done = samples.reshape(-1).data.cast("B"), 0
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], done)
    except OSError:
        return False
    return True


@contextmanager
def _opened(path: Path, name: str) -> Iterator[int | None]:
    """Open the block with this name; None if the path leads to something else."""
    wanted = f"/memfd:{name} (deleted)"
    # Opening a pipe or a device has effects of its own, so look first. The number may become another file between the
    # two calls, so look again.
    if str(path.readlink()) != wanted:
        yield None
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield descriptor if str(Path(f"/proc/self/fd/{descriptor}").readlink()) == wanted else None
    finally:
        os.close(descriptor)
