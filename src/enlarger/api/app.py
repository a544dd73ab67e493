"""The gateway as a Quart application."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from quart import Quart, Response, g, request
from quart.wrappers import BaseRequestWebsocket
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from enlarger import __version__
from enlarger.api import compatible, dialects
from enlarger.api.callers import SECRET_FOLDERS, Callers, caller_of
from enlarger.api.dialects import DialectContext
from enlarger.api.document.routes import DocumentRoutes
from enlarger.api.downloads import download, typed_as_accepted
from enlarger.api.facts import server_timing
from enlarger.api.metrics import Metrics
from enlarger.api.rates import Rates
from enlarger.api.streaming import FileText, file_chunks, sha256_of, with_files
from enlarger.api.traced import traced
from enlarger.api.v1 import V1
from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.api.v1.batches import BATCHES
from enlarger.api.v1.batches import LIMIT_BYTES as BATCH_LIMIT_BYTES
from enlarger.api.v1.problems import MEDIA_TYPE as PROBLEM
from enlarger.api.v1.problems import linked, problem, problem_of
from enlarger.api.v1.routes import PREFIXES
from enlarger.asgi.access import Access, note
from enlarger.asgi.bodies import TOO_SLOW, Answer, AsgiApp, LimitedBodies, Scope
from enlarger.asgi.cors import Cors
from enlarger.asgi.encodings import TAKEN, DecodedBodies
from enlarger.asgi.heads import LIMIT_BYTES, TOO_LONG, Http2Heads
from enlarger.asgi.request_ids import HEADER, follow, id_of, request_id
from enlarger.asgi.server import Lifecycle
from enlarger.config import Settings
from enlarger.engine.status import EngineStatus, ready_count
from enlarger.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CapacityError,
    Draining,
    EnlargerError,
    StorageFull,
    UnsupportedEncoding,
    reason_of,
)
from enlarger.jobs import Batches, Jobs
from enlarger.jobs.job import State
from enlarger.models import Catalogue
from enlarger.options import SCALES
from enlarger.page.routes import PageRoutes
from enlarger.picture.encode import MEDIA_TYPES
from enlarger.picture.values import FORMATS
from enlarger.pipeline.pipeline import Pipeline
from enlarger.repeated import Repeated
from enlarger.request import UpscaleRequest
from enlarger.store import Store
from enlarger.threads import in_thread

log = structlog.get_logger()

_SEND_TIMEOUT_S = 600

_GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What a browser may do with an answer: show it, as what it says it is."""

_PROBES = ("/health", "/health-check", "/livez", "/readyz", "/metrics")
"""Paths that orchestrators and Prometheus ask again and again."""

_PICTURES = (
    *("/upscale", "/v1/upscale", "/v1/compare", "/v1/jobs", BATCHES),
    *dialects.PICTURES,
)
"""Rules of the routes that make pictures, now or later: all that charge."""

_SENT = (
    *("Authorization", "X-API-Key", "X-Request-Id", "Content-Type", "Content-Encoding", "Accept"),
    *(
        "If-None-Match",
        "If-Range",
        "Range",
        "Cache-Control",
        "Prefer",
        "Idempotency-Key",
        "Last-Event-ID",
        "traceparent",
    ),
)
"""Headers of a request that a page of another origin may send."""

_EXPOSED = (
    *("X-Request-Id", "Location", "Retry-After", "ETag", "Content-Disposition", "Allow"),
    *("WWW-Authenticate", "Server-Timing", "RateLimit", "RateLimit-Policy", "Preference-Applied"),
    *("Idempotency-Replayed", "X-Upscale-Placeholder", "Accept-Ranges", "Content-Range", "Expires"),
    *FIDELITY_HEADERS,
)
"""Headers of an answer that it may read."""

_NAMES = {"jpeg": ("jpg", "jpeg")}
"""Formats that people know by two names."""


@dataclass(kw_only=True)
class Gateway:
    """The routes, over parts that the composition root made."""

    pipeline: Pipeline
    jobs: Jobs
    batches: Batches
    rates: Rates
    engines: EngineStatus
    store: Store
    catalogue: Catalogue
    executor: ThreadPoolExecutor
    workers: int
    """Size of the decode and encode pool."""

    sweeper: asyncio.Task[None]
    service: Lifecycle
    metrics: Metrics
    settings: Settings
    _refused: defaultdict[str, Repeated] = field(default_factory=partial(defaultdict, Repeated))
    """By code: what keeps us from work now, and is refused again and again."""

    def asgi(self) -> AsgiApp:
        """The ASGI application."""
        app = _App(__name__)
        app.url_map.merge_slashes = False  # it would answer with a redirect, in HTML
        # Bodies are limited before they reach Quart; an answer may take as long as a slow reader needs.
        app.config.update(
            MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=_SEND_TIMEOUT_S
        )
        app.json.sort_keys = False  # type: ignore[attr-defined]
        follow(app)
        app.after_request(self._end)
        app.register_error_handler(EnlargerError, self._refuse)
        app.register_error_handler(HTTPException, self._http_error)
        app.register_error_handler(Exception, self._unexpected)
        app.add_url_rule("/upscale", view_func=traced(self.upscale), methods=["GET", "POST"])
        app.add_url_rule("/health", view_func=self.health)
        app.add_url_rule("/livez", view_func=self.livez)
        app.add_url_rule("/readyz", view_func=self.readyz)
        app.add_url_rule("/metrics", view_func=self.show_metrics)
        app.add_url_rule("/status", view_func=self.status)
        app.add_url_rule("/cleanup", view_func=self.cleanup, methods=["POST"])
        app.add_url_rule("/files/<name>", view_func=self.file)
        self._v1 = V1(
            pipeline=self.pipeline,
            jobs=self.jobs,
            batches=self.batches,
            engines=self.engines,
            store=self.store,
            catalogue=self.catalogue,
            executor=self.executor,
            public_url=self.settings.server.public_url,
            sync_limit_s=self.settings.limits.sync_limit_s,
            has_webhooks=self.settings.has_webhooks,
            charge=self.rates.charge,
            done=self.metrics.done,
        )
        self._v1.register(app)
        dialects.register(
            app,
            DialectContext(
                pipeline=self.pipeline,
                store=self.store,
                catalogue=self.catalogue,
                executor=self.executor,
                public_url=self.settings.server.public_url,
                charge=self.rates.charge,
                done=self.metrics.done,
                failed=self._note,
                reason=self._reason,
            ),
        )
        server = self.settings.server
        PageRoutes(self.executor, server.page_title, server.page == "on").register(app)
        DocumentRoutes(app, self.executor, server.public_url).register()
        self.app = app
        limit_bytes = self.settings.limits.body_limit_bytes
        others_bytes = {BATCHES: max(BATCH_LIMIT_BYTES, limit_bytes)}
        plain = DecodedBodies(
            app,
            executor=self.executor,
            limit_bytes=limit_bytes,
            others_bytes=others_bytes,
            refuse=self._refuse_raw,
        )
        limited = LimitedBodies(
            plain, limit_bytes=limit_bytes, others_bytes=others_bytes, refuse=self._refuse_body
        )
        callers = Callers(
            self.settings.access.api_keys,
            self.settings.access.trusted_proxies,
            self.settings.access.signing_keys,
            self.settings.access.proxy_header,
        )
        gated = callers.gate(limited, self._refuse_raw)
        origins = self.settings.access.cors_origins
        outer = Cors(gated, origins, sent=_SENT, exposed=_EXPOSED) if origins else gated
        accessed = Access(
            outer, address=callers.address, is_routine=_is_probe, secret_folders=SECRET_FOLDERS
        )
        return Http2Heads(accessed, self.refuse_head)

    async def upscale(self) -> Response:
        """``POST /upscale``, ``GET /upscale``: A.1."""
        job, inline = await self._job()
        caller = caller_of(request.scope)
        job = replace(job, skip_cache=bool(request.cache_control.no_cache), owner=caller.owner)
        outcome = await self.pipeline.run(job, charge=partial(self.rates.charge, caller.id))
        self.metrics.done(outcome)
        answer = compatible.answer(
            outcome,
            scale=job.options.scale or 1,
            settings=self.settings.server,
            request_id=g.request_id,
            left_s=self.store.left_s(outcome.stored),
        )
        headers = {"Content-Type": "application/json", "Server-Timing": server_timing(outcome)}
        if not inline:
            return Response(json.dumps(answer), headers=headers)
        file = self.store.open(outcome.stored)  # now, while it can still be told if it is gone
        chunks = file_chunks(lambda: file, self.executor)
        answer["base64"] = FileText(chunks, outcome.stored.size_bytes)
        length, body = with_files(answer, self.executor)
        return Response(body, headers={**headers, "Content-Length": str(length)})

    async def _job(self) -> tuple[UpscaleRequest, bool]:
        """What is asked for, and whether the answer carries base64. A picture may be ten megabytes of text."""
        if request.method == "GET" and request.args:
            fields, strict = compatible.parse_query(request.args), False
        else:
            body = await request.get_data(cache=False, as_text=False)
            fields, strict = (
                await in_thread(
                    self.executor, compatible.parse_body, request.headers.get("Content-Type"), body
                ),
                True,
            )
        parse = partial(
            compatible.parse_job,
            catalogue=self.catalogue,
            request_id=g.request_id,
            strict=strict,
        )
        return await in_thread(self.executor, parse, fields)

    async def health(self) -> tuple[dict[str, Any], int]:
        """``GET /health``: A.4."""
        reason = self._reason()
        return {
            "status": "unhealthy" if reason else "healthy",
            "timestamp": round(time.time(), 2),
            "max_file_size_mb": self.settings.limits.max_file_size_bytes / (1 << 20),
            "max_dimension": self.settings.limits.max_image_dimension_px,
            "supported_scales": list(SCALES),
            "cleanup_interval_minutes": self.settings.server.cleanup_interval_s / 60,
            "file_max_age_minutes": self.settings.server.file_max_age_s / 60,
            "model_servers": len(self.engines.servers),
            "model_servers_ready": ready_count(self.engines),
            "reason": reason,
            "version": __version__,
        }, 503 if reason else 200

    def _reason(self) -> str | None:
        """Why the gateway is not healthy, or None."""
        if self.service.draining:
            return "draining"
        servers = self.engines.servers
        if any(server.is_ready for server in servers):
            return None
        return "starting" if any(server.may_return for server in servers) else "no_engine_ready"

    async def livez(self) -> dict[str, Any]:
        """``GET /livez``: 200 while the event loop turns; if not, start it again."""
        return {"alive": True}

    async def readyz(self) -> tuple[dict[str, Any], int]:
        """``GET /readyz``: 200 while it takes work; if not, send it none."""
        reason = self._reason()
        return {
            "ready": reason is None,
            "reason": reason,
            "servers_ready": ready_count(self.engines),
            "servers": len(self.engines.servers),
        }, 503 if reason else 200

    async def show_metrics(self) -> Response:
        """``GET /metrics``, for Prometheus."""
        jobs: dict[State, int] = {}
        with contextlib.suppress(EnlargerError):  # the database is away; all else can be told
            jobs = await self.jobs.counts()
        return self.metrics.answer(jobs)

    async def status(self) -> dict[str, Any]:
        """``GET /status``: A.5."""
        files = await in_thread(self.executor, self.store.files)
        load = self.pipeline.load
        return {
            "status": "running",
            "model_servers": len(self.engines.servers),
            "thread_pool_workers": self.workers,
            "supported_formats": [
                name for format_ in FORMATS for name in _NAMES.get(format_, (format_,))
            ],
            "cleanup_task_running": not self.sweeper.done(),
            "upload_folder_stats": {
                "total_files": len(files),
                "total_size_mb": round(sum(file.size_bytes for file in files) / (1 << 20), 2),
            },
            "limits": {
                "max_file_size_mb": self.settings.limits.max_file_size_bytes / (1 << 20),
                "max_dimension": self.settings.limits.max_image_dimension_px,
                "cleanup_interval_minutes": self.settings.server.cleanup_interval_s / 60,
                "file_max_age_minutes": self.settings.server.file_max_age_s / 60,
            },
            "model_servers_ready": ready_count(self.engines),
            "queue": {
                "requests": load.requests,
                "megapixels": round(self.pipeline.queued_px / 1e6, 2),
            },
            "version": __version__,
            "servers": [
                {
                    "id": number,
                    "name": server.name,
                    "state": server.shown_state,
                    "tiles_in_flight": server.tiles_in_flight,
                    "tiles_done": server.tiles_done,
                    "strikes": server.strikes,
                    "rss_mb": _mb(server.rss_bytes),
                }
                for number, server in enumerate(self.engines.servers)
            ],
        }

    async def cleanup(self) -> tuple[dict[str, Any], int]:
        """``POST /cleanup``: A.6."""
        try:
            sweep = await in_thread(self.executor, self.store.sweep)
        except OSError as error:
            log.warning("cleanup_failed", reason=reason_of(error))
            return _error_body(
                "Manual cleanup failed: the folder of results cannot be read", "internal_error"
            ), 500
        return {"success": True, "deleted_files": sweep.deleted, "errors": list(sweep.errors)}, 200

    async def file(self, name: str) -> Response | tuple[dict[str, Any], int]:
        """``GET /files/{token}.{ext}``: A.3."""
        stored = await in_thread(self.executor, self.store.find, name)
        if stored is None:  # the result of a job that another gateway ran, or ran long ago
            record = await self.jobs.by_file_name(name)
            return self._v1.job_routes.picture(record) if record else _not_found()
        try:
            sha256 = await in_thread(self.executor, _sha256, stored.path)
        except OSError:  # it expired just now
            return _not_found()
        return download(
            request.headers,
            request.method,
            etag=f'"sha256-{sha256}"',
            size_bytes=stored.size_bytes,
            headers={
                "Content-Type": MEDIA_TYPES[stored.path.suffix],
                "Cache-Control": f"private, max-age={int(self.store.left_s(stored))}, immutable",
                "Content-Disposition": "inline",
            },
            read=partial(file_chunks, partial(self.store.open, stored), self.executor),
        )

    async def _refuse(self, error: EnlargerError) -> tuple[dict[str, Any], int, dict[str, str]]:
        """The one place where an error of ours becomes an answer."""
        self._note(error)
        return self._linked(_error_answer(request.path, error, request_id=g.request_id))

    def _note(self, error: EnlargerError) -> None:
        """A request ended with an error."""
        note(request.scope, code=error.code)
        self._log_refusal(error, g.request_id)
        self.metrics.failed(error.code)

    def _log_refusal(self, error: EnlargerError, request_id: str) -> None:
        left_out: int | None = 0
        if isinstance(error, CapacityError | StorageFull):
            left_out = self._refused[error.code].occurred()
        if left_out is not None:
            log.info(
                "refused",
                code=error.code,
                reason=reason_of(error),
                request_id=request_id,
                left_out=left_out,
            )

    async def _unexpected(self, error: Exception) -> tuple[dict[str, Any], int, dict[str, str]]:
        if (
            self.service.is_stopped
        ):  # a second signal, or no time left: what fails now was taken apart
            return await self._refuse(Draining("the server was stopped; try again later"))
        note(request.scope, code="internal_error")
        log.error("internal_error", exc_info=error)
        self.metrics.failed("internal_error")
        ours = EnlargerError("Internal server error")
        return self._linked(_error_answer(request.path, ours, request_id=g.request_id))

    async def _http_error(self, error: HTTPException) -> tuple[dict[str, Any], int, dict[str, str]]:
        return self._linked(await http_error(error))

    def _linked(
        self, answer: tuple[dict[str, Any], int, dict[str, str]]
    ) -> tuple[dict[str, Any], int, dict[str, str]]:
        """An error whose links lead to ``ENLARGER_PUBLIC_URL``; those of the compatible routes have none."""
        body, status, headers = answer
        if headers.get("Content-Type") == PROBLEM:
            body = linked(body, self.settings.server.public_url)
        return body, status, headers

    async def _end(self, response: Response) -> Response:
        for name, value in _GUARDS.items():
            response.headers.setdefault(name, value)
        response = typed_as_accepted(response, request.accept_mimetypes)
        # By path too: a request with another method has no rule.
        if request.path in _PICTURES or str(request.url_rule) in _PICTURES:
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.update(self.rates.headers(caller_of(request.scope).id))
        return response

    def _refuse_body(self, scope: Scope, status: int) -> Answer:
        """The answer to a body that is too large or too slow."""
        limit_bytes = self.settings.limits.body_limit_bytes
        if scope["path"] == BATCHES:
            limit_bytes = max(BATCH_LIMIT_BYTES, limit_bytes)
        return self._refuse_raw(
            scope,
            BodyTooSlow("Request body came too slowly")
            if status == TOO_SLOW
            else BodyTooLarge(f"Request body too large (max: {limit_bytes})", limit=limit_bytes),
        )

    def _refuse_raw(self, scope: Scope, error: EnlargerError) -> Answer:
        """The answer to a request that does not get as far as Quart."""
        request_id = id_of(scope)
        note(scope, code=error.code)
        self._log_refusal(error, request_id)
        self.metrics.failed(error.code)
        body, status, headers = self._linked(
            _error_answer(scope["path"], error, request_id=request_id)
        )
        if isinstance(error, UnsupportedEncoding):
            headers = {**headers, "Accept-Encoding": ", ".join(TAKEN)}  # RFC 9110, section 15.5.16
        return _raw_answer(request_id, body, status, headers)

    def refuse_head(self, status: int) -> Answer:
        """The answer to a request whose head is too long, or is none: nothing is known of it."""
        known = HTTPStatus(status)
        code, id_ = known.name.lower(), request_id(None)
        text = _HEADS.get(status, known.phrase.capitalize())
        log.info("refused", code=code, reason=text, request_id=id_, left_out=0)
        self.metrics.failed(code)
        body = problem(code, text, status=status, request_id=id_)
        return _raw_answer(
            id_, linked(body, self.settings.server.public_url), status, {"Content-Type": PROBLEM}
        )


_HEADS = {
    400: "Bad request: this is no HTTP request that can be read",
    TOO_LONG: f"Request head too long: its first line and headers may have {LIMIT_BYTES} bytes in all; "
    "send a shorter URL, or fewer cookies and other headers; a picture belongs into the body",
}
"""What is wrong with heads, and what is allowed."""


class _App(Quart):
    """Finds routes by their path, whatever host the request names."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """As Quart's own, which fails on a ``Host`` that is none before it comes to an error handler."""
        if request is None:
            return super().create_url_adapter(None)
        return self.url_map.bind(
            "any", None, None, request.scheme, request.method, request.path, None
        )


async def http_error(error: HTTPException) -> tuple[dict[str, Any], int, dict[str, str]]:
    """What HTTP itself decides, in its words: no such route, not with that method, not a request at all."""
    status = HTTPStatus(error.code or 500)
    text, code = status.phrase.capitalize(), status.name.lower()
    if status >= 500:
        text, code = "Internal server error", "internal_error"
    methods = getattr(error, "valid_methods", None) or ()
    headers = {"Allow": ", ".join(sorted(methods))} if methods else {}
    note(request.scope, code=code)
    body = problem(code, text, status=status, request_id=g.request_id)
    in_dialect = dialects.in_words_of(request.path, (body, status, headers))
    if in_dialect is not None:
        return in_dialect
    if not request.path.startswith(PREFIXES):
        return _error_body(text, code), status, headers
    return body, status, {**headers, "Content-Type": PROBLEM}


def _is_probe(path: str, status: int) -> bool:
    """Whether a program looks how we are, every second, and is told."""
    return path in _PROBES and status in (200, 503)


def _mb(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else round(size_bytes / (1 << 20), 1)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return sha256_of(file)


def _not_found() -> tuple[dict[str, Any], int]:
    note(request.scope, code="not_found")
    return _error_body("Not found", "not_found"), 404


def _error_answer(
    path: str, error: EnlargerError, *, request_id: str
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Body, status and headers in the words of the contract that the path belongs to."""
    answer = problem_of(error, request_id=request_id)
    if path.startswith(PREFIXES):
        return dialects.in_words_of(path, answer) or answer
    return dialects.in_words_of(path, answer) or compatible.error_answer(
        error, request_id=request_id
    )


def _error_body(text: str, code: str) -> dict[str, Any]:
    return {"error": text, "code": code, "retryable": False, "request_id": g.request_id}


def _raw_answer(id_: str, body: dict[str, Any], status: int, headers: dict[str, str]) -> Answer:
    """An answer that does not go through Quart."""
    fields = {
        "content-type": "application/json",
        "cache-control": "no-store",
        HEADER.lower(): id_,
        **{name.lower(): value for name, value in (_GUARDS | headers).items()},
    }
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    return status, encoded, json.dumps(body).encode()
