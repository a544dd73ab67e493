"""Jobs, batches and deliveries as values: one row each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from enlarger.jobs.facts import ErrorFacts, InputFacts, ResultFacts
from enlarger.pipeline.progress import Stage

State = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]

STATES: tuple[State, ...] = ("queued", "running", "succeeded", "failed", "canceled", "expired")
ENDED: tuple[State, ...] = ("succeeded", "failed", "canceled", "expired")


DELIVERY = "msg_"
"""The id of a message is this and the id of the job or batch that it is about."""

GONE = "gone"
"""The outcome of a delivery whose receiver wants no more messages."""


def new_job_id() -> str:
    """Return an id with 128 random bits, so that nobody can guess the id of another client's job."""
    return f"job_{secrets.token_hex(16)}"


def new_batch_id() -> str:
    """Return an id with as many random bits as that of a job."""
    return f"batch_{secrets.token_hex(16)}"


def delivery_id(about: str) -> str:
    """Return the id of the one message about the end of a job or batch. A receiver knows a repeated message by it."""
    return f"{DELIVERY}{about}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. All ``*_at`` are in seconds since the epoch."""

    id: str
    """``job_`` and 32 hexadecimal digits."""

    owner: str = ""
    """The name of the API key that asked for it."""

    caller: str = ""
    """Id of the caller whose output pixels are counted."""

    state: State = "queued"

    stage: Stage | None = None
    """What is done for it, while it runs."""

    request_id: str = "-"
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None

    expires_at: float | None = None
    """When the result expires."""

    not_before: float = 0.0
    """A queued job is not begun earlier; its picture may still be on its way."""

    options: Mapping[str, Any]
    """The resolved options, as JSON."""

    source_url: str | None = None
    """None if the picture came with the request, and is among the files."""

    input: InputFacts | None = None
    """What the picture is, once it is known."""

    mflop: float | None = None
    """What it costs, once that is known."""

    tiles_done: int = 0
    tiles_total: int | None = None

    result: ResultFacts | None = None
    """What was made; it stays when the file of the result has expired."""

    file_name: str | None = None
    """The name of the result's file: ``{token}.{ext}``."""

    error: ErrorFacts | None = None
    """Why it has failed."""

    batch_id: str | None = None
    batch_index: int | None = None
    item_id: str | None = None

    idempotency_key: str | None = None
    """No two jobs of one owner have the same key."""

    fingerprint: str | None = None
    """The fingerprint of what was asked for under that key."""

    webhook: str | None = None

    holder: str | None = None
    """The gateway that runs it, or ran it last."""

    leased_until: float = 0.0
    """Another gateway may take a running job from then on. A job that was given back may be begun from then on."""

    attempts: int = 0
    """How often it was begun, without the times when it was given back in good order."""

    skip_cache: bool = False
    """Whether the picture is computed even if a result is there already."""

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
    """Several jobs of one request. The rows of its jobs name it."""

    id: str
    """``batch_`` and 32 hexadecimal digits."""

    owner: str = ""
    request_id: str = "-"
    created_at: float
    webhook: str | None = None

    idempotency_key: str | None = None
    """No two batches of one owner have the same key."""

    fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """One webhook message, to be sent until it arrives or is given up."""

    id: str
    """``msg_`` and the id of what it is about."""

    owner: str = ""
    url: str

    type: str
    """What it tells, such as ``job.succeeded``."""

    body: str
    """The text that is signed and sent, the same at every attempt."""

    created_at: float
    attempts: int = 0

    due_at: float = 0.0
    """It is not sent earlier."""

    holder: str | None = None
    """The gateway that sends it."""

    leased_until: float = 0.0
    """From then on another gateway may send it."""

    ended_at: float | None = None
    outcome: str | None = None
    """How it ended: ``delivered``, ``gone`` or ``given_up``."""
