"""What a ``/v1`` request asks for, in any of its three forms: JSON, multipart, or the picture itself."""

from __future__ import annotations

import hashlib
import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from werkzeug.datastructures import MultiDict
from werkzeug.http import parse_options_header

from enlarger.api.forms import Part, parts_of
from enlarger.api.sources import has_thousands_of_parts, source_of
from enlarger.errors import (
    Fault,
    InvalidOption,
    InvalidUrl,
    MalformedJson,
    MalformedMultipart,
    MissingBody,
    MissingInput,
    Reason,
)
from enlarger.fetch.urls import check_url
from enlarger.models import Catalogue
from enlarger.options import FLAGS, MAX_SIDE_PX, Options, read_options
from enlarger.picture.values import Header
from enlarger.request import BytesSource, UpscaleRequest

LATER = ("wrap", "faces", "lossless", "blend", "tta")
"""Options whose names are taken, and which nobody can use yet."""

SOURCES = ("img_url", "image_b64")
_OWN = ("inline", "webhook")
"""Fields of a request that are neither source nor option of the picture."""

_MOST_COMPARED = 32
"""Models in one comparison."""

_MOST_TEXT_BYTES = 65536
_MOST_URL_SIGNS = 2048
"""The longest URL of a webhook, in characters."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a request, before they are looked at."""

    fields: Mapping[str, Any]
    data: bytes | None
    """The picture, where it did not come in a field."""

    strict: bool
    """Whether values have the types of JSON; if not, all are texts."""


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request."""

    job: UpscaleRequest
    inline: bool
    """Whether a JSON answer carries the file."""

    webhook: str | None = None
    """The URL that receives a message when the job ends."""


def read_form(content_type: str | None, query: MultiDict[str, str], body: bytes) -> Form:
    """The form of a request. Options come from one place: a JSON body, parts, or the query.

    Raises:
        MalformedJson, MalformedMultipart, MissingBody: the body is not what its type says.
        InvalidOption: a field is there twice, or options stand in two places.
    """
    kind, parameters = parse_options_header(content_type or "")
    kind = kind.lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        _check_query_has_defaults_alone(query)
        return Form(json_object(body), None, strict=True)
    if kind == "multipart/form-data":
        _check_query_has_defaults_alone(query)
        return _multipart(body, parameters)
    _check_once(name for name, _ in query.items(multi=True))
    return Form(dict(query), body, strict=False)


def _check_query_has_defaults_alone(query: MultiDict[str, str]) -> None:
    """Refuse options in the query of a form or of JSON, except for those that say what holds anyway.

    A caller who writes ``?scale=4`` behind a form's address means it. A client that is generated from the OpenAPI document
    sends every default of the query with every request, whatever its body is, and means nothing by it.
    """
    meant = [name for name, text in query.items(multi=True) if not _is_default(name, text)]
    if meant:
        detail = (
            "it stands in the query; options of this form belong into the body, beside the picture"
        )
        raise InvalidOption.of(
            *(Fault(name[:40], "conflict", detail) for name in dict.fromkeys(meant))
        )


def _is_default(name: str, text: str) -> bool:
    """Whether a text in a query is the default of the option of that name, which no text is where there is none."""
    if name == "inline":
        return FLAGS.get(text.lower()) is False
    if name not in Options.model_fields:
        return False
    try:
        given = read_options({name: text}, strict=False)
    except InvalidOption:
        return False
    return given == Options() and getattr(given, name) is not None


def json_object(body: bytes) -> dict[str, Any]:
    """The object in a body, which has no name twice.

    Raises:
        MissingBody, MalformedJson: there is none.
        InvalidOption: a name is there twice.
    """
    if not body.removeprefix(BOM_UTF8).strip():
        raise MissingBody("there is no JSON in the body")
    if has_thousands_of_parts(body):
        raise MalformedJson("the body has thousands of parts")
    try:
        # A byte order mark is none of the text: files that Windows wrote begin with one, and so do bodies made of them.
        text = body.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("the body is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise MalformedJson("the body must be a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_once(name for name, _ in pairs)
    return dict(pairs)


def _no_number(word: str) -> None:
    raise ValueError(word)


def _check_once(names: Iterable[str]) -> None:
    """Which of two values is meant, nobody can tell."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidOption.of(
            *(Fault(name, "conflict", "it is given more than once") for name in twice)
        )


def _multipart(body: bytes, parameters: dict[str, str]) -> Form:
    parts = parts_of(body, parameters.get("boundary"))
    _check_once(part.name for part in parts)
    image, options, texts = _sorted(parts)
    fields: dict[str, Any] = {part.name: part.text for part in texts}
    if options is not None:
        if fields:
            raise InvalidOption(
                "Invalid options: give them as parts of their own or as one part of JSON, not both",
                faults=[Fault("options", "conflict", "options stand in other parts as well")],
            )
        fields = json_object(options.data)
    return Form(fields, image.data if image else None, strict=options is not None)


def _sorted(parts: list[Part]) -> tuple[Part | None, Part | None, list[Part]]:
    """The picture, the JSON of options, and the other parts. The first two are known by their names alone.

    Raises:
        MalformedMultipart: the other parts are too long.
        InvalidOption: a file has another name.
    """
    special: dict[str, Part] = {}
    texts = []
    for part in parts:
        if part.name in ("image", "options"):
            special[part.name] = part
        elif part.has_file_name:
            raise InvalidOption.of(
                Fault(part.name, "unknown", "the picture's part must be called image")
            )
        else:
            texts.append(part)
    if sum(len(part.data) for part in texts) > _MOST_TEXT_BYTES:
        raise MalformedMultipart(
            f"the body has more than {_MOST_TEXT_BYTES} bytes of text; a picture belongs into a part called image"
        )
    return special.get("image"), special.get("options"), texts


def read_request(
    form: Form,
    *,
    catalogue: Catalogue,
    request_id: str,
    owner: str = "",
    has_webhooks: bool = False,
) -> Request:
    """The job that a form asks for.

    Args:
        form: what was sent.
        catalogue: the models that there are.
        request_id: of the request.
        owner: whose it is.
        has_webhooks: whether this server sends any.

    Raises:
        InvalidOption: an option is unknown or wrong; ``faults`` has all of them.
        RequestError: the source cannot be used, or there is no such model.
    """
    options, inline = options_of(form, catalogue=catalogue)
    job = UpscaleRequest(source=_source(form), options=options, request_id=request_id, owner=owner)
    return Request(job, inline, read_webhook(form.fields.get("webhook"), enabled=has_webhooks))


def read_webhook(url: object, *, enabled: bool) -> str | None:
    """The URL that is told of the end.

    Raises:
        InvalidOption: it is not a URL, or this server sends no webhooks.
    """
    if url is None:
        return None
    if not enabled:
        raise webhook_fault("unsupported", "this server is not set up to send webhooks")
    detail = "it must be an http or https URL without a user name"
    if not isinstance(url, str) or len(url) > _MOST_URL_SIGNS:
        raise webhook_fault("type", detail)
    try:
        check_url(url)
    except InvalidUrl as error:
        raise webhook_fault("type", detail) from error
    return url


def webhook_fault(reason: Reason, detail: str) -> InvalidOption:
    """What is wrong with ``webhook``."""
    return InvalidOption.of(Fault("webhook", reason, detail))


def options_of(form: Form, *, catalogue: Catalogue) -> tuple[Options, bool]:
    """The options of a form, and whether a JSON answer carries the file; whatever its picture is.

    Raises:
        InvalidOption: an option is unknown or wrong; ``faults`` has all of them.
        UnknownModel: there is no such model.
    """
    faults = _unknown(form.fields)
    fields = dict(form.fields)
    inline = fields.pop("inline", False)
    if not form.strict and isinstance(inline, str):
        inline = FLAGS.get(inline.lower(), inline)
    if not isinstance(inline, bool):
        faults.append(Fault("inline", "type", "it must be true or false"))
    options = None
    try:
        options = read_options(fields, strict=form.strict)
    except InvalidOption as error:
        faults += error.faults
    if faults or options is None:
        raise InvalidOption.of(*faults)
    catalogue.check(options)
    return options, inline


def read_flag(text: str, name: str) -> bool:
    """A boolean from a query.

    Raises:
        InvalidOption: it is not a boolean.
    """
    value = FLAGS.get(text.lower())
    if value is None:
        raise InvalidOption.of(Fault(name, "type", "it must be true or false"))
    return value


def compared_models(form: Form, *, catalogue: Catalogue) -> tuple[list[str], Form]:
    """The models that are to be compared, all that enlarge where none is named; and the rest of the form.

    The rest names the first of them that can do what is asked, so that what only some of them can do, such as a noise
    level, does not refuse the others.

    Raises:
        InvalidOption: ``models`` is no list of names.
        UnknownModel: one of them is not installed.
    """
    fields = dict(form.fields)
    given = fields.pop("models", None)
    names = given.split(",") if isinstance(given, str) else given
    if given is None:
        names = [model.id for model in catalogue if model.scale > 1][:_MOST_COMPARED]
    if (
        not isinstance(names, list)
        or not names
        or len(names) > _MOST_COMPARED
        or not all(isinstance(name, str) for name in names)
    ):
        detail = f"it must be 1 to {_MOST_COMPARED} ids of models"
        raise InvalidOption.of(Fault("models", "type", detail))
    chosen = list(dict.fromkeys(catalogue.choose(name.strip(), scale=4).id for name in names))
    forms = [replace(form, fields={**fields, "model": model_id}) for model_id in chosen]
    able = (one for one in forms if _is_possible(one, catalogue=catalogue))
    return chosen, next(able, forms[0])


def _is_possible(form: Form, *, catalogue: Catalogue) -> bool:
    """Whether the model of a form can do what its options ask for."""
    try:
        options_of(form, catalogue=catalogue)
    except InvalidOption:
        return False
    return True


def idempotency_key(header: str | None) -> str | None:
    """The key of a request.

    Raises:
        InvalidOption: it is not a key.
    """
    if header is None:
        return None
    if not re.fullmatch(r"[!-~]{1,255}", header):
        detail = "it must be 1 to 255 visible ASCII characters"
        raise InvalidOption.of(Fault("Idempotency-Key", "range", detail))
    return header


_NEW_OPTIONS = ("denoise", "device")
"""Options that the first databases do not know. Where they are not used, fingerprints are as they were, so that a client
that repeats a request after an upgrade finds its job."""


def fingerprint(path: str, wanted: Request) -> str:
    """Equal for requests of one route with the same options and picture, in whatever form they come."""
    source = wanted.job.source
    picture = source.sha256 if isinstance(source, BytesSource) else source.url
    asked = wanted.job.options
    unused = {name for name in _NEW_OPTIONS if getattr(asked, name) is None}
    options = asked.model_dump_json(exclude=unused)
    parts = (path, options, str(wanted.inline), picture, wanted.webhook or "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def stated_size(form: Form) -> tuple[Header | None, Form]:
    """The size that a form may state in place of a picture, and the rest of the form.

    ``"input": {"width": 1600, "height": 1200}``, in JSON alone.

    Raises:
        InvalidOption: the size is none, or there is a picture as well.
    """
    if not form.strict or "input" not in form.fields:
        return None, form
    fields = dict(form.fields)
    size = fields.pop("input")
    if form.data is not None or any(fields.get(name) for name in SOURCES):
        raise InvalidOption.of(Fault("input", "conflict", "give a picture or its size, not both"))
    given = size if isinstance(size, dict) else {}
    sides = [
        side
        for side in (given.get("width"), given.get("height"))
        if type(side) is int and 1 <= side <= MAX_SIDE_PX  # True is an int, too
    ]
    if len(sides) != 2:
        detail = f"it must have width and height, from 1 to {MAX_SIDE_PX}"
        raise InvalidOption.of(Fault("input", "type", detail))
    header = Header(
        format="png", width_px=sides[0], height_px=sides[1], mode="RGB", depth_bits=8, frames=1
    )
    return header, Form(fields, None, strict=True)


def _unknown(fields: Mapping[str, Any]) -> list[Fault]:
    known = {*Options.model_fields, *SOURCES, *_OWN}
    names = ", ".join(sorted(known - {*SOURCES}))
    return [
        Fault(name[:40], "unsupported", "it cannot be used yet")
        if name in LATER
        else Fault(name[:40], "unknown", f"there is no such option; there are {names}")
        for name in fields
        if name not in known
    ]


def _source(form: Form) -> Any:
    if form.data is None:
        return source_of(form.fields.get("img_url"), form.fields.get("image_b64"))
    if any(form.fields.get(name) for name in SOURCES):
        raise InvalidOption.of(
            Fault("img_url", "conflict", "the request carries a picture already")
        )
    if not form.data:
        raise MissingInput(
            "there is no picture: send it as the body, as a part 'image', or name it in img_url or image_b64"
        )
    return BytesSource(form.data)
