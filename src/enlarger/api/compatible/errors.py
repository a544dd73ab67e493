"""Errors as the compatible contract words them: one flat object, and 400 for nearly every fault of the caller."""

from __future__ import annotations

from typing import Any

from enlarger import errors
from enlarger.api.v1.problems import ErrorAnswer, problem_of, shown
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
"""Fields that a body takes over from the problem."""


def status_of(error: type[EnlargerError]) -> int:
    """The status of an error in this contract."""
    return next((status for cls, status in _STATUS.items() if issubclass(error, cls)), error.status)


def error_answer(error: EnlargerError, *, request_id: str) -> ErrorAnswer:
    """Body, status and headers for an error."""
    error = shown(error)
    body, _, headers = reworded(problem_of(error, request_id=request_id))
    prefix = next((text for cls, text in _PREFIXES.items() if isinstance(error, cls)), "")
    text = "deadline exceeded" if type(error) is errors.DeadlineExceeded else body["error"]
    body["error"] = f"{prefix}{text}"
    if isinstance(error, errors.OutputTooLarge):
        body |= _sizes(error)
    status = status_of(type(error))
    if status not in (429, 503):
        headers.pop("Retry-After", None)
    return body, status, headers


def reworded(problem: ErrorAnswer) -> ErrorAnswer:
    """A problem as a body of this contract; its text and its status stay."""
    body, status, headers = problem
    kept = {name: body[name] for name in _FIELDS if name in body}
    return kept, status, {name: text for name, text in headers.items() if name != "Content-Type"}


def _sizes(error: errors.OutputTooLarge) -> dict[str, Any]:
    """What the body of a result that would be too large has besides."""
    if "input_px" not in error.facts:
        return {}
    width, height = error.facts["input_px"]
    return {"original_size": {"width": width, "height": height}, "scale": error.facts["scale"]}
