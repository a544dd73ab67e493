"""What strangers send to a service, byte by byte."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any

from running import RunningService

from support.pictures import encoded, noise

GIVE_UP_S = 60
PICTURE = encoded(noise(9, 7, 3))
GOOD = json.dumps(
    {"image_b64": base64.b64encode(PICTURE).decode(), "model": "nearest", "inline": False}
).encode()


@dataclass(frozen=True)
class Answer:
    """What came back, to the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes
    """Behind this answer: further ones."""

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields


def parsed(data: bytes) -> Answer:
    """The first answer in what a server sent."""
    head, _, behind = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", len(behind)))
    return Answer(int(first.split(" ")[1]), headers, behind[:length], behind[length:])


class Wire:
    """A connection to a service, on which anything may be said."""

    def __init__(self, service: RunningService) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=GIVE_UP_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        """Send it all."""
        self.socket.sendall(data)

    def heard(self) -> bytes:
        """All that comes until the server closes."""
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def hung_up(self) -> bool:
        """Whether the server has closed, now."""
        self.socket.settimeout(0)
        try:
            return self.socket.recv(1) == b""
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(GIVE_UP_S)


def request(body: bytes = b"", *, target: str = "/upscale", **headers: str) -> bytes:
    """A POST after which the connection ends."""
    fields = {
        "host": "here",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([f"POST {target} HTTP/1.1", *lines, "", ""]).encode() + body


def told(service: RunningService, data: bytes) -> Answer:
    """The answer to all these bytes."""
    with Wire(service) as wire:
        wire.say(data)
        return parsed(wire.heard())


def assert_guarded(answer: Answer) -> None:
    """What every answer tells a browser."""
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "server" not in answer.headers
