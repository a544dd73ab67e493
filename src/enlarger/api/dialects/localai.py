"""The dialect of LocalAI, whose answers are those of OpenAI's image routes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, NotRequired

from quart import Response, g
from typing_extensions import TypedDict

from enlarger.api.dialects.dialect import (
    fault_of,
    options_of,
    refuse_unknown,
    source_named,
)
from enlarger.api.dialects.model_names import model_named
from enlarger.api.facts import absolute
from enlarger.api.streaming import FileText
from enlarger.api.upscaling import Upscaler
from enlarger.api.v1.problems import Problem
from enlarger.api.v1.reader import RequestReader
from enlarger.api.v1.requests import Form
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.request import BytesSource, Source, UpscaleRequest

Carrier = Literal["url", "b64_json"]


class MadeImage(TypedDict):
    """A picture, in the way that ``response_format`` selects."""

    url: NotRequired[str]
    b64_json: NotRequired[FileText]


class MadeImages(TypedDict):
    """The response of OpenAI's image routes."""

    id: str
    created: int
    model: str
    data: list[MadeImage]


class MadeNot(TypedDict):
    """The contents of an error of OpenAI."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class OpenAIRefusal(TypedDict):
    """An error as OpenAI has it."""

    error: MadeNot
    request_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request."""

    job: UpscaleRequest
    carrier: Carrier
    """Whether the answer has a URL or the file itself."""


def read(form: Form, catalogue: Catalogue) -> Request:
    """Read the fields of a request.

    Raises:
        RequestError: a field cannot be used.
    """
    fields = dict(form.fields)
    refuse_unknown(fields, ("image", "response_format", *Options.model_fields))
    # The default of JSON and the default of forms are those of the services that introduced them.
    carrier = fields.pop("response_format", "b64_json" if form.strict else "url")
    if carrier not in ("url", "b64_json"):
        raise fault_of("response_format", "range", "it must be url or b64_json")
    image = fields.pop("image", None)
    fields["model"] = model_named(fields.get("model", "auto"), catalogue, field="model")
    options = options_of(fields, strict=form.strict)
    if form.data and image is not None:
        raise fault_of("image", "conflict", "it is given more than once")
    source = _in_form(form.data) if form.data else source_named(image, "image")
    return Request(UpscaleRequest(source=source, options=options), carrier)


def _in_form(data: bytes) -> Source:
    """The picture in the part of a form: a file, or text that names it. No picture file is ASCII without NUL."""
    is_text = data.isascii() and b"\0" not in data
    return source_named(data.decode("ascii"), "image") if is_text else BytesSource(data)


def answer(picture: MadeImage, *, model: str, created_s: float, request_id: str) -> MadeImages:
    """Return the JSON of a finished request, with its one picture."""
    return {"id": request_id, "created": int(created_s), "model": model, "data": [picture]}


def error_body(problem: Problem) -> OpenAIRefusal:
    """Return a problem as OpenAI writes errors."""
    faults = problem.get("errors")
    return {
        "error": {
            "message": problem["detail"],
            "type": "invalid_request_error" if problem["status"] < 500 else "server_error",
            "param": faults[0]["option"] if faults else None,
            "code": problem["code"],
        },
        "request_id": problem["request_id"],
    }


@dataclass(frozen=True, kw_only=True)
class LocalAI:
    """The handler of the route."""

    upscaler: Upscaler
    reader: RequestReader

    async def upscale(self) -> Response:
        """``POST /v1/images/upscale``."""
        upscaler = self.upscaler
        wanted = await self.reader.read(read, await self.reader.form())
        outcome = await upscaler.make(wanted.job)
        picture: MadeImage
        if wanted.carrier == "url":
            picture = {"url": absolute(outcome.stored.url_path, upscaler.public_url)}
        else:
            picture = {"b64_json": await upscaler.text_of(outcome.stored)}
        body = answer(
            picture, model=outcome.ran.model, created_s=time.time(), request_id=g.request_id
        )
        return upscaler.answer(body, outcome)
