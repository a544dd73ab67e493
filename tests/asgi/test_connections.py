"""A connection ends as soon as its client has left, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h2.connection
import pytest
from support.model_servers import Connection

from enlarger.asgi.messages import Receive, Scope, Send
from enlarger.asgi.server import Lifecycle, bind, serve

END_S = 10
"""Within this a connection must end. Left alone, it would be idle for much longer."""

PREFACE = h2.connection.H2Connection()
PREFACE.initiate_connection()

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


@dataclass
class App:
    """An application that answers at once, and ``/hold`` when it is told to."""

    port: int = 0
    holds: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/hold":
            self.holds.set()
            await self.may_answer.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """The application, served on a free port, whose idle connections end after a thousand seconds."""
    app, service = App(), Lifecycle(drain_s=5)
    listener = bind("127.0.0.1", 0, variable="--port")
    app.port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(app, listener=listener, service=service, idle_s=1000))
    yield app
    app.may_answer.set()
    service.stop()
    await serving


async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Leave, and return what came before the server closed its side, too."""
    writer.write_eof()
    async with asyncio.timeout(END_S):
        rest = await reader.read()
    writer.close()
    return rest


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET,
        GET + GET,
        GET[:20],
        b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nab",
        PREFACE.data_to_send(),
    ],
    ids=["nothing", "one", "two", "half a head", "half a body", "http 2"],
)
async def test_connection_ends_when_its_client_leaves(app: App, sent: bytes) -> None:
    """Whatever it had sent: a connection that nobody uses holds a descriptor."""
    reader, writer = await app.connection()
    writer.write(sent)
    await writer.drain()
    await asyncio.sleep(0.2)
    await ends(reader, writer)


async def test_connection_ends_when_its_client_leaves_after_many_requests(app: App) -> None:
    """The timer of an idle connection starts again with each response."""
    reader, writer = await app.connection()
    connection = Connection(reader, writer)
    for _ in range(3):
        await connection.send("GET", "/", {})
        assert (await connection.answer()).body == b"ok"
    assert await ends(reader, writer) == b""


async def test_connection_ends_after_the_request_whose_client_has_left(app: App) -> None:
    """The request runs to its end, and the connection ends with it."""
    reader, writer = await app.connection()
    await Connection(reader, writer).send("GET", "/hold", {})
    await app.holds.wait()
    writer.write_eof()
    await asyncio.sleep(0.2)
    assert not reader.at_eof()
    app.may_answer.set()
    async with asyncio.timeout(END_S):
        await reader.read()
    writer.close()


async def test_client_that_stays_keeps_its_connection(app: App) -> None:
    """Idle between two requests, as clients with pools of connections are."""
    connection = Connection(*await app.connection())
    for _ in range(2):
        await connection.send("GET", "/", {})
        assert (await connection.answer()).body == b"ok"
        await asyncio.sleep(0.5)
    await connection.close()
