"""A web site for tests: it says for each path just what it is told to, and notes who came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]] | None
"""Raw bytes, or what writes them; None for silence until the client goes away."""


def page(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """An HTTP answer. ``content_length`` replaces the true length; None of the headers is checked."""
    fields = {"content_length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, "", ""]).encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    """An answer that sends the client elsewhere."""
    return page(status=status, location=location)


class Site:
    """A server on a free port, or the given one; 404 for paths that have no answer. Host ``""`` is all addresses."""

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ):
        self.answers: dict[str, Answer] = dict(answers or {})
        self.host = host
        self.port = port
        self.reached: list[str] = []
        """The address of ours that each connection came to, in order."""

        self.heads: list[str] = []
        """Request lines and headers, in order."""

        self.arrived = asyncio.Event()
        """A request has come."""

        self.left = asyncio.Event()
        """A client that got no answer has closed its connection."""

        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Site:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """How many have come."""
        return len(self.reached)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        """That of a path here."""
        return f"http://{self.address}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.reached.append(writer.get_extra_info("sockname")[0])
        try:
            with contextlib.suppress(ConnectionError):
                await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.read(65536)).decode("latin1")
        self.heads.append(head)
        self.arrived.set()
        words = head.split(" ")
        answer = self.answers.get(words[1] if len(words) > 1 else "", page(status=404))
        if answer is None:
            await reader.read()
            self.left.set()
        elif isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
        else:
            await answer(writer)
