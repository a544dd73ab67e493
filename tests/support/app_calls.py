"""Helpers of the tests of a gateway as an application."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from support.gateways import Json, Reply


def fields_of(path: Path, name: str) -> Path:
    """Put a file that is not a result into a folder of results, and return its path."""
    (path / name).write_bytes(b"not ours")
    return path / name


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that sends no event."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0.002)


KEYS = ",".join(
    f"{name}:sha256-{hashlib.sha256(name.encode() * 5).hexdigest()}" for name in ("alice", "bob")
)


def key_of(name: str) -> dict[str, str]:
    """Return the header with the key of this caller."""
    return {"Authorization": f"Bearer {name * 5}"}


def fault(reply: Reply) -> tuple[int, str, str]:
    """Status, code and text of an error, whose form is checked on the way."""
    assert reply.body["request_id"] == reply.headers["X-Request-Id"]
    assert type(reply.body["retryable"]) is bool
    return reply.status, reply.body["code"], reply.body["error"]


BODY_LIMIT_BYTES = 4 + 1_048_576
"""The limit of a gateway whose pictures may have one byte: 4 * ceil(1 / 3) + 1048576."""


async def send(port: int, head: str, body: bytes = b"") -> tuple[str, Json]:
    """Send a request by hand, and return the head and the JSON of everything received until the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = f"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n"
    writer.write(lines.encode() + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    heading, _, text = answer.decode().partition("\r\n\r\n")
    return heading, json.loads(text)
