"""The types of ASGI, and messages that several layers send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""

LINGER_S = 2
SEND_S = 5
"""A client gets so long to read an early answer, which is short."""


def replayed(message: Scope, receive: Receive) -> Receive:
    """A ``receive`` that returns a whole body first, then what the client sends: that it has gone away.

    Args:
        message: an ``http.request`` with the body.
        receive: receives what comes after it.
    """
    messages = [{**message, "more_body": False}]

    async def replay() -> Any:
        return messages.pop() if messages else await receive()

    return replay


async def send_answer(answer: Answer, send: Send) -> None:
    """Answer a request whose body was read to its end."""
    status, headers, body = answer
    headers = [*headers, _length_of(body)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


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
        answer: the answer, without ``Content-Length`` and ``Connection``.
        scope: the scope of the request.
        receive: receives the rest of the body.
        send: sends the answer.
        linger_s: seconds for which the rest of the body is read and dropped. Many clients read no answer before they have
            sent everything, and would find a reset connection.
        send_s: further seconds that sending may take.
    """
    status, headers, body = answer
    headers = [*headers, _length_of(body)]
    if scope["http_version"] < "2":  # later versions have no such header, and refuse it
        headers.append((b"connection", b"close"))
    # Until the end: Hypercorn's last step waits for room in a queue that nothing else would empty.
    rest: asyncio.Future[None] | None = None
    try:
        # Over HTTP/2 a client that has gone may leave ``send`` waiting for ever.
        async with asyncio.timeout(linger_s + send_s):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            rest = asyncio.ensure_future(_drop_rest(receive))
            await asyncio.wait({rest}, timeout=linger_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        pass  # the client does not read the answer
    finally:
        if rest is not None:
            rest.cancel()


async def _drop_rest(receive: Receive) -> None:
    """Read the rest of a body and drop it."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)


def _length_of(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()
