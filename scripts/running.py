"""A real service on free ports, for the demo, the smoke test, the benchmarks and the tests.

This uses the standard library only, because it must run before anything except enlarger is installed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

READY_LINE = "enlarger is ready on "


@dataclass
class RunningService:
    """``enlarger serve`` as a process. The context starts when it is ready, and stops it at the end."""

    folder: Path
    """Working folder. Results go into its subfolder ``uploads``."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings in addition to the free ports."""

    command: Sequence[str] = (sys.executable, "-m", "enlarger")
    """The command that starts enlarger."""

    arguments: Sequence[str] = ()
    """Further arguments of ``serve``."""

    announced: bool = True
    """Wait until the service says that it is ready. If False, ``url`` must be set."""

    start_timeout_s: float = 300
    url: str = ""

    def __enter__(self) -> RunningService:
        self.log = self.folder / "service.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - enlarger itself
                [*self.command, "serve", "--port", "0", *self.arguments],
                cwd=self.folder,
                env={**os.environ, "BASE_PORT": "0", **self.environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            if self.announced:
                self.url = self._announced_url()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _announced_url(self) -> str:
        assert self.process.stdout is not None  # noqa: S101 - for the type checker; it was asked for
        give_up = time.monotonic() + self.start_timeout_s
        while (left_s := give_up - time.monotonic()) > 0:
            readable, _, _ = select.select([self.process.stdout], [], [], left_s)
            if not readable:
                break
            line = self.process.stdout.readline()
            if line.startswith(READY_LINE):
                return line.removeprefix(READY_LINE).strip()
            if not line and self.process.poll() is not None:
                break
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the service did not become ready; its log ends with:\n{tail}")

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of a GET."""
        return self._call(urllib.request.Request(self.url + path))  # noqa: S310 - our own http URL

    def upscale(self, picture: bytes, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of ``POST /upscale`` with a picture as base64."""
        return self.post("/upscale", {"image_b64": base64.b64encode(picture).decode(), **fields})

    def post(self, path: str, fields: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of a POST."""
        body = json.dumps(fields).encode()
        # The result cache is skipped: a caller who asks twice here wants the work done twice.
        headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
        return self._call(urllib.request.Request(self.url + path, body, headers))  # noqa: S310 - our own http URL

    def _call(self, request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(request, timeout=900) as answer:  # noqa: S310 - our own http URL
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error, contextlib.suppress(ValueError):
                return error.code, json.load(error)
            raise
