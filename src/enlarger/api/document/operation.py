"""The values that describe an operation of the API, and what many operations have in common."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from enlarger import errors
from enlarger.api.compatible import errors as compatible
from enlarger.api.compatible.schemas import Refusal
from enlarger.api.dialects import automatic1111, cog, localai
from enlarger.api.document.schemas import Schema
from enlarger.api.routes import Contract, contract_of, is_open, may_be_signed
from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.api.v1.problems import Problem
from enlarger.errors import EnlargerError
from enlarger.picture.formats import MEDIA_TYPES

Errors = tuple[type[EnlargerError], ...]

REFUSALS: Mapping[Contract, type] = {
    Contract.COMPATIBLE: Refusal,
    Contract.V1: Problem,
    Contract.AUTOMATIC1111: automatic1111.ExtrasRefusal,
    Contract.COG: cog.CogRefusal,
    Contract.OPENAI: localai.OpenAIRefusal,
}
"""The types of the JSON of errors."""


@dataclass(frozen=True)
class Answer:
    """A status of an operation."""

    json: Any = None
    """The type of the JSON; None if the answer has no JSON."""

    text: str = ""
    """The description; by default that of the type."""

    media_types: tuple[str, ...] = field(default=(), kw_only=True)
    """Media types other than JSON."""

    headers: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def description(self) -> str:
        """What the answer is."""
        return self.text or inspect.cleandoc(self.json.__doc__ or "")


@dataclass(frozen=True)
class Body:
    """A media type of a request's body."""

    media_type: str
    schema: Schema
    example: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Operation:
    """A method of a route."""

    tag: str
    route: str
    """Method and rule, the path as Quart writes it."""

    id: str
    """The name of the operation in generated clients."""

    summary: str
    answers: Mapping[int, Answer]
    text: str = field(default="", kw_only=True)
    query: Schema | None = field(default=None, kw_only=True)
    headers: tuple[str, ...] = field(default=(), kw_only=True)
    """Headers of the request that do not follow from the answers."""

    bodies: tuple[Body, ...] = field(default=(), kw_only=True)
    own_errors: Errors = field(default=(), kw_only=True)
    """The errors that do not follow from the other fields."""

    example: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """Values of parameters for a request that can be tried."""

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.route.partition(" ")[0]

    @property
    def rule(self) -> str:
        """The path as Quart writes it."""
        return self.route.partition(" ")[2]

    @property
    def path(self) -> str:
        """The path as OpenAPI writes it."""
        return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", self.rule)

    @property
    def refusal(self) -> type:
        """The type of the JSON of errors."""
        return REFUSALS[contract_of(self.rule)]

    def status_of(self, error: type[EnlargerError]) -> int:
        """Return the status of an error."""
        # A path that leads nowhere is 404 everywhere: on the compatible routes HTTP itself says so.
        is_theirs = self.refusal is Refusal and error is not errors.NotFound
        return compatible.status_of(error) if is_theirs else error.status

    @property
    def sent_headers(self) -> tuple[str, ...]:
        """All headers of the request."""
        shared = ("Last-Event-ID",) if self.answers is EVENTS else ()
        return (*self.headers, *(("Range", "If-None-Match") if 206 in self.answers else shared))

    @property
    def errors(self) -> Errors:
        """All errors of the operation."""
        kinds = [body.media_type for body in self.bodies]
        return (
            EnlargerError,
            *(() if is_open(self.rule) else (errors.Unauthorized,)),
            *(LINKS if self.method == "GET" and may_be_signed(self.rule) else ()),
            *(SENT if self.method == "POST" else ()),
            *(READ if "application/json" in kinds else ()),
            *((errors.MalformedMultipart,) if "multipart/form-data" in kinds else ()),
            *(STORED if self.tag == "jobs" else ()),
            # The model in the path of a prediction is an option like others.
            *((errors.NotFound,) if "<" in self.rule and self.method != "POST" else ()),
            *self.own_errors,
        )


def ok(json: Any, text: str = "", *, headers: tuple[str, ...] = ()) -> dict[int, Answer]:
    """Return the answers of an operation that answers with JSON, and only with 200 if it succeeds."""
    return {200: Answer(json, text, headers=headers)}


def sent_as(media_type: str, text: str) -> dict[int, Answer]:
    """Return the answers of an operation that answers with something other than JSON."""
    return {200: Answer(text=text, media_types=(media_type,))}


def probe(json: Any) -> dict[int, Answer]:
    """Return the answers of an operation that says yes or no."""
    return {200: Answer(json, "Yes."), 503: Answer(json, "No; `reason` says why.")}


def ranged(whole: Answer) -> dict[int, Answer]:
    """Return the answers of a route that serves a file, whole or in part."""
    headers = (*whole.headers, "Content-Range")
    return {
        200: whole,
        206: replace(whole, text="A part of the file.", json=None, headers=headers),
        304: Answer(text="The client has the file already.", headers=whole.headers),
        416: replace(whole, text="The file has no such part.", json=None, headers=headers),
    }


EVENTS = {
    **sent_as("text/event-stream", "The events."),
    204: Answer(text="The client has seen the last event."),
}
"""The answers of a stream of events."""

TAGS = {
    "pictures": "Upscale a picture now.",
    "jobs": "Upscale pictures in the background.",
    "facts": "Models, estimates, errors.",
    "compatible": "`/upscale` and what belongs to it: every fault of the caller is a 400.",
    "operations": "Routes for operators.",
    "dialects": "The APIs of AUTOMATIC1111, Cog, Replicate and LocalAI.",
}

_TEXTS = {
    "Accept": "A media type of pictures, which selects the format; `application/octet-stream` for the same bytes in any format; "
    "or `application/json`. Without this header the response is the picture.",
    "Prefer": "`respond-async`: 202 with a job at once. `wait=N`: 202 with a job after N seconds (RFC 7240).",
    "Idempotency-Key": "A request with the same key and the same contents gets the first response again.",
    "Last-Event-ID": "The last event that the client has seen; the stream continues after it.",
    "Range": "A part of the bytes (RFC 9110).",
    "If-None-Match": "304 if the file has this `ETag`.",
    "X-Request-Id": "The id of the request, or a new one; it is in the log.",
    "Location": "The URL of the job or batch.",
    "Retry-After": "Seconds after which to ask again.",
    "WWW-Authenticate": "How to send an API key.",
    "Preference-Applied": "The parts of `Prefer` that were honoured.",
    "Idempotency-Replayed": "`true` if this is the response to an earlier request.",
    "ETag": '`"sha256-<hex>"` of the bytes.',
    "Content-Range": "Which part of the file it is, and the size of the file in bytes.",
    "Accept-Ranges": "`bytes`.",
    "Expires": "When the file will be deleted.",
    "Server-Timing": "Milliseconds by stage.",
    "RateLimit": "What is left of the caller's limit, if there is one.",
    "RateLimit-Policy": "The caller's limit, in output megapixels.",
    **{
        name: f"A fact of the picture, as `{name.lower().partition('-')[2]}`."
        for name in FIDELITY_HEADERS
    },
}
_SCHEMAS: dict[str, Schema] = {
    "Idempotency-Key": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "Retry-After": {"type": "integer"},
}
HEADERS: dict[str, Schema] = {
    name: {"schema": _SCHEMAS.get(name, {"type": "string"}), "description": text}
    for name, text in _TEXTS.items()
}
"""The headers of requests and answers that this service defines or restricts."""

PICTURE_TYPES = tuple(dict.fromkeys(MEDIA_TYPES.values()))

RATES = ("RateLimit", "RateLimit-Policy")

FILE_HEADERS = ("ETag", "Accept-Ranges")

LINKS: Errors = (errors.SignatureInvalid, errors.SignatureExpired)
SENT: Errors = (
    *(errors.BodyTooLarge, errors.BodyTooSlow),
    *(errors.MalformedEncoding, errors.UnsupportedEncoding),
)
READ: Errors = (errors.MissingBody, errors.MalformedJson)
WORK: Errors = (
    *(errors.MissingInput, errors.InvalidOption, errors.UnknownModel, errors.InvalidUrl),
    *(errors.FileTooLarge, errors.ImageTooLarge, errors.OutputTooLarge),
    *(errors.UnsupportedFormat, errors.UnreadableImage, errors.AnimationUnsupported),
    *(errors.SourceUnreachable, errors.SourceTimeout, errors.SourceRefused, errors.SourceFailed),
    *(errors.NoEngineReady, errors.QueueFull, errors.RateLimited, errors.Draining),
    *(errors.OutOfMemory, errors.OpenFilesExhausted, errors.DeadlineExceeded),
    *(errors.EngineFailed, errors.WrongOutput),
    *(errors.EngineLost, errors.DeviceLost, errors.StorageFull),
)
"""The errors of upscaling a picture."""

STORED: Errors = (errors.StorageUnavailable,)
RESULT: Errors = (errors.JobNotFinished, errors.JobWithoutResult, errors.ResultExpired)
