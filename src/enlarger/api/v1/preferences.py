"""How a caller wants to be answered: ``Prefer`` of RFC 7240."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFERENCE = re.compile(r'\s*([a-zA-Z-]+)\s*(?:=\s*"?([^";,]*)"?)?\s*(?:;[^,]*)?')


@dataclass(frozen=True, slots=True)
class Preference:
    """What a ``Prefer`` header says, as far as it counts here."""

    is_async: bool
    """Answered with a job at once."""

    wait_s: float
    """How long the answer may take before it is a job."""

    applied: str | None
    """For ``Preference-Applied``, if the answer is a job."""


def read_preference(header: str | None, *, limit_s: float) -> Preference:
    """What a header prefers. What is not understood is ignored, as RFC 7240 wants it.

    Args:
        header: all its values, with commas.
        limit_s: the longest wait that is possible.
    """
    found: dict[str, str] = {}
    for part in (header or "").split(","):
        match = _PREFERENCE.fullmatch(part)
        if match:
            found.setdefault(match.group(1).lower(), match.group(2) or "")
    wait = found.get("wait", "").strip()
    wait_s = min(limit_s, float(wait)) if wait.isdecimal() and len(wait) <= 9 else None
    if "respond-async" in found:
        return Preference(True, wait_s or 0.0, "respond-async")
    if wait_s is None:
        return Preference(False, limit_s, None)
    return Preference(False, wait_s, f"wait={wait_s:.0f}")
