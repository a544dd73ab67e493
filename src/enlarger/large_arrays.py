"""Large arrays, whose memory is used again.

A system fills each page with zeros before a process gets it, and a virtual machine may have to get it from its host
first. For samples that are written once and read once, that takes longer than all the rest. Therefore a block that
nothing refers to any more is kept for a while, for the next array of about the same size.

A block can also be lent to another process that writes to it.
"""

from __future__ import annotations

import asyncio
import math
import mmap
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from enlarger.memory import large_block
from enlarger.shared_blocks import SharedBlock, can_share

LEAST_BYTES = 1 << 20
"""Smaller arrays are left to numpy, since malloc uses their memory again by itself."""

LARGEST_BYTES = 32 << 20
"""Larger arrays are rare, and the time that their pages take is small beside that of their work."""

_IDLE_BYTES = 128 << 20
_IDLE_SHARED_BYTES = 64 << 20
"""Two pictures of 4 megapixels, with their files and tiles, at work at the same time."""

_IDLE_S = 10.0
"""How long a block is kept."""

Block = TypeVar("Block", bound=mmap.mmap)


class _Idle(NamedTuple, Generic[Block]):
    block: Block
    since_s: float


class BlockPool(Generic[Block]):
    """Blocks of memory that go from one array to the next.

    Nothing has to be given back: a block is idle again when no array, view or buffer refers to it. Threads and finalizers
    use the pool without a lock, by operations of a ``deque`` that are atomic.

    Args:
        idle_bytes: size of all idle blocks at most.
        new_block: makes a block of this many bytes.
        retire: prepares a block to be idle, and returns whether it can be used again.
    """

    def __init__(
        self, idle_bytes: int, new_block: Callable[[int], Block], retire: Callable[[Block], bool]
    ) -> None:
        self._limit_bytes = idle_bytes
        self._new_block = new_block
        self._retire = retire
        self._idle: defaultdict[int, deque[_Idle[Block]]] = defaultdict(deque)
        """By size; the ones that are idle for longest come first."""

    @property
    def idle_bytes(self) -> int:
        """Size of the idle blocks."""
        return sum(size * len(blocks) for size, blocks in tuple(self._idle.items()))

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array with undefined contents, as ``numpy.empty`` does."""
        count = math.prod(shape)
        if not _is_large(count * np.dtype(dtype).itemsize):
            return np.empty(shape, dtype)
        return self.take(count, dtype)[0].reshape(shape)

    def take(self, count: int, dtype: npt.DTypeLike) -> tuple[npt.NDArray[Any], Block]:
        """Return an array of one dimension with undefined contents, and the block in which it lies.

        Raises:
            OSError: the system gives no block.
        """
        size_bytes = _rounded_up(count * np.dtype(dtype).itemsize)
        try:
            block = self._idle[size_bytes].pop().block
        except IndexError:
            block = self._new_block(size_bytes)
        flat = np.frombuffer(block, dtype, count)
        # All views of an array refer to its base, and to nothing between.
        weakref.finalize(flat.base, self._take_back, size_bytes, block).atexit = False
        return flat, block

    def release(self, idle_s: float) -> None:
        """Return the blocks to the system that were idle for longer."""
        before = time.monotonic() - idle_s
        for blocks in tuple(self._idle.values()):
            with suppress(IndexError):  # a thread took the last one meanwhile
                while blocks[0].since_s <= before:
                    blocks.popleft()

    def _take_back(self, size_bytes: int, block: Block) -> None:
        if self.idle_bytes + size_bytes <= self._limit_bytes and self._retire(block):
            self._idle[size_bytes].append(_Idle(block, time.monotonic()))


def _rounded_up(size_bytes: int) -> int:
    """Return the next of four sizes between two powers of two, so that a block fits arrays of several sizes."""
    step = 1 << (size_bytes.bit_length() - 3)
    return -(-size_bytes // step) * step


def _is_large(size_bytes: int) -> bool:
    return LEAST_BYTES <= size_bytes <= LARGEST_BYTES


def _let_go(block: mmap.mmap) -> bool:
    """Allow a system that runs short of memory to take the pages of a block. Otherwise they stay."""
    if hasattr(mmap, "MADV_FREE"):
        block.madvise(mmap.MADV_FREE)
    return True


_own = BlockPool(_IDLE_BYTES, large_block, _let_go)
_shared = BlockPool(_IDLE_SHARED_BYTES, SharedBlock, lambda block: not block.is_lent)


def large_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array with undefined contents, from the blocks of this process."""
    return _own.array(shape, dtype)


class Loan:
    """Memory that another process writes to, until the end of a ``with`` block.

    Memory that has not come back by then is not used again, and is gone once the other process has closed it.

    Args:
        size_bytes: its size.

    Raises:
        OSError: the system gives no such memory.
    """

    def __init__(self, size_bytes: int) -> None:
        self._array, self._block = _shared.take(size_bytes, np.uint8)
        self._block.is_lent = True

    def __enter__(self) -> Loan:
        return self

    def __exit__(self, *_: object) -> None:
        # The frame of a caller that failed may live on in the traceback of its error, and this object in the frame.
        del self._array, self._block

    @property
    def reference(self) -> str:
        """By which the other process finds the memory; see ``write_to``."""
        return self._block.reference

    def returned(self) -> memoryview:
        """Return the contents, once the other process has said that it wrote them and will write no more."""
        self._block.is_lent = False
        return self._array.data


def lend(size_bytes: int) -> Loan | None:
    """Return memory of this size for another process to write to; None where that is not possible or not worth it."""
    if not (can_share() and _is_large(size_bytes)):
        return None
    try:
        return Loan(size_bytes)
    except OSError:
        return None


def release_idle() -> None:
    """Return all blocks of this process that are idle to the system, at once."""
    for pool in (_own, _shared):
        pool.release(0)


async def release_regularly() -> None:
    """Return blocks of this process to the system once they are idle, until this is cancelled."""
    while True:
        await asyncio.sleep(_IDLE_S)
        for pool in (_own, _shared):
            pool.release(_IDLE_S)
