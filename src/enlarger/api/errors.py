"""The one place where errors become answers, in the words of the contract that the path belongs to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import structlog
from quart import Quart, g, request
from werkzeug.exceptions import HTTPException

from enlarger.api.compatible import errors as compatible
from enlarger.api.dialects import automatic1111, cog, localai
from enlarger.api.headers import GUARDS
from enlarger.api.routes import Contract, contract_of
from enlarger.api.v1.problems import (
    MEDIA_TYPE,
    ErrorAnswer,
    Problem,
    ProblemAnswer,
    linked,
    problem,
    problem_of,
)
from enlarger.asgi.access import note
from enlarger.asgi.bodies import TOO_SLOW
from enlarger.asgi.encodings import TAKEN
from enlarger.asgi.heads import LIMIT_BYTES, TOO_LONG
from enlarger.asgi.messages import Answer, Scope
from enlarger.asgi.request_ids import HEADER, id_of, request_id
from enlarger.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CapacityError,
    Draining,
    EnlargerError,
    StorageFull,
    UnsupportedEncoding,
)
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

_BODIES: Mapping[Contract, Callable[[Problem], Mapping[str, Any]]] = {
    Contract.AUTOMATIC1111: automatic1111.error_body,
    Contract.COG: cog.error_body,
    Contract.OPENAI: localai.error_body,
}
"""From a problem to the body that a dialect has for it."""

_CHALLENGES = {Contract.AUTOMATIC1111: 'Basic realm="enlarger"'}
"""How a key is asked for, where it is not as a bearer token."""

_HEADS = {
    400: "Bad request: this is no HTTP request that can be read",
    TOO_LONG: f"Request head too long: its first line and headers may have {LIMIT_BYTES} bytes in all; "
    "send a shorter URL, or fewer cookies and other headers; a picture belongs into the body",
}
"""What is wrong with the head of a request, by status, and what is allowed."""


def error_answer(path: str, error: EnlargerError, *, request_id: str) -> ErrorAnswer:
    """The answer to a request for a path that ended with an error."""
    contract = contract_of(path)
    if contract is Contract.COMPATIBLE:
        return compatible.error_answer(error, request_id=request_id)
    return _worded(problem_of(error, request_id=request_id), contract)


async def http_error(error: HTTPException) -> ErrorAnswer:
    """The answer to what HTTP itself refuses: no such route, not with that method, not a request at all."""
    status = HTTPStatus(error.code or 500)
    text, code = status.phrase.capitalize(), status.name.lower()
    if status >= 500:
        text, code = "Internal server error", "internal_error"
    methods = getattr(error, "valid_methods", None) or ()
    headers = {"Allow": ", ".join(sorted(methods))} if methods else {}
    note(request.scope, code=code)
    body = problem(code, text, status=status, request_id=g.request_id)
    answer = body, status, {**headers, "Content-Type": MEDIA_TYPE}
    return _worded(answer, contract_of(request.path))


def _worded(answer: ProblemAnswer, contract: Contract) -> ErrorAnswer:
    """A problem in the words of a contract."""
    if contract is Contract.V1:
        return answer
    if contract is Contract.COMPATIBLE:
        return compatible.reworded(answer)
    body, status, headers = answer
    headers = {name: text for name, text in headers.items() if name != "Content-Type"}
    if status == 401 and contract in _CHALLENGES:
        headers["WWW-Authenticate"] = _CHALLENGES[contract]
    return _BODIES[contract](body), status, headers


@dataclass(frozen=True, kw_only=True)
class ErrorAnswers:
    """Answers for all that can go wrong with a request, each logged and counted."""

    public_url: str | None
    """Where the links of a problem lead."""

    limit_of: Callable[[str], int]
    """From the path of a request to the longest body that it may have, in bytes."""

    count: Callable[[str], None]
    """Called with the code of each error."""

    is_stopped: Callable[[], bool]
    """Whether the server drops what runs, so that anything may fail."""

    _refused: defaultdict[str, Repeated] = field(default_factory=partial(defaultdict, Repeated))
    """By code: refusals that come again and again, of which only some are logged."""

    def register(self, app: Quart) -> None:
        """Answer the errors of an application."""
        app.register_error_handler(EnlargerError, self._refuse)
        app.register_error_handler(HTTPException, self._http_error)
        app.register_error_handler(Exception, self._unexpected)

    def note(self, error: EnlargerError) -> None:
        """The current request ends with an error: log it and count it."""
        note(request.scope, code=error.code)
        self._log(error, g.request_id)
        self.count(error.code)

    async def _refuse(self, error: EnlargerError) -> ErrorAnswer:
        self.note(error)
        return self._linked(error_answer(request.path, error, request_id=g.request_id))

    async def _http_error(self, error: HTTPException) -> ErrorAnswer:
        return self._linked(await http_error(error))

    async def _unexpected(self, error: Exception) -> ErrorAnswer:
        if self.is_stopped():  # what fails now was taken apart
            return await self._refuse(Draining("the server was stopped; try again later"))
        note(request.scope, code="internal_error")
        log.error("internal_error", exc_info=error)
        self.count("internal_error")
        ours = EnlargerError("Internal server error")
        return self._linked(error_answer(request.path, ours, request_id=g.request_id))

    def refuse_raw(self, scope: Scope, error: EnlargerError) -> Answer:
        """The answer to a request that does not get as far as Quart."""
        request_id = id_of(scope)
        note(scope, code=error.code)
        self._log(error, request_id)
        self.count(error.code)
        answer = self._linked(error_answer(scope["path"], error, request_id=request_id))
        body, status, headers = answer
        if isinstance(error, UnsupportedEncoding):
            headers = {**headers, "Accept-Encoding": ", ".join(TAKEN)}  # RFC 9110, section 15.5.16
        return _raw(request_id, body, status, headers)

    def refuse_body(self, scope: Scope, status: int) -> Answer:
        """The answer to a body that is too large or too slow."""
        limit_bytes = self.limit_of(scope["path"])
        return self.refuse_raw(
            scope,
            BodyTooSlow("Request body came too slowly")
            if status == TOO_SLOW
            else BodyTooLarge(f"Request body too large (max: {limit_bytes})", limit=limit_bytes),
        )

    def refuse_head(self, status: int) -> Answer:
        """The answer to a request whose head is too long or cannot be read, so that its path is unknown."""
        known = HTTPStatus(status)
        code, id_ = known.name.lower(), request_id(None)
        text = _HEADS.get(status, known.phrase.capitalize())
        log.info("refused", code=code, reason=text, request_id=id_, left_out=0)
        self.count(code)
        body = problem(code, text, status=status, request_id=id_)
        return _raw(id_, linked(body, self.public_url), status, {"Content-Type": MEDIA_TYPE})

    def _linked(self, answer: ErrorAnswer) -> ErrorAnswer:
        """An answer whose links lead to ``ENLARGER_PUBLIC_URL``. Only problems have links."""
        body, status, headers = answer
        if headers.get("Content-Type") == MEDIA_TYPE:
            body = linked(cast(Problem, body), self.public_url)
        return body, status, headers

    def _log(self, error: EnlargerError, request_id: str) -> None:
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


def _raw(id_: str, body: Mapping[str, Any], status: int, headers: dict[str, str]) -> Answer:
    """An answer that does not go through Quart."""
    fields = {
        "content-type": "application/json",
        "cache-control": "no-store",
        HEADER.lower(): id_,
        **{name.lower(): value for name, value in (GUARDS | headers).items()},
    }
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    return status, encoded, json.dumps(body).encode()
