"""The routes of jobs."""

from __future__ import annotations

from dataclasses import replace

from enlarger import errors
from enlarger.api.document import schema
from enlarger.api.document.operations import (
    EVERYWHERE,
    FORM,
    KEYS,
    LINKS,
    PICTURE_TYPES,
    RATES,
    RESULT,
    SENT,
    STORED,
    WORK,
    Answer,
    Errors,
    Operation,
    Schema,
)
from enlarger.api.document.pictures import FILE_HEADERS, FORMS, FORMS_TEXT, QUERY, QUEUED
from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.api.v1.jobs import MOST_WAIT_S
from enlarger.api.v1.lists import MOST_JOBS, USUAL_JOBS
from enlarger.jobs.job import STATES
from enlarger.picture.preview import MEDIA_TYPE as PREVIEW_TYPE

_JOB = Answer(text="The job.", model=schema.UpscaleRequest, headers=("Retry-After",))
_FOUND: Errors = (*EVERYWHERE, *KEYS, *STORED, errors.NotFound)
_PICTURE = Answer(
    text="All of it.",
    media_types=PICTURE_TYPES,
    headers=(*FILE_HEADERS, "Expires", "Server-Timing", *FIDELITY_HEADERS),
)
_WAIT: Schema = {
    "type": "object",
    "properties": {
        "wait": {
            "type": "integer",
            "minimum": 0,
            "maximum": MOST_WAIT_S,
            "default": 0,
            "description": "Seconds that the answer may wait for the job to end.",
        }
    },
}

_LIST: Schema = {
    "type": "object",
    "properties": {
        "state": {
            "type": "string",
            "pattern": f"^({'|'.join(STATES)})(,({'|'.join(STATES)}))*$",
            "description": f"Only jobs that are so: {', '.join(STATES)}; several with commas.",
        },
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_JOBS,
            "default": USUAL_JOBS,
            "description": "Jobs on a page.",
        },
        "cursor": {
            "type": "string",
            "description": "`next_cursor` of the page before.",
        },
    },
}

OPERATIONS = (
    Operation(
        method="GET",
        rule="/v1/jobs",
        id="jobs",
        tag="jobs",
        summary="The jobs of your key, the newest first",
        text="Refused where the service has no keys: a job's id is the permission to see it there.",
        query=_LIST,
        answers={200: Answer(text="A page.", model=schema.JobList, headers=RATES)},
        errors=(*EVERYWHERE, *KEYS, *STORED, *LINKS, errors.InvalidOption, errors.ListNeedsKeys),
    ),
    Operation(
        method="POST",
        rule="/v1/jobs",
        id="submit",
        tag="jobs",
        summary="Enlarge a picture later",
        text=f"{FORMS_TEXT} A type of picture in `Accept` is the format, as on `/v1/upscale`; the answer is JSON all the same.",
        query=QUERY,
        headers=("Accept", "Idempotency-Key"),
        bodies=FORMS,
        answers={202: QUEUED},
        errors=(
            *EVERYWHERE,
            *KEYS,
            *SENT,
            *FORM,
            *WORK,
            *STORED,
            errors.IdempotencyKeyReused,
        ),
    ),
    Operation(
        method="GET",
        rule="/v1/jobs/<job_id>",
        id="job",
        tag="jobs",
        summary="A job, now or when it has ended",
        query=_WAIT,
        answers={200: _JOB},
        errors=(*_FOUND, *LINKS, errors.InvalidOption),
        example={"wait": 1},
    ),
    Operation(
        method="DELETE",
        rule="/v1/jobs/<job_id>",
        id="cancel",
        tag="jobs",
        summary="Cancel a job, or delete its result",
        text="May be repeated.",
        answers={200: _JOB},
        errors=_FOUND,
    ),
    Operation(
        method="GET",
        rule="/v1/jobs/<job_id>/result",
        id="jobResult",
        tag="jobs",
        summary="The picture that a job made",
        headers=("Range", "If-None-Match"),
        answers={
            200: _PICTURE,
            206: replace(_PICTURE, text="A part.", headers=(*_PICTURE.headers, "Content-Range")),
            304: Answer(text="It is known already.", headers=_PICTURE.headers),
            416: replace(
                _PICTURE,
                text="There is no such part.",
                headers=(*_PICTURE.headers, "Content-Range"),
            ),
        },
        errors=(*_FOUND, *LINKS, *RESULT),
    ),
    Operation(
        method="GET",
        rule="/v1/jobs/<job_id>/events",
        id="jobEvents",
        tag="jobs",
        summary="What becomes of a job, as it happens",
        text=(
            "Server-sent events: `state` has the job (`Job`), `progress` how far it is (`Advance`), `tile` one that is "
            "done (`ShownTile`). The stream ends with the job."
        ),
        headers=("Last-Event-ID",),
        answers={
            200: Answer(text="The events.", media_types=("text/event-stream",)),
            204: Answer(text="The last event was seen already."),
        },
        errors=(*_FOUND, *LINKS),
    ),
    Operation(
        method="GET",
        rule="/v1/jobs/<job_id>/tiles/<int:index>",
        id="jobTile",
        tag="jobs",
        summary="A finished tile of a running job",
        text="For pages that show the picture as it is made.",
        answers={200: Answer(text="A small picture.", media_types=(PREVIEW_TYPE,))},
        errors=(*_FOUND, *LINKS),
        example={"index": 0},
    ),
)
