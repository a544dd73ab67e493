"""The errors of ``/v1``: problem details (RFC 9457) with further fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from enlarger.api.compatible.texts import sentence
from enlarger.api.facts import absolute
from enlarger.errors import (
    CapacityError,
    EngineError,
    EnlargerError,
    IdempotencyKeyReused,
    InvalidOption,
    Reason,
    RequestError,
    StorageFull,
)
from enlarger.jobs.facts import ErrorFacts
from enlarger.jobs.job import Job
from enlarger.pipeline.admission import retry_after

MEDIA_TYPE = "application/problem+json"

_SHOWN = (RequestError, CapacityError, EngineError, StorageFull)
"""All that may leave the process; the rest is a fault of ours."""


class Fault(TypedDict):
    """What is wrong with one option."""

    option: str
    reason: Reason
    detail: str
    """What is allowed."""


class Problem(TypedDict):
    """An error (RFC 9457). Programs match ``code``."""

    type: str
    """``/errors/{code}``, a page that explains the code."""

    title: str
    status: int
    detail: str
    instance: str
    """``/v1/jobs/{id}`` if the error belongs to a job, or to an idempotency key that has one; otherwise the request."""

    code: str
    retryable: bool
    """Whether the same request may succeed later."""

    request_id: str
    error: str
    """The same as ``detail``."""

    errors: NotRequired[list[Fault]]
    """All options that are wrong."""

    limit: NotRequired[int]
    """The highest value that is allowed, if the error is about a number."""

    actual: NotRequired[int]
    """The value that was found, if the error is about a number."""


ProblemAnswer = tuple[Problem, int, dict[str, str]]
"""Body, status and headers of a problem."""

ErrorAnswer = tuple[Mapping[str, Any], int, dict[str, str]]
"""Body, status and headers of an error, in the words of any part of the API."""


def shown(error: EnlargerError) -> EnlargerError:
    """The error that a caller sees: this one, or an internal error where its cause is not the caller's business."""
    return error if isinstance(error, _SHOWN) else EnlargerError("Internal server error")


def problem_of(error: EnlargerError, *, request_id: str) -> ProblemAnswer:
    """Return body, status and headers for an error."""
    error = shown(error)
    body = problem(
        error.code,
        sentence(error),
        status=error.status,
        retryable=error.retryable,
        request_id=request_id,
    )
    if isinstance(error, InvalidOption):
        body["errors"] = [
            {"option": fault.option, "reason": fault.reason, "detail": fault.detail}
            for fault in error.faults
        ]
    if isinstance(error, IdempotencyKeyReused) and error.job_id is not None:
        body = of_job(body, error.job_id)
    if error.limit is not None:
        body["limit"] = error.limit
    if error.actual is not None:
        body["actual"] = error.actual
    headers = {"Content-Type": MEDIA_TYPE}
    if error.status in (429, 503) or error.retry_after_s is not None:
        headers["Retry-After"] = str(retry_after(error.retry_after_s))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return body, error.status, headers


def job_problem(error: ErrorFacts, job: Job) -> Problem:
    """Return why a job has failed. The job is the ``instance`` of RFC 9457 then, instead of the request."""
    body, _, _ = problem_of(error.error(), request_id=job.request_id)
    return of_job(body, job.id)


def of_job(problem: Problem, job_id: str) -> Problem:
    """Return the problem with the job as its ``instance``, instead of the request."""
    return {**problem, "instance": f"/v1/jobs/{job_id}"}


def linked(problem: Problem, public_url: str | None) -> Problem:
    """Return the problem with absolute links where the service has a public URL; a stored problem has paths."""

    def link(target: str) -> str:
        return absolute(target, public_url) if target.startswith("/") else target

    return {**problem, "type": link(problem["type"]), "instance": link(problem["instance"])}


def problem(
    code: str, detail: str, *, status: int, retryable: bool = False, request_id: str
) -> Problem:
    """Return a problem with the fields that all of them have."""
    return {
        "type": f"/errors/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": f"urn:enlarger:request:{request_id}",
        "code": code,
        "retryable": retryable,
        "request_id": request_id,
        "error": detail,
    }
