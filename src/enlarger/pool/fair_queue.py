"""A fair queue of tiles: requests take turns, and the oldest one gets every other tile.

If requests only took turns, a large picture would wait longer the more small ones come, without a limit. If the
oldest always came first, a thumbnail would wait for a poster. So the two rules alternate:

- The oldest request gets at least half of the seats. It is done within twice the time of its estimate, which
  assumes that all requests before it are done first.
- A request behind a single large one is picked next, or after one tile of that. A request behind n others is picked
  after 2 n tiles at most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Queue(Generic[T]):
    """The waiting items of one owner."""

    since: float
    items: deque[T] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Items of several owners; those of one owner in the order in which they came. An owner is anything hashable."""

    def __init__(self) -> None:
        self._queues: OrderedDict[object, _Queue[T]] = (
            OrderedDict()
        )  # the owner whose turn it is comes first
        self._oldest_is_due = True

    def __len__(self) -> int:
        return sum(len(queue.items) for queue in self._queues.values())

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues.values():
            yield from queue.items

    def add(self, item: T, *, owner: object, since: float) -> None:
        """Add an item. ``since`` is the time when its owner came; the owner with the least is the oldest."""
        self._queues.setdefault(owner, _Queue(since)).items.append(item)

    def discard(self, item: T, *, owner: object) -> None:
        """Remove an item, if it still waits."""
        queue = self._queues.get(owner)
        if queue is not None and item in queue.items:
            queue.items.remove(item)
            if not queue.items:
                del self._queues[owner]

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """Remove and return the next item that fits, or None."""
        if not self._queues:
            return None
        oldest = min(self._queues, key=lambda owner: self._queues[owner].since)
        # One half belongs to the oldest, the other half to the others, if there are any.
        others = [owner for owner in self._queues if owner != oldest]
        for owner in [oldest, *others] if self._oldest_is_due else [*others, oldest]:
            item = next(filter(fits, self._queues[owner].items), None)
            if item is not None:
                self._oldest_is_due = owner != oldest
                self._queues.move_to_end(owner)
                self.discard(item, owner=owner)
                return item
        return None
