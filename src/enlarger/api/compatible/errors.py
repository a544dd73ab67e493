"""Errors as the compatible contract words them: one flat object, and 400 for nearly every fault of the caller."""

from __future__ import annotations

from typing import Any

from enlarger.api.v1.problems import ErrorAnswer, problem_of, shown
from enlarger.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CapacityError,
    DeadlineExceeded,
    DeadlineTooShort,
    DownloadTooLarge,
    EngineError,
    EnlargerError,
    FileTooLarge,
    ImageTooLarge,
    OutputTooLarge,
    RateLimited,
    RequestError,
    ResultExpired,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
    StorageFull,
    Unauthorized,
    UnknownModel,
    UnreadableImage,
    UnsupportedEncoding,
    UnsupportedFormat,
)

_PREFIXES: dict[type[EnlargerError], str] = {
    DownloadTooLarge: "Failed to download image: ",
    BodyTooLarge: "",
    FileTooLarge: "Invalid image: ",
    ImageTooLarge: "Invalid image: ",
    UnsupportedFormat: "Invalid image: ",
    UnreadableImage: "Invalid image: ",
    SourceUnreachable: "Failed to download image: ",
    SourceRefused: "Failed to download image: ",
    SourceFailed: "Failed to download image: ",
    UnknownModel: "Unknown model: ",
    RateLimited: "Rate limit exceeded: ",
    CapacityError: "Upscaling failed: ",
    EngineError: "Upscaling failed: ",
    StorageFull: "Upscaling failed: ",
}
"""How the texts of this contract begin. The first class that fits counts."""

_STATUS: dict[type[EnlargerError], int] = {
    Unauthorized: 401,
    BodyTooSlow: 408,
    ResultExpired: 410,
    UnsupportedEncoding: 415,
    RequestError: 400,
    EngineError: 500,
    StorageFull: 500,
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
    passed = isinstance(error, DeadlineExceeded) and not isinstance(error, DeadlineTooShort)
    body["error"] = f"{prefix}{'deadline exceeded' if passed else body['error']}"
    if isinstance(error, OutputTooLarge):
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


def _sizes(error: OutputTooLarge) -> dict[str, Any]:
    """What the body of a result that would be too large has besides."""
    if "input_px" not in error.facts:
        return {}
    width, height = error.facts["input_px"]
    return {"original_size": {"width": width, "height": height}, "scale": error.facts["scale"]}
