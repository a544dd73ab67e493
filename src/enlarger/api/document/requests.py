"""The schemas of what requests carry: queries and bodies, and examples that can be tried."""

from __future__ import annotations

from enlarger.api.dialects import cog
from enlarger.api.document.operation import Body
from enlarger.api.document.option_schemas import option_schemas
from enlarger.api.document.schemas import Schema
from enlarger.api.v1.batches import MOST_ITEMS
from enlarger.api.v1.jobs import MOST_WAIT_S
from enlarger.api.v1.lists import MOST_JOBS, USUAL_JOBS
from enlarger.api.v1.shared_events import MOST_JOBS as MOST_FOLLOWED
from enlarger.jobs.job import STATES
from enlarger.options import DEFAULT_SCALE
from enlarger.picture.preview import LEAST_SIDE_PX, MOST_SIDE_PX

EXAMPLE_B64 = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAAGklEQVR42mM8EaDBAANMDAwMPhpbIBxGZBkAVa8DrZ/mB7YAAAAASUVORK5CYII="
"""A picture of 4 x 3 pixels."""

EXAMPLE_URL = f"data:image/png;base64,{EXAMPLE_B64}"


def options(*without: str, **more: Schema) -> Schema:
    """Return an object with all options of pictures but some, and with further properties."""
    properties = {
        name: value for name, value in option_schemas(DEFAULT_SCALE).items() if name not in without
    }
    return _object({**more, **properties}) | {"additionalProperties": False}


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    made: Schema = {"type": "object", "properties": properties}
    return {**made, "required": list(required)} if required else made


def _requiring(wanted: Schema, *names: str) -> Schema:
    return {**wanted, "required": list(names)}


def _without_null(value: Schema) -> Schema:
    """Return the schema of an option of a query or a form: a text cannot be null."""
    kinds = [kind for kind in value.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        return value
    shared = {name: part for name, part in value.items() if name not in ("anyOf", "default")}
    return {**shared, **kinds[0]} if len(kinds) == 1 else {**shared, "anyOf": kinds}


def _as_texts(wanted: Schema) -> Schema:
    """Return the object as a query or a form carries it: all values are texts."""
    properties = {name: _without_null(value) for name, value in wanted["properties"].items()}
    # Lists are written with commas: a list that a client repeats a name for is refused.
    for name in {"region", "models"} & set(properties):
        shown = properties[name]
        (text,) = (kind for kind in shown["anyOf"] if kind["type"] == "string")
        properties[name] = {"description": shown["description"], **text}
    return {**wanted, "properties": properties}


def _without_defaults(wanted: Schema) -> Schema:
    """Return the object without defaults: a client that sends them would override the options of the batch."""
    properties = {
        name: {key: part for key, part in value.items() if key != "default"}
        for name, value in wanted["properties"].items()
    }
    return {**wanted, "properties": properties}


def as_json(schema: Schema, **example: object) -> Body:
    """Return a body of JSON."""
    return Body("application/json", schema, example)


def _as_form(schema: Schema, *required: str) -> Body:
    return Body("multipart/form-data", _requiring(_as_texts(schema), *required))


def _inline(default: bool) -> Schema:
    text = "Whether the JSON has the file as `base64`."
    return _of("boolean", default=default, description=text)


def _of(type_: str, **facts: object) -> Schema:
    return {"type": type_, **facts}


_TEXT = _of("string")
_URL_TEXT = "`http://` or `https://` URL of the picture, or `data:image/<type>;base64,<data>`."
_URL = _of("string", description=_URL_TEXT)
_B64 = _of("string", description="Base64 of the file, instead of `img_url`.")
_BYTES = _of("string", format="binary", description="The file.")
_WEBHOOK_TEXT = "URL that is called when the job has ended. Only for jobs, and only if the operator set a secret."
_WEBHOOK = _of("string", description=_WEBHOOK_TEXT)

# /v1

_BESIDE = {"inline": _inline(default=False), "webhook": _WEBHOOK}
_WANTED = options(img_url=_URL, image_b64=_B64, **_BESIDE)
_FILE = Body("application/octet-stream", _BYTES)

UPSCALE = _as_texts(options(**_BESIDE))
"""The query of a request whose body is the picture."""

UPSCALE_BODIES = (
    as_json(_WANTED, image_b64=EXAMPLE_B64, scale=4),
    _as_form(options(image=_BYTES, **_BESIDE), "image"),
    _FILE,
)
"""The three kinds of body of a request for a picture."""

_PLACEHOLDER_TEXT = (
    "Do not wait: return the picture resampled, as a JPEG with `X-Upscale-Placeholder`."
)
_PLACEHOLDER = _of("boolean", default=False, description=_PLACEHOLDER_TEXT)
UPSCALE_LINK = _requiring(
    _as_texts(options(url=_URL, inline=_inline(default=False), placeholder=_PLACEHOLDER)), "url"
)

_MODELS: Schema = {
    "anyOf": [{"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 16}, _TEXT],
    "description": "Ids of models, as a list or as a text with commas. By default all models that are installed.",
}
_COMPARED = options("model", img_url=_URL, image_b64=_B64, models=_MODELS)
_COMPARED_FORM = options("model", img_url=_URL, image_b64=_B64, models=_MODELS, image=_BYTES)

COMPARE = _as_texts(_COMPARED)
"""``region`` is required, but not here where the body has it."""

COMPARE_BODIES = (
    as_json(_requiring(_COMPARED, "region"), image_b64=EXAMPLE_B64, region="0,0,2,2", scale=4),
    _as_form(_COMPARED_FORM, "image", "region"),
    _FILE,
)

_SIDE = _of("integer", minimum=1, maximum=999_999)
_SIZE = _object({"width": _SIDE, "height": _SIDE}, "width", "height")
ESTIMATE_BODIES = (
    as_json(
        {**_WANTED, "properties": {**_WANTED["properties"], "input": _SIZE}},
        input={"width": 1600, "height": 1200},
        scale=4,
    ),
    *UPSCALE_BODIES[1:],
)

_WAIT_TEXT = "Seconds to wait for the end of the job."
WAIT = _object(
    {"wait": _of("integer", minimum=0, maximum=MOST_WAIT_S, default=0, description=_WAIT_TEXT)}
)

_MAX_SIDE_TEXT = (
    "Return a JPEG in sRGB, reduced until no side has more pixels than this, instead of the file."
)
PREVIEW = _object(
    {
        "max_side": _of(
            "integer", minimum=LEAST_SIDE_PX, maximum=MOST_SIDE_PX, description=_MAX_SIDE_TEXT
        )
    }
)

_EVENTS_TEXT = f"Ids of 1 to {MOST_FOLLOWED} unfinished jobs, with commas between them."
EVENTS = _requiring(_object({"jobs": _of("string", description=_EVENTS_TEXT)}), "jobs")

_STATE = f"({'|'.join(STATES)})"
_STATE_TEXT = f"Only jobs in these states, with commas between them: {', '.join(STATES)}."
_LIMITS = {"minimum": 1, "maximum": MOST_JOBS, "default": USUAL_JOBS}
JOBS = _object(
    {
        "state": _of("string", pattern=f"^{_STATE}(,{_STATE})*$", description=_STATE_TEXT),
        "limit": _of("integer", **_LIMITS, description="Jobs on a page."),
        "cursor": _of("string", description="`next_cursor` of the previous page."),
    }
)

_ID = _of("string", description="A name for the picture in answers and in the archive.")
_ITEM = _without_defaults(options(id=_ID, img_url=_URL, image_b64=_B64))
_ITEMS = _of("array", items=_ITEM, minItems=1, maxItems=MOST_ITEMS)
_SHARED = options() | {"description": "Options of all items; an item may override them."}
BATCH = as_json(
    _object({"items": _ITEMS, "options": _SHARED, "webhook": _WEBHOOK}, "items")
    | {"additionalProperties": False},
    items=[{"id": "a", "image_b64": EXAMPLE_B64}],
    options={"scale": 4},
)

# The compatible routes

_COMPATIBLE = options(
    *("scale", "width", "height", "long_side", "short_side", "fit", "max_bytes"),
    img_url=_URL,
    image_b64=_B64,
    scale=_of("number", enum=[2, 4], default=2),
    inline=_inline(default=True),
) | {"additionalProperties": True}
COMPATIBLE = as_json(_COMPATIBLE, image_b64=EXAMPLE_B64, scale=2)
COMPATIBLE_LINK = _requiring(_as_texts(_COMPATIBLE), "img_url")

# Dialects

_PICTURE = _of("string", description="Base64, a data URL or a URL.")
_SHARE = _of("number", minimum=0, maximum=1, default=0)
_ZERO: Schema = {"enum": [0], "default": 0}
_EXTRAS: dict[str, Schema] = {
    "resize_mode": {"enum": [0, 1], "default": 0},
    "upscaling_resize": _of("number", minimum=1, maximum=8, default=2),
    "upscaling_resize_w": _of("integer", minimum=1, default=512),
    "upscaling_resize_h": _of("integer", minimum=1, default=512),
    "upscaling_crop": _of("boolean", default=True),
    "upscaler_1": _of("string", description="A model."),
    "upscaler_2": _of("string", default="None"),
    "extras_upscaler_2_visibility": _SHARE,
    "gfpgan_visibility": _ZERO,
    "codeformer_visibility": _ZERO,
    "codeformer_weight": _of("number"),
    "upscale_first": _of("boolean"),
    "show_extras_results": _of("boolean"),
}


def _extras(name: str, pictures: Schema, example: object) -> Body:
    schema = _object({name: pictures, **_EXTRAS}, "upscaler_1", name)
    shown = {name: example, "upscaler_1": "R-ESRGAN 4x+"}
    return as_json(schema | {"additionalProperties": False}, **shown)


EXTRA_SINGLE = _extras("image", _PICTURE, EXAMPLE_B64)
EXTRA_BATCH = _extras(
    "imageList",
    _of("array", items=_object({"data": _PICTURE, "name": _TEXT}, "data")),
    [{"data": EXAMPLE_B64, "name": "cat.png"}],
)

_INPUT = options(
    "scale",
    image=_PICTURE,
    img=_PICTURE,
    face_enhance={"anyOf": [{"const": False}, {"type": "null"}]},
    tile={},
    version=_TEXT,
    scale=option_schemas(cog.DEFAULT_SCALE)["scale"],
)
_PREDICTION_ID = _of("string", pattern="^[A-Za-z0-9._-]{1,64}$")
PREDICTION = as_json(
    _object({"input": _INPUT, "version": _TEXT, "id": _PREDICTION_ID}, "input"),
    input={"image": EXAMPLE_URL, "scale": 2},
)

_CARRIER: Schema = {"enum": ["url", "b64_json"]}
_IMAGES = options(image=_PICTURE, response_format=_CARRIER)
_IMAGES_FORM = options(image=_of("string", format="binary"), response_format=_CARRIER)
IMAGES_BODIES = (
    as_json(_requiring(_IMAGES, "image"), image=EXAMPLE_B64, scale=4),
    _as_form(_IMAGES_FORM, "image"),
)
