"""The routes that enlarge pictures, and those of their results."""

from __future__ import annotations

from dataclasses import replace

from enlarger import errors
from enlarger.api.document import schema
from enlarger.api.document.operations import (
    B64,
    BYTES,
    COMPATIBLE,
    EVERYWHERE,
    EXAMPLE_B64,
    FORM,
    KEYS,
    LINKS,
    PICTURE_TYPES,
    RATES,
    READ,
    RESULT,
    SENT,
    STORED,
    URL,
    WEBHOOK,
    WORK,
    Answer,
    Body,
    Operation,
    Schema,
    as_texts,
    inline,
    options,
)
from enlarger.api.v1.answers import FIDELITY_HEADERS

WANTED: Schema = options(img_url=URL, image_b64=B64, inline=inline(default=False), webhook=WEBHOOK)

FORMS = (
    Body(
        media_type="application/json",
        schema=WANTED,
        example={"image_b64": EXAMPLE_B64, "scale": 4},
    ),
    Body(
        media_type="multipart/form-data",
        schema={
            **as_texts(options(image=BYTES, inline=inline(default=False), webhook=WEBHOOK)),
            "required": ["image"],
        },
    ),
    Body(media_type="application/octet-stream", schema=BYTES),
)
"""The three forms of a request."""

QUERY: Schema = as_texts(options(inline=inline(default=False), webhook=WEBHOOK))
"""Of a request whose body is the picture."""

FORMS_TEXT = (
    "Three forms: JSON with `img_url` or `image_b64`; `multipart/form-data` with the file in the part `image`; or the "
    "file itself as the body, of any type, with options in the query. Options come from one place only, and one that "
    "is unknown, repeated or wrong is refused. Give at most one of `scale`, `width` and `height`, `long_side`, `short_side`."
)

MADE = Answer(
    text="The picture, or where it is, as `Accept` chooses.",
    model=schema.Result,
    media_types=PICTURE_TYPES,
    headers=("ETag", "Server-Timing", *RATES, *FIDELITY_HEADERS, "Idempotency-Replayed"),
)
QUEUED = Answer(
    text="It is a job: asked for, or since it lasts.",
    model=schema.UpscaleRequest,
    headers=("Location", "Retry-After", "Preference-Applied", "Idempotency-Replayed", *RATES),
)
FILE_HEADERS = ("ETag", "Accept-Ranges")
_LINKED = (*FILE_HEADERS, "Server-Timing", *RATES, *FIDELITY_HEADERS)

_PLACEHOLDER: Schema = {
    "type": "boolean",
    "default": False,
    "description": "Rather than to wait: the picture plainly resampled, as a JPEG with `X-Upscale-Placeholder`.",
}

_COMPARED: Schema = options(
    ("model",),
    img_url=URL,
    image_b64=B64,
    models={
        "anyOf": [
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 16},
            {"type": "string"},
        ],
        "description": "Ids, also as a text with commas between them. All models that are installed, if not given.",
    },
)

_COMPATIBLE_SIZES = ("scale", "width", "height", "long_side", "short_side", "fit", "max_bytes")
_COMPATIBLE: Schema = options(
    _COMPATIBLE_SIZES,
    img_url=URL,
    image_b64=B64,
    scale={"type": "number", "enum": [2, 4], "default": 2},
    inline=inline(default=True),
) | {"additionalProperties": True}

OPERATIONS = (
    Operation(
        method="POST",
        rule="/v1/upscale",
        id="upscale",
        tag="pictures",
        summary="Enlarge a picture",
        text=FORMS_TEXT,
        query=QUERY,
        headers=("Accept", "Prefer", "Idempotency-Key"),
        bodies=FORMS,
        answers={200: MADE, 202: QUEUED},
        errors=(
            *EVERYWHERE,
            *KEYS,
            *SENT,
            *FORM,
            *WORK,
            *STORED,
            *RESULT,
            errors.NotAcceptable,
            errors.IdempotencyKeyReused,
        ),
    ),
    Operation(
        method="GET",
        rule="/v1/upscale",
        id="upscaleLink",
        tag="pictures",
        summary="Enlarge a picture, as a link",
        text="For pages and caches: the picture is `public` as long as it lives; JSON is not kept. A signed link needs no key.",
        query={
            **as_texts(options(url=URL, inline=inline(default=False), placeholder=_PLACEHOLDER)),
            "required": ["url"],
        },
        headers=("Accept", "Prefer", "Range", "If-None-Match"),
        answers={
            200: replace(MADE, headers=_LINKED),
            202: QUEUED,
            206: replace(MADE, text="A part.", model=None, headers=(*_LINKED, "Content-Range")),
            304: Answer(text="It is known already.", headers=_LINKED),
            416: Answer(text="There is no such part.", headers=(*_LINKED, "Content-Range")),
        },
        errors=(
            *EVERYWHERE,
            *KEYS,
            *LINKS,
            *SENT,
            *WORK,
            *STORED,
            *RESULT,
            errors.NotAcceptable,
            errors.IdempotencyKeyReused,
        ),
        example={"url": f"data:image/png;base64,{EXAMPLE_B64}", "width": 8},
    ),
    Operation(
        method="POST",
        rule="/upscale",
        id="upscaleCompatible",
        tag="compatible",
        summary="Enlarge a picture two or four times",
        text="Other fields are ignored. Metadata is dropped unless `metadata` is `keep`; of an animation the first frame is taken.",
        bodies=(
            Body(
                media_type="application/json",
                schema=_COMPATIBLE,
                example={"image_b64": EXAMPLE_B64, "scale": 2},
            ),
        ),
        answers={
            200: Answer(
                text="The picture, and where it is.",
                model=schema.Upscaled,
                headers=("Server-Timing", *RATES),
            )
        },
        words=COMPATIBLE,
        errors=(*EVERYWHERE, *KEYS, *SENT, *READ, *WORK),
    ),
    Operation(
        method="GET",
        rule="/upscale",
        id="upscaleCompatibleLink",
        tag="compatible",
        summary="The same from a query",
        text="Without a query, JSON in the body is read as by `POST`.",
        query={**as_texts(_COMPATIBLE), "required": ["img_url"]},
        answers={
            200: Answer(
                text="The picture, and where it is.",
                model=schema.Upscaled,
                headers=("Server-Timing", *RATES),
            )
        },
        words=COMPATIBLE,
        errors=(*EVERYWHERE, *KEYS, *SENT, *READ, *WORK),
        example={"img_url": f"data:image/png;base64,{EXAMPLE_B64}", "scale": 2},
    ),
    Operation(
        method="GET",
        rule="/files/<name>",
        id="file",
        tag="compatible",
        summary="The bytes of a result",
        text="Its name is the permission to read it.",
        headers=("Range", "If-None-Match"),
        answers={
            200: Answer(text="All of it.", media_types=PICTURE_TYPES, headers=FILE_HEADERS),
            206: Answer(
                text="A part.",
                media_types=PICTURE_TYPES,
                headers=(*FILE_HEADERS, "Content-Range"),
            ),
            304: Answer(text="It is known already.", headers=FILE_HEADERS),
            416: Answer(
                text="There is no such part.",
                media_types=PICTURE_TYPES,
                headers=(*FILE_HEADERS, "Content-Range"),
            ),
        },
        words=COMPATIBLE,
        errors=(*EVERYWHERE, errors.NotFound, errors.ResultExpired, *STORED),
    ),
    Operation(
        method="POST",
        rule="/v1/compare",
        id="compare",
        tag="pictures",
        summary="One part of a picture through several models",
        text=f"{FORMS_TEXT} `region` must be given.",
        query=as_texts(_COMPARED),  # region is required, but not here where the body has it
        bodies=(
            Body(
                media_type="application/json",
                schema={**_COMPARED, "required": ["region"]},
                example={"image_b64": EXAMPLE_B64, "region": "0,0,2,2", "scale": 4},
            ),
            Body(
                media_type="multipart/form-data",
                schema={
                    **as_texts(
                        {**_COMPARED, "properties": {**_COMPARED["properties"], "image": BYTES}}
                    ),
                    "required": ["image", "region"],
                },
            ),
            FORMS[2],
        ),
        answers={200: Answer(text="What each made of it.", model=schema.Comparison, headers=RATES)},
        errors=(*EVERYWHERE, *KEYS, *SENT, *FORM, *WORK),
        example={"region": "0,0,2,2"},
    ),
    Operation(
        method="POST",
        rule="/v1/estimate",
        id="estimate",
        tag="facts",
        summary="What a request would make and take",
        text=f"{FORMS_TEXT} In JSON, `input` may state a size instead of a picture. A request that would be refused is a 200 as well.",
        query=QUERY,
        bodies=(
            Body(
                media_type="application/json",
                schema={
                    **WANTED,
                    "properties": {
                        **WANTED["properties"],
                        "input": {
                            "type": "object",
                            "properties": {
                                side: {"type": "integer", "minimum": 1, "maximum": 999_999}
                                for side in ("width", "height")
                            },
                            "required": ["width", "height"],
                        },
                    },
                },
                example={"input": {"width": 1600, "height": 1200}, "scale": 4},
            ),
            *FORMS[1:],
        ),
        answers={200: Answer(text="The estimate.", model=schema.Estimate)},
        errors=(*EVERYWHERE, *KEYS, *SENT, *FORM, errors.InvalidOption),
    ),
)
