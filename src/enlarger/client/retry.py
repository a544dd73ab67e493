"""Decides whether and when a failed request is sent again. Everything here is pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from enlarger.errors import EnlargerError

ONGOING = ("idempotency_in_progress", "job_not_finished")
"""Refusals that are not failures: the work is in progress, and the answer will be available later."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how soon a request is retried."""

    attempts: int = 6
    """The total number of attempts, the first one included."""

    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    """The longest pause that the client chooses by itself. Each pause may be twice as long as the one before."""

    refused_s: float = 2.0
    """For this long, a refused connection is retried: a server that restarts is back by then, and a wrong address
    never
    works."""


def pause_s(
    patience: Patience,
    error: EnlargerError,
    *,
    failures: int,
    left_s: float,
    chance: float,
    refused_for_s: float | None = None,
) -> float | None:
    """Return the seconds until the next attempt, or None for no further attempt.

    Args:
        patience: how often and how soon to retry.
        error: why the last attempt failed.
        failures: number of failed attempts, the last one included.
        left_s: seconds that the whole call still has.
        refused_for_s: seconds since connections began to be refused; None if the last one was not refused.
        chance: a random number from 0 to 1, which keeps clients that were refused together from returning together.
    """
    if not error.retryable or failures >= patience.attempts:
        return None
    if error.retry_after_s is not None:
        # The pause is never shorter than the server asks for.
        pause = error.retry_after_s + chance * patience.first_pause_s
    else:
        # The exponent stops at 30: the pause is long enough by then, and a float could overflow.
        longest = patience.first_pause_s * 2 ** min(failures - 1, 30)
        pause = min(patience.longest_pause_s, longest) * (1 + chance) / 2
    if refused_for_s is not None and refused_for_s + pause > patience.refused_s:
        return None
    return pause if pause < left_s else None


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After`` header, or None if it cannot be read.

    Some proxies send a date instead of a number.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:  # "-0000" marks a date in an unknown time zone
        return None
    return max(0.0, (at - now).total_seconds())
