"""Blocks of memory that another process of the same user writes to.

A block is a file without a name in any folder (``memfd_create(2)``): it needs no room in ``/dev/shm`` and ends with the
last process that has it open. The other process finds it under ``/proc/PID/fd``, which the system opens to the same user
in the same container only. It need not be a child, and nothing has to be configured.

The process that writes trusts no reference: whoever sends one may have chosen the names of files, and may see fewer or
other folders. It writes to sealed memory of its own user only, and opens nothing else.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enlarger import open_files
from enlarger.geometry.rect import Pixels

_REFERENCE = re.compile(r"([0-9]{1,10}),([0-9]{1,10}),(enlarger-[0-9a-f]{32})")


class SharedBlock(mmap.mmap):
    """A block of zeros that a process with its reference can write to. Linux only.

    Raises:
        OSError: this process has half of the files open that it may, or is not allowed to make such a block.
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
            _check_number(descriptor)
            os.ftruncate(descriptor, size_bytes)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _seals())
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


def _check_number(descriptor: int) -> None:
    """Leave half of the numbers to connections and files, which cannot do without."""
    if descriptor > open_files.half():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _seals() -> int:
    """Return the seals of a block.

    Reading a block that became shorter would end its process. And only memory has such seals: no file in any folder.
    """
    import fcntl

    return fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@contextmanager
def _opened(path: Path, name: str) -> Iterator[int | None]:
    """Open the block with this name; None if the path leads to something else."""
    import fcntl

    # This opens nothing, so that it has no effect on a device or a pipe. The number may lead to another file soon; the
    # descriptor does not.
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        here = Path(f"/proc/self/fd/{found}")
        facts = os.fstat(found)
        if (
            not stat.S_ISREG(facts.st_mode)
            or facts.st_uid != os.geteuid()
            or str(here.readlink()) != f"/memfd:{name} (deleted)"
        ):
            yield None
            return
        descriptor = os.open(here, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        os.close(found)
    try:
        # A file in a folder can have such a name, too.
        sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        yield descriptor if sealed & _seals() == _seals() else None
    finally:
        os.close(descriptor)
