"""Turns HTTP answers into values, or into the errors that they state. All functions are pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from enlarger.client.retry import retry_after_s
from enlarger.client.values import (
    Answer,
    Estimate,
    JobPage,
    JobStatus,
    ModelInfo,
    Models,
    Tile,
    Upscaled,
)
from enlarger.errors import (
    CapacityError,
    EnlargerError,
    Fault,
    InvalidOption,
    RequestError,
    UnexpectedAnswer,
    by_code,
)

_BUSY_STATUSES = (429, 502, 503, 504)
"""Statuses of proxies in front of a server that is away or full."""


def error_of(answer: Answer, *, now: datetime | None = None) -> EnlargerError | None:
    """Return the error that an answer stands for, or None for a successful answer."""
    if 200 <= answer.status < 300:
        return None
    problem = _object(answer)
    after_s = retry_after_s(answer.headers.get("retry-after"), now=now or datetime.now(UTC))
    if "code" in problem:
        error = error_from(problem, status=answer.status)
    elif 300 <= answer.status < 400:
        elsewhere = answer.headers.get("location", "nowhere")
        error = UnexpectedAnswer(
            f"the server sends on to {elsewhere} ({answer.status}); use the address that it leads to"
        )
    else:
        error = UnexpectedAnswer(
            f"the answer does not come from enlarger: {answer.status} {_media_type(answer)}; "
            "is this the address of an enlarger server?"
        )
        error.retryable = answer.status in _BUSY_STATUSES
    error.status = answer.status
    error.retry_after_s = after_s
    error.request_id = error.request_id or answer.headers.get("x-request-id")
    return error


def error_from(problem: Mapping[str, Any], *, status: int) -> EnlargerError:
    """Return the error of a problem object.

    Its class is the one that owns the code. For an unknown code it is the base class that fits best.
    """
    code = str(problem["code"])
    text = str(problem.get("detail") or problem.get("error") or code)
    limit, actual = _whole(problem.get("limit")), _whole(problem.get("actual"))
    status = _whole(problem.get("status")) or status
    cls = by_code(code)
    error: EnlargerError
    if cls is InvalidOption:
        error = InvalidOption(text, faults=_faults(problem), limit=limit, actual=actual)
    else:
        base = RequestError if 400 <= status < 500 else EnlargerError
        base = CapacityError if status in (429, 503) else base
        error = (cls or base)(text, limit=limit, actual=actual)
    error.code = code
    error.status = status
    if isinstance(problem.get("retryable"), bool):
        error.retryable = problem["retryable"]
    if isinstance(problem.get("request_id"), str):
        error.request_id = problem["request_id"]
    return error


def upscaled_of(answer: Answer) -> Upscaled:
    """Return the picture of an answer.

    Raises:
        UnexpectedAnswer: the answer is not a picture, or was damaged on the way.
    """
    sha256 = hashlib.sha256(answer.body).hexdigest()
    etag = answer.headers.get("etag", "")
    # A weak ETag, W/"...", comes from a proxy that has compressed the file.
    if etag.startswith('"sha256-') and etag != f'"sha256-{sha256}"':
        raise UnexpectedAnswer(
            "the picture was damaged on its way: its SHA-256 is not the server's"
        )
    width_px, height_px, from_width_px, from_height_px = (
        _whole(answer.headers.get(name))
        for name in ("x-result-width", "x-result-height", "x-origin-width", "x-origin-height")
    )
    if not (width_px and height_px and from_width_px and from_height_px):
        raise UnexpectedAnswer(f"no picture of an enlarger server: {_media_type(answer)}")
    notes = answer.headers.get("x-upscale-notes", "").split(",")
    return Upscaled(
        data=answer.body,
        media_type=_media_type(answer),
        width_px=width_px,
        height_px=height_px,
        original_width_px=from_width_px,
        original_height_px=from_height_px,
        model=answer.headers.get("x-upscale-model", ""),
        precision=answer.headers.get("x-upscale-precision", ""),
        tiles=_whole(answer.headers.get("x-upscale-tiles", "").split(";")[0]) or 0,
        content=answer.headers.get("x-upscale-content") or None,
        notes=tuple(code.strip() for code in notes if code.strip()),
        sha256=sha256,
        request_id=answer.headers.get("x-request-id", ""),
    )


def job_of(answer: Answer) -> JobStatus:
    """Return the job of an answer."""
    return job_from(json_of(answer))


def job_page_of(answer: Answer) -> JobPage:
    """Return the page that ``GET /v1/jobs`` answers with.

    Raises:
        UnexpectedAnswer: the answer is not a list of jobs.
    """
    fields = json_of(answer)
    rows = fields.get("jobs")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnexpectedAnswer("the answer is not a list of jobs")
    return JobPage(tuple(map(job_from, rows)), _text(fields.get("next_cursor")))


def job_from(fields: Mapping[str, Any]) -> JobStatus:
    """Return the job of a job object.

    Raises:
        UnexpectedAnswer: the object has no id or no state.
    """
    identity, state = fields.get("id"), fields.get("state")
    if not (isinstance(identity, str) and isinstance(state, str)):
        raise UnexpectedAnswer("the answer has a job without an id or a state")
    problem = fields.get("error")
    error = (
        error_from(problem, status=500)
        if isinstance(problem, Mapping) and "code" in problem
        else None
    )
    return progressed(JobStatus(id=identity, state=state, error=error, facts=fields), fields)


def progressed(job: JobStatus, fields: Mapping[str, Any]) -> JobStatus:
    """Return the job after a progress event, which carries only these fields."""
    progress, queue = _part(fields, "progress"), _part(fields, "queue")
    return replace(
        job,
        stage=_text(fields.get("stage")),
        tiles_done=_whole(progress.get("tiles_done")) or 0,
        tiles_total=_whole(progress.get("tiles_total")),
        fraction=_number(progress.get("fraction")) or 0.0,
        queue_position=_whole(queue.get("position")),
        eta_s=_number(fields.get("eta_s")),
    )


def after_event(job: JobStatus, event: str, data: str) -> JobStatus:
    """Return the job after a server-sent event. Events of unknown kinds change nothing.

    Raises:
        UnexpectedAnswer: the data of the event is not a JSON object.
    """
    if event not in ("state", "progress"):
        return job
    fields = _loaded(data)
    if fields is None:
        raise UnexpectedAnswer(f"the data of the event '{event}' is not a JSON object")
    return job_from(fields) if event == "state" else progressed(job, fields)


def job_id_of(data: str) -> str | None:
    """Return the job that an event of several jobs is about, or None for an event that does not say."""
    return _text((_loaded(data) or {}).get("job"))


def tiles_of(answer: Answer) -> tuple[Tile, ...]:
    """Return the tiles that ``GET /v1/jobs/{id}/tiles`` lists.

    Raises:
        UnexpectedAnswer: the answer is not a list of tiles.
    """
    rows = json_of(answer).get("tiles")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnexpectedAnswer("the answer is not a list of tiles")
    return tuple(map(_tile, rows))


def _tile(row: Mapping[str, Any]) -> Tile:
    numbers = [_whole(row.get(name)) for name in ("index", "x", "y", "w", "h")]
    index, x_px, y_px, width_px, height_px = (number or 0 for number in numbers)
    if None in numbers:
        raise UnexpectedAnswer("the answer has a tile without a number or a place")
    return Tile(index=index, x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px)


def preview_of(answer: Answer) -> bytes:
    """Return the JPEG file of an answer.

    Raises:
        UnexpectedAnswer: the answer is something else.
    """
    if _media_type(answer) != "image/jpeg":
        raise UnexpectedAnswer(
            f"the answer is not a preview: {answer.status} {_media_type(answer)}"
        )
    return answer.body


def estimate_of(answer: Answer) -> Estimate:
    """Return the estimate that ``POST /v1/estimate`` answers with."""
    fields = json_of(answer)
    output, queue, problem = (
        _part(fields, "output"),
        _part(fields, "queue"),
        _part(fields, "problem"),
    )
    return Estimate(
        is_accepted=fields.get("accepted") is True,
        problem=error_from(problem, status=500) if "code" in problem else None,
        width_px=_whole(output.get("width")),
        height_px=_whole(output.get("height")),
        model=_text(fields.get("model")),
        content=_text(fields.get("content")),
        precision=_text(fields.get("precision")),
        tiles=_whole(fields.get("tiles")),
        memory_bytes=_whole(fields.get("memory_bytes")),
        eta_s=_number(fields.get("eta_s")),
        wait_s=_number(fields.get("wait_s")),
        queue_position=_whole(queue.get("position")),
    )


def models_of(answer: Answer) -> Models:
    """Return the models that ``GET /v1/models`` lists."""
    fields = json_of(answer)
    rows = fields.get("models")
    return Models(
        tuple(_model(row) for row in rows if isinstance(row, dict))
        if isinstance(rows, list)
        else (),
        {str(scale): str(model) for scale, model in _part(fields, "default").items()},
    )


def _model(row: Mapping[str, Any]) -> ModelInfo:
    precisions, levels = row.get("precisions"), row.get("noise_levels")
    return ModelInfo(
        id=str(row.get("id", "")),
        title=str(row.get("title", "")),
        native_scale=_whole(row.get("native_scale")) or 0,
        noise_levels=tuple(level for level in levels if isinstance(level, int))
        if isinstance(levels, list)
        else (),
        licence=str(row.get("licence", "")),
        is_non_commercial=row.get("non_commercial") is True,
        sha256=str(row.get("sha256", "")),
        precisions=tuple(map(str, precisions)) if isinstance(precisions, list) else (),
        ready_on=_whole(row.get("ready_on")) or 0,
        facts=row,
    )


def json_of(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        UnexpectedAnswer: the answer is not a JSON object.
    """
    fields = _loaded(answer.body)
    if fields is None:
        raise UnexpectedAnswer(
            f"the answer is not a JSON object: {answer.status} {_media_type(answer)}; "
            "is this the address of an enlarger server?"
        )
    return fields


def _object(answer: Answer) -> dict[str, Any]:
    return _loaded(answer.body) or {} if "json" in _media_type(answer) else {}


def _loaded(text: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "without a type").split(";")[0].strip().lower()


def _part(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _faults(problem: Mapping[str, Any]) -> list[Fault]:
    rows = problem.get("errors")
    return [
        Fault(str(row.get("option")), row.get("reason", "range"), str(row.get("detail", "")))
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]


def _whole(value: object) -> int | None:
    """Return a whole number, as JSON or a header contains it, or None."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:18])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
