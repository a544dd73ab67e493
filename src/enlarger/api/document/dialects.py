"""The routes of other services."""

from __future__ import annotations

from typing import Any, Literal

from enlarger import errors
from enlarger.api.document import schema
from enlarger.api.document.operations import (
    AUTOMATIC1111,
    COG,
    COMPATIBLE,
    EVERYWHERE,
    EXAMPLE_B64,
    FORM,
    KEYS,
    LINKS,
    OPENAI,
    RATES,
    READ,
    SENT,
    V1,
    WORK,
    Answer,
    Body,
    Operation,
    Schema,
    Words,
    as_texts,
    options,
)

_TEXT = "docs/reference/dialects.md has the fields, and what is different here."
_PICTURE: Schema = {"type": "string", "description": "Base64, a data URL or a URL."}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1, "default": 0}
_NONE: Schema = {"enum": [0], "default": 0}

_EXTRAS: Schema = {
    "resize_mode": {"enum": [0, 1], "default": 0},
    "upscaling_resize": {"type": "number", "minimum": 1, "maximum": 8, "default": 2},
    "upscaling_resize_w": {"type": "integer", "minimum": 1, "default": 512},
    "upscaling_resize_h": {"type": "integer", "minimum": 1, "default": 512},
    "upscaling_crop": {"type": "boolean", "default": True},
    "upscaler_1": {"type": "string", "description": "A model."},
    "upscaler_2": {"type": "string", "default": "None"},
    "extras_upscaler_2_visibility": _SHARE,
    "gfpgan_visibility": _NONE,
    "codeformer_visibility": _NONE,
    "codeformer_weight": {"type": "number"},
    "upscale_first": {"type": "boolean"},
    "show_extras_results": {"type": "boolean"},
}


def _extras(**more: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**more, **_EXTRAS},
        "required": ["upscaler_1", *more],
        "additionalProperties": False,
    }


_INPUT: Schema = options(
    image=_PICTURE,
    img=_PICTURE,
    face_enhance={"anyOf": [{"const": False}, {"type": "null"}]},
    tile={},
    version={"type": "string"},
)
_PREDICTION: Schema = {
    "type": "object",
    "properties": {
        "input": _INPUT,
        "version": {"type": "string"},
        "id": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "required": ["input"],
}


def _extra(
    method: Literal["GET", "POST"], name: str, id_: str, summary: str, **facts: Any
) -> Operation:
    work = (*SENT, *READ, *WORK) if method == "POST" else ()
    return Operation(
        method=method,
        rule=f"/sdapi/v1/{name}",
        id=id_,
        tag="dialects",
        summary=f"AUTOMATIC1111: {summary}",
        text=_TEXT,
        words=AUTOMATIC1111,
        errors=(*EVERYWHERE, *KEYS, *work),
        **facts,
    )


def _predict(rule: str, id_: str, words: Words, **example: str) -> Operation:
    return Operation(
        method="POST",
        rule=rule,
        id=id_,
        tag="dialects",
        summary="Cog and Replicate: make a prediction",
        text=_TEXT,
        bodies=(
            Body(
                media_type="application/json",
                schema=_PREDICTION,
                example={
                    "input": {"image": f"data:image/png;base64,{EXAMPLE_B64}", "scale": 2},
                },
            ),
        ),
        answers={
            200: Answer(
                text="The prediction, made or failed.",
                model=schema.Prediction,
                headers=("Server-Timing", *RATES),
            )
        },
        words=words,
        errors=(*EVERYWHERE, *KEYS, *SENT, *READ, *WORK, errors.NotAcceptable),
        example=example,
    )


_MODEL = {"owner": "enlarger", "name": "realesrgan-x4plus"}

OPERATIONS = (
    _extra(
        "POST",
        "extra-single-image",
        "extraSingleImage",
        "enlarge a picture",
        bodies=(
            Body(
                media_type="application/json",
                schema=_extras(image=_PICTURE),
                example={"image": EXAMPLE_B64, "upscaler_1": "R-ESRGAN 4x+"},
            ),
        ),
        answers={
            200: Answer(
                text="The picture.", model=schema.ExtraImage, headers=("Server-Timing", *RATES)
            )
        },
    ),
    _extra(
        "POST",
        "extra-batch-images",
        "extraBatchImages",
        "enlarge several",
        bodies=(
            Body(
                media_type="application/json",
                schema=_extras(
                    imageList={
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"data": _PICTURE, "name": {"type": "string"}},
                            "required": ["data"],
                        },
                    }
                ),
                example={
                    "imageList": [{"data": EXAMPLE_B64, "name": "cat.png"}],
                    "upscaler_1": "R-ESRGAN 4x+",
                },
            ),
        ),
        answers={200: Answer(text="The pictures.", model=schema.ExtraImages, headers=RATES)},
    ),
    _extra(
        "GET",
        "upscalers",
        "extraUpscalers",
        "models",
        answers={200: Answer(text="The models.", model=schema.Upscalers)},
    ),
    _extra(
        "GET",
        "progress",
        "extraProgress",
        "how far it is",
        answers={200: Answer(text="How far.", model=schema.ExtrasProgress)},
    ),
    _extra(
        "GET",
        "options",
        "extraOptions",
        "whether somebody is there",
        answers={200: Answer(text="Somebody is.", model=schema.ExtrasOptions)},
    ),
    _predict("/predictions", "predict", COG),
    _predict("/v1/predictions", "predictVersion", V1),
    _predict("/v1/models/<owner>/<name>/predictions", "predictModel", V1, **_MODEL),
    Operation(
        method="GET",
        rule="/v1/models/<owner>/<name>/versions/<version>",
        id="version",
        tag="dialects",
        summary="Replicate: a version of a model",
        text=_TEXT,
        answers={200: Answer(text="The version.", model=schema.Version)},
        errors=(*EVERYWHERE, *KEYS, *LINKS, errors.NotFound),
        example={
            "owner": "nightmareai",
            "name": "real-esrgan",
            "version": "f121d640bd286e1fdc67f9799164c1d5be36ff74576ee11c803ae5b665dd46aa",
        },
    ),
    Operation(
        method="GET",
        rule="/health-check",
        id="healthCheck",
        tag="dialects",
        summary="Cog: whether predictions can be made",
        text=_TEXT,
        answers={200: Answer(text="In any state.", model=schema.HealthCheck)},
        words=COMPATIBLE,
        errors=EVERYWHERE,
    ),
    Operation(
        method="POST",
        rule="/v1/images/upscale",
        id="imagesUpscale",
        tag="dialects",
        summary="LocalAI: enlarge a picture",
        text=_TEXT,
        # Any request may have this one. Here it is documented because openapi-python-client 0.29 generates code that does
        # not run for an operation that takes several kinds of bodies and has no parameter that may be left out.
        headers=("X-Request-Id",),
        bodies=(
            Body(
                media_type="application/json",
                schema={
                    **options(image=_PICTURE, response_format={"enum": ["url", "b64_json"]}),
                    "required": ["image"],
                },
                example={"image": EXAMPLE_B64, "scale": 4},
            ),
            Body(
                media_type="multipart/form-data",
                schema={
                    **as_texts(
                        options(
                            image={"type": "string", "format": "binary"},
                            response_format={"enum": ["url", "b64_json"]},
                        )
                    ),
                    "required": ["image"],
                },
            ),
        ),
        answers={
            200: Answer(
                text="The picture.", model=schema.MadeImages, headers=("Server-Timing", *RATES)
            )
        },
        words=OPENAI,
        errors=(*EVERYWHERE, *KEYS, *SENT, *FORM, *WORK),
    ),
)
