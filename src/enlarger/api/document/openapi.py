"""The OpenAPI 3.1 document: quart-schema walks the routes, and each is described by its ``Operation``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import pydantic
from quart import Quart
from quart_schema import APIKeySecurityScheme, HttpSecurityScheme, Info, QuartSchema, Tag
from quart_schema.openapi import OpenAPIProvider
from werkzeug.routing import Rule

from enlarger import __version__
from enlarger.api.callers import is_open
from enlarger.api.document import batches, dialects, jobs, pictures, schema, service
from enlarger.api.document.operations import (
    ELSEWHERE,
    HEADERS,
    RATES,
    TAGS,
    Answer,
    Body,
    Operation,
    Schema,
)
from enlarger.api.downloads import OCTETS
from enlarger.errors import EnlargerError, ListNeedsKeys, all_codes

Document = dict[str, Any]

OPERATIONS = {
    (operation.method, operation.rule): operation
    for part in (pictures, jobs, batches, service, dialects)
    for operation in part.OPERATIONS
}
"""All that is documented, by method and rule."""

HIDDEN: Mapping[tuple[str, str], str] = {
    ("GET", "/"): "the page for people",
    ("GET", "/page/<version>/<path:name>"): "what that page loads",
    ("GET", "/docs/<name>"): "what the page loads",
    ("GET", "/static/<path:filename>"): "Quart's own, and there are no such files",
}
"""All that is not, and why."""

ABOUT = """\
Pictures in, larger pictures out: Real-ESRGAN models on your own machines.

Every answer has `X-Request-Id`. Fields may be added to answers, and are never removed. `HEAD` is answered wherever `GET` is. Where the
operator set keys, send one as `Authorization: Bearer <key>` or as `X-API-Key: <key>`."""

_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}, {}]
"""One of the two; or none, since it is the operator who decides whether keys are needed."""


EXAMPLE_URL = "http://localhost:8000"
"""Where examples find the service, if nobody said where others see it."""


def document(app: Quart, *, public_url: str | None = None) -> Document:
    """The document of an application's routes.

    Args:
        app: the application.
        public_url: where others see it, also below a path; None: where they have the document from.
    """
    # Not installed in the application: there it would read and convert what our handlers do themselves.
    app.config["QUART_SCHEMA_CONVERSION_PREFERENCE"] = "pydantic"
    app.config["QUART_SCHEMA_CONVERT_CASING"] = False
    facts = QuartSchema(
        info=Info(title="enlarger", version=__version__, description=ABOUT),
        tags=[Tag(name=name, description=text) for name, text in TAGS.items()],
        security_schemes={
            "bearer": HttpSecurityScheme(scheme="bearer"),
            "apiKey": APIKeySecurityScheme(name="X-API-Key", in_="header"),
        },
    )
    provider = _Provider(app, facts, (public_url or EXAMPLE_URL).rstrip("/"))
    made = provider.schema()
    if public_url is not None:
        made["servers"] = [{"url": public_url.rstrip("/")}]
    # quart-schema leaves its own License as an object, which is no JSON.
    made["info"]["license"] = {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"}
    for model in (schema.Advance, schema.ShownTile, schema.BatchItem):  # of events, so of no answer
        provider.named(model, made["components"]["schemas"])
    made["components"]["schemas"]["ErrorCode"] = _error_code()
    tidied: Document = json.loads(json.dumps(_tidy(made)))  # statuses are texts in JSON
    return tidied


class _Provider(OpenAPIProvider):
    """Where a route has an ``Operation``, that is what is said of it."""

    def __init__(self, app: Quart, facts: QuartSchema, base_url: str) -> None:
        super().__init__(app, facts)
        self._base_url = base_url

    def generate_rules(self) -> Iterable[Rule]:
        """In the order of the tables."""
        order = {rule: number for number, (_, rule) in enumerate(OPERATIONS)}
        found = [rule for rule in super().generate_rules() if rule.rule in order]
        return sorted(found, key=lambda rule: order[rule.rule])

    def build_paths(self, rule: Rule) -> tuple[Document, Document]:
        """The methods of a rule, and the schemas that they mention."""
        path = _path(rule.rule)
        components: Document = {}
        methods: Document = {}
        for method in sorted(self.generate_methods(rule)):
            operation = OPERATIONS.get((method, rule.rule))
            if operation is not None:
                inside = [
                    self.build_path_parameter(name, converter)
                    for name, converter in rule._converters.items()
                ]
                methods[method.lower()] = self._operation(operation, path, inside, components)
        return {path: methods}, components

    def _operation(
        self, operation: Operation, path: str, inside: list[Document], components: Document
    ) -> Document:
        query = _query(operation.query)
        headers = [
            {
                "name": name,
                "in": "header",
                "schema": HEADERS[name][0],
                "description": HEADERS[name][1],
            }
            for name in operation.headers
        ]
        parameters = [*inside, *query, *headers]
        for parameter in parameters:
            if parameter["name"] in operation.example:
                parameter["example"] = operation.example[parameter["name"]]
        made: Document = {
            "operationId": operation.id,
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": parameters,
            "responses": {
                **{
                    status: self._answer(answer, components)
                    for status, answer in operation.answers.items()
                },
                **self._errors(operation, components),
            },
            "x-codeSamples": [{"lang": "Shell", "source": curl(operation, path, self._base_url)}],
        }
        if operation.text:
            made["description"] = operation.text
        if operation.bodies:
            content = {body.media_type: _body(body) for body in operation.bodies}
            made["requestBody"] = {"content": content, "required": True}
        made["security"] = [] if is_open(path) else _SECURITY
        return made

    def named(self, model: type[pydantic.BaseModel], components: Document) -> Schema:
        """A reference to a model among the components, where it is then."""
        answer, definitions = self.build_response_object(model, None)
        components.update(definitions)
        components[_name(model)] = answer["content"]["application/json"]["schema"]
        return {"$ref": f"#/components/schemas/{_name(model)}"}

    def _answer(self, answer: Answer, components: Document) -> Document:
        made: Document = {"description": answer.text, "headers": _headers(answer.headers)}
        content: Document = {name: {"schema": _content(name)} for name in answer.media_types}
        if any(media["schema"] is _FILE for media in content.values()):
            content[OCTETS] = {"schema": _FILE}
        if answer.model is not None:
            content["application/json"] = {"schema": self.named(answer.model, components)}
        return {**made, "content": content} if content else made

    def _errors(self, operation: Operation, components: Document) -> dict[int, Any]:
        """Of each status the codes that it may have. Where an answer has the same status, it has them as well."""
        words = operation.words
        by_status: dict[int, dict[str, type[EnlargerError]]] = {}
        for error in operation.errors:
            by_status.setdefault(words.status(error), {}).setdefault(error.code, error)
        made: dict[int, Any] = {}
        for status, found in sorted(by_status.items()):
            if status in operation.answers:
                continue
            names = {
                401: ("WWW-Authenticate",),
                429: ("Retry-After", *RATES),
                503: ("Retry-After",),
            }
            made[status] = {
                "description": "\n".join(f"- `{code}`: {told(cls)}" for code, cls in found.items()),
                "headers": _headers(names.get(status, ())),
                "content": {words.media_type: {"schema": self.named(words.model, components)}},
                "x-codes": list(found),
            }
        return made


_TEXT: Schema = {"type": "string"}
_FILE: Schema = {"type": "string", "format": "binary"}
"""As generators know it: to most of them an answer without a schema has no body."""


def _content(media_type: str) -> Schema:
    """The schema of an answer that is no JSON."""
    if media_type == "text/event-stream":
        return {}  # some read a schema as that of each event
    return _TEXT if media_type.startswith("text/") else _FILE


def curl(operation: Operation, path: str, base_url: str) -> str:
    """A command that makes the request."""
    example = dict(operation.example)
    for name in [name for name in example if f"{{{name}}}" in path]:
        path = path.replace(f"{{{name}}}", str(example.pop(name)))
    query = {**example, **({"scale": 4} if len(operation.bodies) > 2 else {})}
    url = f"{base_url}{path}" + (f"?{urlencode(query)}" if query else "")
    words = ["curl"]
    if operation.method == "DELETE":
        words += ["-X", operation.method]
    first = operation.bodies[0] if operation.bodies else None
    if len(operation.bodies) > 2:
        words += ["--data-binary", "@cat.png"]
    elif first is not None:
        words += ["-H", f"Content-Type: {first.media_type}", "-d", json.dumps(first.example)]
    elif operation.method == "POST":
        words += ["-X", "POST"]
    made = operation.answers.get(200)
    saved = _SAVED.get(made.media_types[0]) if made and made.media_types else None
    words += ["-o", saved] if saved else []
    command = shlex.join([*words, url])
    # In double quotes, so that the shell puts the key in.
    needs_key = ListNeedsKeys in operation.errors
    return f'{command} -H "Authorization: Bearer $ENLARGER_API_KEY"' if needs_key else command


_SAVED = {"image/png": "enlarged.png", "image/jpeg": "tile.jpg", "application/zip": "results.zip"}
"""Files for answers that a terminal cannot show, by their usual type."""


def told(error: type[EnlargerError]) -> str:
    """What an error means, in a line."""
    if error is EnlargerError:
        return "A fault of the service; its log has it."
    return " ".join((error.__doc__ or "").split())


def _path(rule: str) -> str:
    """As OpenAPI has it."""
    parts = (
        f"{{{part.strip('<>').rpartition(':')[2]}}}" if part.startswith("<") else part
        for part in rule.split("/")
    )
    return "/".join(parts)


def _query(wanted: Schema | None) -> list[Document]:
    if wanted is None:
        return []
    required = wanted.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": value.get("description", ""),
            "schema": {key: part for key, part in value.items() if key != "description"},
        }
        for name, value in wanted["properties"].items()
    ]


def _headers(names: Iterable[str]) -> Document:
    return {
        name: {"schema": HEADERS[name][0], "description": HEADERS[name][1]}
        for name in ("X-Request-Id", *names)
    }


def _body(body: Body) -> Document:
    made: Document = {"schema": body.schema}
    return made if body.example is None else {**made, "example": body.example}


def _name(model: type[pydantic.BaseModel]) -> str:
    return "Upscalers" if model is schema.Upscalers else model.__name__


def _error_code() -> Schema:
    """All codes, in one place."""
    codes = {code: error for code, error in sorted(all_codes().items()) if code not in ELSEWHERE}
    return {
        "type": "string",
        "enum": list(codes),
        "description": "\n".join(
            f"- `{code}` ({error.status}): {told(error)}" for code, error in codes.items()
        ),
    }


def _tidy(value: Any) -> Any:
    """Without what pydantic makes of names, and with text as Markdown has it."""
    if isinstance(value, dict):
        return {
            key: _tidy(part)
            for key, part in value.items()
            if not (key == "title" and isinstance(part, str) and "version" not in value)
        }
    if isinstance(value, (list, tuple)):
        return [_tidy(part) for part in value]
    return value.replace("``", "`") if isinstance(value, str) else value
