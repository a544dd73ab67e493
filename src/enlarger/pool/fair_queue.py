"""Whose tile is next: requests take turns, and the oldest one gets every other tile.

With turns alone, a large picture would wait longer the more small ones come, without end. With the oldest first
alone, a thumbnail would wait for a poster. So both rules pick by turns:

- the oldest request gets at least half of the seats, so it is done within twice the time it would take if all
  before it were done first: the estimate it was admitted with;
- whoever comes behind a single large request is picked next or after one tile of it, and behind n requests after
  2 n tiles at most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Queue(Generic[T]):
    """What one owner waits with."""

    since: float
    items: deque[T] = field(default_factory=deque)


class FairQueue(Generic[T]):
    """Items of several owners, each owner's in the order they came. An owner is anything that has a hash."""

    def __init__(self) -> None:
        self._queues: OrderedDict[object, _Queue[T]] = OrderedDict()  # whose turn it is comes first
        self._oldest_is_due = True

    def __len__(self) -> int:
        return sum(len(queue.items) for queue in self._queues.values())

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues.values():
            yield from queue.items

    def add(self, item: T, *, owner: object, since: float) -> None:
        """Let an item wait. ``since`` is its owner's age: the oldest has the least."""
        self._queues.setdefault(owner, _Queue(since)).items.append(item)

    def discard(self, item: T, *, owner: object) -> None:
        """Forget an item, if it still waits."""
        queue = self._queues.get(owner)
        if queue is not None and item in queue.items:
            queue.items.remove(item)
            if not queue.items:
                del self._queues[owner]

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """The next item of those that fit; None if there is none."""
        if not self._queues:
            return None
        oldest = min(self._queues, key=lambda owner: self._queues[owner].since)
        # The oldest has its own half: the other one is for the others, if there are any.
        others = [owner for owner in self._queues if owner != oldest]
        for owner in [oldest, *others] if self._oldest_is_due else [*others, oldest]:
            item = next(filter(fits, self._queues[owner].items), None)
            if item is not None:
                self._oldest_is_due = owner != oldest
                self._queues.move_to_end(owner)
                self.discard(item, owner=owner)
                return item
        return None
