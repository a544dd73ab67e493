"""What tests see of a real service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from running import RunningService

QUICK = "realesr-animevideov3"
BEST = "realesrgan-x4plus"
SERVERS = 5
GIVE_UP_S = 180
"""Long enough for whatever is waited for, on a busy machine."""


def until(holds: Callable[[], bool], *, give_up_s: float = GIVE_UP_S) -> None:
    """Wait for a state of another process, which sends no event."""
    end = time.monotonic() + give_up_s
    while not holds():
        assert time.monotonic() < end, f"not so after {give_up_s} s"
        time.sleep(0.01)


def server_entries(service: RunningService) -> list[dict[str, Any]]:
    """The model servers as ``/status`` shows them."""
    entries: list[dict[str, Any]] = service.get("/status")[1]["servers"]
    return entries


def logged_in(log: Path) -> list[dict[str, Any]]:
    """All lines of a log, each of which is JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def logged(service: RunningService) -> list[dict[str, Any]]:
    """All lines of the log, each of which is JSON."""
    return logged_in(service.log)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def working(service: RunningService) -> bool:
    """Whether a tile is being computed."""
    return any(entry["tiles_in_flight"] for entry in server_entries(service))
