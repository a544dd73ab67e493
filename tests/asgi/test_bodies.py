"""Request bodies under a limit, as an ASGI server would send them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.asgi.bodies import BLOCK_BYTES, TOO_LARGE, TOO_SLOW, LimitedBodies
from enlarger.asgi.messages import Answer, Receive, Scope, Send, answer_early

LIMIT = 10
"""Bytes."""

LONG_S = 100
LONG = 1 << 20
"""A time and a length that play no part."""

GONE = {"type": "http.disconnect"}


class Application:
    """Reads its body to the end and answers 200; keeps what it was given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.body: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        self.body = body
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})


class Client:
    """What a server receives from a client, message by message, and what it sends back."""

    def __init__(self, messages: Iterable[dict[str, Any]]) -> None:
        self.left = list(messages)
        """Messages that nobody has taken yet."""

        self.waiting = asyncio.Event()
        """Set when the application waits for a message that does not come."""

        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        """The next message, or none for ever."""
        if not self.left:
            self.waiting.set()
            await asyncio.Event().wait()
        return self.left.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        """Keep an answer's message."""
        self.sent.append(message)

    @property
    def statuses(self) -> list[int]:
        """Return the statuses of all responses that have started."""
        return [
            message["status"] for message in self.sent if message["type"] == "http.response.start"
        ]


def part(data: bytes, *, more: bool) -> dict[str, Any]:
    """A piece of a body."""
    return {"type": "http.request", "body": data, "more_body": more}


def whole(data: bytes) -> list[dict[str, Any]]:
    """A body in one piece."""
    return [part(data, more=False)]


def chunked(*pieces: bytes) -> list[dict[str, Any]]:
    """A body in pieces, with an empty one at its end, as servers send a chunked one."""
    return [*(part(piece, more=True) for piece in pieces), part(b"", more=False)]


def scope(**headers: str) -> Scope:
    """Return the ASGI scope of a POST request with these headers."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/upscale",
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }


def refuse(scope: Scope, status: int) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """An answer that shows what it was made from."""
    return status, [(b"content-type", b"text/plain")], f"{scope['path']} {status}".encode()


def limited(
    application: Callable[[Scope, Receive, Send], Awaitable[None]], **options: Any
) -> LimitedBodies:
    """The application behind a limit of 10 bytes."""
    times = {"timeout_s": LONG_S, "block_timeout_s": LONG_S, "linger_s": 0.01}
    return LimitedBodies(
        application, **{"limit_of": lambda _: LIMIT, "refuse": refuse, **times, **options}
    )


def assert_refused(client: Client, status: int) -> None:
    """One answer, whole, after which the connection ends."""
    body = f"/upscale {status}".encode()
    assert client.sent == [
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
        },
        {"type": "http.response.body", "body": body, "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


# What fits


@pytest.mark.parametrize("length", [0, 1, LIMIT])
async def test_body_up_to_the_limit_passes(length: int) -> None:
    """The limit itself is allowed."""
    application, client = Application(), Client(whole(b"x" * length))
    await limited(application)(scope(content_length=str(length)), client.receive, client.send)
    assert application.body == b"x" * length
    assert client.statuses == [200]


@given(pieces=st.lists(st.binary(max_size=4), max_size=5))
async def test_pieces_are_put_together(pieces: list[bytes]) -> None:
    """A body that fits arrives whole and in order; one that does not, not at all."""
    application, client = Application(), Client(chunked(*pieces))
    await limited(application)(scope(), client.receive, client.send)
    body = b"".join(pieces)
    if len(body) <= LIMIT:
        assert application.body == body
        assert client.statuses == [200]
    else:
        assert application.scopes == []
        assert_refused(client, TOO_LARGE)


async def test_message_without_its_defaults_is_read() -> None:
    """ASGI lets a server leave out an empty body and ``more_body: False``."""
    application, client = Application(), Client([{"type": "http.request"}])
    await limited(application)(scope(), client.receive, client.send)
    assert application.body == b""


async def test_application_sees_the_request_as_it_came() -> None:
    """The scope is the server's own."""
    application, client = Application(), Client(whole(b"x"))
    given = scope(content_length="1", x_request_id="r-1")
    await limited(application)(given, client.receive, client.send)
    assert application.scopes == [given]


async def test_application_hears_that_the_client_goes_away() -> None:
    """After its body, what else comes is passed on: this is how work is cancelled."""
    heard: list[dict[str, Any]] = []

    async def listening(_scope: Scope, receive: Receive, _send: Send) -> None:
        heard.extend([await receive(), await receive()])

    client = Client([*whole(b"x"), GONE])
    await limited(listening)(scope(), client.receive, client.send)
    assert heard == [part(b"x", more=False), GONE]


# What does not


async def test_one_byte_more_is_refused() -> None:
    """Counted, where nothing was declared."""
    application, client = Application(), Client(whole(b"x" * (LIMIT + 1)))
    await limited(application)(scope(), client.receive, client.send)
    assert_refused(client, TOO_LARGE)
    assert application.scopes == []


@pytest.mark.parametrize("length", [str(LIMIT + 1), "9" * 20, "9" * 5000, "0000000011"])
@pytest.mark.parametrize("name", ["content-length", "Content-Length"])
async def test_declared_length_is_refused_at_once(name: str, length: str) -> None:
    """Before any of it has come."""
    application, client = Application(), Client([])
    await limited(application)(scope(**{name: length}), client.receive, client.send)
    assert_refused(client, TOO_LARGE)
    assert application.scopes == []


@pytest.mark.parametrize("length", ["0", "5", "-1", "five", "", "1e1", "٣"])
async def test_false_length_does_not_help(length: str) -> None:
    """A body is counted whatever was declared."""
    application, client = Application(), Client(chunked(b"x" * 6, b"x" * 6))
    await limited(application)(scope(content_length=length), client.receive, client.send)
    assert_refused(client, TOO_LARGE)
    assert application.scopes == []


async def test_endless_body_is_refused_at_the_limit() -> None:
    """The answer goes out when three pieces of four bytes are more than ten."""
    left_at_answer = []
    client = Client(part(b"xxxx", more=True) for _ in range(1000))

    async def send(message: dict[str, Any]) -> None:
        left_at_answer.append(len(client.left))
        await client.send(message)

    application = Application()
    await limited(application)(scope(), client.receive, send)
    assert_refused(client, TOO_LARGE)
    assert left_at_answer[0] == 1000 - 3


async def test_rest_of_a_refused_body_is_thrown_away() -> None:
    """Its sender, who looks for the answer only at the end, finds one; then the connection ends."""
    client = Client(chunked(*[b"x" * 4] * 100))
    await limited(Application(), linger_s=LONG_S)(scope(), client.receive, client.send)
    assert client.left == []
    assert_refused(client, TOO_LARGE)


async def test_refusal_ends_though_nobody_reads_it() -> None:
    """Over HTTP/2 a client that has gone may leave the server's ``send`` waiting for ever."""
    begun: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        begun.append(message)
        await asyncio.Event().wait()

    answer: Answer = (401, [], b"an API key is needed")
    async with asyncio.timeout(10):
        await answer_early(answer, scope(), Client([]).receive, send, linger_s=0, send_s=0.05)
    assert [message["type"] for message in begun] == ["http.response.start"]


async def test_refusal_ends_though_the_sender_does_not() -> None:
    """What comes is taken until the last message is out: the server's queue may be full before it."""
    taken = asyncio.Event()

    async def flood() -> dict[str, Any]:
        await asyncio.sleep(0)
        taken.set()
        return part(b"x" * 11, more=True)

    client = Client([])

    async def send(message: dict[str, Any]) -> None:
        if not message.get("more_body", True):
            taken.clear()
            await taken.wait()
        await client.send(message)

    async with asyncio.timeout(LONG_S):
        await limited(Application())(scope(), flood, send)
    assert_refused(client, TOO_LARGE)


async def test_answer_of_a_later_http_closes_no_connection() -> None:
    """HTTP/2 has other requests on it, and forbids the header."""
    client = Client(whole(b"x" * (LIMIT + 1)))
    later = scope() | {"http_version": "2"}
    await limited(Application())(later, client.receive, client.send)
    assert client.statuses == [TOO_LARGE]
    assert b"connection" not in dict(client.sent[0]["headers"])


# Clients that are slow or disconnect


async def test_body_that_does_not_come_is_refused() -> None:
    """When its time has passed; the application never hears of it."""
    application, client = Application(), Client([])
    await limited(application, timeout_s=0.01)(scope(), client.receive, client.send)
    assert_refused(client, TOO_SLOW)
    assert application.scopes == []


async def test_body_that_stops_in_the_middle_is_refused() -> None:
    """The declared length plays no part in it."""
    application, client = Application(), Client([part(b"xx", more=True)])
    limits = limited(application, timeout_s=0.01)
    await limits(scope(content_length="4"), client.receive, client.send)
    assert_refused(client, TOO_SLOW)
    assert application.scopes == []


async def test_dripping_body_is_refused() -> None:
    """The time is that of the whole body: pieces that keep coming do not extend it."""
    application, client = Application(), Client([])

    async def drip() -> dict[str, Any]:
        await asyncio.sleep(0.005)
        return part(b"", more=True)

    await limited(application, timeout_s=0.03)(scope(), drip, client.send)
    assert_refused(client, TOO_SLOW)
    assert application.scopes == []


async def test_body_slower_than_the_least_rate_is_refused() -> None:
    """Its pieces come in time, and the whole might; but no 16 KiB come in the time of a block."""
    application, client = Application(), Client([])

    async def drip() -> dict[str, Any]:
        await asyncio.sleep(0.005)
        return part(b"x", more=True)

    limits = limited(application, limit_of=lambda _: LONG, block_timeout_s=0.05)
    await limits(scope(), drip, client.send)
    assert_refused(client, TOO_SLOW)
    assert application.scopes == []


@pytest.mark.alone
async def test_body_that_keeps_the_least_rate_may_take_longer() -> None:
    """The time of a block begins anew with each 16 KiB."""
    pieces = [part(bytes(BLOCK_BYTES), more=True)] * 3 + [part(b"", more=False)]
    application, client = Application(), Client([])

    async def steadily() -> dict[str, Any]:
        await asyncio.sleep(0.2)
        return pieces.pop(0)

    await limited(application, limit_of=lambda _: LONG, block_timeout_s=0.5)(
        scope(), steadily, client.send
    )
    assert application.body == bytes(3 * BLOCK_BYTES)


# Room


class Sender:
    """Sends its pieces when told to, and counts those that were taken."""

    def __init__(self, limits: LimitedBodies) -> None:
        self.taken = 0
        self.client = Client([])
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.ensure_future(limits(scope(), self._receive, self.client.send))

    async def _receive(self) -> dict[str, Any]:
        piece = await self._pieces.get()
        self.taken += 1
        return piece

    async def send(self, data: bytes, *, more: bool = True) -> None:
        """One piece, and time to take it."""
        self._pieces.put_nowait(part(data, more=more))
        for _ in range(10):
            await asyncio.sleep(0)


BLOCK = b"x" * BLOCK_BYTES


async def test_full_room_leaves_the_rest_with_its_senders() -> None:
    """Past the limit of all bodies nothing is read but of the oldest; when that is done, the others go on."""
    limits = limited(Application(), limit_of=lambda _: LONG, room_bytes=2 * BLOCK_BYTES)
    oldest, second, third = (Sender(limits) for _ in range(3))
    for sender in (oldest, second, third):
        await sender.send(BLOCK)
    await second.send(BLOCK)
    await third.send(BLOCK)
    assert (oldest.taken, second.taken, third.taken) == (1, 1, 1)
    await oldest.send(BLOCK)
    assert (oldest.taken, second.taken, third.taken) == (2, 1, 1)
    await oldest.send(b"", more=False)
    assert (oldest.taken, second.taken, third.taken) == (3, 2, 1)
    await second.send(b"", more=False)
    await third.send(b"", more=False)
    await asyncio.gather(oldest.task, second.task, third.task)
    assert [sender.client.statuses for sender in (oldest, second, third)] == [[200]] * 3


async def test_small_body_needs_no_room() -> None:
    """Nor does a request without one: probes are answered while pictures wait."""
    limits = limited(Application(), limit_of=lambda _: LONG, room_bytes=BLOCK_BYTES)
    oldest = Sender(limits)
    await oldest.send(BLOCK)
    small = Sender(limits)
    await small.send(BLOCK[1:])
    await small.send(b"", more=False)
    await small.task
    assert small.client.statuses == [200]
    oldest.task.cancel()


async def test_time_of_a_block_stands_still_without_room() -> None:
    """The timeout of a block does not run while the server has no room to read it. Once there is room, the client has the whole timeout."""
    limits = limited(
        Application(), limit_of=lambda _: LONG, room_bytes=BLOCK_BYTES, block_timeout_s=0.1
    )
    oldest, second = Sender(limits), Sender(limits)
    for sender in (oldest, second):
        await sender.send(BLOCK)
    started = asyncio.get_running_loop().time()
    await asyncio.gather(oldest.task, second.task)
    assert oldest.client.statuses == second.client.statuses == [TOO_SLOW]
    assert asyncio.get_running_loop().time() - started > 0.19


async def test_body_that_is_given_up_makes_room() -> None:
    """A sender that goes away leaves its place to the next."""
    limits = limited(Application(), limit_of=lambda _: LONG, room_bytes=BLOCK_BYTES)
    oldest, second = Sender(limits), Sender(limits)
    for sender in (oldest, second):
        await sender.send(BLOCK)
    await second.send(b"", more=False)
    assert second.taken == 1
    oldest.task.cancel()
    await second.task
    assert second.client.statuses == [200]


async def test_answer_that_is_taken_slowly_is_not_begun_again() -> None:
    """The time limit is the body's; a refusal under way when it passes stays the only one."""
    application, client = Application(), Client(whole(b"x" * (LIMIT + 1)))

    async def slowly(message: dict[str, Any]) -> None:
        client.sent.append(message)
        await asyncio.sleep(0.03)

    await limited(application, timeout_s=0.01)(scope(), client.receive, slowly)
    assert_refused(client, TOO_LARGE)


async def test_time_limit_ends_with_the_body() -> None:
    """The work on a picture may take as long as it takes."""
    client = Client(whole(b"x"))
    done: list[bytes] = []

    async def working(_scope: Scope, receive: Receive, _send: Send) -> None:
        await asyncio.sleep(0.05)
        done.append((await receive())["body"])

    await limited(working, timeout_s=0.01)(scope(), client.receive, client.send)
    assert done == [b"x"]
    assert client.sent == []


async def test_timeout_of_the_application_is_its_own() -> None:
    """It is not taken for a slow body."""
    client = Client(whole(b"x"))

    async def failing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await limited(failing)(scope(), client.receive, client.send)
    assert client.sent == []


@pytest.mark.parametrize("before", [[], [part(b"xx", more=True)]], ids=["at-once", "in-between"])
async def test_client_that_hangs_up_is_answered_nothing(before: list[dict[str, Any]]) -> None:
    """Nobody would read it, and half a body is not worked on."""
    application, client = Application(), Client([*before, GONE])
    await limited(application)(scope(), client.receive, client.send)
    assert client.sent == []
    assert application.scopes == []


async def test_cancelled_request_stops_waiting_for_its_body() -> None:
    """A stopping server gives up half-sent requests; none of them is answered or worked on."""
    application, client = Application(), Client([part(b"xx", more=True)])
    task = asyncio.ensure_future(limited(application)(scope(), client.receive, client.send))
    await client.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.sent == []
    assert application.scopes == []


async def test_start_and_end_pass_through() -> None:
    """With the server's own scope, receive and send, and no limit."""
    passed: list[object] = []

    async def taking(*given: object) -> None:
        passed.extend(given)

    client = Client([])
    given: Scope = {"type": "lifespan"}
    receive, send = client.receive, client.send
    await limited(taking)(given, receive, send)
    assert passed == [given, receive, send]


async def test_websocket_is_refused() -> None:
    """Before the application hears of it."""
    application, client = Application(), Client([])
    await limited(application)({"type": "websocket"}, client.receive, client.send)
    assert client.sent == [{"type": "websocket.close"}]
    assert application.scopes == []
