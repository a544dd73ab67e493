"""The routes that help to choose: ``/v1/compare`` and ``/v1/estimate``."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace

from quart import Response, g

from enlarger.api.upscaling import Upscaler
from enlarger.api.v1 import schemas
from enlarger.api.v1.answers import outcome_object, result_object
from enlarger.api.v1.problems import Problem, linked, problem_of
from enlarger.api.v1.reader import RequestReader
from enlarger.api.v1.requests import compared_models, options_of, stated_size
from enlarger.errors import EnlargerError, Fault, InvalidOption
from enlarger.request import UpscaleRequest


@dataclass(frozen=True, kw_only=True)
class EstimateRoutes:
    """The handlers that compare models, and that say what a request would take."""

    upscaler: Upscaler
    reader: RequestReader

    async def compare(self) -> Response:
        """``POST /v1/compare``: the same part of a picture through several models, to choose one."""
        models, form = compared_models(await self.reader.form(), catalogue=self.reader.catalogue)
        wanted = await self.reader.checked(form)
        if wanted.job.options.region is None:
            detail = "it must say which part to compare: x,y,width,height"
            raise InvalidOption.of(Fault("region", "range", detail))
        results = await asyncio.gather(*(self._compared(wanted.job, model) for model in models))
        body: schemas.Comparison = {"results": results, "request_id": g.request_id}
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return Response(json.dumps(body), headers=headers)

    async def _compared(self, job: UpscaleRequest, model: str) -> schemas.Result | schemas.Compared:
        """The result of one model, or its problem. A model that fails does not fail the others."""
        upscaler = self.upscaler
        job = replace(job, options=job.options.model_copy(update={"model": model}))
        try:
            outcome = await upscaler.make(job)
        except EnlargerError as error:
            return {"model": model, "problem": self._problem(error)}
        where = upscaler.link_to(outcome.stored)
        return result_object(outcome_object(outcome), where, g.request_id)

    def _problem(self, error: EnlargerError) -> Problem:
        """The problem of an error, as a part of an answer."""
        body, _, _ = problem_of(error, request_id=g.request_id)
        return linked(body, self.upscaler.public_url)

    async def estimate(self) -> schemas.Estimate:
        """``POST /v1/estimate``: the size, time and memory that a request would take, without making the picture."""
        form = await self.reader.form()
        try:
            header, form = stated_size(form)
            input_bytes = 0
            if header is not None:
                options, _ = options_of(form, catalogue=self.reader.catalogue)
            else:
                job = (await self.reader.checked(form)).job
                header, input_bytes = await self.upscaler.pipeline.header(job)
                options = job.options
            estimate = self.upscaler.pipeline.estimate(header, options, input_bytes=input_bytes)
        except EnlargerError as error:
            problem = self._problem(error)
            return {"accepted": False, "problem": problem, "request_id": g.request_id}
        refusal = estimate.refusal
        return {
            "accepted": refusal is None,
            "problem": None if refusal is None else self._problem(refusal),
            "output": {"width": estimate.width_px, "height": estimate.height_px},
            "model": estimate.model,
            "denoise": estimate.denoise,
            "content": estimate.content,
            "content_basis": estimate.content_basis,
            "precision": estimate.precision,
            "tiles": estimate.tiles,
            "memory_bytes": estimate.held_bytes,
            "queue": {"position": estimate.waiting + 1, "length": estimate.waiting},
            "eta_s": None if estimate.eta_s is None else round(estimate.eta_s, 1),
            "wait_s": None if estimate.wait_s is None else round(estimate.wait_s, 1),
            "basis": None if estimate.eta_s is None else "measured",
            "request_id": g.request_id,
        }
