"""The routes of the original service: ``/upscale``, ``/files``, ``/health``, ``/status`` and ``/cleanup``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from quart import Response, abort, g, request

from enlarger import __version__
from enlarger.api.compatible import schemas
from enlarger.api.compatible.answers import answer
from enlarger.api.compatible.requests import parse_body, parse_job, parse_query
from enlarger.api.downloads import download
from enlarger.api.previews import ResultPreviews, max_side_px, preview_answer
from enlarger.api.probes import Reason
from enlarger.api.streaming import FileText
from enlarger.api.upscaling import Upscaler
from enlarger.config import Settings
from enlarger.engine.status import EngineStatus, ready_count
from enlarger.errors import EnlargerError, ResultLost, StorageUnavailable
from enlarger.jobs import Job, Jobs
from enlarger.options import SCALES
from enlarger.picture.formats import MEDIA_TYPES
from enlarger.picture.values import FORMATS
from enlarger.reasons import reason_of
from enlarger.request import UpscaleRequest
from enlarger.threads import in_thread

log = structlog.get_logger()

_NAMES = {"jpeg": ("jpg", "jpeg")}
"""Formats with two usual names."""


@dataclass(frozen=True, kw_only=True)
class CompatibleRoutes:
    """The handlers of the compatible contract."""

    upscaler: Upscaler
    previews: ResultPreviews
    jobs: Jobs
    engines: EngineStatus
    settings: Settings
    workers: int
    """Threads that decode and encode."""

    sweeper: asyncio.Task[None]
    """The task that deletes old results."""

    reason: Callable[[], Reason | None]
    """Why the gateway takes no work now, or None."""

    job_picture: Callable[[Job], Awaitable[Response]]
    """Responds with the result of a job."""

    @property
    def _executor(self) -> Executor:
        return self.upscaler.executor

    async def upscale(self) -> Response:
        """``POST /upscale``, ``GET /upscale``: A.1."""
        store = self.upscaler.store
        job, inline = await self._asked()
        outcome = await self.upscaler.make(job)
        body = answer(
            outcome,
            scale=job.options.scale or 1,
            settings=self.settings.server,
            request_id=g.request_id,
            left_s=store.left_s(outcome.stored),
        )
        if inline:
            # The file is opened now, while its absence can still be an error.
            chunks = await store.open(outcome.stored)
            body["base64"] = FileText(chunks, outcome.stored.size_bytes)
        return self.upscaler.answer(body, outcome)

    async def _asked(self) -> tuple[UpscaleRequest, bool]:
        """What the request asks for, and whether the answer carries base64."""
        fields: Any
        strict = request.method != "GET" or not request.args
        if strict:
            # On a thread: a picture may be ten megabytes of text.
            body = await request.get_data(cache=False, as_text=False)
            content_type = request.headers.get("Content-Type")
            fields = await in_thread(self._executor, parse_body, content_type, body)
        else:
            fields = parse_query(request.args)
        parse = partial(
            parse_job,
            catalogue=self.upscaler.catalogue,
            request_id=g.request_id,
            strict=strict,
        )
        return await in_thread(self._executor, parse, fields)

    async def file(self, name: str) -> Response:
        """``GET /files/{token}.{ext}``: A.3."""
        store = self.upscaler.store
        stored = await store.find(name)
        if stored is not None:
            cached = f"private, max-age={int(store.left_s(stored))}, immutable"
            with suppress(ResultLost):
                if (side_px := max_side_px(request.args)) is not None:
                    small = await self.previews.of(stored, side_px)
                    return await preview_answer(small, {"Cache-Control": cached})
                return await download(
                    request.headers,
                    request.method,
                    etag=f'"sha256-{stored.sha256}"',
                    size_bytes=stored.size_bytes,
                    headers={
                        "Content-Type": MEDIA_TYPES[stored.suffix],
                        "Cache-Control": cached,
                        "Content-Disposition": "inline",
                    },
                    read=partial(store.open, stored),
                )
        # The result of a job may have been deleted, or be of an earlier version.
        record = await self.jobs.by_file_name(name)
        return await self.job_picture(record) if record else abort(404)

    async def health(self) -> tuple[schemas.Health, int]:
        """``GET /health``: A.4."""
        reason, limits = self.reason(), self.settings.limits
        return {
            "status": "unhealthy" if reason else "healthy",
            "timestamp": round(time.time(), 2),
            "max_file_size_mb": limits.max_file_size_bytes / (1 << 20),
            "max_dimension": limits.max_image_dimension_px,
            "supported_scales": list(SCALES),
            "cleanup_interval_minutes": self.settings.server.cleanup_interval_s / 60,
            "file_max_age_minutes": self.settings.server.file_max_age_s / 60,
            "model_servers": len(self.engines.servers),
            "model_servers_ready": ready_count(self.engines),
            "reason": reason,
            "version": __version__,
        }, 503 if reason else 200

    async def status(self) -> schemas.Status:
        """``GET /status``: A.5."""
        pipeline, limits = self.upscaler.pipeline, self.settings.limits
        sizes_bytes = await self.upscaler.store.usage()
        return {
            "status": "running",
            "model_servers": len(self.engines.servers),
            "thread_pool_workers": self.workers,
            "supported_formats": [
                name for format_ in FORMATS for name in _NAMES.get(format_, (format_,))
            ],
            "cleanup_task_running": not self.sweeper.done(),
            "upload_folder_stats": {
                "total_files": len(sizes_bytes),
                "total_size_mb": _mb(sum(sizes_bytes), 2),
            },
            "limits": {
                "max_file_size_mb": limits.max_file_size_bytes / (1 << 20),
                "max_dimension": limits.max_image_dimension_px,
                "cleanup_interval_minutes": self.settings.server.cleanup_interval_s / 60,
                "file_max_age_minutes": self.settings.server.file_max_age_s / 60,
            },
            "model_servers_ready": ready_count(self.engines),
            "queue": {
                "requests": pipeline.load.requests,
                "megapixels": round(pipeline.queued_px / 1e6, 2),
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
                    "device": None if server.facts is None else server.facts.device.id,
                    "device_class": None
                    if server.facts is None
                    else server.facts.device.tile_class,
                    "rss_mb": None if server.rss_bytes is None else _mb(server.rss_bytes, 1),
                }
                for number, server in enumerate(self.engines.servers)
            ],
        }

    async def cleanup(self) -> tuple[schemas.Swept | schemas.Refusal, int]:
        """``POST /cleanup``: A.6."""
        try:
            sweep = await self.upscaler.store.sweep()
        except StorageUnavailable as error:
            text = f"Manual cleanup failed: {error}"
            raise StorageUnavailable(text, retry_after_s=error.retry_after_s) from error
        except (OSError, EnlargerError) as error:
            log.warning("cleanup_failed", reason=reason_of(error))
            return {
                "error": "Manual cleanup failed: the folder of results cannot be read",
                "code": "internal_error",
                "retryable": False,
                "request_id": g.request_id,
            }, 500
        return {"success": True, "deleted_files": sweep.deleted, "errors": list(sweep.errors)}, 200


def _mb(size_bytes: int, digits: int) -> float:
    return round(size_bytes / (1 << 20), digits)
