"""Model servers for tests, on real sockets of the test's own event loop, and HTTP to them by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from enlarger.asgi.server import Lifecycle, bind, serve
from enlarger.engine import Engine
from enlarger.model_server.server import ModelServer


@dataclass(frozen=True)
class RunningServer:
    """A model server that listens."""

    server: ModelServer
    service: Lifecycle
    port: int

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """Open one connection, until the end of the block."""
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield connection
        finally:
            await connection.close()

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one request on a connection of its own."""
        async with self.connected() as connection:
            await connection.send(method, path, headers or {}, body)
            return await connection.answer()


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as a JSON value."""
        assert self.headers["content-type"].startswith("application/json")
        return json.loads(self.body)


class Connection:
    """HTTP/1.1 by hand, so that tests may also send what no client would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> None:
        """Send a request. Its length is that of the body, unless ``headers`` say otherwise."""
        lines = {"Host": "test", "Content-Length": str(len(body))} | dict(headers)
        if "Transfer-Encoding" in lines:
            del lines["Content-Length"]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def write(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> Answer:
        """Return the next response."""
        async with asyncio.timeout(10):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            pairs = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(status.split()[1]), headers, body)

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


@asynccontextmanager
async def running(
    engine: Engine,
    *,
    ready: bool = True,
    token: str | None = None,
    gateways: int = 8,
    host: str = "127.0.0.1",
) -> AsyncIterator[RunningServer]:
    """A model server around ``engine`` on a free port for so many gateways, taking tiles at once if ``ready``."""
    service = Lifecycle(drain_s=5)
    server = ModelServer(engine, service, token=token, gateways=gateways)
    if ready:
        server.open()
    listener = bind(host, 0, variable="--port")
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(server.asgi(), listener=listener, service=service))
    try:
        yield RunningServer(server, service, port)
    finally:
        service.stop()
        await serving
