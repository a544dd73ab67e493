"""Large arrays use the memory of earlier ones again, and never that of one that is still in use."""

from __future__ import annotations

import asyncio
import gc
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
    large_array,
    release_idle,
    release_regularly,
)

MIB = 1 << 20


@pytest.fixture
def pool() -> BlockPool:
    """Return a pool of its own, with room for 64 MiB."""
    return BlockPool(64 * MIB)


def address(array: npt.NDArray[Any]) -> int:
    """Return where the array lies in memory."""
    return int(array.__array_interface__["data"][0])


@given(
    shape=st.lists(st.integers(0, 300), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32, np.int64]),
)
def test_array_is_as_asked_for(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Whatever its size, it can be written, all of it."""
    array = BlockPool(64 * MIB).array(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.aligned
    array.fill(1)
    assert (array == 1).all()


def test_memory_is_used_again(pool: BlockPool) -> None:
    """The next array of the same size lies where the last one lay."""
    first = pool.array((2 * MIB,), np.uint8)
    place = address(first)
    del first
    assert pool.idle_bytes == 2 * MIB
    assert address(pool.array((MIB,), np.uint16)) == place


def test_size_need_not_be_the_same(pool: BlockPool) -> None:
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
def test_memory_in_use_is_never_used_again(pool: BlockPool, way: str) -> None:
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


def test_small_and_very_large_arrays_are_not_kept(pool: BlockPool) -> None:
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
    pool = BlockPool(5 * MIB)
    arrays = [pool.array((2 * MIB,), np.uint8) for _ in range(4)]
    assert pool.idle_bytes == 0
    arrays.clear()
    assert pool.idle_bytes == 4 * MIB


def test_idle_blocks_are_released(pool: BlockPool) -> None:
    """Those that were idle for long, and not those that were used a moment ago."""
    pool.array((2 * MIB,), np.uint8)
    pool.release(60)
    assert pool.idle_bytes == 2 * MIB
    pool.release(0)
    assert pool.idle_bytes == 0
    pool.release(0)


def test_process_releases_its_blocks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is told to."""
    monkeypatch.setattr("enlarger.large_arrays._pool", pool := BlockPool(64 * MIB))
    large_array((2 * MIB,), np.uint8)
    assert pool.idle_bytes == 2 * MIB
    release_idle()
    assert pool.idle_bytes == 0


async def test_process_releases_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they are idle, without anybody asking."""
    monkeypatch.setattr("enlarger.large_arrays._IDLE_S", 0.01)
    monkeypatch.setattr("enlarger.large_arrays._pool", pool := BlockPool(64 * MIB))
    large_array((2 * MIB,), np.uint8)
    assert pool.idle_bytes == 2 * MIB
    releasing = asyncio.create_task(release_regularly())
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if not pool.idle_bytes:
            break
    assert pool.idle_bytes == 0
    releasing.cancel()


def test_threads_never_share_a_block(pool: BlockPool) -> None:
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
