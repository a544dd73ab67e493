"""What other services speak, so that their clients work with this one: other words for the same requests.

Each module reads its fields into a ``UpscaleRequest``, writes an ``Outcome`` as its answer, and a problem as its error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quart import Quart

from enlarger.api.dialects import automatic1111, cog, localai
from enlarger.api.dialects.automatic1111 import Automatic1111
from enlarger.api.dialects.cog import Cog
from enlarger.api.dialects.dialect import DialectContext
from enlarger.api.dialects.localai import LocalAI
from enlarger.api.v1.problems import ErrorAnswer, Problem

__all__ = ["PICTURES", "DialectContext", "in_words_of", "register"]

PICTURES = (*automatic1111.PICTURES, *cog.PICTURES, localai.PATH)
"""Rules of the routes that make pictures."""

_ERROR_BODIES: tuple[tuple[tuple[str, ...], Callable[[Problem], Mapping[str, Any]]], ...] = (
    ((automatic1111.PREFIX,), automatic1111.error_body),
    (cog.PATHS, cog.error_body),
    ((localai.PATH,), localai.error_body),
)


def register(app: Quart, maker: DialectContext) -> None:
    """Add the routes of all dialects to an application."""
    for dialect in (Automatic1111(maker=maker), Cog(maker=maker), LocalAI(maker=maker)):
        app.register_blueprint(dialect.blueprint())


def in_words_of(path: str, problem: tuple[Problem, int, dict[str, str]]) -> ErrorAnswer | None:
    """Return an error in the words of the dialect that a path belongs to, or None if it belongs to none."""
    for starts, error_body in _ERROR_BODIES:
        if path.startswith(starts):
            body, status, headers = problem
            headers = {name: text for name, text in headers.items() if name != "Content-Type"}
            if status == 401 and error_body is automatic1111.error_body:
                headers["WWW-Authenticate"] = 'Basic realm="enlarger"'
            return error_body(body), status, headers
    return None
