"""Errors as the compatible contract words them: one flat object, and 400 for nearly every fault of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from enlarger import errors
from enlarger.api.compatible.schemas import Refusal
from enlarger.api.v1.problems import ProblemAnswer, problem_of, shown
from enlarger.errors import EnlargerError

_PREFIXES: dict[type[EnlargerError], str] = {
    errors.DownloadTooLarge: "Failed to download image: ",
    errors.BodyTooLarge: "",
    errors.FileTooLarge: "Invalid image: ",
    errors.ImageTooLarge: "Invalid image: ",
    errors.UnsupportedFormat: "Invalid image: ",
    errors.UnreadableImage: "Invalid image: ",
    errors.SourceUnreachable: "Failed to download image: ",
    errors.SourceRefused: "Failed to download image: ",
    errors.SourceFailed: "Failed to download image: ",
    errors.UnknownModel: "Unknown model: ",
    errors.RateLimited: "Rate limit exceeded: ",
    errors.StorageUnavailable: "",
    errors.CapacityError: "Upscaling failed: ",
    errors.EngineError: "Upscaling failed: ",
    errors.StorageFull: "Upscaling failed: ",
}
"""How the texts of this contract begin. The first class that fits counts."""

_STATUS: dict[type[EnlargerError], int] = {
    errors.Unauthorized: 401,
    errors.BodyTooSlow: 408,
    errors.ResultExpired: 410,
    errors.UnsupportedEncoding: 415,
    errors.RequestError: 400,
    errors.EngineError: 500,
    errors.StorageFull: 500,
}
"""Statuses that differ from an error's own. The first class that fits counts."""

_FIELDS = ("error", "code", "retryable", "request_id", "limit", "actual")
"""Fields that a body takes over from the problem, in their order."""


def status_of(error: type[EnlargerError]) -> int:
    """The status of an error in this contract."""
    return next((status for cls, status in _STATUS.items() if issubclass(error, cls)), error.status)


def error_answer(error: EnlargerError, *, request_id: str) -> tuple[Refusal, int, dict[str, str]]:
    """Return body, status and headers for an error."""
    error = shown(error)
    body, _, headers = reworded(problem_of(error, request_id=request_id))
    prefix = next((text for cls, text in _PREFIXES.items() if isinstance(error, cls)), "")
    text = "deadline exceeded" if type(error) is errors.DeadlineExceeded else body["error"]
    body["error"] = f"{prefix}{text}"
    if isinstance(error, errors.OutputTooLarge) and "input_px" in error.facts:
        width, height = error.facts["input_px"]
        body["original_size"] = {"width": width, "height": height}
        body["scale"] = error.facts["scale"]
    status = status_of(type(error))
    if status not in (429, 503):
        headers.pop("Retry-After", None)
    return body, status, headers


def reworded(problem: ProblemAnswer) -> tuple[Refusal, int, dict[str, str]]:
    """Return a problem as a body of this contract, with its text and its status."""
    body, status, headers = problem
    known = cast(Mapping[str, object], body)
    kept = {name: known[name] for name in _FIELDS if name in known}
    headers = {name: text for name, text in headers.items() if name != "Content-Type"}
    return cast(Refusal, kept), status, headers
