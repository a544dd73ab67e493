"""Jobs, batches and deliveries as values: one row each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from enlarger.jobs.facts import ErrorFacts, InputFacts, ResultFacts

State = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]

STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "canceled", "expired")
ENDED: tuple[State, ...] = ("succeeded", "failed", "canceled", "expired")


DELIVERY = "msg_"
"""Before the id of what a message is about, in its own."""

GONE = "gone"
"""Outcome of a delivery whose receiver wants nothing more."""


def new_job_id() -> str:
    """128 random bits: nobody finds another one's job by guessing."""
    return f"job_{secrets.token_hex(16)}"


def new_batch_id() -> str:
    """As that of a job."""
    return f"batch_{secrets.token_hex(16)}"


def delivery_id(told: str) -> str:
    """That of the one message on the end of a job or batch. Every attempt shows it: the receiver knows a repeat."""
    return f"{DELIVERY}{told}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. All ``*_at`` are seconds since the epoch."""

    id: str
    """``job_`` and 32 hexadecimal digits."""

    owner: str = ""
    """Name of the API key that asked for it."""

    caller: str = ""
    """Whose output pixels are counted."""

    state: State = "queued"

    stage: str | None = None
    """``fetch``, ``decode``, ``infer`` or ``encode``, while it runs."""

    request_id: str = "-"
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None

    expires_at: float | None = None
    """Of the result."""

    not_before: float = 0.0
    """While it is queued, nobody begins it earlier; its picture may still be on its way."""

    options: Mapping[str, Any]
    """Resolved ones, as JSON."""

    source_url: str | None = None
    """None: the picture came with the request, and is among the blobs."""

    input: InputFacts | None = None
    """What the picture is, once it is known."""

    mflop: float | None = None
    """What it costs, once known."""

    tiles_done: int = 0
    tiles_total: int | None = None

    result: ResultFacts | None = None
    """What was made; it stays when the file of the result has expired."""

    file_name: str | None = None
    """``{token}.{ext}`` of the result."""

    error: ErrorFacts | None = None
    """Why it has failed."""

    batch_id: str | None = None
    batch_index: int | None = None
    item_id: str | None = None

    idempotency_key: str | None = None
    """No two jobs of one owner have the same."""

    fingerprint: str | None = None
    """Of what was asked for under that key."""

    webhook: str | None = None

    holder: str | None = None
    """The gateway that runs it, or ran it last."""

    leased_until: float = 0.0
    """While it runs: from then on another gateway may take it. Without a holder it waits for one, from then on."""

    attempts: int = 0
    """Times it was begun, but for those that ended in good order."""

    skip_cache: bool = False
    """A result that is there already is not what is wanted."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing will be computed for it any more."""
        return self.state in ENDED

    def left_s(self, now: float) -> float:
        """Return the seconds that its result still lives."""
        return max(0.0, (self.expires_at or 0.0) - now)

    def has_result(self, now: float) -> bool:
        """Whether its result is there."""
        return self.state == "succeeded" and self.result is not None and self.left_s(now) > 0

    def has_expired(self, now: float) -> bool:
        """Whether it had a result, and has none now."""
        return self.state == "expired" or (self.state == "succeeded" and self.left_s(now) <= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """Several jobs of one request. Their records name it."""

    id: str
    """``batch_`` and 32 hexadecimal digits."""

    owner: str = ""
    request_id: str = "-"
    created_at: float
    webhook: str | None = None

    idempotency_key: str | None = None
    """No two batches of one owner have the same."""

    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One webhook message, to be sent until it arrives or is given up."""

    id: str
    """``msg_`` and the id of what it is about."""

    owner: str = ""
    url: str

    type: str
    """Such as ``job.succeeded``."""

    body: str
    """The bytes that are signed, the same at every attempt."""

    created_at: float
    attempts: int = 0

    due_at: float = 0.0
    """Not sent earlier."""

    holder: str | None = None
    """The gateway that sends it."""

    leased_until: float = 0.0
    """From then on another gateway may send it."""

    ended_at: float | None = None
    outcome: str | None = None
    """How it ended: ``delivered``, ``gone`` or ``given_up``."""
