"""The OpenAPI 3.1 document, made of ``OPERATIONS`` and of the types of their answers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from enlarger import __version__
from enlarger.api.document.operation import HEADERS, RATES, REFUSALS, TAGS, Answer, Operation
from enlarger.api.document.operations import OPERATIONS
from enlarger.api.document.schemas import Document, Schema, schemas_of
from enlarger.api.downloads import OCTETS
from enlarger.api.routes import is_charged, is_open
from enlarger.api.v1.problems import MEDIA_TYPE, Problem
from enlarger.api.v1.schemas import Advance, BatchItem, ShownTile
from enlarger.errors import EnlargerError, ListNeedsKeys

_ABOUT = """\
Pictures in, larger pictures out: Real-ESRGAN models on your own machines.

Every response has `X-Request-Id`. Fields may be added to responses, and are never removed. `HEAD` is answered wherever `GET` is. If the
operator set API keys, send one as `Authorization: Bearer <key>` or as `X-API-Key: <key>`."""

_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}, {}]
"""Either of the two, or none: the operator decides whether keys are needed."""

_EVENTS = (Advance, ShownTile, BatchItem)
"""The types that only streams of events have."""

EXAMPLE_URL = "http://localhost:8000"
"""The service in examples, unless it has a public URL."""


def document(*, public_url: str | None = None) -> Document:
    """Return the document.

    Args:
        public_url: where clients reach the service, possibly below a path; None if they do where they read the document.
    """
    base_url = (public_url or EXAMPLE_URL).rstrip("/")
    operations = OPERATIONS.values()
    answers = [answer for one in operations for answer in one.answers.values()]
    types = [*(one.json for one in answers), *REFUSALS.values(), *_EVENTS]
    schemas, named = schemas_of({id(one): one for one in types if one is not None}.values())
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas, base_url)
    made: Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "enlarger",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**named, "ErrorCode": _error_code()}.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "name": "X-API-Key", "in": "header"},
            },
        },
    }
    if public_url is not None:
        made["servers"] = [{"url": base_url}]
    # Docstrings have two backticks, where Markdown has one.
    tidied: Document = json.loads(json.dumps(made).replace("``", "`"))
    return tidied


def _operation(operation: Operation, schemas: dict[int, Schema], base_url: str) -> Schema:
    rates = RATES if is_charged(operation.rule) else ()
    answers = {
        str(status): _answer(answer, schemas, rates) for status, answer in operation.answers.items()
    }
    made: Schema = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation),
        # An answer and errors may have the same status: then the answer describes both.
        "responses": {**_errors(operation, schemas), **answers},
        "security": [] if is_open(operation.rule) else _SECURITY,
        "x-codeSamples": [{"lang": "Shell", "source": curl(operation, base_url)}],
    }
    if operation.text:
        made["description"] = operation.text
    if operation.bodies:
        content = {
            body.media_type: {"schema": body.schema}
            | ({} if body.example is None else {"example": body.example})
            for body in operation.bodies
        }
        made["requestBody"] = {"content": content, "required": True}
    return made


def _parameters(operation: Operation) -> list[Schema]:
    made: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if kind == "int:" else "string"},
        }
        for kind, name in re.findall(r"<(\w+:)?(\w+)>", operation.rule)
    ]
    query = operation.query or {"properties": {}}
    for name, schema in query["properties"].items():
        rest = dict(schema)
        made.append(
            {
                "name": name,
                "in": "query",
                "required": name in query.get("required", ()),
                "description": rest.pop("description", ""),
                "schema": rest,
            }
        )
    made += [{"name": name, "in": "header", **HEADERS[name]} for name in operation.sent_headers]
    for parameter in made:
        if parameter["name"] in operation.example:
            parameter["example"] = operation.example[parameter["name"]]
    return made


def _answer(answer: Answer, schemas: dict[int, Schema], rates: Iterable[str]) -> Schema:
    content = {name: {"schema": _content(name)} for name in answer.media_types}
    if any(name.startswith(("image/", "application/")) for name in answer.media_types):
        content[OCTETS] = {"schema": _content(OCTETS)}
    if answer.json is not None:
        content["application/json"] = {"schema": schemas[id(answer.json)]}
    made = {"description": answer.description, "headers": _headers((*answer.headers, *rates))}
    return {**made, "content": content} if content else made


def _content(media_type: str) -> Schema:
    """Return the schema of an answer other than JSON."""
    if media_type == "text/event-stream":
        return {}  # some read a schema as that of each event
    # Most generators read bytes only from an answer that has this format.
    return {"type": "string"} | ({} if media_type.startswith("text/") else {"format": "binary"})


def _headers(names: Iterable[str]) -> Schema:
    return {name: HEADERS[name] for name in ("X-Request-Id", *names)}


def _errors(operation: Operation, schemas: dict[int, Schema]) -> dict[str, Schema]:
    """Return the answers with errors: for each status the codes that it may have."""
    media_type = MEDIA_TYPE if operation.refusal is Problem else "application/json"
    by_status: dict[int, dict[str, type[EnlargerError]]] = {}
    for error in operation.errors:
        by_status.setdefault(operation.status_of(error), {}).setdefault(error.code, error)
    names = {401: ("WWW-Authenticate",), 429: ("Retry-After", *RATES), 503: ("Retry-After",)}
    return {
        str(status): {
            "description": "\n".join(f"- `{code}`: {_told(cls)}" for code, cls in found.items()),
            "headers": _headers(names.get(status, ())),
            "content": {media_type: {"schema": schemas[id(operation.refusal)]}},
            "x-codes": list(found),
        }
        for status, found in by_status.items()
    }


def _error_code() -> Schema:
    """Return the schema of all codes that an operation may answer with, and their meanings."""
    codes = {error.code: error for one in OPERATIONS.values() for error in one.errors}
    codes = dict(sorted(codes.items()))
    texts = (f"- `{code}` ({error.status}): {_told(error)}" for code, error in codes.items())
    return {"type": "string", "enum": list(codes), "description": "\n".join(texts)}


def _told(error: type[EnlargerError]) -> str:
    """Return the meaning of an error, in a line."""
    if error is EnlargerError:
        return "A fault of the service; its log has the cause."
    return " ".join((error.__doc__ or "").split())


_SAVED = {"image/png": "enlarged.png", "image/jpeg": "tile.jpg", "application/zip": "results.zip"}
"""Files for answers that a terminal cannot show, by their usual media type."""


def curl(operation: Operation, base_url: str) -> str:
    """Return a command that makes the request."""
    path, example = operation.path, dict(operation.example)
    for name in [name for name in example if f"{{{name}}}" in path]:
        path = path.replace(f"{{{name}}}", str(example.pop(name)))
    sends_file = len(operation.bodies) > 2
    query = {**example, **({"scale": 4} if sends_file else {})}
    words = ["curl"]
    if operation.method == "DELETE":
        words += ["-X", "DELETE"]
    if sends_file:
        words += ["--data-binary", "@cat.png"]
    elif operation.bodies:
        first = operation.bodies[0]
        words += ["-H", f"Content-Type: {first.media_type}", "-d", json.dumps(first.example)]
    elif operation.method == "POST":
        words += ["-X", "POST"]
    made = operation.answers.get(200)
    saved = _SAVED.get(made.media_types[0]) if made and made.media_types else None
    words += ["-o", saved] if saved else []
    command = shlex.join(
        [*words, f"{base_url}{path}" + (f"?{urlencode(query, safe='{}')}" if query else "")]
    )
    # In double quotes, so that the shell inserts the key.
    needs_key = ListNeedsKeys in operation.errors
    return f'{command} -H "Authorization: Bearer $ENLARGER_API_KEY"' if needs_key else command
