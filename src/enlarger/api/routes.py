"""The route table: what answers each path, who may call it, what it costs, and how its errors read.

A new route is one row of ``ROUTES`` and one method of a handler. Whatever else depends on the path of a request is
looked up here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import wraps

from quart import Quart, Response, g, request

from enlarger import tracing


class Contract(Enum):
    """How the errors of a route read."""

    COMPATIBLE = "one flat object, 400 for nearly every fault of the caller"
    V1 = "RFC 9457, application/problem+json"
    AUTOMATIC1111 = "as the web UI of AUTOMATIC1111 has them"
    COG = "as Cog has them"
    OPENAI = "as OpenAI and LocalAI have them"


class Access(Enum):
    """The callers that a route admits if the operator has set API keys."""

    KEYED = "callers with a key"
    OPEN = "everybody"


COMPATIBLE, V1, AUTOMATIC1111, COG, OPENAI = Contract
KEYED, OPEN = Access

BATCH_BYTES = 64 << 20
"""A batch may bring a hundred pictures."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table."""

    methods: str
    """Separated by spaces. Every GET route also answers HEAD."""

    path: str
    """As Quart writes rules: ``<name>`` is one segment, ``<int:name>`` a number, ``<path:name>`` the rest."""

    handler: str
    """``<handler>.<method>``, where the handler is one of those passed to ``register``."""

    access: Access
    contract: Contract

    charged: bool = False
    """The route makes pictures, which count against the caller's rate limit. Its answers are not cached."""

    body_bytes: int = 0
    """Bodies may have at least so many bytes, however small ``MAX_FILE_SIZE`` is."""

    secret: bool = False
    """The last segment of the path is a permission: logs show only how it begins."""

    probe: bool = False
    """Programs poll the route, so its answers are logged at the level ``debug``."""


# fmt: off
ROUTES = (
    #     methods     path                                            handler                    access errors
    Route("GET",      "/",                                            "page.home",               OPEN,  COMPATIBLE),
    Route("GET",      "/page/<version>/<path:name>",                  "page.file",               OPEN,  COMPATIBLE),
    Route("GET",      "/openapi.json",                                "documents.openapi",       OPEN,  COMPATIBLE),
    Route("GET",      "/docs",                                        "documents.docs",          OPEN,  COMPATIBLE),
    Route("GET",      "/docs/<name>",                                 "documents.asset",         OPEN,  COMPATIBLE),
    Route("GET",      "/llms.txt",                                    "documents.llms",          OPEN,  COMPATIBLE),

    Route("GET POST", "/upscale",                                     "compatible.upscale",      KEYED, COMPATIBLE, charged=True),
    Route("GET",      "/files/<name>",                                "compatible.file",         OPEN,  COMPATIBLE, secret=True),
    Route("GET",      "/health",                                      "compatible.health",       OPEN,  COMPATIBLE, probe=True),
    Route("GET",      "/status",                                      "compatible.status",       KEYED, COMPATIBLE),
    Route("POST",     "/cleanup",                                     "compatible.cleanup",      KEYED, COMPATIBLE),

    Route("GET",      "/livez",                                       "probes.livez",            OPEN,  COMPATIBLE, probe=True),
    Route("GET",      "/readyz",                                      "probes.readyz",           OPEN,  COMPATIBLE, probe=True),
    Route("GET",      "/metrics",                                     "probes.metrics",          KEYED, COMPATIBLE, probe=True),

    Route("POST",     "/v1/upscale",                                  "pictures.upscale",        KEYED, V1, charged=True),
    Route("GET",      "/v1/upscale",                                  "pictures.link",           KEYED, V1, charged=True),
    Route("POST",     "/v1/compare",                                  "estimates.compare",       KEYED, V1, charged=True),
    Route("POST",     "/v1/estimate",                                 "estimates.estimate",      KEYED, V1),
    Route("GET",      "/v1/models",                                   "models.index",            KEYED, V1),
    Route("GET",      "/v1/models/<model_id>",                        "models.show",             KEYED, V1),
    Route("GET",      "/errors/<code>",                               "models.error",            OPEN,  V1),

    Route("POST",     "/v1/jobs",                                     "pictures.queue",          KEYED, V1, charged=True),
    Route("GET",      "/v1/jobs",                                     "jobs.index",              KEYED, V1),
    Route("GET",      "/v1/jobs/<job_id>",                            "jobs.show",               KEYED, V1),
    Route("DELETE",   "/v1/jobs/<job_id>",                            "jobs.cancel",             KEYED, V1),
    Route("GET",      "/v1/jobs/<job_id>/input",                      "jobs.input",              KEYED, V1),
    Route("GET",      "/v1/jobs/<job_id>/result",                     "jobs.result",             KEYED, V1),
    Route("GET",      "/v1/jobs/<job_id>/events",                     "jobs.events",             KEYED, V1),
    Route("GET",      "/v1/jobs/<job_id>/tiles",                      "jobs.tiles",              KEYED, V1),
    Route("GET",      "/v1/jobs/<job_id>/tiles/<int:index>",          "jobs.tile",               KEYED, V1),
    Route("GET",      "/v1/events",                                   "jobs.events_of_all",      KEYED, V1),

    Route("POST",     "/v1/batches",                                  "batches.queue",           KEYED, V1, charged=True, body_bytes=BATCH_BYTES),
    Route("GET",      "/v1/batches/<batch_id>",                       "batches.show",            KEYED, V1),
    Route("DELETE",   "/v1/batches/<batch_id>",                       "batches.cancel",          KEYED, V1),
    Route("GET",      "/v1/batches/<batch_id>/events",                "batches.events",          KEYED, V1),
    Route("GET",      "/v1/batches/<batch_id>/results.zip",           "batches.results",         KEYED, V1),

    Route("POST",     "/sdapi/v1/extra-single-image",                 "automatic1111.single",    KEYED, AUTOMATIC1111, charged=True),
    Route("POST",     "/sdapi/v1/extra-batch-images",                 "automatic1111.batch",     KEYED, AUTOMATIC1111, charged=True),
    Route("GET",      "/sdapi/v1/upscalers",                          "automatic1111.upscalers", KEYED, AUTOMATIC1111),
    Route("GET",      "/sdapi/v1/progress",                           "automatic1111.progress",  KEYED, AUTOMATIC1111),
    Route("GET",      "/sdapi/v1/options",                            "automatic1111.options",   KEYED, AUTOMATIC1111),

    Route("POST",     "/predictions",                                 "cog.predict",             KEYED, COG, charged=True),
    Route("GET",      "/health-check",                                "cog.health_check",        OPEN,  COG, probe=True),
    Route("POST",     "/v1/predictions",                              "cog.predict",             KEYED, V1, charged=True),
    Route("POST",     "/v1/models/<owner>/<name>/predictions",        "cog.predict",             KEYED, V1, charged=True),
    Route("GET",      "/v1/models/<owner>/<name>/versions/<version>", "cog.version",             KEYED, V1),

    Route("POST",     "/v1/images/upscale",                           "localai.upscale",         KEYED, OPENAI, charged=True),
)
# fmt: on

FOLDERS = {"/v1/": V1, "/errors/": V1, "/sdapi/": AUTOMATIC1111, "/predictions/": COG}
"""The contracts of paths that have no route, by how they begin. The contract of all other paths is ``COMPATIBLE``."""

SIGNED_FOLDER = "/v1/"
"""A signed link stands in for a key below this folder alone."""


def register(app: Quart, handlers: Mapping[str, object]) -> None:
    """Add all routes to an application. Those that make pictures get a span in traces.

    Args:
        app: the application.
        handlers: the objects whose methods the table names.
    """
    views = {}
    for route in ROUTES:
        name, _, method = route.handler.partition(".")
        if route.handler not in views:
            view = getattr(handlers[name], method)
            views[route.handler] = traced(view) if route.charged else view
        app.add_url_rule(
            route.path,
            endpoint=route.handler,
            view_func=views[route.handler],
            methods=route.methods.split(),
        )


def traced(view: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """A handler's method with a span around it that continues the caller's trace."""

    @wraps(view)
    async def with_span(**parts: str) -> Response:
        name = f"{request.method} {request.url_rule or request.path}"
        with tracing.span(name, caller=request.headers, request_id=g.request_id):
            return await view(**parts)

    return with_span


_PARTS = {"": "[^/]+", "int:": "[0-9]+", "path:": ".+"}


def _pattern(path: str) -> re.Pattern[str]:
    """A regular expression that matches what Quart matches to a rule."""
    texts = re.split(r"<((?:\w+:)?)\w+>", path)
    parts = (re.escape(text) if not at % 2 else _PARTS[text] for at, text in enumerate(texts))
    return re.compile("".join(parts))


_ROWS = {
    route.path: tuple(other for other in ROUTES if other.path == route.path) for route in ROUTES
}
_PATTERNS = [(_pattern(path), rows) for path, rows in _ROWS.items() if "<" in path]


def routes_at(path: str) -> tuple[Route, ...]:
    """The rows of a path as a request or the table has it, one for each handler; none where it has no route."""
    if path in _ROWS:
        return _ROWS[path]
    return next((rows for pattern, rows in _PATTERNS if pattern.fullmatch(path)), ())


def contract_of(path: str) -> Contract:
    """How an error reads to a request for a path, with or without a route."""
    for route in routes_at(path):
        return route.contract
    folders = (contract for folder, contract in FOLDERS.items() if path.startswith(folder))
    return next(folders, COMPATIBLE)


def is_open(path: str) -> bool:
    """Whether everybody may call a path."""
    return any(route.access is OPEN for route in routes_at(path))


def is_charged(path: str) -> bool:
    """Whether a path makes pictures with one of its methods."""
    return any(route.charged for route in routes_at(path))


def is_probe(path: str) -> bool:
    """Whether programs poll a path."""
    return any(route.probe for route in routes_at(path))


def may_be_signed(path: str) -> bool:
    """Whether a signed link may stand in for the key of a path."""
    return path.startswith(SIGNED_FOLDER)


def body_limit_bytes(path: str, usual_bytes: int) -> int:
    """The longest body that a path takes, where most take ``usual_bytes``."""
    return max([usual_bytes, *(route.body_bytes for route in routes_at(path))])


SECRET_FOLDERS = tuple(route.path.partition("<")[0] for route in ROUTES if route.secret)
"""What stands before the secret segments of paths."""
