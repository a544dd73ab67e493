"""How the answers about an old database are asked for: when it is written, and when a later version reads it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from enlarger.config import ApiKey
from support.gateways import Json, Running

KEY = {"X-API-Key": "alice"}
KEYS = (ApiKey("alice", sha256(b"alice").hexdigest()),)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

_HEADERS = ("Content-Type", "ETag", "Server-Timing", "Content-Disposition")


async def answer(gateway: Running, request: str) -> Json:
    """What a gateway answers to a request such as ``GET /v1/jobs``, but for what changes from call to call."""
    method, _, path = request.partition(" ")
    headers = {**KEY, "X-Request-Id": "r-read"}
    async with gateway.http.request(method, path, headers=headers) as reply:
        data = await reply.read()
        return {
            "request": request,
            "status": reply.status,
            "headers": {
                name: value
                for name, value in reply.headers.items()
                if name in _HEADERS or name.startswith(("X-Upscale", "X-Origin", "X-Result"))
            },
            "body": data.decode() if "json" in reply.content_type else sha256(data).hexdigest(),
        }


def stands_still(*_: object, **__: object) -> Any:
    """Stands where a gateway claims jobs: there is none to begin."""

    async def nothing() -> None:
        return None

    return nothing()
