"""Large arrays, whose memory is used again.

A system fills each page with zeros before a process gets it, and a virtual machine may have to get it from its host
first. For samples that are written once and read once, that takes longer than all the rest. Therefore a block that
nothing refers to any more is kept for a while, for the next array of about the same size.
"""

from __future__ import annotations

import asyncio
import math
import mmap
import time
import weakref
from collections import defaultdict, deque
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from enlarger.memory import large_block

LEAST_BYTES = 1 << 20
"""Smaller arrays are left to numpy, since malloc uses their memory again by itself."""

LARGEST_BYTES = 32 << 20
"""Larger arrays are rare, and the time that their pages take is small beside that of their work."""

_IDLE_BYTES = 192 << 20
"""Two pictures of 4 megapixels, with their tiles and files, at work at the same time."""

_IDLE_S = 10.0
"""How long a block is kept."""


class _Idle(NamedTuple):
    block: mmap.mmap
    since_s: float


class BlockPool:
    """Blocks of memory that go from one array to the next.

    Nothing has to be given back: a block is idle again when no array, view or buffer refers to it. Threads and finalizers
    use the pool without a lock, by operations of a ``deque`` that are atomic.

    Args:
        idle_bytes: size of all idle blocks at most.
    """

    def __init__(self, idle_bytes: int) -> None:
        self._limit_bytes = idle_bytes
        self._idle: defaultdict[int, deque[_Idle]] = defaultdict(deque)
        """By size; the ones that are idle for longest come first."""

    @property
    def idle_bytes(self) -> int:
        """Size of the idle blocks."""
        return sum(size * len(blocks) for size, blocks in tuple(self._idle.items()))

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array with undefined contents, as ``numpy.empty`` does."""
        count = math.prod(shape)
        size_bytes = count * np.dtype(dtype).itemsize
        if not LEAST_BYTES <= size_bytes <= LARGEST_BYTES:
            return np.empty(shape, dtype)
        size_bytes = _rounded_up(size_bytes)
        try:
            block = self._idle[size_bytes].pop().block
        except IndexError:
            block = large_block(size_bytes)
        flat = np.frombuffer(block, dtype, count)
        # All views of an array refer to its base, and to nothing between.
        weakref.finalize(flat.base, self._take_back, size_bytes, block).atexit = False
        return flat.reshape(shape)

    def release(self, idle_s: float) -> None:
        """Return the blocks to the system that were idle for longer."""
        before = time.monotonic() - idle_s
        for blocks in tuple(self._idle.values()):
            with suppress(IndexError):  # a thread took the last one meanwhile
                while blocks[0].since_s <= before:
                    blocks.popleft()

    def _take_back(self, size_bytes: int, block: mmap.mmap) -> None:
        if self.idle_bytes + size_bytes > self._limit_bytes:
            return
        if hasattr(mmap, "MADV_FREE"):
            # A system that runs short of memory may take the pages. Otherwise they stay.
            block.madvise(mmap.MADV_FREE)
        self._idle[size_bytes].append(_Idle(block, time.monotonic()))


def _rounded_up(size_bytes: int) -> int:
    """Return the next of four sizes between two powers of two, so that a block fits arrays of several sizes."""
    step = 1 << (size_bytes.bit_length() - 3)
    return -(-size_bytes // step) * step


_pool = BlockPool(_IDLE_BYTES)


def large_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array with undefined contents, from the blocks of this process."""
    return _pool.array(shape, dtype)


def release_idle() -> None:
    """Return all blocks of this process that are idle to the system, at once."""
    _pool.release(0)


async def release_regularly() -> None:
    """Return blocks of this process to the system once they are idle, until this is cancelled."""
    while True:
        await asyncio.sleep(_IDLE_S)
        _pool.release(_IDLE_S)
