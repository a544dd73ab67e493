"""Requests of the compatible contract: a JSON object, or the query that stands for one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from enlarger.api.sources import has_thousands_of_parts, source_of
from enlarger.errors import InvalidOption, MalformedJson, MissingBody
from enlarger.models import Catalogue
from enlarger.options import AUTO, DEFAULT_SCALE, FLAGS, SCALES, read_options
from enlarger.request import UpscaleRequest

_OTHER_SIZES = ("width", "height", "long_side", "short_side", "fit", "max_bytes")
"""Options of the other routes that set the size. Here ``scale`` alone sets it."""


def parse_body(content_type: str | None, body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        MissingBody: there is no body, it has another content type, or its value is empty.
        MalformedJson: it is not JSON in UTF-8, not an object, or has thousands of parts.
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
    """A query as the JSON object that it stands for. All values but ``scale`` and ``inline`` stay texts."""
    fields: dict[str, Any] = dict(query)
    if "scale" in fields:
        fields["scale"] = {"2": 2, "4": 4}.get(fields["scale"], fields["scale"])
    if "inline" in fields:
        fields["inline"] = FLAGS.get(fields["inline"].lower(), fields["inline"])
    return fields


def parse_job(
    fields: Mapping[str, Any], *, catalogue: Catalogue, request_id: str, strict: bool = True
) -> tuple[UpscaleRequest, bool]:
    """The request that fields make, and whether the answer carries base64. Fields are checked in the contract's order.

    Args:
        fields: the fields of the JSON object, or of the query.
        catalogue: the installed models.
        request_id: the id of the request.
        strict: whether fields have the types of JSON; those of a query are texts.

    Raises:
        RequestError: the first fault.
    """
    model = fields.get("model", AUTO)
    default_scale = _default_scale(catalogue, model)
    scale = fields.get("scale", default_scale)
    allowed = (default_scale, *SCALES)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale not in allowed:
        raise InvalidOption("Scale must be 2 or 4")
    if not isinstance(model, str):
        raise InvalidOption("Invalid model: it must be a string")
    catalogue.choose(model, scale=int(scale))
    # Results are reachable by URL, so metadata stays out of them unless it is asked for.
    asked = {name: value for name, value in fields.items() if name not in _OTHER_SIZES}
    defaults = {"metadata": "strip", "frames": "first"}
    options = read_options({**defaults, **asked, "scale": scale}, strict=strict)
    catalogue.check(options)
    inline = fields.get("inline", True)
    if not isinstance(inline, bool):
        raise InvalidOption("Invalid inline: it must be true or false")
    source = source_of(fields.get("img_url"), fields.get("image_b64"))
    return UpscaleRequest(source=source, options=options, request_id=request_id), inline


def _default_scale(catalogue: Catalogue, model: object) -> int:
    """Return the scale of requests that state none. Models that are wrong are refused later, after the scale."""
    is_known = isinstance(model, str) and any(model == one.id for one in catalogue)
    return catalogue.default_scale(str(model), DEFAULT_SCALE) if is_known else DEFAULT_SCALE
