"""The routes of batches."""

from __future__ import annotations

from enlarger import errors
from enlarger.api.document import schema
from enlarger.api.document.operations import (
    B64,
    EVERYWHERE,
    EXAMPLE_B64,
    KEYS,
    LINKS,
    RATES,
    READ,
    SENT,
    STORED,
    URL,
    WEBHOOK,
    Answer,
    Body,
    Errors,
    Operation,
    Schema,
    options,
    without_defaults,
)
from enlarger.api.v1.batches import MOST_ITEMS

_ID: Schema = {"type": "string", "description": "A name for it, in answers and in the archive."}
_ASKED: Schema = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": without_defaults(options(id=_ID, img_url=URL, image_b64=B64)),
            "minItems": 1,
            "maxItems": MOST_ITEMS,
        },
        "options": {
            **options(),
            "description": "For all of them. An option that an item has itself is taken instead.",
        },
        "webhook": WEBHOOK,
    },
    "required": ["items"],
    "additionalProperties": False,
}
_FOUND: Errors = (*EVERYWHERE, *KEYS, *STORED, errors.NotFound)
_BATCH = Answer(text="The batch.", model=schema.Batch, headers=("Retry-After",))

OPERATIONS = (
    Operation(
        method="POST",
        rule="/v1/batches",
        id="submitBatch",
        tag="jobs",
        summary="Enlarge many pictures later",
        text="What is wrong with one item is that item's `error`; the others run all the same.",
        headers=("Idempotency-Key",),
        bodies=(
            Body(
                media_type="application/json",
                schema=_ASKED,
                example={"items": [{"id": "a", "image_b64": EXAMPLE_B64}], "options": {"scale": 4}},
            ),
        ),
        answers={
            202: Answer(
                text="It is taken.",
                model=schema.Batch,
                headers=("Location", "Retry-After", "Idempotency-Replayed", *RATES),
            )
        },
        errors=(
            *EVERYWHERE,
            *KEYS,
            *SENT,
            *READ,
            *STORED,
            errors.InvalidOption,
            errors.UnknownModel,
            errors.IdempotencyKeyReused,
            errors.RateLimited,
            errors.QueueFull,
            errors.Draining,
            errors.OutOfMemory,
            errors.StorageFull,
        ),
    ),
    Operation(
        method="GET",
        rule="/v1/batches/<batch_id>",
        id="batch",
        tag="jobs",
        summary="A batch, and each of its pictures",
        answers={200: _BATCH},
        errors=(*_FOUND, *LINKS),
    ),
    Operation(
        method="DELETE",
        rule="/v1/batches/<batch_id>",
        id="cancelBatch",
        tag="jobs",
        summary="Cancel what has not ended",
        text="May be repeated. Results that are there stay for their time.",
        answers={200: _BATCH},
        errors=_FOUND,
    ),
    Operation(
        method="GET",
        rule="/v1/batches/<batch_id>/events",
        id="batchEvents",
        tag="jobs",
        summary="What becomes of a batch, as it happens",
        text="Server-sent events: `state` has the batch (`Batch`), `item` one of its pictures (`BatchItem`).",
        headers=("Last-Event-ID",),
        answers={
            200: Answer(text="The events.", media_types=("text/event-stream",)),
            204: Answer(text="The last event was seen already."),
        },
        errors=(*_FOUND, *LINKS),
    ),
    Operation(
        method="GET",
        rule="/v1/batches/<batch_id>/results.zip",
        id="batchResults",
        tag="jobs",
        summary="All results that are there, in an archive",
        text="With `manifest.json`, which tells what became of each item.",
        answers={200: Answer(text="The archive.", media_types=("application/zip",))},
        errors=(*_FOUND, *LINKS, errors.JobNotFinished, errors.ResultExpired),
    ),
)
