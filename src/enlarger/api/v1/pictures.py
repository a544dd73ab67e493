"""The routes that make a picture, now or as a job: ``/v1/upscale`` and ``POST /v1/jobs``."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from quart import Response, g, request

from enlarger.api.callers import caller_of
from enlarger.api.downloads import download
from enlarger.api.facts import Link, link
from enlarger.api.streaming import FileText, json_answer
from enlarger.api.upscaling import Upscaler
from enlarger.api.v1 import schemas
from enlarger.api.v1.answers import (
    Kind,
    fidelity_headers,
    job_error,
    made_object,
    outcome_object,
    result_object,
    timing_header,
)
from enlarger.api.v1.jobs import JobRoutes
from enlarger.api.v1.preferences import Preference, read_preference
from enlarger.api.v1.problems import MEDIA_TYPE as PROBLEM
from enlarger.api.v1.reader import RequestReader, negotiated
from enlarger.api.v1.requests import Form, Request, read_flag, read_form, webhook_fault
from enlarger.errors import IdempotencyKeyReused, MissingInput, NotAcceptable
from enlarger.jobs import Asked, Job, JobProgress, Jobs, OpenPart
from enlarger.picture.preview import MEDIA_TYPE as PREVIEW_TYPE
from enlarger.pipeline.outcome import Outcome
from enlarger.request import UpscaleRequest
from enlarger.threads import dropped

_PLACEHOLDER = "X-Upscale-Placeholder"

_PLACEHOLDER_S = 1.0
"""Seconds to wait for the picture before a page gets the placeholder instead."""


@dataclass(frozen=True, kw_only=True)
class PictureRoutes:
    """The handlers that make a picture."""

    upscaler: Upscaler
    jobs: Jobs
    job_routes: JobRoutes
    reader: RequestReader
    sync_limit_s: float
    """A request that takes longer becomes a job."""

    async def upscale(self) -> Response:
        """``POST /v1/upscale``: B.2, B.3."""
        return await self._enlarge(await self.reader.checked(await self.reader.form()))

    async def link(self) -> Response:
        """``GET /v1/upscale?url=...``: the same as a link, for pages and caches."""
        form = read_form(None, request.args, b"")
        fields = dict(form.fields)
        if "url" not in fields:
            raise MissingInput("the query has no url")
        fields["img_url"] = fields.pop("url")
        shows_placeholder = read_flag(fields.pop("placeholder", "false"), "placeholder")
        wanted = await self.reader.checked(Form(fields, None, strict=False))
        return await self._follow(wanted, shows_placeholder=shows_placeholder)

    async def _follow(self, wanted: Request, *, shows_placeholder: bool) -> Response:
        """Answer a link. All requests of one link share one job, if it becomes a job."""
        wanted, kind = negotiated(wanted)
        fingerprint_ = await self.reader.fingerprint(wanted)
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
        return Response(await self.upscaler.pipeline.placeholder(wanted.job), headers=headers)

    async def queue(self) -> Response:
        """``POST /v1/jobs``: always a job, whatever the request prefers."""
        wanted = await self.reader.checked(await self.reader.form())
        with suppress(NotAcceptable):  # the answer is JSON anyway
            wanted, _ = negotiated(wanted)
        record, replayed = await self._submitted(wanted.job, await self.reader.asked(wanted))
        return await self.job_routes.accepted(record, replayed=replayed)

    async def _enlarge(self, wanted: Request) -> Response:
        """Answer with the picture as the caller accepts it, or with a job if that is preferred or it takes too long."""
        wanted, kind = negotiated(wanted)
        job = wanted.job
        preference = self._preference()
        if wanted.webhook is not None and not preference.is_async:
            raise webhook_fault(
                "conflict",
                "only of a job somebody is told: send 'Prefer: respond-async', or use POST /v1/jobs",
            )
        asked = await self.reader.asked(wanted)
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
        """Submit a job; returns it, and whether its idempotency key had it already.

        Raises:
            IdempotencyKeyReused: the key has another job, which the error names.
        """
        try:
            return await self.jobs.intake.submit(job, asked, at_once=at_once)
        except IdempotencyKeyReused as error:
            known = await self.jobs.intake.find_by_key(job.owner, asked.idempotency_key or "")
            error.job_id = None if known is None else known.id
            raise

    def _preference(self) -> Preference:
        header = request.headers.get("Prefer")
        return read_preference(header, limit_s=self.sync_limit_s)

    async def _now(
        self, wanted: Request, kind: Kind, preference: Preference, asked: Asked
    ) -> Response:
        """Make the picture while the caller waits. If that takes too long, it continues as a job."""
        job = wanted.job
        tracked = JobProgress()
        charge = partial(self.upscaler.charge, asked.caller)
        work = asyncio.create_task(
            self.upscaler.pipeline.run(job, listener=tracked.listener, charge=charge)
        )
        try:
            await asyncio.wait({work}, timeout=preference.wait_s)
        except asyncio.CancelledError:
            await dropped(work)  # the client has hung up
            raise
        if not work.done():
            record = await self.jobs.intake.adopt(job, asked, work, tracked)
            return await self.job_routes.accepted(record, applied=preference.applied)
        return await self._finished(work.result(), kind, inline=wanted.inline)

    async def _finished(self, outcome: Outcome, kind: Kind, *, inline: bool) -> Response:
        """Answer a request that did not become a job."""
        upscaler, stored = self.upscaler, outcome.stored
        upscaler.done(outcome)
        return await self._answer(
            outcome_object(outcome),
            upscaler.link_to(stored),
            kind,
            partial(upscaler.store.open, stored),
            left_s=upscaler.store.left_s(stored),
            inline=inline,
        )

    async def _ended(self, record: Job, kind: Kind, *, inline: bool) -> Response:
        """Answer a request that became a job, which has ended."""
        error = job_error(record, public_url=self.upscaler.public_url)
        if record.state == "failed" and error is not None:
            body = json.dumps({**error, "request_id": g.request_id})
            return Response(body, status=error["status"], headers={"Content-Type": PROBLEM})
        read = await self.jobs.results.find(record)
        made = made_object(self.jobs.results.of(record))
        where = link(
            f"/files/{record.file_name}",
            expires_at=record.expires_at or 0.0,
            public_url=self.upscaler.public_url,
        )
        return await self._answer(
            made,
            where,
            kind,
            read,
            left_s=self.jobs.results.left_s(record),
            inline=inline,
        )

    async def _answer(
        self,
        made: schemas.Made,
        where: Link,
        kind: Kind,
        read: OpenPart,
        *,
        left_s: float,
        inline: bool,
    ) -> Response:
        """Answer with a finished picture as the caller accepts it. Caches may keep that of a link until it expires."""
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
                return await download(
                    request.headers,
                    request.method,
                    etag=etag,
                    size_bytes=result["bytes"],
                    headers={**headers, "Cache-Control": f"public, max-age={left_s:.0f}"},
                    read=read,
                )
            headers |= {"Content-Length": str(result["bytes"]), "ETag": etag}
            return Response(await read(0, result["bytes"]), headers=headers)
        body = result_object(made, where, g.request_id)
        if inline:
            chunks = await read(0, result["bytes"])
            body["result"]["base64"] = FileText(chunks, result["bytes"])
        return json_answer(body, self.upscaler.executor, headers)
