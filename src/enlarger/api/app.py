"""The gateway as an ASGI application: Quart's routes, inside the layers that each request passes first."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from quart import Quart, Response, request
from quart.wrappers import BaseRequestWebsocket
from werkzeug.routing import MapAdapter

from enlarger.api import routes
from enlarger.api.callers import Callers, caller_of
from enlarger.api.compatible.routes import CompatibleRoutes
from enlarger.api.dialects.automatic1111 import Automatic1111
from enlarger.api.dialects.cog import Cog
from enlarger.api.dialects.localai import LocalAI
from enlarger.api.document.routes import DocumentRoutes
from enlarger.api.downloads import typed_as_accepted
from enlarger.api.errors import ErrorAnswers
from enlarger.api.headers import EXPOSED, GUARDS, SENT
from enlarger.api.metrics import Metrics
from enlarger.api.previews import ResultPreviews
from enlarger.api.probes import Probes
from enlarger.api.rates import Rates
from enlarger.api.upscaling import Upscaler
from enlarger.api.v1.batches import BatchRoutes
from enlarger.api.v1.estimates import EstimateRoutes
from enlarger.api.v1.jobs import JobRoutes
from enlarger.api.v1.models import ModelRoutes
from enlarger.api.v1.pictures import PictureRoutes
from enlarger.api.v1.reader import RequestReader
from enlarger.asgi.access import Access
from enlarger.asgi.bodies import LimitedBodies
from enlarger.asgi.cors import Cors
from enlarger.asgi.encodings import DecodedBodies
from enlarger.asgi.heads import Http2Heads
from enlarger.asgi.messages import Answer, AsgiApp
from enlarger.asgi.request_ids import follow
from enlarger.asgi.server import Lifecycle
from enlarger.config import Settings
from enlarger.engine.shelf import Shelf
from enlarger.engine.status import EngineStatus
from enlarger.jobs import Batches, Jobs
from enlarger.page.routes import PageRoutes
from enlarger.pipeline.pipeline import Pipeline
from enlarger.storage import ResultStore

_SEND_TIMEOUT_S = 600


@dataclass(kw_only=True)
class Gateway:
    """The HTTP API over parts that the composition root made."""

    pipeline: Pipeline
    jobs: Jobs
    batches: Batches
    rates: Rates
    engines: EngineStatus
    store: ResultStore
    shelf: Shelf
    executor: ThreadPoolExecutor
    workers: int
    """Size of the decode and encode pool."""

    sweeper: asyncio.Task[None]
    service: Lifecycle
    metrics: Metrics
    settings: Settings

    def __post_init__(self) -> None:
        self._errors = ErrorAnswers(
            public_url=self.settings.server.public_url,
            limit_of=self._body_limit_bytes,
            count=self.metrics.failed,
            is_stopped=lambda: self.service.is_stopped,
        )

    def refuse_head(self, status: int) -> Answer:
        """The answer to a request whose head is too long or cannot be read."""
        return self._errors.refuse_head(status)

    def asgi(self) -> AsgiApp:
        """The ASGI application. The layers are listed from the innermost to the outermost."""
        access, errors = self.settings.access, self._errors
        self.app = self._quart()
        callers = Callers(
            access.api_keys, access.trusted_proxies, access.signing_keys, access.proxy_header
        )
        layer: AsgiApp = DecodedBodies(
            self.app,
            executor=self.executor,
            limit_of=self._body_limit_bytes,
            refuse=errors.refuse_raw,
        )
        layer = LimitedBodies(layer, limit_of=self._body_limit_bytes, refuse=errors.refuse_body)
        layer = callers.gate(layer, errors.refuse_raw)
        if access.cors_origins:
            layer = Cors(layer, access.cors_origins, sent=SENT, exposed=EXPOSED)
        layer = Access(
            layer,
            address=callers.address,
            is_routine=lambda path, status: routes.is_probe(path) and status in (200, 503),
            secret_folders=routes.SECRET_FOLDERS,
        )
        return Http2Heads(layer, self.refuse_head)

    def _body_limit_bytes(self, path: str) -> int:
        return routes.body_limit_bytes(path, self.settings.limits.body_limit_bytes)

    def _quart(self) -> Quart:
        """The application with its routes and error handlers."""
        app = _App(__name__, static_folder=None)
        app.url_map.merge_slashes = False  # it would answer with a redirect, in HTML
        # Bodies are limited before they reach Quart; an answer may take as long as a slow reader needs.
        app.config.update(
            MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=_SEND_TIMEOUT_S
        )
        app.json.sort_keys = False  # type: ignore[attr-defined]
        follow(app)
        app.after_request(self._end)
        self._errors.register(app)
        routes.register(app, self._handlers())
        return app

    def _handlers(self) -> dict[str, object]:
        """What answers the routes, by the names of the route table."""
        public_url = self.settings.server.public_url
        upscaler = Upscaler(
            pipeline=self.pipeline,
            store=self.store,
            shelf=self.shelf,
            executor=self.executor,
            public_url=public_url,
            charge=self.rates.charge,
            done=self.metrics.done,
        )
        probes = Probes(
            engines=self.engines, service=self.service, jobs=self.jobs, shown=self.metrics
        )
        reader = RequestReader(
            shelf=self.shelf,
            executor=self.executor,
            has_webhooks=self.settings.has_webhooks,
        )
        previews = ResultPreviews(pipeline=self.pipeline, store=self.store, executor=self.executor)
        jobs = JobRoutes(
            jobs=self.jobs,
            previews=previews,
            public_url=public_url,
            model_of=self.pipeline.model_id,
        )
        server = self.settings.server
        return {
            "page": PageRoutes(self.executor, server.page_title, server.page == "on"),
            "documents": DocumentRoutes(self.executor, public_url),
            "compatible": CompatibleRoutes(
                upscaler=upscaler,
                previews=previews,
                jobs=self.jobs,
                engines=self.engines,
                settings=self.settings,
                workers=self.workers,
                sweeper=self.sweeper,
                reason=probes.reason,
                job_picture=jobs.picture,
            ),
            "probes": probes,
            "pictures": PictureRoutes(
                upscaler=upscaler,
                jobs=self.jobs,
                job_routes=jobs,
                reader=reader,
                sync_limit_s=self.settings.limits.sync_limit_s,
            ),
            "estimates": EstimateRoutes(upscaler=upscaler, reader=reader),
            "models": ModelRoutes(shelf=self.shelf, engines=self.engines),
            "jobs": jobs,
            "batches": BatchRoutes(
                batches=self.batches, jobs=self.jobs, reader=reader, public_url=public_url
            ),
            "automatic1111": Automatic1111(upscaler=upscaler, reader=reader),
            "cog": Cog(
                upscaler=upscaler,
                reader=reader,
                failed=self._errors.note,
                reason=probes.reason,
            ),
            "localai": LocalAI(upscaler=upscaler, reader=reader),
        }

    async def _end(self, response: Response) -> Response:
        """Adds the headers that answers have whatever made them."""
        for name, value in GUARDS.items():
            response.headers.setdefault(name, value)
        response = typed_as_accepted(response, request.accept_mimetypes)
        if routes.is_charged(request.path):
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.update(await self.rates.headers(caller_of(request.scope).id))
        return response


class _App(Quart):
    """Finds routes by their path, whatever host the request names."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """As Quart's own, which fails on a ``Host`` that is none before it comes to an error handler."""
        if request is None:
            return super().create_url_adapter(None)
        return self.url_map.bind(
            "any", None, None, request.scheme, request.method, request.path, None
        )
