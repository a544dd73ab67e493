"""Whether a request that failed is sent again, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from enlarger.errors import EnlargerError

ONGOING = ("idempotency_in_progress", "job_not_finished")
"""Refusals that are no failure: the work is being done, and the answer will be there later."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and how soon."""

    attempts: int = 6
    """In all, the first one included."""

    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    """Of pauses that the server says nothing about; each may be twice as long as the one before."""

    refused_s: float = 2.0
    """A port where nobody listens is tried for so long: a server that restarts is back by then, and a wrong address
    never is."""


def pause_s(
    patience: Patience,
    error: EnlargerError,
    *,
    failures: int,
    left_s: float,
    chance: float,
    refused_for_s: float | None = None,
) -> float | None:
    """Seconds until the next attempt, or None if there is to be none.

    Args:
        patience: how often and how soon.
        error: why the last attempt failed.
        failures: attempts that failed, the last one included.
        left_s: seconds that the call as a whole still has.
        refused_for_s: seconds since connections are refused; None: the last one was not.
        chance: from 0 to 1, so that clients that were refused together do not come back together.
    """
    if not error.retryable or failures >= patience.attempts:
        return None
    if error.retry_after_s is not None:
        # Never sooner than the server says.
        pause = error.retry_after_s + chance * patience.first_pause_s
    else:
        # No more than 2^30: the pause is long enough by then, and a float ends somewhere.
        longest = patience.first_pause_s * 2 ** min(failures - 1, 30)
        pause = min(patience.longest_pause_s, longest) * (1 + chance) / 2
    if refused_for_s is not None and refused_for_s + pause > patience.refused_s:
        return None
    return pause if pause < left_s else None


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Seconds of a ``Retry-After``, which is a number, or a date as some proxies write it. None for anything else."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:  # "-0000": a date in no known zone
        return None
    return max(0.0, (at - now).total_seconds())
