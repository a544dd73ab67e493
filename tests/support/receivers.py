"""A receiver of webhooks for tests: it answers as it is told to, and keeps what came."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0" * 4
NEW_SECRET = "whsec_" + "bmV3ZXIh" * 4


@dataclass(frozen=True)
class Message:
    """One attempt that came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The same for all attempts of a message."""
        return self.headers["webhook-id"]

    def verified(self, secret: str = SECRET) -> dict[str, Any]:
        """What it says, if it is signed with this secret."""
        told: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return told


class Receiver:
    """Listens on a free port of this machine.

    Args:
        answers: statuses, in order; the last one for all that follow. 0: no answer at all.
    """

    def __init__(self, answers: Sequence[int] = (204,)) -> None:
        self.answers = list(answers)
        self.messages: list[Message] = []
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Receiver:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.address}/hook"

    async def came(self, count: int) -> list[Message]:
        """Wait for so many attempts."""
        async with asyncio.timeout(120), self._came:
            await self._came.wait_for(lambda: len(self.messages) >= count)
        return self.messages

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._came:
            self.messages.append(Message(dict(request.headers), body))
            self._came.notify_all()
        status = self.answers[min(len(self.messages), len(self.answers)) - 1]
        if not status:
            await asyncio.sleep(3600)
        return web.Response(status=status, headers={"Location": self.url})
