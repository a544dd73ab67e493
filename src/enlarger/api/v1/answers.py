"""What ``/v1`` answers: the picture itself with its facts in headers, or JSON objects."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, cast

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from enlarger.api.downloads import OCTETS
from enlarger.api.facts import Link, absolute, facts_of, link, time_text
from enlarger.api.v1 import schemas
from enlarger.api.v1.problems import Problem, job_problem, linked
from enlarger.errors import EnlargerError, NotAcceptable
from enlarger.jobs import Batch, InputFacts, Job, ResultFacts, View
from enlarger.options import DEFAULT_SCALE, Options
from enlarger.picture.formats import MEDIA_TYPES, kind_for, suffix_of
from enlarger.picture.values import Content
from enlarger.pipeline.outcome import Outcome

_JSON = "application/json"
_WRITTEN = ("png", "jpeg", "webp", "avif", "tiff")
_TYPES = {MEDIA_TYPES[suffix_of(name)]: name for name in _WRITTEN}
"""Format by media type."""

_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/tif": "image/tiff",
    "image/x-tiff": "image/tiff",
}
"""Names that are not registered, and that clients send."""

FIDELITY_HEADERS = (
    *("X-Upscale-Model", "X-Upscale-Model-Sha256", "X-Upscale-Scale", "X-Upscale-Engine"),
    *("X-Upscale-Precision", "X-Upscale-Device", "X-Upscale-Device-Class"),
    *("X-Upscale-Tiles", "X-Upscale-Notes", "X-Upscale-Kept"),
    *("X-Upscale-Color-Delta", "X-Upscale-Cache", "X-Upscale-Content", "X-Upscale-Denoise"),
    *("X-Origin-Width", "X-Origin-Height", "X-Result-Width", "X-Result-Height"),
)
"""Names of all that ``fidelity_headers`` gives, for those who have to list them."""

Kind = Literal["json", "image"]
ModelOf = Callable[[Options, int, int, Content | None], str]
"""Tells the id of the model for a picture of that width and height that shows that content."""


def negotiate(accept: str | None, format_: str | None) -> tuple[Kind, str | None]:
    """What is answered, and the format of the picture.

    Args:
        accept: the header.
        format_: the option, which wins where both leave a choice.

    Raises:
        NotAcceptable: nothing that the caller accepts can be made, or not in that format.
    """
    given = parse_accept_header(accept, MIMEAccept) if accept else MIMEAccept([("*/*", 1)])
    accepted = MIMEAccept(
        [(_ALIASES.get(value.lower(), value), quality) for value, quality in given]
    )
    own = suffix_type(format_) if format_ not in (None, "auto") else None
    offers = [own] if own else list(_TYPES)
    best = accepted.best_match([*offers, _JSON, OCTETS])
    if best is None:
        raise NotAcceptable(
            f"there is {', '.join([*offers, _JSON, OCTETS])}; the request accepts none of these"
        )
    if best == _JSON:
        return "json", format_
    if best == OCTETS:
        return "image", format_
    # A wildcard names no type: then the option decides, and without it PNG.
    named = any(value == best for value, quality in accepted if quality > 0)
    return "image", _TYPES[best] if named and own is None else format_


def suffix_type(format_: str | None) -> str:
    """Media type of a format."""
    return MEDIA_TYPES[suffix_of(format_ or "png")]


def outcome_object(outcome: Outcome) -> schemas.Made:
    """Return a finished request as ``made_object`` does."""
    return made_object(ResultFacts.of(outcome))


def made_object(result: ResultFacts) -> schemas.Made:
    """Return a finished request without what changes, which is where its file is, and until when."""
    return {
        "result": {
            "media_type": result.media_type,
            "bytes": result.size_bytes,
            "sha256": result.sha256,
            "width": result.width_px,
            "height": result.height_px,
            "scale": round(result.scale, 6),
        },
        "input": input_object(result.input),
        **facts_of(result.run),
        "denoise": result.run.denoise,
        "timing_ms": {
            **{stage: round(took_s * 1000) for stage, took_s in result.stages_s.items()},
            "total": round(result.took_s * 1000),
        },
    }


def input_object(source: InputFacts) -> schemas.Input:
    """Return what is known of a picture before it is decoded."""
    return {
        "width": source.width_px,
        "height": source.height_px,
        "bytes": source.size_bytes,
        "format": source.format,
        "content": source.content,
    }


def result_object(made: schemas.Made, link: Link, request_id: str) -> schemas.Result:
    """Return the answer to a finished request, with a link to its file."""
    file: schemas.File = {**link, **made["result"]}
    # ``base64`` may be added to it later.
    return {**made, "result": cast(schemas.FileWithBytes, file), "request_id": request_id}


def fidelity_headers(made: schemas.Made) -> dict[str, str]:
    """Return how a picture was computed, for an answer that is the picture itself."""
    tiles, result = made["tiles"], made["result"]
    return {
        "X-Upscale-Model": made["model"],
        "X-Upscale-Model-Sha256": made["model_sha256"],
        "X-Upscale-Scale": f"{result['scale']:.6g}",
        "X-Upscale-Engine": made["engine"],
        "X-Upscale-Precision": made["precision"],
        "X-Upscale-Device": made["device"],
        "X-Upscale-Device-Class": made["device_class"],
        "X-Upscale-Tiles": f"{tiles['total']};servers={tiles['servers']};retried={tiles['retried']};"
        f"repeated={sum(tiles['repeated'].values())};reused={tiles['reused']}",
        "X-Upscale-Notes": ", ".join(dict.fromkeys(note["code"] for note in made["notes"])),
        "X-Upscale-Kept": ", ".join(made["kept"]),
        "X-Upscale-Color-Delta": f"{made['color_delta']:.2f}",
        "X-Upscale-Cache": made["cache"],
        "X-Upscale-Content": made["input"]["content"] or "",
        "X-Upscale-Denoise": "" if made["denoise"] is None else str(made["denoise"]),
        "X-Origin-Width": str(made["input"]["width"]),
        "X-Origin-Height": str(made["input"]["height"]),
        "X-Result-Width": str(result["width"]),
        "X-Result-Height": str(result["height"]),
    }


def timing_header(made: schemas.Made) -> str:
    """Return milliseconds by stage as a ``Server-Timing`` header, which browsers' developer tools show."""
    return ", ".join(f"{stage};dur={took_ms}" for stage, took_ms in made["timing_ms"].items())


def job_object(view: View, *, public_url: str | None, model_of: ModelOf) -> schemas.Job:
    """Return a job as JSON."""
    job = view.job
    path = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "state": job.state,
        "stage": job.stage,
        "created_at": time_text(job.created_at),
        "started_at": _time_or_none(job.started_at),
        "finished_at": _time_or_none(job.finished_at),
        "expires_at": _time_or_none(job.expires_at),
        **progress_object(view),
        "input": None if job.input is None else input_object(job.input),
        "result": _job_result(job, public_url),
        "error": job_error(job, public_url=public_url),
        "options": _options(job, model_of),
        "links": {
            "self": absolute(path, public_url),
            "input": absolute(f"{path}/input", public_url),
            "events": absolute(f"{path}/events", public_url),
            "tiles": absolute(f"{path}/tiles", public_url),
            "result": absolute(f"{path}/result", public_url),
        },
        "request_id": job.request_id,
    }


def batch_object(batch: Batch, *, public_url: str | None) -> schemas.Batch:
    """Return a batch as JSON."""
    record = batch.record
    path = f"/v1/batches/{record.id}"
    return {
        "id": record.id,
        "state": batch.state,
        "created_at": time_text(record.created_at),
        "counts": dict[str, int](batch.counts.items()),
        "items": [item_object(job, public_url=public_url) for job in batch.jobs],
        "links": {
            "self": absolute(path, public_url),
            "events": absolute(f"{path}/events", public_url),
            "results": absolute(f"{path}/results.zip", public_url),
        },
        "request_id": record.request_id,
    }


def item_object(job: Job, *, public_url: str | None) -> schemas.BatchItem:
    """Return a job of a batch as one of its items."""
    return {
        "index": job.batch_index or 0,
        "id": job.item_id,
        "job": job.id,
        "state": job.state,
        "error": job_error(job, public_url=public_url),
        "result": _job_result(job, public_url),
    }


def job_error(job: Job, *, public_url: str | None) -> Problem | None:
    """Return why a job has failed, or None if it has not."""
    return None if job.error is None else linked(job_problem(job.error, job), public_url)


def progress_object(view: View) -> schemas.Ahead:
    """Return the progress of a job, and how long it will take."""
    job = view.job
    done, total = job.tiles_done, job.tiles_total
    fraction = 1.0 if job.state in ("succeeded", "expired") else done / total if total else 0.0
    return {
        "progress": {"tiles_done": done, "tiles_total": total, "fraction": round(fraction, 4)},
        "queue": {"position": view.position, "length": view.length},
        "eta_s": None if view.eta_s is None else round(view.eta_s, 1),
    }


def _options(job: Job, model_of: ModelOf) -> dict[str, Any]:
    """Return the options of a job, resolved as far as its picture is known."""
    shown = {name: value for name, value in job.options.items() if value is not None}
    if not shown:  # it was refused
        return shown
    if not shown.keys() & {"width", "height", "long_side", "short_side"}:
        kept_size = job.result is not None and job.result.scale == 1
        shown.setdefault("scale", 1 if kept_size else DEFAULT_SCALE)
    if job.input is not None or shown.get("format") != "auto":
        shown["format"] = kind_for(
            shown.get("format"), job.input.format if job.input is not None else "png"
        )
    if job.result is not None:
        shown["model"] = job.result.run.model
    elif job.input is not None:
        with suppress(EnlargerError):  # a model that is not installed any more
            found, options = job.input, Options.model_validate(job.options)
            shown["model"] = model_of(options, found.width_px, found.height_px, found.content)
    return shown


def _job_result(job: Job, public_url: str | None) -> schemas.JobResult | None:
    if job.state != "succeeded" or job.result is None or job.expires_at is None:
        return None
    made = made_object(job.result)
    where = link(f"/files/{job.file_name}", expires_at=job.expires_at, public_url=public_url)
    return {
        **where,
        **made["result"],
        **facts_of(job.result.run),
        "denoise": job.result.run.denoise,
        "timing_ms": made["timing_ms"],
    }


def _time_or_none(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else time_text(epoch_s)
