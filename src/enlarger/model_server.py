"""A model server: one engine behind the tile contract. It knows tiles, not pictures."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import secrets
from typing import Any, Protocol, cast

import structlog
from quart import Quart, Response, request

from enlarger import __version__
from enlarger.engine import Engine
from enlarger.errors import (
    Busy,
    Draining,
    EnlargerError,
    OutOfMemory,
    Starting,
    TileTooLarge,
    Unauthorized,
)
from enlarger.web.bodies import TOO_SLOW, AsgiApp, LimitedBodies, Scope
from enlarger.web.launcher import Service
from enlarger.web.request_ids import HEADER, request_id
from enlarger.wire import (
    PROTOCOL,
    ModelDefaults,
    TileRequest,
    facts_to_json,
    read_request,
    result_headers,
)

log = structlog.get_logger()

_BUSY_MS = 50
_BYTES_PER_PX = 6
"""RGB with two bytes per sample, the most that a tile can hold."""


class ModelServer:
    """The state of one model server, and its routes.

    Args:
        engine: computes the tiles.
        service: knows whether the server is stopping.
        token: what gateways must show; None lets everybody in.
    """

    def __init__(self, engine: Engine, service: Service, *, token: str | None = None) -> None:
        self._engine = engine
        self._service = service
        self._token = token
        self._instance = secrets.token_hex(4)
        self._in_flight = 0
        self._ready = False
        self._failure: str | None = None

    def open(self) -> None:
        """Take tiles from now on: weights are loaded and the self-test passed."""
        self._ready = True

    def fail(self, reason: str) -> None:
        """Never take tiles; ``reason`` is shown to whoever asks."""
        self._failure = reason

    @property
    def state(self) -> str:
        """``starting``, ``ready``, ``draining`` or ``failed``."""
        if self._failure is not None:
            return "failed"
        if self._service.draining:
            return "draining"
        return "ready" if self._ready else "starting"

    def asgi(self) -> AsgiApp:
        """The ASGI application."""
        app = Quart(__name__)
        # Whoever sends tiles waits as long as its deadline allows; bodies are limited before they reach Quart.
        app.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=None)
        app.add_url_rule("/tiles", view_func=self._tiles, methods=["POST"])
        app.add_url_rule("/ready", view_func=self._readiness)
        app.add_url_rule("/livez", view_func=self._alive)
        app.register_error_handler(EnlargerError, _answer)
        app.before_request(self._check_token)
        return LimitedBodies(
            app, limit_bytes=self._max_tile_px * _BYTES_PER_PX, refuse=self._refuse_body
        )

    @property
    def _max_tile_px(self) -> int:
        return max((model.max_tile_px for model in self._engine.facts().models), default=1)

    async def _check_token(self) -> None:
        """Refuse whoever does not know the token. That the process lives may be known."""
        if self._token is None or request.path == "/livez":
            return
        shown = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            raise Unauthorized("this model server wants its gateway's ENLARGER_TILE_TOKEN")

    async def _tiles(self) -> Response:
        body = cast(bytes, await request.get_data(cache=False, as_text=False))
        if self._service.draining:
            raise Draining("this model server is stopping", retry_after_s=1)
        if self.state != "ready":
            raise Starting(f"this model server is {self.state}", retry_after_s=1)
        facts = self._engine.facts()
        if self._in_flight >= facts.capacity:
            raise Busy(
                f"{self._in_flight} of {facts.capacity} seats taken", retry_after_s=_BUSY_MS / 1000
            )
        defaults = ModelDefaults(
            precision=next(
                precision
                for precision in facts.models[0].precisions
                if all(precision in model.precisions for model in facts.models)
            ),
            sha256_by_model={model.id: model.sha256 for model in facts.models},
        )
        headers = {**request.headers, HEADER: request_id(request.headers.get(HEADER))}
        tile = read_request(headers, body, now=asyncio.get_running_loop().time(), default=defaults)
        model = facts.model(tile.model)
        if model is not None and tile.lr_px > model.max_tile_px:
            raise TileTooLarge(
                f"{tile.lr_px} LR pixels; up to {model.max_tile_px} fit",
                limit=math.isqrt(model.max_tile_px),
            )
        self._in_flight += 1
        try:
            return await self._enlarge(tile)
        finally:
            self._in_flight -= 1

    async def _enlarge(self, tile: TileRequest) -> Response:
        bound = log.bind(
            request_id=tile.request_id, tile=f"{tile.index + 1}/{tile.total}", model=tile.model
        )
        try:
            result = await self._engine.enlarge(tile)
        except EnlargerError as error:
            bound.warning("tile_failed", code=error.code, reason=str(error))
            raise
        bound.info(
            "tile_done",
            lr_px=tile.lr_px,
            precision=result.precision,
            infer_s=round(result.infer_s, 3),
        )
        response = Response(result.pixels.tobytes(), headers=result_headers(result))
        response.headers[HEADER] = tile.request_id
        return response

    async def _readiness(self) -> tuple[dict[str, Any], int]:
        facts = self._engine.facts()
        ready = self.state == "ready"
        return {
            **facts_to_json(facts),
            "ready": ready,
            "state": self.state,
            "reason": self._failure or (None if ready else self.state),
            "protocol": PROTOCOL,
            "instance": self._instance,
            "version": __version__,
            "in_flight": self._in_flight,
            "device": "cpu",
        }, 200 if ready else 503

    async def _alive(self) -> dict[str, Any]:
        return {"alive": True}

    def _refuse_body(
        self, _scope: Scope, status: int
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
        return status, [(b"content-type", b"application/json")], json.dumps(body).encode()


async def _answer(error: EnlargerError) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The one place where an error becomes an answer."""
    body: dict[str, Any] = {"code": error.code, "retryable": error.retryable, "error": str(error)}
    headers = {HEADER: request_id(request.headers.get(HEADER))}
    status = 507 if isinstance(error, OutOfMemory) else error.status
    if isinstance(error, TileTooLarge):
        body["max_side"] = error.limit
    if status == 503:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s or 1))
        body["retry_after_ms"] = int(1000 * (error.retry_after_s or 1))
    return body, status, headers


class LoadableEngine(Engine, Protocol):
    """An engine in this process, whose networks can be loaded ahead."""

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture."""


async def load(engine: LoadableEngine, server: ModelServer, model_id: str) -> None:
    """Load the usual model and check it on its golden picture; then, and only then, the server is ready."""
    try:
        await engine.load(model_id)
    except EnlargerError as error:
        log.exception("self_test_failed", model=model_id, code=error.code)
        server.fail(str(error))
    else:
        server.open()
