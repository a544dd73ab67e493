"""A process writes to a block of another process of its user, and never to anything else."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.unprivileged import NOBODY

from enlarger.shared_blocks import SharedBlock, can_share, write_to

pytestmark = pytest.mark.skipif(not can_share(), reason="only Linux has such blocks")

SAMPLES = np.arange(3000, dtype=np.uint16).reshape(10, 100, 3)
SIZE_BYTES = 8192
NAME = "enlarger-0123456789abcdef0123456789abcdef"
"""A name as blocks have it."""


def descriptors() -> list[str]:
    """Return the numbers of the files that this process has open."""
    with os.scandir("/proc/self/fd") as entries:
        return sorted(entry.name for entry in entries)


def is_untouched(block: SharedBlock) -> bool:
    """Return whether nobody has written to a block."""
    return not any(block[:])


def naming(descriptor: int, block: SharedBlock) -> str:
    """Return the reference of a block, with the number of another file."""
    pid, _, name = block.reference.split(",")
    return f"{pid},{descriptor},{name}"


def test_another_process_writes() -> None:
    """It need not be a child; it knows the reference only. What follows in the block stays."""
    block = SharedBlock(SIZE_BYTES)
    block[SAMPLES.nbytes : SAMPLES.nbytes + 4] = b"next"
    code = """
import sys, numpy as np
from enlarger.shared_blocks import write_to
samples = np.arange(3000, dtype=np.uint16).reshape(10, 100, 3)
print(write_to(sys.argv[1], samples))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, block.reference], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "True\n"
    assert block[: SAMPLES.nbytes] == SAMPLES.tobytes()
    assert block[SAMPLES.nbytes :] == b"next" + bytes(SIZE_BYTES - SAMPLES.nbytes - 4)


def test_samples_that_fill_the_block_fit() -> None:
    """To the last byte, and no more."""
    block = SharedBlock(SAMPLES.nbytes)
    assert write_to(block.reference, SAMPLES)
    assert block[:] == SAMPLES.tobytes()
    smaller = SharedBlock(SAMPLES.nbytes - 1)
    assert not write_to(smaller.reference, SAMPLES)
    assert is_untouched(smaller)


@given(st.text() | st.from_regex(r"-?[0-9]{1,12},-?[0-9]{1,12},[a-z]{1,9}-?[0-9a-f/.]{0,40}"))
def test_anything_else_is_no_reference(text: str) -> None:
    """Nothing is opened, and nothing is raised."""
    assert not write_to(text, SAMPLES)


def test_block_that_is_gone_is_not_written() -> None:
    """The memory of the next one, which may have the same number, is another's."""
    block = SharedBlock(SIZE_BYTES)
    reference = block.reference
    del block
    assert not write_to(reference, SAMPLES)
    others = [SharedBlock(SIZE_BYTES) for _ in range(4)]
    assert reference.split(",")[1] in {other.reference.split(",")[1] for other in others}
    assert not write_to(reference, SAMPLES)
    assert all(is_untouched(other) for other in others)


@contextmanager
def regular_file(folder: Path) -> Iterator[int]:
    """Open a file with contents."""
    path = folder / "file"
    path.write_bytes(bytes(SIZE_BYTES))
    with path.open("r+b") as file:
        yield file.fileno()
        assert path.read_bytes() == bytes(SIZE_BYTES)


@contextmanager
def named_as_a_block(folder: Path) -> Iterator[int]:
    """Open a file whose name is that of memory in ``/proc``."""
    path = folder / f"memfd:{NAME} (deleted)"
    path.write_bytes(bytes(SIZE_BYTES))
    with path.open("r+b") as file:
        path.unlink()
        yield file.fileno()
        assert file.read() == bytes(SIZE_BYTES)


@contextmanager
def pipe(_: Path) -> Iterator[int]:
    """Open a pipe, which nobody reads."""
    reading, writing = os.pipe()
    try:
        yield writing
        os.set_blocking(reading, False)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def device(_: Path) -> Iterator[int]:
    """Open a device."""
    with Path("/dev/null").open("r+b", buffering=0) as file:
        yield file.fileno()


@contextmanager
def socket_pair(_: Path) -> Iterator[int]:
    """Open a connection."""
    here, there = socket.socketpair()
    with here, there:
        yield here.fileno()
        there.setblocking(False)
        with pytest.raises(BlockingIOError):
            there.recv(1)


@contextmanager
def memory_named(name: str, *, seals: int | None) -> Iterator[int]:
    """Open memory that is not a block of ours, with these seals; None if it can have none."""
    descriptor = os.memfd_create(name, os.MFD_ALLOW_SEALING if seals is not None else 0)
    try:
        os.ftruncate(descriptor, SIZE_BYTES)
        if seals is not None:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
        assert os.pread(descriptor, SIZE_BYTES, 0) == bytes(SIZE_BYTES)
    finally:
        os.close(descriptor)


def memory_of_others(_: Path) -> AbstractContextManager[int]:
    """Open memory that some library made."""
    return memory_named("buffer", seals=None)


def memory_without_seals(_: Path) -> AbstractContextManager[int]:
    """Open memory whose size could change."""
    return memory_named(NAME, seals=fcntl.F_SEAL_SHRINK)


@contextmanager
def at_the_root(_: Path) -> Iterator[int]:
    """Open a file whose path is what ``/proc`` shows for a block: one in the folder of all folders."""
    path = Path(f"/memfd:{NAME} (deleted)")
    try:
        path.write_bytes(bytes(SIZE_BYTES))
    except OSError:
        pytest.skip("this user may not write there")
    try:
        with path.open("r+b") as file:
            yield file.fileno()
            assert path.read_bytes() == bytes(SIZE_BYTES)
    finally:
        path.unlink()


@contextmanager
def deleted_at_the_root(_: Path) -> Iterator[int]:
    """Open a file with the name of a block that is deleted, which ``/proc`` says of it as well."""
    path = Path(f"/memfd:{NAME}")
    try:
        path.write_bytes(bytes(SIZE_BYTES))
    except OSError:
        pytest.skip("this user may not write there")
    with path.open("r+b") as file:
        path.unlink()
        yield file.fileno()
        assert file.read() == bytes(SIZE_BYTES)


OTHERS = [
    *(regular_file, named_as_a_block, at_the_root, deleted_at_the_root),
    *(pipe, device, socket_pair, memory_of_others, memory_without_seals),
]


@pytest.mark.parametrize("opened", OTHERS)
def test_no_other_file_is_written(
    tmp_path: Path, opened: Callable[[Path], AbstractContextManager[int]]
) -> None:
    """Whatever a reference leads to, and however it is called, it must be a block. No file stays open."""
    block = SharedBlock(SIZE_BYTES)
    with opened(tmp_path) as descriptor:
        before = descriptors()
        assert not write_to(naming(descriptor, block), SAMPLES)
        assert not write_to(f"{os.getpid()},{descriptor},{NAME}", SAMPLES)
        assert descriptors() == before
    assert is_untouched(block)


def test_blocks_of_a_process_that_has_ended_are_gone() -> None:
    """Nothing remains of them that anybody would have to remove."""
    code = "from enlarger.shared_blocks import SharedBlock; print(SharedBlock(8192).reference)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not write_to(ran.stdout.strip(), SAMPLES)
    assert ran.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused() -> None:
    """The system keeps it away from the files of this process."""
    block = SharedBlock(SIZE_BYTES)
    with warnings.catch_warnings():
        # The child does nothing but this.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os._exit(int(write_to(block.reference, SAMPLES)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert is_untouched(block)
    assert write_to(block.reference, SAMPLES)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open the files of another user")
def test_memory_of_another_user_is_not_written() -> None:
    """Root could reach it, and is asked for nothing by others."""
    block = SharedBlock(SIZE_BYTES)
    pid, number, _ = block.reference.split(",")
    os.chown(f"/proc/{pid}/fd/{number}", NOBODY, NOBODY)
    assert not write_to(block.reference, SAMPLES)
    assert is_untouched(block)


def test_half_of_the_open_files_are_left_to_others() -> None:
    """A process that has many open makes no blocks, and can still accept connections."""
    code = """
import os, resource
from enlarger.shared_blocks import SharedBlock
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
blocks = []
try:
    while True:
        blocks.append(SharedBlock(8192))
except OSError as error:
    print(error.strerror)
left = [os.open("/dev/null", os.O_RDONLY) for _ in range(28)]
assert len(blocks) > 5
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Too many open files\n", "")


def test_size_of_a_block_is_fixed() -> None:
    """A process that reads beyond the end of a file that it has mapped is killed by the system."""
    block = SharedBlock(SIZE_BYTES)
    pid, number, _ = block.reference.split(",")
    descriptor = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR)
    try:
        for size_bytes in (0, 2 * SIZE_BYTES):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size_bytes)
    finally:
        os.close(descriptor)
    assert is_untouched(block)


def test_blocks_leave_no_open_files() -> None:
    """Neither those that are dropped, nor those that were written."""
    before = descriptors()
    for _ in range(10):
        gone = SharedBlock(SIZE_BYTES).reference
        assert not write_to(gone, SAMPLES)
        block = SharedBlock(SIZE_BYTES)
        assert write_to(block.reference, SAMPLES)
        del block
    assert descriptors() == before
