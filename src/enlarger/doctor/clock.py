"""The clock, on which the lives of results, signed links and webhooks depend."""

from __future__ import annotations

import ctypes
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import enlarger
from enlarger.doctor.finding import Finding

_TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised."""

_TIMEX_BYTES = 256
"""Room for C's ``struct timex``, which has 208 bytes on 64-bit Linux. All zeros: read, and set nothing."""

_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFacts:
    """The clock of this machine."""

    now_s: float
    """Seconds since the epoch."""

    installed_s: float
    """When enlarger was installed, by the time of its files."""

    is_synchronised: bool | None
    """Whether Linux keeps it synchronised; None if it does not say."""


def gather() -> ClockFacts:
    """Ask the system."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None) if sys.platform == "linux" else None
    state = -1 if adjtimex is None else adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return ClockFacts(
        now_s=time.time(),
        installed_s=Path(enlarger.__file__).stat().st_mtime,
        is_synchronised=None if state < 0 else state != _TIME_ERROR,
    )


def findings(facts: ClockFacts) -> list[Finding]:
    """Return whether the clock can be right."""
    title = f"it is {datetime.fromtimestamp(facts.now_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    hint = "synchronise the clock, for example with systemd-timesyncd or chrony"
    if facts.now_s < facts.installed_s - _DAY_S:
        return [Finding.error(title, "enlarger was installed later than that", hint=hint)]
    if facts.is_synchronised is False:
        detail = "Linux does not keep the clock synchronised; signed links and webhooks need the right time"
        return [Finding.warning(title, detail, hint=hint)]
    told = "its synchronisation is unknown" if facts.is_synchronised is None else "synchronised"
    return [Finding.ok(title, told)]
