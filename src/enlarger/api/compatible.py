"""The compatible contract, part A: its request body, its answers and its error texts."""

from __future__ import annotations

import json
import os.path
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

from enlarger.api.facts import facts_of, link
from enlarger.api.schemas import Refusal, Upscaled
from enlarger.api.sources import has_thousands_of_parts, source_of
from enlarger.config import ServerSettings
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
    InvalidOption,
    MalformedJson,
    MissingBody,
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
from enlarger.jobs import RunFacts
from enlarger.models import Catalogue
from enlarger.options import SCALES, read_options
from enlarger.pipeline.admission import retry_after
from enlarger.pipeline.outcome import Outcome
from enlarger.request import UpscaleRequest

_OTHER_SIZES = ("width", "height", "long_side", "short_side", "fit", "max_bytes")
"""Options of the other routes that set the size; here it is ``scale`` alone."""

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
"""How the texts of this contract begin; the first class that fits counts."""

_KNOWN = (RequestError, CapacityError, EngineError, StorageFull)
"""All that this contract has a text and a status for."""

_STATUS: dict[type[EnlargerError], int] = {
    Unauthorized: 401,
    BodyTooSlow: 408,
    ResultExpired: 410,
    UnsupportedEncoding: 415,
    RequestError: 400,
    EngineError: 500,
    StorageFull: 500,
}
"""Statuses that differ from an error's own; the first class that fits counts."""


def parse_body(content_type: str | None, body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        MissingBody: no body, another content type, or an empty value.
        MalformedJson: not JSON, not UTF-8, not an object, or one of thousands of parts.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not body or not (
        kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    ):
        raise MissingBody("No JSON data provided")
    if has_thousands_of_parts(body):
        raise MalformedJson("Malformed JSON")
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("Malformed JSON") from error
    if not value:
        raise MissingBody("No JSON data provided")
    if not isinstance(value, dict):
        raise MalformedJson("Malformed JSON")
    return value


def _no_number(word: str) -> NoReturn:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(word)


def parse_query(query: Mapping[str, str]) -> dict[str, Any]:
    """A query as the JSON object it stands for: all texts, but ``scale`` and ``inline``."""
    fields: dict[str, Any] = dict(query)
    if "scale" in fields:
        fields["scale"] = {"2": 2, "4": 4}.get(fields["scale"], fields["scale"])
    if "inline" in fields:
        fields["inline"] = {"true": True, "1": True, "false": False, "0": False}.get(
            fields["inline"].lower(), fields["inline"]
        )
    return fields


def parse_job(
    fields: Mapping[str, Any], *, catalogue: Catalogue, request_id: str, strict: bool = True
) -> tuple[UpscaleRequest, bool]:
    """The job that the fields ask for, and whether the answer carries base64. Checked in the contract's order.

    Args:
        fields: of the JSON object, or of the query.
        catalogue: the models there are.
        request_id: for the job.
        strict: the fields have the types of JSON; those of a query are texts.

    Raises:
        RequestError: the first fault.
    """
    scale = fields.get("scale", 2)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale not in SCALES:
        raise InvalidOption("Scale must be 2 or 4")
    model = fields.get("model", "auto")
    if not isinstance(model, str):
        raise InvalidOption("Invalid model: it must be a string")
    catalogue.choose(model, scale=int(scale))
    # Results are reachable by URL, so metadata stays out of them unless it is asked for.
    asked = {name: value for name, value in fields.items() if name not in _OTHER_SIZES}
    defaults = {"metadata": "strip", "frames": "first"}
    options = read_options({**defaults, **asked, "scale": scale}, strict=strict)
    inline = fields.get("inline", True)
    if not isinstance(inline, bool):
        raise InvalidOption("Invalid inline: it must be true or false")
    source = source_of(fields.get("img_url"), fields.get("image_b64"))
    return UpscaleRequest(source=source, options=options, request_id=request_id), inline


def answer(
    outcome: Outcome, *, scale: float, settings: ServerSettings, request_id: str, left_s: float
) -> Upscaled:
    """Return the JSON of a finished request, without ``base64``."""
    return {
        "success": True,
        "file_path": _file_path(settings.upload_folder, outcome.stored.file_name),
        "base64": None,
        "original_size": {
            "width": outcome.header.width_px,
            "height": outcome.header.height_px,
            "bytes": outcome.input_bytes,
        },
        "upscaled_size": {
            "width": outcome.width_px,
            "height": outcome.height_px,
            "scale": int(scale),
        },
        "processing_time": round(outcome.took_s, 2),
        **link(
            outcome.stored.url_path,
            expires_at=time.time() + left_s,
            public_url=settings.public_url,
        ),
        **facts_of(RunFacts.of(outcome)),
        "request_id": request_id,
    }


def _file_path(place: Path | str, name: str) -> str:
    """The path of a result from the folder above ``UPLOAD_FOLDER``, or the URL of its object."""
    if isinstance(place, str):
        return f"{place.rstrip('/')}/{name}"
    # The path is not resolved: where the folder is a link, the name of the link counts.
    return f"{os.path.basename(os.path.abspath(place))}/{name}"  # noqa: PTH100, PTH119


def status_of(error: type[EnlargerError]) -> int:
    """The status of an error in this contract."""
    return next((status for cls, status in _STATUS.items() if issubclass(error, cls)), error.status)


def error_answer(error: EnlargerError, *, request_id: str) -> tuple[Refusal, int, dict[str, str]]:
    """Return body, status and headers for an error."""
    if not isinstance(error, _KNOWN):
        # What passes between gateway and model servers, or a fault of ours: no business of the caller.
        error = EnlargerError("Internal server error")
    prefix = next((text for cls, text in _PREFIXES.items() if isinstance(error, cls)), "")
    status = status_of(type(error))
    passed = isinstance(error, DeadlineExceeded) and not isinstance(error, DeadlineTooShort)
    text = "deadline exceeded" if passed else str(error)
    body: Refusal = {
        "error": f"{prefix}{text}",
        "code": error.code,
        "retryable": error.retryable,
        "request_id": request_id,
    }
    if error.limit is not None:
        body["limit"] = error.limit
    if error.actual is not None:
        body["actual"] = error.actual
    if isinstance(error, OutputTooLarge):
        body.update(cast(Any, error.details))
    if status in (429, 503):
        return body, status, {"Retry-After": str(retry_after(error.retry_after_s))}
    return body, status, {"WWW-Authenticate": "Bearer"} if status == 401 else {}
