"""A small server that speaks the job routes of the contract (B.1, B.3 to B.5, B.7), and misbehaves where it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web
from PIL import Image

from enlarger.errors import EnlargerError, by_code
from support.fakes import nearest
from support.pictures import encoded

TILES = 4

UNFINISHED = ("queued", "running")


@dataclass
class MadeJob:
    """A job, and all events that there were of it."""

    id: str
    picture: bytes
    scale: int
    problem: dict[str, Any] | None = None
    """The problem with which the job will fail."""

    state: str = "queued"
    tiles_done: int = 0
    result: bytes = b""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def progress(self) -> dict[str, Any]:
        """Return the data of a progress event."""
        total = None if self.state == "queued" else TILES
        return {
            "stage": "infer" if self.state == "running" else None,
            "progress": {
                "tiles_done": self.tiles_done,
                "tiles_total": total,
                "fraction": self.tiles_done / TILES,
            },
            "queue": {"position": 1 if self.state == "queued" else None, "length": 0},
            "eta_s": None if self.state == "queued" else 0.5 * (TILES - self.tiles_done),
        }

    def told(self) -> dict[str, Any]:
        """The whole job, as E5 has it."""
        path = f"/v1/jobs/{self.id}"
        return {
            "id": self.id,
            "state": self.state,
            "created_at": "2026-11-22T10:30:00Z",
            **self.progress(),
            "error": self.problem if self.state == "failed" else None,
            "links": {"self": path, "events": f"{path}/events", "result": f"{path}/result"},
        }

    async def tell(self, kind: str) -> None:
        """Add an event."""
        async with self.changed:
            self.events.append((kind, self.told() if kind == "state" else self.progress()))
            self.changed.notify_all()


def problem_of(error: type[EnlargerError] | None, code: str, status: int) -> dict[str, Any]:
    """A problem object of B.9."""
    return {
        "type": f"/errors/{code}",
        "status": status,
        "code": code,
        "detail": f"the text of {code}",
        "retryable": error.retryable if error is not None else False,
        "request_id": "r-fake",
    }


class JobServer:
    """Makes a job of each picture: four tiles, then the picture with each pixel repeated."""

    def __init__(self) -> None:
        self.gate: asyncio.Event | None = None
        """Jobs wait for it before their first tile."""

        self.listeners_open_gate = False

        self.jobs: dict[str, MadeJob] = {}
        self.keys: dict[str, str] = {}
        """Job by ``Idempotency-Key``."""

        self.asked: list[web.Request] = []
        """All requests, in order."""

        self.refusals: list[tuple[int, str, dict[str, str]]] = []
        """Status, code and headers of the answers to the next requests."""

        self.lose_answers = 0
        """So many POSTs are carried out, and their connection breaks before the answer."""

        self.break_after: int | None = None
        """Events after which a stream's connection breaks."""

        self.has_events = True
        self.fail_with: str | None = None
        """The code that jobs fail with."""

        self.damage: Callable[[bytes], bytes] = lambda data: data
        """What happens to results on their way."""

        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def __aenter__(self) -> JobServer:
        app = web.Application(middlewares=[self._first], client_max_size=1 << 24)
        app.router.add_post("/v1/upscale", self._submit)
        app.router.add_post("/v1/jobs", self._submit)
        app.router.add_get("/v1/jobs/{id}", self._job)
        app.router.add_delete("/v1/jobs/{id}", self._cancel)
        app.router.add_get("/v1/jobs/{id}/events", self._events)
        app.router.add_get("/v1/jobs/{id}/result", self._result)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    def count(self, method: str, ending: str = "") -> int:
        """Requests of a kind so far."""
        return sum(one.method == method and one.path.endswith(ending) for one in self.asked)

    @web.middleware
    async def _first(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request)
        if self.refusals:
            status, code, headers = self.refusals.pop(0)
            return _problem(status, code, headers)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        key = request.headers.get("Idempotency-Key", "")
        job = self.jobs.get(self.keys.get(key, ""))
        if job is None:
            problem = self.fail_with and problem_of(by_code(self.fail_with), self.fail_with, 422)
            name = f"job_{len(self.jobs) + 1:032x}"
            job = MadeJob(name, body, int(float(request.query.get("scale", "2"))), problem or None)
            self.jobs[name] = job
            self.keys[key] = name
            await job.tell("state")
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
        if self.lose_answers:
            self.lose_answers -= 1
            _break(request)
        headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": "1"}
        return web.json_response(job.told(), status=202, headers=headers)

    async def _run(self, job: MadeJob) -> None:
        if self.gate is not None:
            await self.gate.wait()
        job.state = "running"
        await job.tell("state")
        for done in range(1, TILES + 1):
            await asyncio.sleep(0)
            if job.state != "running":
                return
            job.tiles_done = done
            await job.tell("progress")
        if job.problem is None:
            job.result = encoded(nearest(_samples(job.picture), job.scale))
        job.state = "failed" if job.problem else "succeeded"
        await job.tell("state")

    def _find(self, request: web.Request) -> MadeJob | None:
        return self.jobs.get(request.match_info["id"])

    async def _job(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        if job is None:
            return _problem(404, "not_found", {})
        with suppress(TimeoutError):
            async with asyncio.timeout(float(request.query.get("wait", "0"))), job.changed:
                await job.changed.wait_for(lambda: job.state not in UNFINISHED)
        return web.json_response(job.told())

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        if job is None:
            return _problem(404, "not_found", {})
        if job.state in UNFINISHED:
            job.state = "canceled"
            await job.tell("state")
        elif job.state == "succeeded":
            job.state = "expired"
        return web.json_response(job.told())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        if job is None or not self.has_events:
            return _problem(404, "not_found", {})
        if self.gate is not None and self.listeners_open_gate:
            self.gate.set()
        number = int(request.headers.get("Last-Event-ID", "0"))
        if number == len(job.events) and job.state not in UNFINISHED:
            return web.Response(status=204)
        answer = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await answer.prepare(request)
        await answer.write(b"retry: 2000\n\n: ping\n\n")
        told = 0
        while True:
            if told == self.break_after:
                _break(request)
            async with job.changed:
                while len(job.events) <= number:
                    await job.changed.wait()
            kind, fields = job.events[number]
            number += 1
            told += 1
            text = f"id: {number}\nevent: {kind}\ndata: {json.dumps(fields)}\n\n"
            await answer.write(text.encode())
            if kind == "state" and fields["state"] not in UNFINISHED:
                return answer

    async def _result(self, request: web.Request) -> web.StreamResponse:
        job = self._find(request)
        if job is None:
            return _problem(404, "not_found", {})
        if job.state in UNFINISHED:
            return _problem(409, "job_not_finished", {"Retry-After": "0"}, is_retryable=True)
        if job.state == "expired":
            return _problem(410, "result_expired", {})
        if job.state != "succeeded":
            return _problem(409, "job_without_result", {})
        height_px, width_px = _samples(job.picture).shape[:2]
        headers = {
            "Content-Type": "image/png",
            "ETag": f'"sha256-{hashlib.sha256(job.result).hexdigest()}"',
            "X-Request-Id": "r-fake",
            "X-Upscale-Model": "realesrgan-x4plus",
            "X-Upscale-Precision": "f32",
            "X-Upscale-Tiles": f"{TILES};servers=1;retried=0",
            "X-Upscale-Notes": "resampled, exif_dropped",
            "X-Origin-Width": str(width_px),
            "X-Origin-Height": str(height_px),
            "X-Result-Width": str(width_px * job.scale),
            "X-Result-Height": str(height_px * job.scale),
        }
        return web.Response(body=self.damage(job.result), headers=headers)


def _samples(picture: bytes) -> Any:
    from io import BytesIO

    with Image.open(BytesIO(picture)) as image:
        return np.asarray(image.convert("RGB"))


def _problem(
    status: int, code: str, headers: dict[str, str], *, is_retryable: bool | None = None
) -> web.Response:
    problem = problem_of(by_code(code), code, status)
    if is_retryable is not None:
        problem["retryable"] = is_retryable
    return web.json_response(
        problem, status=status, headers=headers, content_type="application/problem+json"
    )


def _break(request: web.Request) -> None:
    """Break the connection, as a server that dies does."""
    if request.transport is not None:
        request.transport.close()
    raise ConnectionResetError
