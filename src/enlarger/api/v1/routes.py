"""The routes of ``/v1``."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from quart import Blueprint, Quart, Response, g, request

from enlarger.api.callers import caller_of
from enlarger.api.facts import server_timing
from enlarger.api.streaming import file_chunks, sha256_of, with_base64
from enlarger.api.traced import traced
from enlarger.api.v1.answers import fidelity_headers, negotiate, result_object
from enlarger.api.v1.problems import problem_of
from enlarger.api.v1.requests import Form, Request, read_form, read_request, sized_form
from enlarger.config import Settings
from enlarger.errors import EnlargerError, MissingInput, NotFound, by_code
from enlarger.job import SCALES
from enlarger.models import Catalogue, Model
from enlarger.picture.encode import MEDIA_TYPES
from enlarger.pipeline import Outcome, Pipeline
from enlarger.pool import Pool
from enlarger.store import Store
from enlarger.threads import in_thread

PREFIXES = ("/v1/", "/errors/")
"""Of the paths whose errors are problems."""

T = TypeVar("T")


@dataclass(kw_only=True)
class V1:
    """The routes of ``/v1``, over parts that the composition root made."""

    pipeline: Pipeline
    pool: Pool
    store: Store
    catalogue: Catalogue
    executor: Executor
    settings: Settings
    charge: Callable[[str, int], None]
    """Takes output pixels from what a caller may ask for."""

    done: Callable[[Outcome], None]
    """Told of each finished request."""

    def register(self, app: Quart) -> None:
        """Add the routes to an application."""
        routes = Blueprint("v1", __name__)
        routes.add_url_rule("/v1/upscale", view_func=traced(self.upscale), methods=["POST"])
        routes.add_url_rule("/v1/upscale", view_func=traced(self.upscale_link), methods=["GET"])
        routes.add_url_rule("/v1/estimate", view_func=self.estimate, methods=["POST"])
        routes.add_url_rule("/v1/models", view_func=self.models)
        routes.add_url_rule("/v1/models/<model_id>", view_func=self.model)
        routes.add_url_rule("/errors/<code>", view_func=self.error_page)
        app.register_blueprint(routes)

    async def upscale(self) -> Response:
        """``POST /v1/upscale``: B.2, B.3."""
        body = await request.get_data(cache=False, as_text=False)
        form = await in_thread(
            self.executor, read_form, request.headers.get("Content-Type"), request.args, body
        )
        return await self._answer(await self._request(form))

    async def upscale_link(self) -> Response:
        """``GET /v1/upscale?url=...``: the same as a link, for pages and caches."""
        form = read_form(None, request.args, b"")
        fields = dict(form.fields)
        if "url" not in fields:
            raise MissingInput("the query has no url")
        fields["img_url"] = fields.pop("url")
        wanted = await self._request(Form(fields, None, strict=False))
        answer = await self._answer(wanted)
        if answer.headers["Content-Type"].startswith("image/"):
            expires_in_s = int(self.settings.file_max_age_s)
            answer.headers["Cache-Control"] = f"public, max-age={expires_in_s}"
        return answer

    async def _request(self, form: Form) -> Request:
        caller = caller_of(request.scope)
        read = partial(
            read_request,
            form,
            catalogue=self.catalogue,
            request_id=g.request_id,
            owner=caller.id if caller.has_key else "",
        )
        wanted = await in_thread(self.executor, read)
        job = replace(wanted.job, anew=bool(request.cache_control.no_cache))
        return replace(wanted, job=job)

    async def _answer(self, wanted: Request) -> Response:
        """Make the picture, and answer it as the caller accepts it."""
        job = wanted.job
        kind, format_ = negotiate(request.headers.get("Accept"), job.options.format)
        job = replace(job, options=job.options.model_copy(update={"format": format_}))
        charge = partial(self.charge, caller_of(request.scope).id)
        outcome = await self.pipeline.run(job, charge=charge)
        self.done(outcome)
        stored = outcome.stored
        file = self.store.open(stored)
        sha256 = await in_thread(self.executor, sha256_of, file)
        headers = {
            "Vary": "Accept, Prefer",
            "Cache-Control": "no-store",
            "Server-Timing": server_timing(outcome),
        }
        if kind == "image":
            headers |= fidelity_headers(outcome) | {
                "Content-Type": MEDIA_TYPES[stored.path.suffix],
                "Content-Length": str(stored.size_bytes),
                "Content-Disposition": f'inline; filename="upscaled{stored.path.suffix}"',
                "ETag": f'"sha256-{sha256}"',
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'",
            }
            return Response(file_chunks(file, self.executor), headers=headers)
        body = result_object(
            outcome,
            sha256=sha256,
            left_s=self.store.left_s(stored),
            public_url=self.settings.public_url,
            request_id=g.request_id,
        )
        headers["Content-Type"] = "application/json"
        if not wanted.inline:
            file.close()
            return Response(json.dumps(body), headers=headers)
        body["result"]["base64"] = None
        length, chunks = with_base64(body, file, stored.size_bytes, self.executor)
        return Response(chunks, headers={**headers, "Content-Length": str(length)})

    async def estimate(self) -> dict[str, Any]:
        """``POST /v1/estimate``: what a request would make and take, without doing it."""
        body = await request.get_data(cache=False, as_text=False)
        form = await in_thread(
            self.executor, read_form, request.headers.get("Content-Type"), request.args, body
        )
        try:
            size, form = sized_form(form)
            wanted = await self._request(form)
            header, input_bytes = (
                (size, 0) if size is not None else await self.pipeline.header(wanted.job)
            )
            options = wanted.job.options
            estimate = self.pipeline.estimate(header, options, input_bytes=input_bytes)
        except EnlargerError as error:
            problem, _, _ = problem_of(error, request_id=g.request_id)
            return {"accepted": False, "problem": problem, "request_id": g.request_id}
        refusal = estimate.refusal
        return {
            "accepted": refusal is None,
            "problem": None if refusal is None else problem_of(refusal, request_id=g.request_id)[0],
            "output": {"width": estimate.width_px, "height": estimate.height_px},
            "model": estimate.model,
            "tiles": estimate.tiles,
            "memory_bytes": estimate.held_bytes,
            "queue": {"position": estimate.waiting + 1, "length": estimate.waiting},
            "eta_s": None if estimate.eta_s is None else round(estimate.eta_s, 1),
            "basis": None if estimate.eta_s is None else "measured",
            "request_id": g.request_id,
        }

    async def models(self) -> dict[str, Any]:
        """``GET /v1/models``: what is installed, and what ``auto`` picks."""
        return {
            "models": [self._model_object(model) for model in self.catalogue],
            "default": {
                str(scale): self.catalogue.choose("auto", scale=scale).id for scale in SCALES
            },
        }

    async def model(self, model_id: str) -> dict[str, Any]:
        """``GET /v1/models/{id}``."""
        for model in self.catalogue:
            if model.id == model_id:
                return self._model_object(model)
        raise NotFound("there is no such model")

    def _model_object(self, model: Model) -> dict[str, Any]:
        ready = [member for member in self.pool.ready if member.facts is not None]
        here = [(one, one.facts.model(model.id)) for one in ready if one.facts is not None]
        facts = next((facts for _, facts in here if facts is not None), None)
        mflop_per_s = self.pool.facts().mflop_per_s
        return {
            "id": model.id,
            "title": model.title,
            "kind": model.architecture,
            "native_scale": model.scale,
            "licence": model.licence,
            "sha256": model.sha256,
            "precisions": list(facts.precisions) if facts is not None else [],
            "halo": model.halo_px,
            "seams": "none" if model.halo_is_exact else "blended",
            "installed": True,
            "ready_on": sum(facts is not None for _, facts in here),
            "measured": None
            if mflop_per_s is None
            else {"megapixels_per_s": round(mflop_per_s / model.mflop_per_px / 1e6, 4)},
        }

    async def error_page(self, code: str) -> Response:
        """``GET /errors/{code}``: where the ``type`` of a problem leads."""
        cls = by_code(code)
        if cls is None:
            raise NotFound("there is no such error")
        text = " ".join((cls.__doc__ or "").split())
        status = "" if cls is EnlargerError else f"\nStatus: {cls.status}"
        repeat = "may" if cls.retryable else "will not"
        page = f"{code}\n\n{text}\n{status}\nThe same request {repeat} succeed later.\n"
        return Response(page, content_type="text/plain; charset=utf-8")
