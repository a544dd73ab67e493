"""Several gateways as processes, which share model servers, a database and a storage, and nginx in front of them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from running import RunningService

from support.proxies import free_port, listens, nginx

_START_S = 120
_PATIENCE_S = 90


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back of a request."""

    status: int
    headers: Message
    """Its names are found whatever their case."""

    body: bytes

    def json(self) -> Any:
        """The body as a JSON value."""
        return json.loads(self.body)


def ask(url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """A POST if there is data, else a GET; any status is an answer."""
    request = urllib.request.Request(url, data, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return Answer(status=reply.status, headers=reply.headers, body=reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(status=error.code, headers=error.headers, body=error.read())


def ask_again(
    url: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """The same, as a client that knows gateways may die: sent again when one is gone or cannot take it now."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            answer = ask(url, data, headers)
            if answer.status not in (502, 503, 504):
                return answer
        except (OSError, http.client.HTTPException):
            # Also in the middle of a response, of which a proxy has passed on the beginning.
            pass
        assert time.monotonic() < give_up, f"no answer of {url}"
        time.sleep(0.2)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Gateways, and what is behind and before them."""

    url: str
    """nginx, which sends each request to the next gateway."""

    gateways: list[RunningService]
    logs: list[Path]
    """The logs of the model servers."""

    def tiles(self) -> Counter[tuple[str, str]]:
        """How often each tile was computed, by the id of its request and its number, such as "1/6"."""
        lines = [line for log in self.logs for line in log.read_text().splitlines()]
        entries = [json.loads(line) for line in lines if '"tile_done"' in line]
        return Counter((entry["request_id"], entry["tile"]) for entry in entries)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What all gateways logged of an event."""
        lines = [line for one in self.gateways for line in one.log.read_text().splitlines()]
        return [json.loads(line) for line in lines if f'"event": "{event}"' in line]


@contextmanager
def cluster(
    folder: Path,
    environment: Mapping[str, str],
    *,
    gateways: int = 2,
    servers: int = 2,
) -> Iterator[Cluster]:
    """Gateways over the same model servers, until the end of the block.

    Args:
        folder: logs are there.
        environment: settings of all.
        gateways: how many.
        servers: model servers.
    """
    with ExitStack() as stack:
        logs = [folder / f"server-{number}.log" for number in range(servers)]
        ports = [stack.enter_context(_model_server(log, environment)) for log in logs]
        shared = {
            **environment,
            "ENLARGER_SERVERS": ",".join(f"127.0.0.1:{port}" for port in ports),
            "ENLARGER_TRUSTED_PROXIES": "127.0.0.1",
        }
        running = []
        for number in range(gateways):
            own = folder / f"gateway-{number}"
            own.mkdir()
            running.append(stack.enter_context(RunningService(own, shared)))
        port = free_port()
        before = folder / "nginx"
        before.mkdir()
        names = " ".join(
            f"server {one.url.removeprefix('http://')} max_fails=1 fail_timeout=5s;"
            for one in running
        )
        stack.enter_context(
            nginx(
                before,
                port=port,
                upstream=f"upstream gateways {{ {names} }}",
                location="location / { proxy_pass http://gateways; client_max_body_size 64m; "
                "proxy_set_header X-Forwarded-For $remote_addr; }",
            )
        )
        yield Cluster(url=f"http://127.0.0.1:{port}", gateways=running, logs=logs)


@contextmanager
def _model_server(log: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """One on a free port, which it logs."""
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "enlarger",
                "model-server",
                "--port",
                str(port),
                "--threads",
                "1",
            ],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
        )
    try:
        give_up = time.monotonic() + _START_S
        while not listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, "the model server does not start"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdin is not None
        process.stdin.close()
