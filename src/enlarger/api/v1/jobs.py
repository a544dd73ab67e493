"""The routes of jobs: B.4 and B.5."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from quart import Response, g, request

from enlarger.api.callers import caller_of
from enlarger.api.downloads import download
from enlarger.api.facts import absolute
from enlarger.api.previews import ResultPreviews, max_side_px, preview_answer
from enlarger.api.v1 import schemas
from enlarger.api.v1.answers import (
    ModelOf,
    fidelity_headers,
    job_object,
    made_object,
    progress_object,
    timing_header,
)
from enlarger.api.v1.events import PING, RETRY, event, event_stream, nothing_more
from enlarger.api.v1.lists import cursor_fault, read_page
from enlarger.api.v1.reader import owner_of_request
from enlarger.api.v1.shared_events import check_jobs, last_seen, read_ids, shared_id
from enlarger.errors import Fault, InvalidOption, ListNeedsKeys, NotFound
from enlarger.jobs import Event, Job, Jobs, Shown, View
from enlarger.picture.preview import MEDIA_TYPE as PREVIEW_TYPE
from enlarger.picture.preview import MOST_SIDE_PX
from enlarger.pipeline.admission import retry_after

MOST_WAIT_S = 30
"""The longest ``wait`` of ``GET /v1/jobs/{id}``: less than proxies allow."""


@dataclass(frozen=True, kw_only=True)
class JobRoutes:
    """The handlers of existing jobs."""

    jobs: Jobs
    previews: ResultPreviews
    public_url: str | None
    model_of: ModelOf

    async def index(self) -> Response:
        """``GET /v1/jobs``: the jobs of the caller's key, the newest first."""
        caller = caller_of(request.scope)
        if not caller.is_key:
            raise ListNeedsKeys(
                "without an API key a job's id is the permission to see it, so nobody gets a list: keep the ids; "
                "where ENLARGER_API_KEYS is set, each key has the list of its own jobs"
            )
        page = read_page(request.args)
        try:
            found, has_more = await self.jobs.list_of(
                caller.owner, states=page.states, before=page.cursor, limit=page.limit
            )
        except NotFound as error:
            raise cursor_fault() from error
        after = page.after(found[-1].id) if has_more else None
        body: schemas.JobList = {
            "jobs": [self._object(view) for view in await self.jobs.prospects.views(found)],
            "next_cursor": found[-1].id if has_more else None,
            "links": {"next": after and absolute(f"/v1/jobs?{after}", self.public_url)},
            "request_id": g.request_id,
        }
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return Response(json.dumps(body), headers=headers)

    async def show(self, job_id: str) -> Response:
        """``GET /v1/jobs/{id}``: the job, at once, or after at most ``wait`` seconds."""
        record = await self._job(job_id)
        record = await self.jobs.watching.wait(record, _wait_s(request.args.get("wait")))
        return await self.answer(record)

    async def cancel(self, job_id: str) -> Response:
        """``DELETE /v1/jobs/{id}``: cancel it, or delete its result."""
        return await self.answer(await self.jobs.cancel(await self._job(job_id)))

    async def input(self, job_id: str) -> Response:
        """``GET /v1/jobs/{id}/input``: the picture that is enlarged, as a small JPEG file."""
        record = await self._job(job_id)
        side_px = max_side_px(request.args) or MOST_SIDE_PX
        data = await self.previews.smaller(await self.jobs.inputs.of(record), side_px)
        is_kept = record.is_ended
        return await preview_answer(
            data, self._lifetime(record) if is_kept else {"Cache-Control": "private, max-age=60"}
        )

    async def result(self, job_id: str) -> Response:
        """``GET /v1/jobs/{id}/result``: the picture."""
        record = await self._job(job_id)
        if (side_px := max_side_px(request.args)) is not None:
            return await self._preview(record, side_px)
        return await self.picture(record)

    async def tiles(self, job_id: str) -> Response:
        """``GET /v1/jobs/{id}/tiles``: the finished tiles of an unfinished job."""
        record = await self._job(job_id)
        body: schemas.ShownTiles = {
            "tiles": [self._tile(record, one) for one in await self.jobs.results.tiles(record)],
            "request_id": g.request_id,
        }
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return Response(json.dumps(body), headers=headers)

    async def tile(self, job_id: str, index: int) -> Response:
        """``GET /v1/jobs/{id}/tiles/{index}``: a finished tile of a running job."""
        data = await self.jobs.results.tile(await self._job(job_id), index)
        headers = {"Content-Type": PREVIEW_TYPE, "Cache-Control": "private, max-age=60"}
        return Response(data, headers=headers)

    async def events(self, job_id: str) -> Response:
        """``GET /v1/jobs/{id}/events``: server-sent events."""
        record = await self._job(job_id)
        text = request.headers.get("Last-Event-ID", "").strip()
        after = int(text) if text.isdecimal() and len(text) <= 9 else None
        if self.jobs.watching.has_seen_the_end(record, after):
            return nothing_more()
        return event_stream(self._stream(record, after))

    async def _stream(self, record: Job, after: int | None) -> AsyncIterator[bytes]:
        yield RETRY
        # Closed here, not when it is collected: until then it would look at the job's row.
        async with aclosing(self.jobs.watching.events(record, after)) as events:
            async for one in events:
                yield PING if one is None else event(one.kind, await self._data(one), one.id)

    async def events_of_all(self) -> Response:
        """``GET /v1/events``: server-sent events of several jobs."""
        ids = read_ids(request.args)
        found = await self.jobs.get_all(ids, self._owner())
        seen = last_seen(request.headers.get("Last-Event-ID", "").strip(), ids)
        check_jobs(ids, found, seen)
        followed = [
            found[id_]
            for id_ in ids
            if not self.jobs.watching.has_seen_the_end(found[id_], seen.get(id_))
        ]
        if not followed:
            return nothing_more()
        return event_stream(self._shared_stream(followed, {id_: seen.get(id_, 0) for id_ in ids}))

    async def _shared_stream(
        self, followed: list[Job], seen: dict[str, int]
    ) -> AsyncIterator[bytes]:
        """The events of jobs. ``seen`` has the last event of each job that the client asked for; 0 if it saw none."""
        yield RETRY
        after = {id_: last for id_, last in seen.items() if last}
        async with aclosing(self.jobs.watching.events_of_all(followed, after)) as events:
            async for one in events:
                if one is None:
                    yield PING
                    continue
                seen[one.job.id] = one.id
                yield event(one.kind, {"job": one.job.id, **await self._data(one)}, shared_id(seen))

    async def _data(self, one: Event) -> Mapping[str, Any]:
        """Return the data of an event."""
        if one.shown is not None:
            return self._tile(one.job, one.shown)
        view = await self.jobs.prospects.view(one.job)
        if one.kind == "state":
            return self._object(view)
        advance: schemas.Advance = {"stage": one.job.stage, **progress_object(view)}
        return advance

    async def answer(
        self, record: Job, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        """The job as JSON."""
        view = await self.jobs.prospects.view(record)
        body = self._object(view)
        shared = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if not record.is_ended:
            shared["Retry-After"] = str(retry_after(view.eta_s))
        return Response(json.dumps(body), status=status, headers=shared | (headers or {}))

    async def accepted(
        self, record: Job, *, applied: str | None = None, replayed: bool = False
    ) -> Response:
        """202: the request became a job, with its URL."""
        headers = {
            "Location": absolute(f"/v1/jobs/{record.id}", self.public_url),
            "Vary": "Accept, Prefer",
        }
        if applied:
            headers["Preference-Applied"] = applied
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        return await self.answer(record, status=202, headers=headers)

    async def _preview(self, record: Job, side_px: int) -> Response:
        """The result of a job as a small JPEG file."""
        stored = await self.jobs.results.stored(record)
        return await preview_answer(await self.previews.of(stored, side_px), self._lifetime(record))

    def _lifetime(self, record: Job) -> dict[str, str]:
        """Headers that say how long the result of a job will live."""
        return {
            "Cache-Control": f"private, max-age={self.jobs.results.left_s(record):.0f}, immutable",
            "Expires": formatdate(record.expires_at or 0.0, usegmt=True),
        }

    async def picture(self, record: Job) -> Response:
        """The file of a job that has succeeded.

        Raises:
            JobNotFinished, JobWithoutResult, ResultExpired: there is none.
        """
        read = await self.jobs.results.find(record)
        made = made_object(self.jobs.results.of(record))
        result = made["result"]
        suffix = (record.file_name or "").partition(".")[2]
        return await download(
            request.headers,
            request.method,
            etag=f'"sha256-{result["sha256"]}"',
            size_bytes=result["bytes"],
            headers={
                "Content-Type": result["media_type"],
                "Content-Disposition": f'inline; filename="upscaled.{suffix}"',
                **self._lifetime(record),
                "Server-Timing": timing_header(made),
                **fidelity_headers(made),
            },
            read=read,
        )

    def _tile(self, record: Job, shown: Shown) -> schemas.ShownTile:
        """Return a finished tile as JSON."""
        place = shown.place
        return {
            "index": shown.index,
            "x": place.left,
            "y": place.top,
            "w": place.width_px,
            "h": place.height_px,
            "url": absolute(f"/v1/jobs/{record.id}/tiles/{shown.index}", self.public_url),
        }

    def _object(self, view: View) -> schemas.Job:
        return job_object(view, public_url=self.public_url, model_of=self.model_of)

    async def _job(self, job_id: str) -> Job:
        return await self.jobs.get(job_id, self._owner())

    @staticmethod
    def _owner() -> str | None:
        """Return whose jobs the request may see; None: anybody's, by a signed link."""
        return None if caller_of(request.scope).is_link else owner_of_request()


def _wait_s(text: str | None) -> float:
    """Seconds of ``wait``.

    Raises:
        InvalidOption: it is not a whole number from 0 to 30.
    """
    if text is None:
        return 0.0
    if text.isdecimal() and len(text) <= 3 and int(text) <= MOST_WAIT_S:
        return float(text)
    detail = f"it must be a number of seconds from 0 to {MOST_WAIT_S}"
    raise InvalidOption.of(Fault("wait", "range", detail))
