"""Does a server that fails every tile cost a picture, although it claims to be healthy?

There are four healthy model servers, and one with the same probes that answers every tile with 500 ``engine_failed``,
at
once: so it always has room while the others are full. With eight clients no picture may fail, each must have the
pixels of the command line, and the bad server must be ejected.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scene import (
    GIVE_UP_S,
    SERVERS,
    SETTINGS,
    Clients,
    begun,
    check_answers,
    events,
    options,
    pictures,
    service,
    warm_up,
)

from enlarger.pool.supervisor import PORT_LINE


def main() -> None:
    """Add the bad server, and count."""
    parser = options(__doc__)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    with begun("failing", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed)
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(model_server()) for _ in range(SERVERS - 1)]
            bad = stack.enter_context(bad_server(ports[0]))
            addresses = ",".join(f"127.0.0.1:{port}" for port in (*ports, bad.server_port))
            running = stack.enter_context(service(folder, ENLARGER_SERVERS=addresses))
            warm_up(running.url, asked)
            give_up = time.monotonic() + arguments.pictures * GIVE_UP_S / 100
            with Clients(running.url, asked, arguments.clients, arguments.seed) as clients:
                while len(clients.answers) < arguments.pictures and time.monotonic() < give_up:
                    time.sleep(0.5)
            ejected = events(running, "server_ejected")
        check_answers(findings, clients.answers, also=f"; {bad.failed} tiles failed")
        findings.check(
            "the server that fails is ejected, and no other",
            bool(ejected) and len({event["server"] for event in ejected}) == 1,
            f"{len(ejected)} times",
        )


@contextlib.contextmanager
def model_server() -> Iterator[int]:
    """Start a model server of our own, and yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "enlarger", "model-server", "--port", "0", "--threads", "1"],
        env={**os.environ, **SETTINGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker; it was asked for
    try:
        yield int(process.stdout.readline().removeprefix(PORT_LINE))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class BadServer(ThreadingHTTPServer):
    """Answers probes like the server on that port, and fails every tile.

    Args:
        port: port of a healthy server.
    """

    daemon_threads = True
    failed = 0
    """Number of failed tiles."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _BadAnswers)
        self.sound_url = f"http://127.0.0.1:{port}"


class _BadAnswers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BadServer

    def do_GET(self) -> None:
        """Answer a probe."""
        try:
            answer = urllib.request.urlopen(f"{self.server.sound_url}{self.path}", timeout=10)
        except urllib.error.HTTPError as error:  # the server is still starting
            answer = error
        with answer:
            self._answer(answer.status, {**json.load(answer), "instance": "bad"})

    def do_POST(self) -> None:
        """Fail a tile."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.failed += 1
        self._answer(500, {"code": "engine_failed", "retryable": True, "error": "it is bad"})

    def _answer(self, status: int, fields: dict[str, object]) -> None:
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def bad_server(port: int) -> Iterator[BadServer]:
    """Start a bad server, which answers on threads of its own."""
    with BadServer(port) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


if __name__ == "__main__":
    main()
