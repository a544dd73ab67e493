"""Errors of ``/v1`` as RFC 9457 has them, with our fields beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enlarger.api.facts import absolute
from enlarger.errors import (
    CapacityError,
    EngineError,
    EnlargerError,
    IdempotencyKeyReused,
    InvalidOption,
    RequestError,
    StorageFull,
)
from enlarger.jobs.facts import ErrorFacts
from enlarger.jobs.job import Job
from enlarger.pipeline.admission import retry_after

MEDIA_TYPE = "application/problem+json"

_KNOWN = (RequestError, CapacityError, EngineError, StorageFull)
"""All that may leave the process; the rest is a fault of ours."""


def problem_of(
    error: EnlargerError, *, request_id: str
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Body, status and headers for an error."""
    if not isinstance(error, _KNOWN):
        error = EnlargerError("Internal server error")
    body = problem(
        error.code,
        str(error),
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


def job_problem(error: ErrorFacts, job: Job) -> dict[str, Any]:
    """Why a job has failed. RFC 9457's ``instance`` is the job then, not the request."""
    body, _, _ = problem_of(error.error(), request_id=job.request_id)
    return of_job(body, job.id)


def of_job(problem: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    """The same problem as one of a job, which is its ``instance`` then."""
    return {**problem, "instance": f"/v1/jobs/{job_id}"}


def linked(problem: Mapping[str, Any], public_url: str | None) -> dict[str, Any]:
    """A problem whose links lead where others see this service; as it is kept, they are paths."""
    links = {
        name: absolute(problem[name], public_url)
        for name in ("type", "instance")
        if problem[name].startswith("/")
    }
    return {**problem, **links}


def problem(
    code: str, detail: str, *, status: int, retryable: bool = False, request_id: str
) -> dict[str, Any]:
    """The fields that every problem has."""
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
