"""A model server: one engine behind the tile contract. It handles tiles, not pictures."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np
import structlog
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException

from enlarger import __version__, tracing, wire
from enlarger.asgi.access import Access
from enlarger.asgi.bodies import TOO_SLOW, LimitedBodies
from enlarger.asgi.messages import AsgiApp, Scope
from enlarger.asgi.metrics import BUCKETS_S, exposition, new_registry
from enlarger.asgi.request_ids import HEADER, follow, id_of
from enlarger.asgi.server import Lifecycle
from enlarger.engine import Engine
from enlarger.engine.tile import NetworkCounts, TileRequest, TileResult
from enlarger.errors import (
    Busy,
    DeviceLost,
    Draining,
    EngineFailed,
    EnlargerError,
    ModelNotHere,
    OutOfMemory,
    Starting,
    TileError,
    TileTooLarge,
    Unauthorized,
)
from enlarger.geometry.rect import Pixels
from enlarger.memory import rss_bytes
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated
from enlarger.shared_blocks import write_to

log = structlog.get_logger()

_BUSY_MS = 50

_GATEWAYS = 8
_BYTES_PER_PX = 6
"""RGB with two bytes per sample, the largest size that a tile can have."""

_PIECE_BYTES = 1 << 19
"""Bytes of a tile that are sent at once."""


class ModelServer:
    """The state and the routes of one model server.

    Args:
        engine: computes the tiles.
        service: knows whether the server is stopping.
        token: the secret that gateways must send; None accepts every client.
        gateways: how many gateways may fill the server at the same time. Each holds no more tiles here than the capacity
            of the engine, which computes them in order of arrival. Gateways therefore get equal shares.
    """

    def __init__(
        self,
        engine: Engine,
        service: Lifecycle,
        *,
        token: str | None = None,
        gateways: int = _GATEWAYS,
    ) -> None:
        self._engine = engine
        self._service = service
        self._token = token
        self._gateways = gateways
        self._instance = secrets.token_hex(4)
        self._started = time.monotonic()
        self._in_flight = 0
        self._tiles_done = 0
        self._ready = False
        self._failure: str | None = None
        self._refused: defaultdict[str, Repeated] = defaultdict(Repeated)
        """Refusals by code: a gateway that is refused tries again at once, so that not each refusal is logged."""

        self._metrics = _Metrics(lambda: self._in_flight, lambda: engine.facts().networks)

    def open(self) -> None:
        """Accept tiles from now on: the weights are loaded, and the self-test has passed."""
        self._ready = True

    def fail(self, reason: str) -> None:
        """Never accept tiles. ``reason`` is shown in the answer of ``GET /ready``."""
        self._failure = reason

    @property
    def state(self) -> str:
        """The state: ``starting``, ``ready``, ``draining`` or ``failed``."""
        if self._failure is not None:
            return "failed"
        if self._service.draining:
            return "draining"
        return "ready" if self._ready else "starting"

    def asgi(self) -> AsgiApp:
        """The ASGI application."""
        app = Quart(__name__)
        # Quart's own timeouts are off: a tile's deadline limits the wait, and bodies are limited before they reach
        # Quart.
        app.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)
        follow(app)
        app.add_url_rule("/tiles", view_func=self._tiles, methods=["POST"])
        app.add_url_rule("/ready", view_func=self._readiness)
        app.add_url_rule("/livez", view_func=self._alive)
        app.add_url_rule("/metrics", view_func=self._show_metrics)
        app.register_error_handler(EnlargerError, self._answer)
        app.register_error_handler(Exception, self._unexpected)
        app.before_request(self._check_token)
        limited = LimitedBodies(
            app, limit_of=lambda _path: self._max_tile_px * _BYTES_PER_PX, refuse=self._refuse_body
        )
        # All requests are routine: a gateway asks twice a second, and sends hundreds of tiles for one picture.
        return Access(limited, is_routine=lambda _path, _status: True)

    @property
    def _max_tile_px(self) -> int:
        return max((model.max_tile_px for model in self._engine.facts().models), default=1)

    async def _check_token(self) -> None:
        """Refuse a client without the token. Only the liveness route is open to everybody."""
        if self._token is None or request.path == "/livez":
            return
        shown = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            raise Unauthorized("this model server wants its gateway's ENLARGER_TILE_TOKEN")

    async def _tiles(self) -> Response:
        arrived = time.perf_counter()
        with self._metrics.counting():
            tile = await self._read()
            self._in_flight += 1
            try:
                result = await self._enlarge(tile, arrived)
            finally:
                self._in_flight -= 1
            self._tiles_done += 1
            self._metrics.observe(tile, result)
        pixels = np.ascontiguousarray(result.pixels)
        headers = wire.result_headers(result)
        if write_to(request.headers.get(wire.MEMORY_HEADER, ""), pixels):
            return Response(b"", headers={**headers, wire.MEMORY_HEADER: wire.WRITTEN})
        return Response(_pieces(pixels), headers={**headers, "Content-Length": str(pixels.nbytes)})

    async def _read(self) -> TileRequest:
        """Return the tile of the request, if there is room for it."""
        body = cast(bytes, await request.get_data(cache=False, as_text=False))
        if self._service.draining:
            raise Draining("this model server is stopping", retry_after_s=1)
        if self.state != "ready":
            raise Starting(f"this model server is {self.state}", retry_after_s=1)
        facts = self._engine.facts()
        seats = self._gateways * facts.capacity
        if self._in_flight >= seats:
            raise Busy(f"{self._in_flight} of {seats} seats taken", retry_after_s=_BUSY_MS / 1000)
        if not facts.models:
            raise ModelNotHere("none of this server's models can be loaded; its log says why")
        defaults = wire.ModelDefaults(
            precision=next(
                precision
                for precision in facts.models[0].precisions
                if all(precision in model.precisions for model in facts.models)
            ),
            facts=facts,
        )
        headers = {**request.headers, HEADER: g.request_id}
        tile = wire.read_request(
            headers, body, now=asyncio.get_running_loop().time(), default=defaults
        )
        structlog.contextvars.bind_contextvars(
            tile=f"{tile.index + 1}/{tile.total}", model=tile.model
        )
        model = facts.model_of(tile.network)
        if model is not None and tile.lr_px > model.max_tile_px:
            raise TileTooLarge(
                f"{tile.lr_px} LR pixels; up to {model.max_tile_px} fit",
                limit=math.isqrt(model.max_tile_px),
            )
        return tile

    async def _enlarge(self, tile: TileRequest, arrived: float) -> TileResult:
        with tracing.span("infer", caller=request.headers, request_id=tile.request_id):
            try:
                result = await self._engine.enlarge(tile)
            except asyncio.CancelledError:
                log.info("tile_dropped", lr_px=tile.lr_px)
                raise
            took_s = time.perf_counter() - arrived
            result = replace(result, queue_s=max(0.0, took_s - result.infer_s))
            tracing.note(
                model=tile.model,
                precision=result.precision,
                queue_s=result.queue_s,
                infer_s=result.infer_s,
            )
        log.info(
            "tile_done",
            lr_px=tile.lr_px,
            precision=result.precision,
            queue_s=round(result.queue_s, 3),
            infer_s=round(result.infer_s, 3),
        )
        return result

    async def _readiness(self) -> tuple[dict[str, Any], int]:
        facts = self._engine.facts()
        ready = self.state == "ready"
        return {
            **wire.facts_to_json(facts),
            "ready": ready,
            "state": self.state,
            "reason": self._failure or (None if ready else self.state),
            "protocol": wire.PROTOCOL,
            "instance": self._instance,
            "version": __version__,
            "in_flight": self._in_flight,
            "uptime_s": int(time.monotonic() - self._started),
            "rss_bytes": rss_bytes(),
            "tiles_done": self._tiles_done,
        }, 200 if ready else 503

    async def _alive(self) -> dict[str, Any]:
        return {"alive": True}

    async def _show_metrics(self) -> Response:
        return exposition(self._metrics.registry)

    def _refuse_body(
        self, scope: Scope, status: int
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if status == TOO_SLOW:
            body: dict[str, Any] = {
                "code": "request_timeout",
                "retryable": True,
                "error": "the tile came too slowly",
            }
        else:
            body = {
                "code": "tile_too_large",
                "retryable": False,
                "error": "the tile has too many bytes",
                "max_side": math.isqrt(self._max_tile_px),
            }
        request_id = id_of(scope)
        if (left_out := self._refused[body["code"]].occurred()) is not None:
            log.info(
                "tile_refused",
                code=body["code"],
                reason=body["error"],
                request_id=request_id,
                left_out=left_out,
            )
        self._metrics.count(body["code"])
        headers = [
            (b"content-type", b"application/json"),
            (HEADER.lower().encode(), request_id.encode()),
        ]
        return status, headers, json.dumps(body).encode()

    async def _answer(self, error: EnlargerError) -> tuple[dict[str, Any], int, dict[str, str]]:
        """Log an error and turn it into a response."""
        if isinstance(error, DeviceLost) and self._failure is None:
            # Nothing but another process gets the device back.
            log.error("device_lost", reason=reason_of(error))
            self.fail(str(error))
            self._service.end(DeviceLost.exit_status)
        if isinstance(error, Unauthorized):
            if (left_out := self._refused[error.code].occurred()) is not None:
                log.warning(
                    "token_refused",
                    address=request.remote_addr,
                    reason=reason_of(error),
                    left_out=left_out,
                )
        elif isinstance(error, (TileError, Draining)):
            if (left_out := self._refused[error.code].occurred()) is not None:
                log.info(
                    "tile_refused", code=error.code, reason=reason_of(error), left_out=left_out
                )
        else:
            log.warning("tile_failed", code=error.code, reason=reason_of(error))
        return _error_answer(error)

    async def _unexpected(
        self, error: Exception
    ) -> HTTPException | tuple[dict[str, Any], int, dict[str, str]]:
        """Turn an unforeseen exception into a response. Exceptions of HTTP itself are returned as they are."""
        if isinstance(error, HTTPException):
            return error
        log.error("internal_error", exc_info=error)
        return await self._answer(EngineFailed("the model server failed on the tile"))


async def _pieces(pixels: Pixels) -> AsyncIterator[bytes]:
    """Yield the bytes of contiguous pixels, a few at a time: a whole copy takes longer to allocate than to fill."""
    samples = pixels.reshape(-1)
    step = max(1, _PIECE_BYTES // samples.itemsize)
    for start in range(0, samples.size, step):
        yield samples[start : start + step].tobytes()


class _Metrics:
    """The metrics of ``GET /metrics``. Labels come from small fixed sets: no ids."""

    def __init__(
        self, in_flight: Callable[[], int], networks: Callable[[], NetworkCounts | None]
    ) -> None:
        self.registry = new_registry()
        self._tiles = Counter(
            "enlarger_model_server_tiles",
            "Tiles, by how they ended: done, cancelled, or the code of their error.",
            ["end"],
            registry=self.registry,
        )
        self._infer = Histogram(
            "enlarger_model_server_infer_seconds",
            "Seconds in which a tile was computed.",
            ["model"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._queue = Histogram(
            "enlarger_model_server_queue_seconds",
            "Seconds that a tile was here besides.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        Gauge(
            "enlarger_model_server_tiles_in_flight",
            "Tiles here, waiting or being computed.",
            registry=self.registry,
        ).set_function(in_flight)
        self.registry.register(_LoadedNetworks(networks))

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the tile of the block by its outcome."""
        end = EngineFailed.code  # see _unexpected
        try:
            yield
            end = "done"
        except EnlargerError as error:
            end = error.code
            raise
        except asyncio.CancelledError:
            end = "cancelled"
            raise
        finally:
            self.count(end)

    def count(self, end: str) -> None:
        """Count a tile with this outcome."""
        self._tiles.labels(end).inc()

    def observe(self, tile: TileRequest, result: TileResult) -> None:
        """Record the measurements of a computed tile."""
        self._infer.labels(tile.model).observe(result.infer_s)
        self._queue.observe(result.queue_s)


class _LoadedNetworks(Collector):
    """The networks in memory at the time of a scrape.

    Args:
        counts: returns what the engine says of them; None if it says nothing.
    """

    def __init__(self, counts: Callable[[], NetworkCounts | None]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Gauges of what is in memory, and counts of what was loaded and released."""
        counts = self._counts()
        if counts is None:
            return
        yield GaugeMetricFamily(
            "enlarger_model_server_networks_loaded", "Networks in memory.", counts.loaded
        )
        yield GaugeMetricFamily(
            "enlarger_model_server_networks_bytes",
            "Memory that these networks are counted with.",
            counts.held_bytes,
        )
        yield CounterMetricFamily(
            "enlarger_model_server_networks_loads", "Networks that were loaded.", counts.loads
        )
        yield CounterMetricFamily(
            "enlarger_model_server_networks_switches",
            "Networks that were released to make room for others.",
            counts.switches,
        )


def _error_answer(error: EnlargerError) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return the response for an error. This is the only place that does so."""
    body: dict[str, Any] = {"code": error.code, "retryable": error.retryable, "error": str(error)}
    headers = {}
    status = 507 if isinstance(error, OutOfMemory) else error.status
    if isinstance(error, TileTooLarge):
        body["max_side"] = error.limit
    if status == 503:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s or 1))
        body["retry_after_ms"] = int(1000 * (error.retry_after_s or 1))
    return body, status, headers


class LoadableEngine(Engine, Protocol):
    """An engine in this process, whose networks can be loaded in advance."""

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture."""


async def load(engine: LoadableEngine, server: ModelServer, model_id: str | None) -> None:
    """Load the usual model, check it on its golden picture, and only then make the server ready.

    With None, the server is ready at once, and each model is loaded and checked by its first tile.
    """
    try:
        if model_id is not None:
            await engine.load(model_id)
    except EnlargerError as error:
        log.exception("self_test_failed", model=model_id, code=error.code)
        server.fail(str(error))
    else:
        server.open()
