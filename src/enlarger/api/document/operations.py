"""What is documented of a route: values of which the document is made, and what many routes have in common."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import pydantic

from enlarger import errors
from enlarger.api.compatible.errors import status_of
from enlarger.api.document import schema
from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.api.v1.problems import MEDIA_TYPE as PROBLEM
from enlarger.errors import EnlargerError
from enlarger.options import Options
from enlarger.picture.encode import MEDIA_TYPES

Schema = dict[str, Any]
"""A JSON Schema, as OpenAPI 3.1 has it."""

Errors = tuple[type[EnlargerError], ...]

EXAMPLE_B64 = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAAGklEQVR42mM8EaDBAANMDAwMPhpbIBxGZBkAVa8DrZ/mB7YAAAAASUVORK5CYII="
"""A picture of 4 x 3 pixels, so that examples can be tried anywhere."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """How errors read in a part of the API."""

    media_type: str = "application/json"
    model: type[pydantic.BaseModel]
    is_compatible: bool = False
    """Whether statuses are those of the compatible routes."""

    def status(self, error: type[EnlargerError]) -> int:
        """That of an error's answer."""
        # What is not there is 404 everywhere: on the compatible routes HTTP itself says so.
        is_theirs = self.is_compatible and error is not errors.NotFound
        return status_of(error) if is_theirs else error.status


V1 = Words(media_type=PROBLEM, model=schema.Problem)
COMPATIBLE = Words(model=schema.Refusal, is_compatible=True)
AUTOMATIC1111 = Words(model=schema.ExtrasRefusal)
COG = Words(model=schema.CogRefusal)
OPENAI = Words(model=schema.OpenAIRefusal)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One status of a route."""

    text: str
    model: type[pydantic.BaseModel] | None = None
    """Of JSON; None where there is no JSON."""

    media_types: tuple[str, ...] = ()
    """Of answers that are no JSON."""

    headers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Body:
    """One form of a request's body."""

    media_type: str
    schema: Schema
    example: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A method of a route."""

    method: Literal["GET", "POST", "DELETE"]
    rule: str
    """As Quart has it."""

    id: str
    """A name for programs that are made of the document."""

    tag: str
    summary: str
    text: str = ""
    query: Schema | None = None
    headers: tuple[str, ...] = ()
    """Of a request; ``HEADERS`` has their texts."""

    bodies: tuple[Body, ...] = ()
    answers: Mapping[int, Answer]
    words: Words = V1
    errors: Errors = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    """Values of parameters that make a request one can try."""


TAGS = {
    "pictures": "Enlarge a picture now.",
    "jobs": "The same without waiting.",
    "facts": "Models, estimates, errors.",
    "compatible": "`/upscale` and what belongs to it: every fault of the caller is a 400.",
    "operations": "For those who run the service.",
    "dialects": "The same in the words of AUTOMATIC1111, Cog, Replicate and LocalAI.",
}

HEADERS: dict[str, tuple[Schema, str]] = {
    "Accept": (
        {"type": "string"},
        "A type of picture, which then is the format, `application/octet-stream` for the same bytes whatever their format "
        "is, or `application/json`. Without it: the picture.",
    ),
    "Prefer": (
        {"type": "string"},
        "`respond-async`: 202 with a job at once. `wait=N`: after N seconds (RFC 7240).",
    ),
    "Idempotency-Key": (
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "The same key with the same request gets the first answer again.",
    ),
    "Last-Event-ID": (
        {"type": "string"},
        "The last event that was seen: the stream goes on after it.",
    ),
    "Range": ({"type": "string"}, "A part of the bytes (RFC 9110)."),
    "If-None-Match": ({"type": "string"}, "304 if the file has this `ETag`."),
    "X-Request-Id": ({"type": "string"}, "The request's own, or a new one; the log has it."),
    "Location": ({"type": "string"}, "Where the job is."),
    "Retry-After": ({"type": "integer"}, "Seconds after which to ask again."),
    "WWW-Authenticate": ({"type": "string"}, "How to show a key."),
    "Preference-Applied": ({"type": "string"}, "What of `Prefer` was met."),
    "Idempotency-Replayed": (
        {"type": "string"},
        "`true` if it is the answer to an earlier request.",
    ),
    "ETag": ({"type": "string"}, '`"sha256-<hex>"` of the bytes.'),
    "Content-Range": ({"type": "string"}, "Which part it is, and of how many bytes."),
    "Accept-Ranges": ({"type": "string"}, "`bytes`."),
    "Expires": ({"type": "string"}, "When the file goes."),
    "Server-Timing": ({"type": "string"}, "Milliseconds by stage."),
    "RateLimit": ({"type": "string"}, "What is left, where there is a limit."),
    "RateLimit-Policy": ({"type": "string"}, "The limit, in output megapixels."),
    **{
        name: ({"type": "string"}, f"A fact of the picture, as `{name.lower().partition('-')[2]}`.")
        for name in FIDELITY_HEADERS
    },
}
"""All headers of requests and answers that are ours to explain."""

PICTURE_TYPES = tuple(dict.fromkeys(MEDIA_TYPES.values()))

RATES = ("RateLimit", "RateLimit-Policy")

# Errors


EVERYWHERE: Errors = (EnlargerError,)
KEYS: Errors = (errors.Unauthorized,)
LINKS: Errors = (errors.SignatureInvalid, errors.SignatureExpired)
SENT: Errors = (
    errors.BodyTooLarge,
    errors.BodyTooSlow,
    errors.MalformedEncoding,
    errors.UnsupportedEncoding,
)
READ: Errors = (errors.MissingBody, errors.MalformedJson)
FORM: Errors = (*READ, errors.MalformedMultipart)
PICTURE: Errors = (
    errors.MissingInput,
    errors.InvalidOption,
    errors.UnknownModel,
    errors.InvalidUrl,
    errors.FileTooLarge,
    errors.ImageTooLarge,
    errors.OutputTooLarge,
    errors.UnsupportedFormat,
    errors.UnreadableImage,
    errors.AnimationUnsupported,
    errors.SourceUnreachable,
    errors.SourceTimeout,
    errors.SourceRefused,
    errors.SourceFailed,
)
CAPACITY: Errors = (
    errors.NoEngineReady,
    errors.QueueFull,
    errors.RateLimited,
    errors.Draining,
    errors.OutOfMemory,
    errors.DeadlineExceeded,
)
ENGINE: Errors = (errors.EngineFailed, errors.WrongOutput, errors.EngineLost, errors.StorageFull)
WORK: Errors = (*PICTURE, *CAPACITY, *ENGINE)
STORED: Errors = (errors.StorageUnavailable,)
RESULT: Errors = (errors.JobNotFinished, errors.JobWithoutResult, errors.ResultExpired)

ELSEWHERE = {
    "config_error": "at the start, before anybody can ask",
    "weights_error": "at the start, before anybody can ask",
    "unwritable_file": "in the shell",
    **dict.fromkeys(
        ("bad_tile", "model_not_here", "tile_too_large", "busy", "starting"),
        "between gateway and model servers",
    ),
    **dict.fromkeys(
        ("server_unreachable", "timed_out", "unexpected_answer"), "in the Python client"
    ),
    **dict.fromkeys(
        ("invalid_request", "no_capacity", "engine_error", "client_error"),
        "of classes that are never raised themselves",
    ),
}
"""Codes that no caller of this API meets, and where they are met."""


# Requests


def options(without: tuple[str, ...] = (), **more: Schema) -> Schema:
    """An object with the options of pictures, but for some, and with further properties. Nothing else is in it."""
    properties = {
        name: copy.deepcopy(value) for name, value in _options().items() if name not in without
    }
    return {
        "type": "object",
        "properties": {**more, **properties},
        "additionalProperties": False,
    }


@functools.cache
def _options() -> dict[str, Schema]:
    """All options, each with the text that stands under it in its class.

    Read here, not by pydantic as it makes the class: that takes as long as all the rest of it, and the shell has to wait.
    """
    properties: dict[str, Schema] = Options.model_json_schema()["properties"]
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(Options))).body
    assert isinstance(made, ast.ClassDef)  # noqa: S101 - for the type checker
    for attribute, below in pairwise(made.body):
        match attribute, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                properties[name]["description"] = inspect.cleandoc(text)
    return properties


def without_null(value: Schema) -> Schema:
    """Options of a query or a form: there is no null in texts."""
    kinds = [kind for kind in value.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        return value
    shared = {name: part for name, part in value.items() if name not in ("anyOf", "default")}
    return {**shared, **kinds[0]} if len(kinds) == 1 else {**shared, "anyOf": kinds}


def as_texts(wanted: Schema) -> Schema:
    """The same object where all values are texts."""
    properties = {name: without_null(value) for name, value in wanted["properties"].items()}
    # Lists are written with commas: a list that a client repeats a name for is refused.
    for name in {"region", "models"} & set(properties):
        shown = properties[name]
        (text,) = (kind for kind in shown["anyOf"] if kind["type"] == "string")
        properties[name] = {"description": shown["description"], **text}
    return {**wanted, "properties": properties}


def without_defaults(wanted: Schema) -> Schema:
    """The same object where what is not given is taken from somewhere else: clients that send defaults would hide that."""
    properties = {
        name: {key: part for key, part in value.items() if key != "default"}
        for name, value in wanted["properties"].items()
    }
    return {**wanted, "properties": properties}


URL: Schema = {
    "type": "string",
    "description": "`http://` or `https://` URL of the picture, or `data:image/<type>;base64,<data>`.",
}
B64: Schema = {"type": "string", "description": "Base64 of the file, instead of `img_url`."}
BYTES: Schema = {"type": "string", "format": "binary", "description": "The file."}


WEBHOOK: Schema = {
    "type": "string",
    "description": "URL that is told when the job has ended; of jobs alone, and where the operator set a secret.",
}


def inline(default: bool) -> Schema:
    """The field that is no option of the picture."""
    return {
        "type": "boolean",
        "default": default,
        "description": "Whether JSON carries the file as `base64`.",
    }
