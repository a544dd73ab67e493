"""Every operation of the API: its names, texts, parameters, answers and errors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from enlarger import errors
from enlarger.api import probes
from enlarger.api.compatible import schemas
from enlarger.api.dialects import automatic1111, cog, localai
from enlarger.api.document import requests
from enlarger.api.document.operation import (
    EVENTS,
    FILE_HEADERS,
    PICTURE_TYPES,
    READ,
    RESULT,
    SENT,
    STORED,
    WORK,
    Answer,
    Operation,
    ok,
    probe,
    ranged,
    sent_as,
)
from enlarger.api.document.schemas import Document
from enlarger.api.v1 import schemas as v1
from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.picture.preview import MEDIA_TYPE as PREVIEW_TYPE

_FORMS = (
    "The request takes three forms: JSON with `img_url` or `image_b64`; `multipart/form-data` with the file in the part `image`; "
    "or the file itself as the body, of any type, with options in the query. Options come from one place only, and an option "
    "that is unknown, repeated or wrong is refused. Give at most one of `scale`, `width` and `height`, `long_side`, `short_side`."
)
_FIELDS = "docs/reference/dialects.md lists the fields, and the differences from the original."

_UPSCALING = (*WORK, *STORED, *RESULT, errors.NotAcceptable, errors.IdempotencyKeyReused)

_TIMED = ("Server-Timing",)
_FACTS = (*FILE_HEADERS, *_TIMED, *FIDELITY_HEADERS)
_MADE_HEADERS = ("ETag", *_TIMED, *FIDELITY_HEADERS, "Idempotency-Replayed")
_MADE = Answer(
    v1.Result, "The picture, or its URL, as `Accept` selects.", media_types=PICTURE_TYPES
)
_QUEUED = Answer(
    v1.Job,
    "The request has become a job: the client asked for one, or the picture takes long.",
    headers=("Location", "Retry-After", "Preference-Applied", "Idempotency-Replayed"),
)
_UPSCALED = ok(schemas.Upscaled, headers=_TIMED)
_ACCEPTED = Answer(v1.Batch, headers=("Location", "Retry-After", "Idempotency-Replayed"))
_JOB = ok(v1.Job, headers=("Retry-After",))
_BATCH = ok(v1.Batch, headers=("Retry-After",))

_pictures = partial(Operation, "pictures")
_jobs = partial(Operation, "jobs")
_facts = partial(Operation, "facts")
_compatible = partial(Operation, "compatible")
_operations = partial(Operation, "operations")
_dialect = partial(Operation, "dialects", text=_FIELDS)
_predict = partial(
    Operation,
    "dialects",
    summary="Cog and Replicate: make a prediction",
    answers=ok(cog.Prediction, headers=_TIMED),
    text=_FIELDS,
    bodies=(requests.PREDICTION,),
    own_errors=(*WORK, errors.NotAcceptable),
)

_ALL = (
    _pictures(
        "POST /v1/upscale",
        "upscale",
        "Upscale a picture",
        {200: replace(_MADE, headers=_MADE_HEADERS), 202: _QUEUED},
        text=_FORMS,
        query=requests.UPSCALE,
        headers=("Accept", "Prefer", "Idempotency-Key"),
        bodies=requests.UPSCALE_BODIES,
        own_errors=_UPSCALING,
    ),
    _pictures(
        "GET /v1/upscale",
        "upscaleLink",
        "Upscale a picture, as a link",
        {**ranged(replace(_MADE, headers=_FACTS)), 202: _QUEUED},
        text="For pages and caches: the picture is `public` as long as it lives; JSON is not cached. A signed link needs no key.",
        query=requests.UPSCALE_LINK,
        headers=("Accept", "Prefer"),
        own_errors=(*SENT, *_UPSCALING),
        example={"url": requests.EXAMPLE_URL, "width": 8},
    ),
    _compatible(
        "POST /upscale",
        "upscaleCompatible",
        "Upscale a picture two or four times",
        _UPSCALED,
        text="Other fields are ignored. Metadata is removed unless `metadata` is `keep`. Only the first frame of an animation is upscaled.",
        bodies=(requests.COMPATIBLE,),
        own_errors=WORK,
    ),
    _compatible(
        "GET /upscale",
        "upscaleCompatibleLink",
        "Upscale a picture two or four times, as a link",
        _UPSCALED,
        text="A request without a query may have JSON in its body, as with `POST`.",
        query=requests.COMPATIBLE_LINK,
        own_errors=(*SENT, *READ, *WORK),
        example={"img_url": requests.EXAMPLE_URL, "scale": 2},
    ),
    _compatible(
        "GET /files/<name>",
        "file",
        "The file of a result",
        ranged(Answer(text="The file.", media_types=PICTURE_TYPES, headers=FILE_HEADERS)),
        text="Anybody who knows the name can read the file.",
        query=requests.PREVIEW,
        own_errors=(errors.InvalidOption, errors.UnreadableImage, errors.ResultExpired, *STORED),
    ),
    _pictures(
        "POST /v1/compare",
        "compare",
        "Upscale one part of a picture with several models",
        ok(v1.Comparison),
        text=f"{_FORMS} `region` is required.",
        query=requests.COMPARE,
        bodies=requests.COMPARE_BODIES,
        own_errors=WORK,
        example={"region": "0,0,2,2"},
    ),
    _facts(
        "POST /v1/estimate",
        "estimate",
        "What a request would produce, and how long it would take",
        ok(v1.Estimate),
        text=f"{_FORMS} In JSON, `input` may state a size instead of a picture. A request that would be refused is a 200 as well.",
        query=requests.UPSCALE,
        bodies=requests.ESTIMATE_BODIES,
        own_errors=(errors.InvalidOption,),
    ),
    _jobs(
        "GET /v1/jobs",
        "jobs",
        "The jobs of your API key, newest first",
        ok(v1.JobList),
        text="Refused if the service has no keys: then a job is visible to whoever knows its id.",
        query=requests.JOBS,
        own_errors=(errors.InvalidOption, errors.ListNeedsKeys),
    ),
    _jobs(
        "POST /v1/jobs",
        "submit",
        "Upscale a picture in the background",
        {202: _QUEUED},
        text=f"{_FORMS} A media type of pictures in `Accept` selects the format, as on `/v1/upscale`; the response is JSON in any case.",
        query=requests.UPSCALE,
        headers=("Accept", "Idempotency-Key"),
        bodies=requests.UPSCALE_BODIES,
        own_errors=(*WORK, errors.IdempotencyKeyReused),
    ),
    _jobs(
        "GET /v1/jobs/<job_id>",
        "job",
        "A job, at once or when it has ended",
        _JOB,
        query=requests.WAIT,
        own_errors=(errors.InvalidOption,),
        example={"wait": 1},
    ),
    _jobs(
        "DELETE /v1/jobs/<job_id>",
        "cancel",
        "Cancel a job, or delete its result",
        _JOB,
        text="May be repeated.",
    ),
    _jobs(
        "GET /v1/jobs/<job_id>/input",
        "jobInput",
        "The input of a job, as a small JPEG",
        ranged(
            Answer(
                text="The preview.", media_types=(PREVIEW_TYPE,), headers=(*FILE_HEADERS, "Expires")
            )
        ),
        text="The first frame, upright, in sRGB and on white. It exists as long as the job is unfinished, and then as long as its result.",
        query=requests.PREVIEW,
        own_errors=(errors.InvalidOption, errors.UnreadableImage, *RESULT),
    ),
    _jobs(
        "GET /v1/jobs/<job_id>/result",
        "jobResult",
        "The picture that a job has made",
        ranged(Answer(text="The file.", media_types=PICTURE_TYPES, headers=(*_FACTS, "Expires"))),
        query=requests.PREVIEW,
        own_errors=(errors.InvalidOption, errors.UnreadableImage, *RESULT),
    ),
    _jobs(
        "GET /v1/jobs/<job_id>/events",
        "jobEvents",
        "The progress of a job, as it happens",
        EVENTS,
        text=(
            "Server-sent events: `state` has the job (`Job`), `progress` its progress (`Advance`), `tile` a finished tile "
            "(`ShownTile`). The stream ends with the job."
        ),
    ),
    _jobs(
        "GET /v1/events",
        "events",
        "The progress of several jobs, as it happens",
        EVENTS,
        text=(
            "The events of `/v1/jobs/{job_id}/events` for each job. Their data also have the id of their `job`. The id of an event holds "
            "the place in the stream of every job. The stream ends when all jobs have ended."
        ),
        query=requests.EVENTS,
        own_errors=(errors.InvalidOption,),
        example={"jobs": "{job_id}"},
    ),
    _jobs(
        "GET /v1/jobs/<job_id>/tiles",
        "jobTiles",
        "The finished tiles of an unfinished job",
        ok(v1.ShownTiles),
        text="For clients that begin to follow a job late: its stream of events repeats only the latest tiles.",
        own_errors=(errors.TilesGone,),
    ),
    _jobs(
        "GET /v1/jobs/<job_id>/tiles/<int:index>",
        "jobTile",
        "A finished tile of a running job",
        sent_as(PREVIEW_TYPE, "A small picture."),
        text="For pages that show the picture while it is made.",
        example={"index": 0},
    ),
    _jobs(
        "POST /v1/batches",
        "submitBatch",
        "Upscale many pictures in the background",
        {202: _ACCEPTED},
        text="A fault in one item is the `error` of that item; the other items are processed.",
        headers=("Idempotency-Key",),
        bodies=(requests.BATCH,),
        own_errors=(
            *(errors.InvalidOption, errors.UnknownModel, errors.IdempotencyKeyReused),
            *(errors.RateLimited, errors.QueueFull, errors.Draining, errors.OutOfMemory),
            *(errors.OpenFilesExhausted, errors.StorageFull),
        ),
    ),
    _jobs("GET /v1/batches/<batch_id>", "batch", "A batch and its items", _BATCH),
    _jobs(
        "DELETE /v1/batches/<batch_id>",
        "cancelBatch",
        "Cancel the jobs of a batch that have not ended",
        _BATCH,
        text="May be repeated. Results that exist are kept for their time.",
    ),
    _jobs(
        "GET /v1/batches/<batch_id>/events",
        "batchEvents",
        "The progress of a batch, as it happens",
        EVENTS,
        text="Server-sent events: `state` has the batch (`Batch`), `item` one of its items (`BatchItem`).",
    ),
    _jobs(
        "GET /v1/batches/<batch_id>/results.zip",
        "batchResults",
        "All results of a batch, in an archive",
        sent_as("application/zip", "The archive."),
        text="`manifest.json` in the archive says what became of each item.",
        own_errors=(errors.JobNotFinished, errors.ResultExpired),
    ),
    _facts("GET /v1/models", "models", "All models, and what auto selects", ok(v1.Models)),
    _facts(
        "GET /v1/models/<model_id>",
        "model",
        "A model",
        ok(v1.Model),
        example={"model_id": "realesrgan-x4plus"},
    ),
    _facts(
        "GET /errors/<code>",
        "error",
        "What an error code means",
        sent_as("text/plain", "An explanation."),
        example={"code": "queue_full"},
    ),
    _compatible(
        "GET /health", "health", "Whether pictures can be upscaled now", probe(schemas.Health)
    ),
    _compatible(
        "GET /status",
        "status",
        "The configuration and the current work of the service",
        ok(schemas.Status),
    ),
    _compatible(
        "POST /cleanup",
        "cleanup",
        "Delete expired results now",
        ok(schemas.Swept),
        text="The body is ignored.",
        own_errors=STORED,
    ),
    _operations("GET /livez", "livez", "Whether the process answers", ok(probes.Alive)),
    _operations("GET /readyz", "readyz", "Whether the gateway accepts work", probe(probes.Ready)),
    _operations(
        "GET /metrics",
        "metrics",
        "Counters and gauges for Prometheus",
        sent_as("text/plain", "The text format of Prometheus."),
    ),
    _operations("GET /openapi.json", "openapi", "This document", ok(Document)),
    _operations(
        "GET /docs",
        "docs",
        "This document as a page",
        sent_as("text/html", "Swagger UI."),
        text="The page loads nothing from other hosts, and can call every operation.",
    ),
    _operations(
        "GET /llms.txt",
        "llms",
        "This document in short, for language models",
        sent_as("text/plain", "Markdown."),
    ),
    _dialect(
        "POST /sdapi/v1/extra-single-image",
        "extraSingleImage",
        "AUTOMATIC1111: upscale a picture",
        ok(automatic1111.ExtraImage, headers=_TIMED),
        bodies=(requests.EXTRA_SINGLE,),
        own_errors=WORK,
    ),
    _dialect(
        "POST /sdapi/v1/extra-batch-images",
        "extraBatchImages",
        "AUTOMATIC1111: upscale several pictures",
        ok(automatic1111.ExtraImages),
        bodies=(requests.EXTRA_BATCH,),
        own_errors=WORK,
    ),
    _dialect(
        "GET /sdapi/v1/upscalers",
        "extraUpscalers",
        "AUTOMATIC1111: all models",
        ok(automatic1111.Upscalers, "The models."),
    ),
    _dialect(
        "GET /sdapi/v1/progress",
        "extraProgress",
        "AUTOMATIC1111: the progress of requests",
        ok(automatic1111.ExtrasProgress),
    ),
    _dialect(
        "GET /sdapi/v1/options",
        "extraOptions",
        "AUTOMATIC1111: whether the service runs",
        ok(automatic1111.ExtrasOptions),
    ),
    _predict("POST /predictions", "predict"),
    _predict("POST /v1/predictions", "predictVersion"),
    _predict(
        "POST /v1/models/<owner>/<name>/predictions",
        "predictModel",
        example={"owner": "enlarger", "name": "realesrgan-x4plus"},
    ),
    _dialect(
        "GET /v1/models/<owner>/<name>/versions/<version>",
        "version",
        "Replicate: a version of a model",
        ok(cog.Version),
        example={
            "owner": "nightmareai",
            "name": "real-esrgan",
            "version": "f121d640bd286e1fdc67f9799164c1d5be36ff74576ee11c803ae5b665dd46aa",
        },
    ),
    _dialect(
        "GET /health-check",
        "healthCheck",
        "Cog: whether predictions can be made",
        ok(cog.HealthCheck),
    ),
    _dialect(
        "POST /v1/images/upscale",
        "imagesUpscale",
        "LocalAI: upscale a picture",
        ok(localai.MadeImages, headers=_TIMED),
        # Every request may have this header. It is documented here because openapi-python-client 0.29 generates code that does
        # not run for an operation that takes several kinds of bodies and has no optional parameter.
        headers=("X-Request-Id",),
        bodies=requests.IMAGES_BODIES,
        own_errors=WORK,
    ),
)

OPERATIONS = {(operation.method, operation.rule): operation for operation in _ALL}
"""All operations that are documented, by method and rule."""
