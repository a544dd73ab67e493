"""Model servers that stand still for a while, so that a test does not depend on how fast the machine computes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

from running import RunningService


@contextlib.contextmanager
def paused_servers(service: RunningService) -> Iterator[None]:
    """Stop all model servers of a service, so that no job ends within the context, and continue them afterwards.

    The gateway replaces servers that stand still for longer than 15 s. Jobs then go on by themselves, so a slow test
    sees an end that is early, but no job fails.
    """
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    newest = {line["server"]: line["pid"] for line in lines if line["event"] == "server_started"}
    for pid in newest.values():
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in newest.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
