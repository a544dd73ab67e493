"""Which requests the HTTP transport serves, and that it says nothing of clients that disappear."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from enlarger.mcp.over_http import OnlyFromHere

PORT = 8765


async def status_of(**headers: str) -> int:
    """The status of a request with these headers. What is served has the status 200."""
    app = OnlyFromHere(PlainTextResponse("served"), PORT)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as client:
        return (await client.get(f"http://127.0.0.1:{PORT}/mcp", headers=headers)).status_code


@pytest.mark.parametrize(
    "origin", [f"http://{name}:{PORT}" for name in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST")]
)
async def test_own_origins_are_served(origin: str) -> None:
    """Requests without an origin are, too: they are not of web pages."""
    assert await status_of(origin=origin) == 200
    assert await status_of() == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost.evil.example",
        f"http://localhost.evil.example:{PORT}",
        "http://localhost:80.evil.example",
        f"http://localhost:{PORT}.evil.example",
        f"http://localhost:{PORT}@evil.example",
        f"http://evil@localhost:{PORT}",
        f"http://localhost:{PORT}/evil",
        f"http://localhost:{PORT}0",
        "http://localhost:1",
        "http://localhost",
        f"https://localhost:{PORT}",
        "http://evil.example",
        "http://[::1",
        "null",
        "",
    ],
)
async def test_other_origins_are_refused(origin: str) -> None:
    """Scheme, host and port must all be equal, and not only begin alike."""
    assert await status_of(origin=origin) == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (f"localhost:{PORT}", 200),
        ("[::1]:9000", 200),
        ("localhost", 200),
        ("localhost.evil.example", 421),
        ("localhost:80.evil.example", 421),
        (f"localhost:{PORT}@evil.example", 421),
        ("evil.example", 421),
    ],
)
async def test_host_must_be_this_machine(host: str, status: int) -> None:
    """A name of another site may lead here. The port may be that of a tunnel."""
    assert await status_of(host=host) == status


def test_clients_that_disappear_leave_no_traceback(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """In the middle of a request, by closing or by a reset; and an open stream does not, when the process ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "enlarger", "mcp", "--allow", str(tmp_path), "--http", "0"],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", process.stderr.readline())
            assert found is not None
            port = int(found[1])
            head = f"Host: localhost:{port}\r\nAccept: application/json, text/event-stream\r\n"
            post = f"POST /mcp HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
            for linger in (None, struct.pack("ii", 1, 0)):  # the second one resets the connection
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(f'{post}Content-Length: 100\r\n\r\n{{"jsonrpc"'.encode())
                    if linger is not None:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            hello = (
                '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", '
                '"capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}}'
            )
            answer = httpx2.post(
                f"http://localhost:{port}/mcp",
                content=hello,
                headers={
                    "Accept": "application/json, text/event-stream",
                    "Content-Type": "application/json",
                },
            )
            session = f"mcp-session-id: {answer.headers['mcp-session-id']}\r\n"
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(f"GET /mcp HTTP/1.1\r\n{head}{session}\r\n".encode())
                assert b"200 OK" in client.recv(4096)
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 128 + signal.SIGTERM
            assert process.stderr.read() == ""
        finally:
            process.kill()
