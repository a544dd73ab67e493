"""Large arrays use the memory of earlier ones again, and never that of one that is still in use."""

from __future__ import annotations

import asyncio
import gc
import mmap
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.large_arrays import (
    LARGEST_BYTES,
    LEAST_BYTES,
    BlockPool,
    Loan,
    large_array,
    lend,
    release_idle,
    release_regularly,
)
from enlarger.memory import large_block
from enlarger.shared_blocks import SharedBlock, can_share, write_to

MIB = 1 << 20

Pool = BlockPool[mmap.mmap]

shares = pytest.mark.skipif(not can_share(), reason="only Linux has such blocks")


def pool_of(idle_bytes: int) -> Pool:
    """Return a pool of its own for blocks of this process."""
    return BlockPool(idle_bytes, large_block, lambda _: True)


@pytest.fixture
def pool() -> Pool:
    """Return a pool with room for 64 MiB."""
    return pool_of(64 * MIB)


def address(array: npt.NDArray[Any]) -> int:
    """Return where the array lies in memory."""
    return int(array.__array_interface__["data"][0])


@given(
    shape=st.lists(st.integers(0, 300), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32, np.int64]),
)
def test_array_is_as_asked_for(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Whatever its size, it can be written, all of it."""
    array = pool_of(64 * MIB).array(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.aligned
    array.fill(1)
    assert (array == 1).all()


def test_memory_is_used_again(pool: Pool) -> None:
    """The next array of the same size lies where the last one lay."""
    first = pool.array((2 * MIB,), np.uint8)
    place = address(first)
    del first
    assert pool.idle_bytes == 2 * MIB
    assert address(pool.array((MIB,), np.uint16)) == place


def test_size_need_not_be_the_same(pool: Pool) -> None:
    """A little more or less fits as well."""
    place = address(pool.array((2 * MIB,), np.uint8))
    assert address(pool.array((2 * MIB - 999,), np.uint8)) == place
    assert address(pool.array((3 * MIB,), np.uint8)) != place


WAYS_TO_HOLD: dict[str, Callable[[Any], Any]] = {
    "part": lambda array: array[5:9],
    "part of a part": lambda array: array[5:9].reshape(2, 2).T[1:],
    "other type": lambda array: array.view(np.uint16)[::2],
    "buffer": lambda array: memoryview(array)[3:4],
    "array of a buffer": lambda array: np.frombuffer(memoryview(array), np.uint8, 7, offset=100),
    "repeated": lambda array: np.broadcast_to(array[:1], (5, 1)),
    "data": lambda array: array.data,
}


@pytest.mark.parametrize("way", WAYS_TO_HOLD)
def test_memory_in_use_is_never_used_again(pool: Pool, way: str) -> None:
    """A view of a view, or a buffer, holds the block as the array itself does."""
    array = pool.array((2 * MIB,), np.uint8)
    array.fill(7)
    held = WAYS_TO_HOLD[way](array)
    del array
    gc.collect()
    assert pool.idle_bytes == 0
    pool.array((2 * MIB,), np.uint8).fill(9)
    assert set(np.asarray(held).ravel().view(np.uint8).tolist()) == {7}
    del held
    gc.collect()
    assert pool.idle_bytes == 2 * (2 * MIB)


def test_small_and_very_large_arrays_are_not_kept(pool: Pool) -> None:
    """Numpy and the system have their own ways for these."""
    for size in (0, LEAST_BYTES - 1, LARGEST_BYTES + 1):
        pool.array((size,), np.uint8)
        assert pool.idle_bytes == 0
    pool.array((LEAST_BYTES,), np.uint8)
    assert pool.idle_bytes == LEAST_BYTES
    pool.array((LARGEST_BYTES,), np.uint8)
    assert pool.idle_bytes == LEAST_BYTES + LARGEST_BYTES


def test_no_more_is_kept_than_is_allowed() -> None:
    """What is beyond returns to the system."""
    pool = pool_of(5 * MIB)
    arrays = [pool.array((2 * MIB,), np.uint8) for _ in range(4)]
    assert pool.idle_bytes == 0
    arrays.clear()
    assert pool.idle_bytes == 4 * MIB


def test_idle_blocks_are_released(pool: Pool) -> None:
    """Those that were idle for long, and not those that were used a moment ago."""
    pool.array((2 * MIB,), np.uint8)
    pool.release(60)
    assert pool.idle_bytes == 2 * MIB
    pool.release(0)
    assert pool.idle_bytes == 0
    pool.release(0)


def test_process_releases_its_blocks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is told to."""
    monkeypatch.setattr("enlarger.large_arrays._own", pool := pool_of(64 * MIB))
    large_array((2 * MIB,), np.uint8)
    assert pool.idle_bytes == 2 * MIB
    release_idle()
    assert pool.idle_bytes == 0


async def test_process_releases_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they are idle, without anybody asking."""
    monkeypatch.setattr("enlarger.large_arrays._IDLE_S", 0.01)
    monkeypatch.setattr("enlarger.large_arrays._own", pool := pool_of(64 * MIB))
    large_array((2 * MIB,), np.uint8)
    assert pool.idle_bytes == 2 * MIB
    releasing = asyncio.create_task(release_regularly())
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if not pool.idle_bytes:
            break
    assert pool.idle_bytes == 0
    releasing.cancel()


def test_threads_never_share_a_block(pool: Pool) -> None:
    """Each finds in its array what it wrote there, while others take and return blocks and some are released."""
    wrong: list[int] = []

    def work(number: int) -> Iterator[None]:
        for _ in range(200):
            array = pool.array((MIB + number % 3,), np.uint8)
            array[:: MIB // 64] = number
            yield
            wrong.extend(value for value in array[:: MIB // 64].tolist() if value != number)
            del array
            if number == 0:
                pool.release(0)

    def run(number: int) -> None:
        for _ in work(number):
            threading.Event().wait(0)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 <= pool.idle_bytes <= 64 * MIB


def test_process_ends_with_arrays_in_use() -> None:
    """Nothing is printed when the interpreter takes everything apart."""
    code = """
import numpy as np
from enlarger.large_arrays import large_array
held = [large_array((2 << 20,), np.uint8) for _ in range(3)]
held.append(held)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == ran.stderr == ""


# Memory that is lent


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> BlockPool[SharedBlock]:
    """Return the pool of this process, empty."""
    pool = BlockPool(64 * MIB, SharedBlock, lambda block: not block.is_lent)
    monkeypatch.setattr("enlarger.large_arrays._shared", pool)
    return pool


def lent(size_bytes: int) -> Loan:
    """Lend memory of this size."""
    loan = lend(size_bytes)
    assert loan is not None
    return loan


def samples(value: int, size_bytes: int = 2 * MIB) -> npt.NDArray[np.uint8]:
    """Return samples of one value."""
    return np.full(size_bytes, value, np.uint8)


@shares
def test_lent_memory_has_what_was_written(shared: BlockPool[SharedBlock]) -> None:
    """All of it, and nothing of the block beyond."""
    with lent(2 * MIB - 999) as loan:
        assert write_to(loan.reference, samples(7, 2 * MIB - 999))
        contents = loan.returned()
    assert contents == bytes([7]) * (2 * MIB - 999)
    assert shared.idle_bytes == 0


@shares
def test_returned_memory_is_lent_again(shared: BlockPool[SharedBlock]) -> None:
    """Once nothing refers to its contents, which stay until then."""
    with lent(2 * MIB) as loan:
        reference = loan.reference
        write_to(reference, samples(7))
        held = np.frombuffer(loan.returned(), np.uint8)[5:9]
    with lent(2 * MIB) as other:
        assert other.reference != reference
    assert held.tolist() == [7] * 4
    del held
    assert shared.idle_bytes == 2 * MIB
    with lent(2 * MIB) as again:
        assert again.reference == reference


@shares
def test_memory_that_is_not_returned_is_never_lent_again(shared: BlockPool[SharedBlock]) -> None:
    """A process that was given up may write at any time, and reaches nothing any more."""
    with lent(2 * MIB) as loan:
        reference = loan.reference
        write_to(reference, samples(7))
    assert shared.idle_bytes == 0
    others = [lent(2 * MIB) for _ in range(3)]
    assert not write_to(reference, samples(9))
    assert all(not any(other.returned()) for other in others)


@shares
def test_memory_is_gone_even_if_the_error_of_its_tile_is_kept() -> None:
    """An error refers to the frames that it passed, and they to what they had."""

    def fail() -> None:
        with lent(2 * MIB) as loan:
            references.append(loan.reference)
            raise RuntimeError

    references: list[str] = []
    with pytest.raises(RuntimeError) as kept:
        fail()
    (reference,) = references
    assert not write_to(reference, samples(9))
    assert kept.tb is not None


@shares
def test_memory_that_was_returned_can_be_lost_later(shared: BlockPool[SharedBlock]) -> None:
    """Each loan counts for itself."""
    with lent(2 * MIB) as first:
        reference = first.reference
        first.returned()
    with lent(2 * MIB) as second:
        assert second.reference == reference
    assert shared.idle_bytes == 0


@shares
def test_idle_memory_for_others_is_released_as_well(shared: BlockPool[SharedBlock]) -> None:
    """With all other idle blocks."""
    with lent(2 * MIB) as loan:
        loan.returned()
    assert shared.idle_bytes == 2 * MIB
    release_idle()
    assert shared.idle_bytes == 0


@pytest.mark.parametrize("size_bytes", [0, LEAST_BYTES - 1, LARGEST_BYTES + 1])
def test_little_memory_is_not_lent(size_bytes: int) -> None:
    """A message brings as much in less time; and very large blocks are not kept."""
    assert lend(size_bytes) is None


@shares
def test_process_with_too_many_open_files_lends_nothing() -> None:
    """Its work goes on by other means."""
    code = """
import os, resource
from enlarger.large_arrays import lend
first = lend(2 << 20)
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * (3 + len(os.listdir("/proc/self/fd"))), 4096))
loans = [lend(2 << 20) for _ in range(10)]
assert None in loans
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
