"""The routes of ``/v1``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import PurePosixPath

from quart import Blueprint, Quart, Response, g, request

from enlarger.api.callers import caller_of
from enlarger.api.downloads import download
from enlarger.api.facts import Link, link
from enlarger.api.streaming import FileText, with_files
from enlarger.api.traced import traced
from enlarger.api.v1 import schemas
from enlarger.api.v1.answers import (
    Kind,
    fidelity_headers,
    job_error,
    made_object,
    negotiate,
    outcome_object,
    result_object,
    timing_header,
)
from enlarger.api.v1.batches import BatchRoutes
from enlarger.api.v1.jobs import JobRoutes, owner_of_request
from enlarger.api.v1.preferences import Preference, read_preference
from enlarger.api.v1.problems import MEDIA_TYPE as PROBLEM
from enlarger.api.v1.problems import Problem, linked, problem_of
from enlarger.api.v1.requests import (
    Form,
    Request,
    compared_models,
    fingerprint,
    idempotency_key,
    options_of,
    read_flag,
    read_form,
    read_request,
    stated_size,
    webhook_fault,
)
from enlarger.engine.status import EngineStatus
from enlarger.errors import (
    EnlargerError,
    Fault,
    IdempotencyKeyReused,
    InvalidOption,
    MissingInput,
    NotAcceptable,
    NotFound,
    by_code,
)
from enlarger.jobs import Asked, Batches, Job, JobProgress, Jobs
from enlarger.models import Catalogue, Model
from enlarger.options import SCALES, Options
from enlarger.picture.preview import MEDIA_TYPE as PREVIEW_TYPE
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.request import UpscaleRequest
from enlarger.storage import ResultStore, StoredResult
from enlarger.threads import dropped, in_thread

_PLACEHOLDER = "X-Upscale-Placeholder"

_PLACEHOLDER_S = 1.0
"""A page that takes a placeholder waits so long for the real one."""

_MODEL_OPTIONS = [name for name in Options.model_fields if name != "model"]
"""Of requests to any model: none has options of its own."""

PREFIXES = ("/v1/", "/errors/")
"""Of the paths whose errors are problems."""


@dataclass(kw_only=True)
class V1:
    """The routes of ``/v1``, over parts that the composition root made."""

    pipeline: Pipeline
    jobs: Jobs
    batches: Batches
    engines: EngineStatus
    store: ResultStore
    catalogue: Catalogue
    executor: Executor
    public_url: str | None
    sync_limit_s: float
    has_webhooks: bool
    charge: Callable[[str, int], None]
    """Takes output pixels from what a caller may ask for."""

    done: Callable[[Outcome], None]
    """Told of each finished request."""

    def __post_init__(self) -> None:
        self.job_routes = JobRoutes(
            jobs=self.jobs,
            public_url=self.public_url,
            model_of=self.pipeline.model_id,
        )
        self.batch_routes = BatchRoutes(
            batches=self.batches,
            jobs=self.jobs,
            catalogue=self.catalogue,
            executor=self.executor,
            public_url=self.public_url,
            has_webhooks=self.has_webhooks,
        )

    def register(self, app: Quart) -> None:
        """Add the routes to an application."""
        routes = Blueprint("v1", __name__)
        routes.add_url_rule("/v1/upscale", view_func=traced(self.upscale), methods=["POST"])
        routes.add_url_rule("/v1/upscale", view_func=traced(self.upscale_link), methods=["GET"])
        routes.add_url_rule("/v1/jobs", view_func=traced(self.queue), methods=["POST"])
        self.job_routes.register(routes)
        routes.add_url_rule("/v1/compare", view_func=traced(self.compare), methods=["POST"])
        self.batch_routes.register(routes)
        routes.add_url_rule("/v1/estimate", view_func=self.estimate, methods=["POST"])
        routes.add_url_rule("/v1/models", view_func=self.models)
        routes.add_url_rule("/v1/models/<model_id>", view_func=self.model)
        routes.add_url_rule("/errors/<code>", view_func=self.error_page)
        app.register_blueprint(routes)

    async def upscale(self) -> Response:
        """``POST /v1/upscale``: B.2, B.3."""
        return await self._enlarge(await self._wanted(await self._form()))

    async def upscale_link(self) -> Response:
        """``GET /v1/upscale?url=...``: the same as a link, for pages and caches."""
        form = read_form(None, request.args, b"")
        fields = dict(form.fields)
        if "url" not in fields:
            raise MissingInput("the query has no url")
        fields["img_url"] = fields.pop("url")
        shows_placeholder = read_flag(fields.pop("placeholder", "false"), "placeholder")
        wanted = await self._wanted(Form(fields, None, strict=False))
        return await self._follow(wanted, shows_placeholder=shows_placeholder)

    async def _follow(self, wanted: Request, *, shows_placeholder: bool) -> Response:
        """The answer to a link. All who follow it share one job, if it is one."""
        wanted, kind = self._negotiated(wanted)
        fingerprint_ = await in_thread(self.executor, fingerprint, request.path, wanted)
        asked = Asked(
            caller=caller_of(request.scope).id,
            # No header can have a space in its key: nobody takes a link's.
            idempotency_key=f"link {fingerprint_}",
            fingerprint=fingerprint_,
        )
        preference = self._preference()
        record = await self.jobs.intake.usable(wanted.job.owner, asked)
        if record is None and not shows_placeholder:
            return await self._now(wanted, kind, preference, asked)
        if record is None:
            record, _ = await self.jobs.intake.submit(wanted.job, asked)
        wait_s = min(preference.wait_s, _PLACEHOLDER_S) if shows_placeholder else preference.wait_s
        record = await self.jobs.watching.wait(record, wait_s)
        if record.is_ended:
            return await self._ended(record, kind, inline=wanted.inline)
        if not shows_placeholder:
            return await self.job_routes.accepted(record, applied=preference.applied)
        headers = {"Content-Type": PREVIEW_TYPE, "Cache-Control": "no-store", _PLACEHOLDER: "true"}
        return Response(await self.pipeline.placeholder(wanted.job), headers=headers)

    async def queue(self) -> Response:
        """``POST /v1/jobs``: the same as a job, whatever is preferred."""
        wanted = await self._wanted(await self._form())
        with suppress(NotAcceptable):  # the answer is JSON, whatever is accepted
            wanted, _ = self._negotiated(wanted)
        record, replayed = await self._submitted(wanted.job, await self._asked(wanted))
        return await self.job_routes.accepted(record, replayed=replayed)

    async def _form(self) -> Form:
        body = await request.get_data(cache=False, as_text=False)
        return await in_thread(
            self.executor, read_form, request.headers.get("Content-Type"), request.args, body
        )

    async def _wanted(self, form: Form) -> Request:
        read = partial(
            read_request,
            form,
            catalogue=self.catalogue,
            request_id=g.request_id,
            owner=owner_of_request(),
            has_webhooks=self.has_webhooks,
        )
        wanted = await in_thread(self.executor, read)
        job = replace(wanted.job, skip_cache=bool(request.cache_control.no_cache))
        return replace(wanted, job=job)

    async def _asked(self, wanted: Request) -> Asked:
        """Who asks for a job, and under which key."""
        asked = Asked(caller=caller_of(request.scope).id, webhook=wanted.webhook)
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        if key is None:
            return asked
        fingerprint_ = await in_thread(self.executor, fingerprint, request.path, wanted)
        return replace(asked, idempotency_key=key, fingerprint=fingerprint_)

    async def _enlarge(self, wanted: Request) -> Response:
        """Make the picture, and answer it as the caller accepts it; or a job, where that is preferred or lasts."""
        wanted, kind = self._negotiated(wanted)
        job = wanted.job
        preference = self._preference()
        if wanted.webhook is not None and not preference.is_async:
            raise webhook_fault(
                "conflict",
                "only of a job somebody is told: send 'Prefer: respond-async', or use POST /v1/jobs",
            )
        asked = await self._asked(wanted)
        if preference.is_async or asked.idempotency_key is not None:
            at_once = not preference.is_async
            record, replayed = await self._submitted(job, asked, at_once=at_once)
            if not preference.is_async:
                record = await self.jobs.watching.wait(record, preference.wait_s)
            if preference.is_async or not record.is_ended:
                return await self.job_routes.accepted(
                    record, applied=preference.applied, replayed=replayed
                )
            answer = await self._ended(record, kind, inline=wanted.inline)
            if replayed:
                answer.headers["Idempotency-Replayed"] = "true"
            return answer
        return await self._now(wanted, kind, preference, asked)

    async def _submitted(
        self, job: UpscaleRequest, asked: Asked, *, at_once: bool = False
    ) -> tuple[Job, bool]:
        """A job, and whether its key had it already. If the key has another one, the error names it."""
        try:
            return await self.jobs.intake.submit(job, asked, at_once=at_once)
        except IdempotencyKeyReused as error:
            known = await self.jobs.intake.find_by_key(job.owner, asked.idempotency_key or "")
            error.job_id = None if known is None else known.id
            raise

    def _negotiated(self, wanted: Request) -> tuple[Request, Kind]:
        """With the format that the caller accepts, and what carries it."""
        kind, format_ = negotiate(request.headers.get("Accept"), wanted.job.options.format)
        options = wanted.job.options.model_copy(update={"format": format_})
        return replace(wanted, job=replace(wanted.job, options=options)), kind

    def _preference(self) -> Preference:
        header = request.headers.get("Prefer")
        return read_preference(header, limit_s=self.sync_limit_s)

    async def _now(
        self, wanted: Request, kind: Kind, preference: Preference, asked: Asked
    ) -> Response:
        """Make it while the caller waits; if that lasts, it goes on as a job."""
        job = wanted.job
        tracked = JobProgress()
        charge = partial(self.charge, asked.caller)
        work = asyncio.create_task(self.pipeline.run(job, listener=tracked.listener, charge=charge))
        try:
            await asyncio.wait({work}, timeout=preference.wait_s)
        except asyncio.CancelledError:
            await dropped(work)  # whoever hangs up wants no picture
            raise
        if not work.done():
            record = await self.jobs.intake.adopt(job, asked, work, tracked)
            return await self.job_routes.accepted(record, applied=preference.applied)
        return await self._finished(work.result(), kind, inline=wanted.inline)

    async def _finished(self, outcome: Outcome, kind: Kind, *, inline: bool) -> Response:
        """A request that was no job."""
        self.done(outcome)
        stored = outcome.stored
        made = outcome_object(outcome)
        return self._answer(
            made,
            self._place(stored),
            kind,
            partial(self.store.stream, stored),
            left_s=self.store.left_s(stored),
            inline=inline,
        )

    async def _ended(self, record: Job, kind: Kind, *, inline: bool) -> Response:
        """A request that was a job, which has ended."""
        error = job_error(record, public_url=self.public_url)
        if record.state == "failed" and error is not None:
            body = json.dumps({**error, "request_id": g.request_id})
            return Response(body, status=error["status"], headers={"Content-Type": PROBLEM})
        made = made_object(self.jobs.results.of(record))
        where = link(
            f"/files/{record.file_name}",
            expires_at=record.expires_at or 0.0,
            public_url=self.public_url,
        )
        return self._answer(
            made,
            where,
            kind,
            partial(self.jobs.results.read, record),
            left_s=self.jobs.results.left_s(record),
            inline=inline,
        )

    def _answer(
        self,
        made: schemas.Made,
        where: Link,
        kind: Kind,
        read: Callable[[int, int], AsyncIterator[bytes]],
        *,
        left_s: float,
        inline: bool,
    ) -> Response:
        """A finished picture, as the caller accepts it. That of a link is for caches, too, as long as it lives."""
        headers = {
            "Vary": "Accept, Prefer",
            "Cache-Control": "no-store",
            "Server-Timing": timing_header(made),
        }
        result = made["result"]
        if kind == "image":
            etag = f'"sha256-{result["sha256"]}"'
            headers |= fidelity_headers(made) | {
                "Content-Type": result["media_type"],
                "Content-Disposition": f'inline; filename="upscaled{PurePosixPath(where["url"]).suffix}"',
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'",
            }
            if request.method != "POST":
                return download(
                    request.headers,
                    request.method,
                    etag=etag,
                    size_bytes=result["bytes"],
                    headers={**headers, "Cache-Control": f"public, max-age={left_s:.0f}"},
                    read=read,
                )
            headers |= {"Content-Length": str(result["bytes"]), "ETag": etag}
            return Response(read(0, result["bytes"]), headers=headers)
        body = result_object(made, where, g.request_id)
        headers["Content-Type"] = "application/json"
        if not inline:
            return Response(json.dumps(body), headers=headers)
        body["result"]["base64"] = FileText(read(0, result["bytes"]), result["bytes"])
        length, chunks = with_files(body, self.executor)
        return Response(chunks, headers={**headers, "Content-Length": str(length)})

    async def compare(self) -> Response:
        """``POST /v1/compare``: the same part of a picture through several models, to choose one."""
        models, form = compared_models(await self._form(), catalogue=self.catalogue)
        wanted = await self._wanted(form)
        if wanted.job.options.region is None:
            detail = "it must say which part to compare: x,y,width,height"
            raise InvalidOption(
                f"Invalid region: {detail}", faults=[Fault("region", "range", detail)]
            )
        results = await asyncio.gather(*(self._compared(wanted.job, model) for model in models))
        body: schemas.Comparison = {"results": results, "request_id": g.request_id}
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return Response(json.dumps(body), headers=headers)

    async def _compared(self, job: UpscaleRequest, model: str) -> schemas.Result | schemas.Compared:
        """Return the result of one model, or its problem, which does not affect the other models."""
        job = replace(job, options=job.options.model_copy(update={"model": model}))
        try:
            charge = partial(self.charge, caller_of(request.scope).id)
            outcome = await self.pipeline.run(job, charge=charge)
        except EnlargerError as error:
            return {"model": model, "problem": self._problem(error)}
        self.done(outcome)
        return result_object(outcome_object(outcome), self._place(outcome.stored), g.request_id)

    def _problem(self, error: EnlargerError) -> Problem:
        """Return an error as a part of an answer."""
        body, _, _ = problem_of(error, request_id=g.request_id)
        return linked(body, self.public_url)

    def _place(self, stored: StoredResult) -> Link:
        """Return the link to a file."""
        expires_at = time.time() + self.store.left_s(stored)
        public_url = self.public_url
        return link(stored.url_path, expires_at=expires_at, public_url=public_url)

    async def estimate(self) -> schemas.Estimate:
        """``POST /v1/estimate``: what a request would make and take, without doing it."""
        form = await self._form()
        try:
            header, form = stated_size(form)
            input_bytes = 0
            if header is not None:
                options, _ = options_of(form, catalogue=self.catalogue)
            else:
                job = (await self._wanted(form)).job
                header, input_bytes = await self.pipeline.header(job)
                options = job.options
            estimate = self.pipeline.estimate(header, options, input_bytes=input_bytes)
        except EnlargerError as error:
            problem = self._problem(error)
            return {"accepted": False, "problem": problem, "request_id": g.request_id}
        refusal = estimate.refusal
        return {
            "accepted": refusal is None,
            "problem": None if refusal is None else self._problem(refusal),
            "output": {"width": estimate.width_px, "height": estimate.height_px},
            "model": estimate.model,
            "precision": estimate.precision,
            "tiles": estimate.tiles,
            "memory_bytes": estimate.held_bytes,
            "queue": {"position": estimate.waiting + 1, "length": estimate.waiting},
            "eta_s": None if estimate.eta_s is None else round(estimate.eta_s, 1),
            "basis": None if estimate.eta_s is None else "measured",
            "request_id": g.request_id,
        }

    async def models(self) -> schemas.Models:
        """``GET /v1/models``: what is installed, and what ``auto`` picks."""
        return {
            "models": [self._model_object(model) for model in self.catalogue],
            "default": {
                str(scale): self.catalogue.choose("auto", scale=scale).id for scale in SCALES
            },
        }

    async def model(self, model_id: str) -> schemas.Model:
        """``GET /v1/models/{id}``."""
        for model in self.catalogue:
            if model.id == model_id:
                return self._model_object(model)
        raise NotFound("there is no such model")

    def _model_object(self, model: Model) -> schemas.Model:
        known = [
            one.facts for one in self.engines.servers if one.is_ready and one.facts is not None
        ]
        here = [(server, facts) for server in known if (facts := server.model(model.id))]
        mflop_per_s = self.engines.facts().all_mflop_per_s
        speed = None if mflop_per_s is None else mflop_per_s / model.mflop_per_px / 1e6
        seams = model.seams
        return {
            "id": model.id,
            "title": model.title,
            "kind": model.architecture,
            "native_scale": model.scale,
            "options": _MODEL_OPTIONS,
            "precisions": list(here[0][1].precisions) if here else [],
            "licence": model.licence,
            "sha256": model.sha256,
            "bytes": model.size_bytes,
            "halo": model.halo_px,
            "seams": "none" if model.halo_is_exact else "blended",
            "installed": True,
            "ready_on": len(here),
            "measured": {
                "megapixels_per_s": None if speed is None else round(speed, 4),
                "seam_median_db": None if seams is None else seams.median_db,
                "seam_worst_db": None if seams is None else seams.worst_db,
                "seam_p999_diff": None if seams is None else seams.p999_difference,
                "seam_max_diff": None if seams is None else seams.max_difference,
                "engine": here[0][0].engine if here else None,
                # The speed is followed over all tiles, of whatever precision, and with each of them.
                "precision": None,
                "at": None,
            },
        }

    async def error_page(self, code: str) -> Response:
        """``GET /errors/{code}``: where the ``type`` of a problem leads."""
        cls = by_code(code)
        known = _HTTP_CODES.get(code)
        if cls is not None:
            text = " ".join((cls.__doc__ or "").split())
            status = "" if cls is EnlargerError else f"\nStatus: {cls.status}"
            repeat = "may" if cls.retryable else "will not"
            page = f"{code}\n\n{text}\n{status}\nThe same request {repeat} succeed later.\n"
        elif known is not None:
            page = f"{code}\n\n{known.description or known.phrase}.\n\nStatus: {known.value}\n"
        else:
            raise NotFound("there is no such error")
        return Response(page, content_type="text/plain; charset=utf-8")


_HTTP_CODES = {
    status.name.lower(): status
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        HTTPStatus.EXPECTATION_FAILED,
        HTTPStatus.UPGRADE_REQUIRED,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        HTTPStatus.NOT_IMPLEMENTED,
    )
}
"""What HTTP itself refuses, by the codes of its answers."""
