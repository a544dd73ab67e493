"""The dialect of Cog, the container format of Replicate's models, and of the API of Replicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, NotRequired

from quart import Response, g, request
from typing_extensions import TypedDict

from enlarger import __version__
from enlarger.api.compatible.texts import sentence
from enlarger.api.dialects.dialect import (
    fault_of,
    options_of,
    refuse_unknown,
    source_named,
    unsupported,
)
from enlarger.api.dialects.model_names import model_named
from enlarger.api.streaming import FileText
from enlarger.api.upscaling import Upscaler
from enlarger.api.v1.problems import Problem
from enlarger.api.v1.reader import RequestReader
from enlarger.api.v1.requests import Form
from enlarger.errors import (
    EngineError,
    EnlargerError,
    MissingInput,
    NotAcceptable,
    NotFound,
    RequestError,
    StorageFull,
    UnknownModel,
)
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.formats import MEDIA_TYPES
from enlarger.pipeline.outcome import Outcome
from enlarger.request import UpscaleRequest

OWNER = "enlarger"
"""The owner of our models, where a name must have one."""

DEFAULT_SCALE = 4
"""The default of nightmareai/real-esrgan."""

_PUBLISHED = {
    # https://replicate.com/nightmareai/real-esrgan: RealESRGAN_x4plus, in two versions that people have written down.
    "nightmareai/real-esrgan": "realesrgan-x4plus",
    "42fed1c4974146d4d2414e2be2c5277c7fcf05fcc3a73abf41610695738c1d7b": "realesrgan-x4plus",
    "f121d640bd286e1fdc67f9799164c1d5be36ff74576ee11c803ae5b665dd46aa": "realesrgan-x4plus",
    # https://replicate.com/xinntao/realesrgan: its input says which.
    "xinntao/realesrgan": "auto",
}
"""Our models by the names and versions of published models that have the same weights."""

_PICTURE_FIELDS = ("image", "img")
OWN_FIELDS = (*_PICTURE_FIELDS, "face_enhance", "tile", "version")
"""Fields of an input besides our options."""

_SIZES = ("scale", "width", "height", "long_side", "short_side")

_FAILURES = (RequestError, EngineError, StorageFull)
"""Errors that a prediction reports as failed. All others refuse the request."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Prediction(TypedDict):
    """A finished prediction of Cog."""

    id: str
    model: str
    version: str
    status: Literal["succeeded", "failed"]
    input: dict[str, Any]
    output: FileText | None
    """A data URL."""

    error: str | None
    logs: str
    metrics: dict[str, float]
    created_at: str
    started_at: str
    completed_at: str
    urls: dict[str, str]


class Version(TypedDict):
    """A version of a model, as Replicate has it."""

    id: str
    model: str
    created_at: str
    cog_version: str
    openapi_schema: dict[str, Any]


CogStatus = Literal["READY", "STARTING", "DEFUNCT"]


class HealthCheck(TypedDict):
    """The state of the service, as Cog has it."""

    status: CogStatus
    version: dict[str, str]


class Place(TypedDict):
    """A fault of the input, and its place, as Cog has it."""

    loc: list[str]
    msg: str
    type: str


class CogRefusal(TypedDict):
    """An error as Cog has it: a list of the faults of the input, or a text for every other error."""

    detail: str | list[Place]
    code: str
    request_id: str
    error: NotRequired[str]
    status: NotRequired[Literal["failed"]]


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request for a prediction."""

    job: UpscaleRequest
    id: str | None
    """The id that the request gives the prediction."""

    shown: Mapping[str, Any]
    """The input as the answer repeats it, without pictures that came as data."""


def read(form: Form, catalogue: Catalogue, *, named: str | None = None) -> Request:
    """Read the body of a prediction.

    Args:
        form: the fields of the body.
        catalogue: the installed models.
        named: the model in the path.

    Raises:
        RequestError: a field cannot be used.
    """
    body = form.fields
    for name in ("webhook", "webhook_completed", "output_file_prefix", "stream"):
        if body.get(name):
            raise unsupported(name, "a prediction is answered when it is done, with its output")
    id_ = body.get("id")
    if id_ is not None and not (isinstance(id_, str) and _ID.fullmatch(id_)):
        raise fault_of("id", "range", "it must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    fields = body.get("input")
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        raise fault_of("input", "type", "it must be an object")
    refuse_unknown(fields, (*OWN_FIELDS, *Options.model_fields))
    if fields.get("face_enhance"):
        raise unsupported("face_enhance", "faces are not enhanced here; only false can be had")
    model = _model([named, body.get("version")], fields, catalogue)
    values = {name: value for name, value in fields.items() if name not in OWN_FIELDS}
    if not any(values.get(name) is not None for name in _SIZES):
        values["scale"] = catalogue.default_scale(model, DEFAULT_SCALE)
    options = options_of({**values, "model": model})
    given = [name for name in _PICTURE_FIELDS if fields.get(name)]
    if len(given) != 1:
        raise (
            fault_of("image", "conflict", "it is given more than once")
            if given
            else MissingInput("image is required")
        )
    shown = {
        name: value
        for name, value in fields.items()
        if name not in _PICTURE_FIELDS or str(value).startswith(("http://", "https://"))
    }
    job = UpscaleRequest(source=source_named(fields[given[0]], given[0]), options=options)
    return Request(job, id_, shown)


def _model(named: Sequence[object], fields: Mapping[str, Any], catalogue: Catalogue) -> str:
    """The one model that path, version and input agree on."""
    chosen = {version_named(name, catalogue) for name in named if name}
    for name in ("version", "model"):
        if fields.get(name) is not None:
            chosen.add(model_named(fields[name], catalogue, field=name))
    chosen.discard("auto")
    if len(chosen) > 1:
        raise fault_of("model", "conflict", f"more than one is named: {', '.join(sorted(chosen))}")
    return chosen.pop() if chosen else "auto"


def version_named(name: object, catalogue: Catalogue) -> str:
    """The id of the model that a name with its owner, a version, or both together stand for.

    Raises:
        InvalidOption: it is not a string.
        UnknownModel: no such model is installed, or its weights are not known to be those of an installed one.
    """
    if not isinstance(name, str):
        raise fault_of("version", "type", "it must be a string")
    version = name.partition(":")[2] or name
    hashes = {model.sha256: model.id for model in catalogue}
    id_ = hashes.get(version) or _PUBLISHED.get(version) or version.removeprefix(f"{OWNER}/")
    return model_named(id_, catalogue, field="version")


def check_preferences(prefer: str | None, accept: str | None) -> None:
    """Refuse preferences that cannot be met: predictions are made while the request waits, and answered as JSON.

    Raises:
        InvalidOption: the request prefers an answer before the output exists.
        NotAcceptable: the request accepts a stream of events.
    """
    if re.search(r"(^|[\s,;])respond-async\b", prefer or "", re.IGNORECASE):
        raise unsupported("Prefer", "respond-async is not to be had: leave it out and wait")
    if "text/event-stream" in (accept or ""):
        raise NotAcceptable("there is application/json; predictions are not streamed as events")


def prediction(
    asked: Request,
    *,
    created_at: datetime,
    completed_at: datetime,
    request_id: str,
    outcome: Outcome | None = None,
    output: FileText | None = None,
    error: str | None = None,
) -> Prediction:
    """Return a finished prediction: with an outcome and its output, or with an error."""
    ran = outcome.ran if outcome is not None else None
    notes = outcome.notes if outcome is not None else ()
    return {
        "id": asked.id or request_id,
        "model": f"{OWNER}/{ran.model if ran is not None else asked.job.options.model}",
        "version": ran.model_sha256 if ran is not None else "",
        "status": "failed" if error is not None else "succeeded",
        "input": dict(asked.shown),
        "output": output,
        "error": error,
        "logs": "".join(f"{note.code}: {note.detail}\n" for note in notes),
        "metrics": {"predict_time": round((completed_at - created_at).total_seconds(), 3)},
        "created_at": created_at.isoformat(),
        "started_at": created_at.isoformat(),
        "completed_at": completed_at.isoformat(),
        "urls": {},
    }


def error_body(problem: Problem) -> CogRefusal:
    """Return a problem as Cog writes errors: faults of the input with their place, others as a failed prediction."""
    code, request_id, text = problem["code"], problem["request_id"], problem["detail"]
    if problem["status"] not in (400, 422):
        return {
            "error": text,
            "detail": text,
            "status": "failed",
            "code": code,
            "request_id": request_id,
        }
    whole: Place = {"loc": ["body", "input"], "msg": text, "type": code}
    faults: list[Place] = [
        {"loc": ["body", "input", fault["option"]], "msg": fault["detail"], "type": fault["reason"]}
        for fault in problem.get("errors", ())
    ]
    return {"detail": faults or [whole], "code": code, "request_id": request_id}


def health(reason: str | None) -> CogStatus:
    """Return the status of ``GET /health-check``."""
    if reason is None:
        return "READY"
    return "STARTING" if reason == "starting" else "DEFUNCT"


@dataclass(kw_only=True)
class Cog:
    """The handlers of the routes. Errors under ``/v1`` are problems, as those of Replicate are."""

    upscaler: Upscaler
    reader: RequestReader
    failed: Callable[[EnlargerError], None]
    """Called with the error of a prediction that failed and is answered with 200."""

    reason: Callable[[], str | None]
    """Why the gateway takes no work now, or None."""

    _started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def predict(self, owner: str = "", name: str = "") -> Response:
        """``POST /predictions``, and the two places where Replicate's clients make one."""
        upscaler, created_at = self.upscaler, datetime.now(UTC)
        check_preferences(request.headers.get("Prefer"), request.headers.get("Accept"))
        named = f"{owner}/{name}" if owner else None
        form = await self.reader.json_form()
        asked = await self.reader.read(partial(read, named=named), form)
        show = partial(prediction, asked, created_at=created_at, request_id=g.request_id)
        try:
            outcome = await upscaler.make(asked.job)
            prefix = f"data:{MEDIA_TYPES[outcome.stored.suffix]};base64,"
            output = await upscaler.text_of(outcome.stored, prefix)
        except _FAILURES as error:
            self.failed(error)
            return upscaler.answer(show(completed_at=datetime.now(UTC), error=sentence(error)))
        body = show(completed_at=datetime.now(UTC), outcome=outcome, output=output)
        return upscaler.answer(body, outcome)

    async def version(self, owner: str, name: str, version: str) -> Version:
        """``GET /v1/models/{owner}/{name}/versions/{id}``, which clients ask after a prediction by version."""
        try:
            id_ = version_named(f"{owner}/{name}:{version}", self.upscaler.catalogue)
        except UnknownModel as error:
            raise NotFound("there is no such version") from error
        return {
            "id": version,
            "model": f"{OWNER}/{id_}",
            "created_at": self._started_at.isoformat(),
            "cog_version": "none",
            "openapi_schema": {},
        }

    async def health_check(self) -> HealthCheck:
        """``GET /health-check``: 200 in any state, as Cog answers."""
        return {"status": health(self.reason()), "version": {"enlarger": __version__}}
