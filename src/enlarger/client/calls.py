"""Describes each call of the client as a generator of steps, which ``transport`` performs.

Both clients share this code: one blocks on each step, the other awaits it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from enlarger.client.answers import (
    after_event,
    error_of,
    estimate_of,
    job_id_of,
    job_of,
    job_page_of,
    json_of,
    models_of,
    preview_of,
    tiles_of,
    upscaled_of,
)
from enlarger.client.requests import (
    Picture,
    Request,
    Source,
    events_request,
    job_path,
    json_request,
    picture_request,
    preview_request,
)
from enlarger.client.retry import ONGOING, Patience, pause_s
from enlarger.client.values import Answer, Estimate, JobPage, JobStatus, Models, Tile, Upscaled
from enlarger.errors import ClientError, EnlargerError, InvalidOption, ServerUnreachable, TimedOut

_SILENCE_S = 300.0
"""A server that sends no byte for this long is considered lost. It normally answers much sooner: see ``_PREFER_S``."""

_PREFER_S = 60
"""After this time the server is asked to answer with a job, so that no proxy considers the connection dead."""

_POLL_S = 20
"""Seconds for which the server holds back its answer about a job that has not ended."""

_EVENTS_SILENCE_S = 45.0
"""Three times the interval at which the server sends pings on an idle stream."""

_BROKEN_STREAMS = 3
"""After this many streams in a row without an event, the client polls the job instead: some proxies buffer streams."""

_STREAM_JOBS = 100
"""Jobs that the server accepts in one stream."""

_CANCEL_S = 5.0

_PAGE_JOBS = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Return the ``Answer`` to a request, or raise ``ServerUnreachable``."""

    request: Request
    silence_s: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Open a stream of events. Return the ``Answer``, and leave the stream open if it is one."""

    request: Request
    silence_s: float


@dataclass(frozen=True, slots=True)
class NextEvent:
    """Return the next ``Event`` of the open stream, None at its end, or raise ``ServerUnreachable``."""


@dataclass(frozen=True, slots=True)
class Read:
    """Return the ``Picture`` of a source."""

    source: Source


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for a while."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Report a change to the caller."""

    job: JobStatus


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    id: str
    kind: str
    data: str


Step = Send | Listen | NextEvent | Read | Sleep | Tell
Steps = Generator[Step, Any, T]
"""The steps of a call, which returns a ``T`` in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The time that one call may take."""

    ends_at: float
    """The time on ``clock`` when the call must end."""

    timeout_s: float
    """The whole time at the beginning, for the error message."""

    patience: Patience = field(default_factory=Patience)
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimedOut: no time is left.
        """
        left_s = self.ends_at - self.clock()
        if left_s <= 0:
            raise TimedOut(
                f"not done within {self.timeout_s:g} s; allow more with timeout_s, or submit a job and come back"
            )
        return left_s


def sent(budget: Budget, request: Request, *, silence_s: float = _SILENCE_S) -> Steps[Answer]:
    """Send a request, retry it where and when that may help, and return the answer.

    Raises:
        EnlargerError: the server refuses the request, or cannot be reached.
    """
    failures = 0
    refused_since: float | None = None
    while True:
        error: EnlargerError | None
        try:
            answer: Answer = yield Send(request, min(silence_s, budget.left_s()))
            error = error_of(answer)
            if error is None:
                return answer
        except ServerUnreachable as unreachable:
            budget.left_s()  # Silence until the end of our own time is not the server's fault.
            error = unreachable
        now = budget.clock()
        if not (isinstance(error, ServerUnreachable) and error.is_refused):
            refused_since = None
        elif refused_since is None:
            refused_since = now
        failures = 1 if error.code in ONGOING else failures + 1
        pause = pause_s(
            budget.patience,
            error,
            failures=failures,
            left_s=budget.left_s(),
            chance=budget.chance(),
            refused_for_s=None if refused_since is None else now - refused_since,
        )
        if pause is None:
            raise error
        yield Sleep(pause)


def upscaled(
    budget: Budget, source: Source, options: Mapping[str, object], *, is_watched: bool
) -> Steps[Upscaled]:
    """Upscale a picture, following the job to its end if the server makes one.

    The job is cancelled if the call ends sooner.

    Args:
        budget: the time that the call may take.
        source: the picture.
        options: the options of ``UpscaleOptions``.
        is_watched: the caller wants to receive the progress.
    """
    picture: Picture = yield Read(source)
    if is_watched:
        job = yield from _submitted(budget, picture, options)
    else:
        headers = {**_once(), "Prefer": f"wait={_PREFER_S}", "Accept": "image/*"}
        request = picture_request("/v1/upscale", picture, options, headers=headers)
        answer = yield from sent(budget, request)
        if answer.status != 202:
            return upscaled_of(answer)
        job = job_of(answer)
    follow = watched if is_watched else waited
    try:
        job = yield from follow(budget, job)
    except BaseException:
        # Only this call knows of the job, and the call has ended early: by a timeout, Ctrl-C or cancellation.
        with suppress(ClientError):
            yield Send(Request("DELETE", job_path(job.id)), _CANCEL_S)
        raise
    return (yield from _fetched(budget, job))


def submitted(budget: Budget, source: Source, options: Mapping[str, object]) -> Steps[JobStatus]:
    """Submit a picture as a job."""
    picture: Picture = yield Read(source)
    return (yield from _submitted(budget, picture, options))


def _submitted(budget: Budget, picture: Picture, options: Mapping[str, object]) -> Steps[JobStatus]:
    request = picture_request("/v1/jobs", picture, options, headers=_once())
    return job_of((yield from sent(budget, request)))


def _once() -> dict[str, str]:
    """Return an idempotency key, by which the server recognises a retry and does not repeat the work."""
    return {"Idempotency-Key": uuid4().hex}


def job(budget: Budget, job_id: str) -> Steps[JobStatus]:
    """Return the current state of a job."""
    return job_of((yield from sent(budget, Request("GET", job_path(job_id)))))


def job_page(budget: Budget, states: Sequence[str], cursor: str | None) -> Steps[JobPage]:
    """Return a page of the jobs of the client's key, the newest first, starting after ``cursor`` if there is one."""
    query = {"limit": str(_PAGE_JOBS)}
    if states:
        query["state"] = ",".join(states)
    if cursor is not None:
        query["cursor"] = cursor
    return job_page_of((yield from sent(budget, Request("GET", "/v1/jobs", query=query))))


def canceled(budget: Budget, job_id: str) -> Steps[JobStatus]:
    """Cancel a job, or delete the result of a job that is done."""
    return job_of((yield from sent(budget, Request("DELETE", job_path(job_id)))))


def waited(budget: Budget, status: JobStatus) -> Steps[JobStatus]:
    """Poll a job until it ends, and return it. The server holds back each answer until there is something to report."""
    while not status.is_finished:
        asked_at = budget.clock()
        query = {"wait": str(max(1, min(_POLL_S, int(budget.left_s()))))}
        request = Request("GET", job_path(status.id), query=query)
        status = job_of((yield from sent(budget, request, silence_s=2 * _POLL_S + 5)))
        yield Tell(status)
        if not status.is_finished:
            # At most one request a second is sent, even to a server that answers at once.
            yield Sleep(max(0.0, 1 - (budget.clock() - asked_at)))
    return status


def watched(budget: Budget, status: JobStatus) -> Steps[JobStatus]:
    """Report each change of a job until it ends, and return it.

    The job is polled where event streams do not get through.
    """
    yield Tell(status)
    last_id, broken = "", 0
    while not status.is_finished and broken < _BROKEN_STREAMS:
        try:
            request = events_request(job_path(status.id, "events"), last_id)
            answer: Answer = yield Listen(request, min(_EVENTS_SILENCE_S, budget.left_s()))
            if answer.status != 200 or not _is_stream(answer):
                break
            while (event := (yield from _next_event())) is not None:
                budget.left_s()
                if not event.data:  # a block of nothing but ``retry`` or ``id``
                    continue
                last_id, broken = event.id or last_id, 0
                status = after_event(status, event.kind, event.data)
                yield Tell(status)
                if status.is_finished:
                    return status
        except ServerUnreachable:
            budget.left_s()
        broken += 1
        yield Sleep(budget.patience.first_pause_s * (1 + budget.chance()))
    return (yield from waited(budget, status))


def _next_event() -> Steps[Event | None]:
    event: Event | None = yield NextEvent()
    return event


def _is_stream(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").lower().startswith("text/event-stream")


def ended(budget: Budget, job_id: str) -> Steps[JobStatus]:
    """Wait for the end of a job that is known by its id."""
    return (yield from waited(budget, (yield from job(budget, job_id))))


def news(budget: Budget, job_id: str) -> Steps[JobStatus]:
    """Wait for the end of a job that is known by its id, and report each change."""
    return (yield from watched(budget, (yield from job(budget, job_id))))


def news_of_all(budget: Budget, job_ids: Sequence[str]) -> Steps[None]:
    """Report each change of several jobs until all of them have ended.

    They share one stream of events. Where it does not get through, the jobs are polled.
    """
    jobs: dict[str, JobStatus] = {}
    for job_id in dict.fromkeys(job_ids):
        jobs[job_id] = yield from _told(budget, job_id)
    last_id, broken = "", 0
    while open_ := [id_ for id_, status in jobs.items() if not status.is_finished][:_STREAM_JOBS]:
        is_stream = False
        try:
            request = events_request("/v1/events", last_id, open_)
            answer: Answer = yield Listen(request, min(_EVENTS_SILENCE_S, budget.left_s()))
            is_stream = answer.status == 200 and _is_stream(answer)
            while is_stream and (event := (yield from _next_event())) is not None:
                budget.left_s()
                about = job_id_of(event.data)
                if about not in jobs:  # also a block of nothing but ``retry`` or ``id``
                    continue
                last_id, broken = event.id or last_id, 0
                jobs[about] = after_event(jobs[about], event.kind, event.data)
                yield Tell(jobs[about])
        except ServerUnreachable:
            budget.left_s()
        if all(jobs[job_id].is_finished for job_id in open_):
            continue
        broken += 1
        yield Sleep(budget.patience.first_pause_s * (1 + budget.chance()))
        if not is_stream or broken >= _BROKEN_STREAMS:
            # A job that ended before it was in a stream is not accepted in one: the answer is 422.
            for job_id in open_:
                jobs[job_id] = yield from _told(budget, job_id)


def _told(budget: Budget, job_id: str) -> Steps[JobStatus]:
    status = yield from job(budget, job_id)
    yield Tell(status)
    return status


def tiles(budget: Budget, job_id: str) -> Steps[tuple[Tile, ...]]:
    """Return the finished tiles of a job that is queued or running."""
    return tiles_of((yield from sent(budget, Request("GET", job_path(job_id, "tiles")))))


def preview(budget: Budget, path: str, max_side: int | None) -> Steps[bytes]:
    """Return a JPEG file: a preview of an input or a result, or a tile."""
    return preview_of((yield from sent(budget, preview_request(path, max_side))))


def result(budget: Budget, job_id: str) -> Steps[Upscaled]:
    """Wait for a job and return its picture."""
    return (yield from _fetched(budget, (yield from ended(budget, job_id))))


def _fetched(budget: Budget, status: JobStatus) -> Steps[Upscaled]:
    status.check()
    request = Request("GET", job_path(status.id, "result"))
    return upscaled_of((yield from sent(budget, request)))


def estimated(
    budget: Budget,
    source: Source | None,
    size_px: tuple[int, int] | None,
    options: Mapping[str, object],
) -> Steps[Estimate]:
    """Return the expected cost of a request, for a picture or only for a size.

    Raises:
        InvalidOption: both are given, or neither.
    """
    path = "/v1/estimate"
    if source is not None and size_px is None:
        picture: Picture = yield Read(source)
        request = picture_request(path, picture, options)
    elif source is None and size_px is not None:
        width, height = size_px
        request = json_request(path, {**options, "input": {"width": width, "height": height}})
    else:
        raise InvalidOption("give either a picture or size_px=(width, height)")
    return estimate_of((yield from sent(budget, request)))


def models(budget: Budget) -> Steps[Models]:
    """Return the models on the server."""
    return models_of((yield from sent(budget, Request("GET", "/v1/models"))))


def status(budget: Budget) -> Steps[dict[str, Any]]:
    """Return the server's status."""
    return json_of((yield from sent(budget, Request("GET", "/status"))))


def health(budget: Budget) -> Steps[dict[str, Any]]:
    """Ask once whether the server can work. A 503 is an ordinary answer here."""
    return json_of((yield Send(Request("GET", "/health"), min(_SILENCE_S, budget.left_s()))))
