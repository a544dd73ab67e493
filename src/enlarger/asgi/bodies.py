"""Request bodies under limits, counted as they come.

Quart's ``MAX_CONTENT_LENGTH`` does not bound chunked bodies: they are buffered, whole, before it looks. So
this ASGI layer takes the body first, stops at a limit, and hands the application what fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""

Refusal = Callable[[Scope, int], Answer]
"""From the scope and 413 or 408 to a whole answer."""

BODY_TIMEOUT_S = 60
BLOCK_TIMEOUT_S = 10
BLOCK_BYTES = 16_384
"""What has to come within each ``BLOCK_TIMEOUT_S``: 1.6 KB/s. One rule for senders that stop and for those that drip."""

ROOM_BYTES = 128 << 20
LINGER_S = 2
SEND_S = 5
"""What the client gets to read an early answer, which is short."""

TOO_LARGE = 413
TOO_SLOW = 408


class _RefusedError(Exception):
    """The body is not taken."""

    def __init__(self, status: int) -> None:
        self.status = status


class LimitedBodies:
    """An ASGI application behind limits on request bodies.

    Args:
        app: what gets the request, with its body already there.
        limit_of: from the path of a request to its longest body, in bytes.
        refuse: makes the answer to a body that is ``TOO_LARGE`` or ``TOO_SLOW``.
        timeout_s: seconds in which a body must have come.
        block_timeout_s: seconds in which each next 16 KiB of it must have come.
        room_bytes: of all bodies that are coming; when that is full, the oldest goes on, and of the others no more than
            16 KiB are read.
        linger_s: of ``answer_early``.
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
        ):  # nobody here speaks it, and its messages would be under no limit
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            replayed = await self._taken(scope, receive)
        except _RefusedError as refused:
            answer = self._refuse(scope, refused.status)
            await answer_early(answer, scope, receive, send, linger_s=self._linger_s)
            return
        if replayed is not None:
            await self._app(scope, replayed, send)

    async def _taken(self, scope: Scope, receive: Receive) -> Receive | None:
        """What gives the body to the application; None if the client has gone away.

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
        return _replay(b"".join(blocks), receive)


def _declares_too_much(scope: Scope, limit_bytes: int) -> bool:
    limit = str(limit_bytes).encode()
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit():
            digits = value.lstrip(b"0")
            # As text: Python refuses to read a number of thousands of digits.
            return (len(digits), digits) > (len(limit), limit)
    return False


async def answer_early(
    answer: Answer,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    linger_s: float = LINGER_S,
    send_s: float = SEND_S,
) -> None:
    """Answer a request whose body was not read to its end, and close the connection.

    Args:
        answer: without the headers that follow from it.
        scope: of the request, as are ``receive`` and ``send``.
        receive: gives what still comes of the body.
        send: takes the answer.
        linger_s: seconds for which what still comes is thrown away, so that its sender, who may not look before he has
            sent all, finds the answer and not a reset connection.
        send_s: seconds that sending may take besides.
    """
    status, headers, body = answer
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    if scope["http_version"] < "2":  # later versions have no such header, and refuse it
        headers.append((b"connection", b"close"))
    # To the very end: Hypercorn's last step waits for room in a queue that nobody else would empty.
    rest: asyncio.Future[None] | None = None
    try:
        # Over HTTP/2 a client that has gone may leave ``send`` waiting for ever.
        async with asyncio.timeout(linger_s + send_s):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            rest = asyncio.ensure_future(_throw_away(receive))
            await asyncio.wait({rest}, timeout=linger_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        pass  # nobody reads the answer
    finally:
        if rest is not None:
            rest.cancel()


class _Room:
    """Bytes of all bodies that are coming."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes: dict[object, int] = {}
        """By place, the oldest first."""

        self._total_bytes = 0
        self._left = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[object]:
        """A body's place, from its first byte to its last."""
        place = object()
        self._held_bytes[place] = 0
        try:
            yield place
        finally:
            self._total_bytes -= self._held_bytes.pop(place)
            self._left.set()  # wakes all who wait now
            self._left.clear()

    def fill(self, place: object, size_bytes: int) -> None:
        """So much has come."""
        self._held_bytes[place] += size_bytes
        self._total_bytes += size_bytes

    def has_turn(self, place: object) -> bool:
        """Whether a body may go on."""
        # The oldest always may, else all would wait for one another; and one that is small, so that a flood of
        # pictures does not hold up those who ask how the service does.
        return (
            self._total_bytes < self._limit_bytes
            or self._held_bytes[place] < BLOCK_BYTES
            or place is next(iter(self._held_bytes))
        )

    async def turn(self, place: object) -> None:
        """Wait until a body may go on."""
        while not self.has_turn(place):
            await self._left.wait()


async def _throw_away(receive: Receive) -> None:
    """Take what still comes of a body."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever else comes: the client going away."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Any:
        return messages.pop() if messages else await receive()

    return replayed
