"""Request bodies under limits of size and time, counted while they arrive.

Quart's ``MAX_CONTENT_LENGTH`` does not bound chunked bodies: they are buffered, whole, before it looks. So
this ASGI layer takes the body first, stops at a limit, and hands the application what fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from enlarger.asgi.messages import (
    LINGER_S,
    Answer,
    AsgiApp,
    Receive,
    Scope,
    Send,
    answer_early,
    replayed,
)

Refusal = Callable[[Scope, int], Answer]
"""Makes the answer to a request whose body is refused, from its scope and ``TOO_LARGE`` or ``TOO_SLOW``."""

BODY_TIMEOUT_S = 60
BLOCK_TIMEOUT_S = 10
BLOCK_BYTES = 16_384
"""At least so much must arrive within each ``BLOCK_TIMEOUT_S``: 1.6 KB/s. The rule ends senders that stop and that drip."""

ROOM_BYTES = 128 << 20
TOO_LARGE = 413
TOO_SLOW = 408


class _RefusedError(Exception):
    """The body is refused."""

    def __init__(self, status: int) -> None:
        self.status = status


class LimitedBodies:
    """An ASGI application behind limits on request bodies.

    Args:
        app: the application behind the limits. It receives each body whole.
        limit_of: from the path of a request to its longest body, in bytes.
        refuse: makes the answer to a body that is ``TOO_LARGE`` or ``TOO_SLOW``.
        timeout_s: seconds within which a body must arrive.
        block_timeout_s: seconds within which each 16 KiB of it must arrive.
        room_bytes: bytes of all bodies that are arriving. Beyond it only the oldest is read on, and 16 KiB of each other.
        linger_s: see ``answer_early``.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        limit_of: Callable[[str], int],
        refuse: Refusal,
        timeout_s: float = BODY_TIMEOUT_S,
        block_timeout_s: float = BLOCK_TIMEOUT_S,
        room_bytes: int = ROOM_BYTES,
        linger_s: float = LINGER_S,
    ) -> None:
        self._app = app
        self._limit_of = limit_of
        self._refuse = refuse
        self._timeout_s = timeout_s
        self._block_timeout_s = block_timeout_s
        self._room = _Room(room_bytes)
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if (
            scope["type"] == "websocket"
        ):  # no route uses it, and its messages would be under no limit
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            taken = await self._taken(scope, receive)
        except _RefusedError as refused:
            answer = self._refuse(scope, refused.status)
            await answer_early(answer, scope, receive, send, linger_s=self._linger_s)
            return
        if taken is not None:
            await self._app(scope, taken, send)

    async def _taken(self, scope: Scope, receive: Receive) -> Receive | None:
        """A ``receive`` that returns the body; None if the client has gone away.

        Raises:
            _RefusedError: it is too large or too slow.
        """
        limit_bytes = self._limit_of(scope["path"])
        if _declares_too_much(scope, limit_bytes):
            raise _RefusedError(TOO_LARGE)
        # Blocks, not one long buffer: that would be moved as it grows, and leave holes behind.
        blocks: list[bytearray] = []
        size_bytes = block_ends_bytes = 0
        clock = asyncio.get_running_loop().time
        try:
            with self._room.place() as place:
                async with asyncio.timeout(self._timeout_s), asyncio.timeout(None) as pace:
                    more = True
                    while more:
                        if not self._room.has_turn(place):
                            pace.reschedule(None)  # the sender is not to blame
                            await self._room.turn(place)
                            block_ends_bytes = 0
                        if size_bytes >= block_ends_bytes:
                            pace.reschedule(clock() + self._block_timeout_s)
                            block_ends_bytes = size_bytes + BLOCK_BYTES
                        message = await receive()
                        if message["type"] != "http.request":
                            return None
                        piece = message.get("body", b"")
                        more = message.get("more_body", False)
                        size_bytes += len(piece)
                        if size_bytes > limit_bytes:
                            raise _RefusedError(TOO_LARGE)
                        self._room.fill(place, len(piece))
                        if not blocks or len(blocks[-1]) >= BLOCK_BYTES:
                            blocks.append(bytearray())
                        blocks[-1] += piece
        except TimeoutError as error:
            raise _RefusedError(TOO_SLOW) from error
        return replayed({"type": "http.request", "body": b"".join(blocks)}, receive)


def _declares_too_much(scope: Scope, limit_bytes: int) -> bool:
    limit = str(limit_bytes).encode()
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit():
            digits = value.lstrip(b"0")
            # As text: Python refuses to read a number of thousands of digits.
            return (len(digits), digits) > (len(limit), limit)
    return False


class _Room:
    """The bytes of all bodies that are arriving."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes: dict[object, int] = {}
        """Bytes by place, the oldest place first."""

        self._total_bytes = 0
        self._left = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[object]:
        """Hold the place of a body, from its first byte to its last."""
        place = object()
        self._held_bytes[place] = 0
        try:
            yield place
        finally:
            self._total_bytes -= self._held_bytes.pop(place)
            self._left.set()  # wakes all who wait now
            self._left.clear()

    def fill(self, place: object, size_bytes: int) -> None:
        """Count bytes that have arrived."""
        self._held_bytes[place] += size_bytes
        self._total_bytes += size_bytes

    def has_turn(self, place: object) -> bool:
        """Whether a body may be read on."""
        # The oldest always may, else all would wait for one another. A small one may, so that a flood of pictures does
        # not hold up health checks.
        return (
            self._total_bytes < self._limit_bytes
            or self._held_bytes[place] < BLOCK_BYTES
            or place is next(iter(self._held_bytes))
        )

    async def turn(self, place: object) -> None:
        """Wait until a body may be read on."""
        while not self.has_turn(place):
            await self._left.wait()
