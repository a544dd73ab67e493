"""One id per request, from the gateway to the log of the model server."""

from __future__ import annotations

import re
import secrets
from typing import cast

import structlog
from quart import Quart, Response, g, request

from enlarger.asgi.messages import Scope

HEADER = "X-Request-Id"
SCOPE_KEY = "enlarger.request_id"
"""Key of a request's id in its ASGI scope, once a layer has decided it."""

_USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(given: str | None) -> str:
    """The id that the caller gave if it can be used, else a new one."""
    return given if given is not None and _USABLE.fullmatch(given) else f"r-{secrets.token_hex(8)}"


def id_of(scope: Scope) -> str:
    """The id of a request, whether it gets as far as an application or not."""
    if SCOPE_KEY in scope:
        return str(scope[SCOPE_KEY])
    name = HEADER.lower().encode()
    given = (value.decode("latin1") for key, value in scope["headers"] if key.lower() == name)
    return request_id(next(given, None))


def follow(app: Quart) -> None:
    """Give each request of ``app`` its id: as ``g.request_id``, in its log lines, and as a header of its answer."""
    app.before_request(_begin)
    app.after_request(_end)


async def _begin() -> None:
    g.request_id = id_of(cast(Scope, request.scope))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


async def _end(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    return response
