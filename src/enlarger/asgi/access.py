"""One line in the log for each request, whatever answered it.

The layer is the outermost but one, so that every route and every refusal is logged. It also decides the id of the
request, which its answer and all log lines about it have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import structlog

from enlarger.asgi.messages import AsgiApp, Receive, Scope, Send
from enlarger.asgi.request_ids import SCOPE_KEY as ID_KEY
from enlarger.asgi.request_ids import id_of
from enlarger.errors import EnlargerError

log = structlog.get_logger()

CLIENT_LEFT = 499
"""Status in the log where the client hung up before there was an answer, as nginx logs it."""

NOT_ANSWERED = 500
"""Status in the log where the application failed without an answer. Hypercorn sends this status then."""

WEBSOCKET_REFUSED = 403
"""What Hypercorn answers when an application closes a websocket that it has not accepted."""

_SCOPE_KEY = "enlarger.answer"
_LONGEST_PATH = 200
_LONGEST_METHOD = 16
_SHOWN_OF_SECRET = 8
_SAFE = "/:@!$&'()*+,;=~"


@dataclass(slots=True)
class _Answer:
    """The facts of an answer that are known so far."""

    status: int | None = None
    sent_bytes: int = 0
    is_complete: bool = False
    has_client_left: bool = False
    caller: str | None = None
    code: str | None = None

    def fail(self, error: Exception) -> None:
        """Record that the application raised an error. One that a body may end with is foreseen; others are logged."""
        if isinstance(error, EnlargerError) and self.status is not None:
            self.code = error.code
        else:
            log.error("internal_error", exc_info=error)


def peer(scope: Scope) -> str:
    """The address that a request came from."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"


def note(
    scope: Mapping[str, object], *, caller: str | None = None, code: str | None = None
) -> None:
    """Add the caller of a request, or the code of its error, to its line in the log."""
    answer = scope.get(_SCOPE_KEY)
    if isinstance(answer, _Answer):
        answer.caller = caller or answer.caller
        answer.code = code or answer.code


class Access:
    """An ASGI application whose requests are logged when they end.

    Args:
        app: the application.
        address: returns the address to log.
        is_routine: whether a request with this path and this status of its answer is logged at the level ``debug`` only.
        secret_folders: parts of paths, each followed by a name that is a permission and therefore is not logged whole.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        address: Callable[[Scope], str] = peer,
        is_routine: Callable[[str, int], bool],
        secret_folders: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._address = address
        self._is_routine = is_routine
        self._secret_folders = secret_folders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer()
        scope = {**scope, ID_KEY: id_of(scope), _SCOPE_KEY: answer}
        structlog.contextvars.bind_contextvars(request_id=scope[ID_KEY])
        has_body = scope.get("method") != "HEAD"

        async def receiving() -> Scope:
            message: Scope = await receive()
            if message["type"] == "http.disconnect":
                answer.has_client_left = True
            return message

        async def sending(message: Scope) -> None:
            await send(message)
            kind = message["type"]
            if kind == "http.response.start":
                answer.status = message["status"]
            elif kind == "http.response.body":
                if has_body and answer.status not in (204, 304):
                    answer.sent_bytes += len(message.get("body", b""))
                answer.is_complete = not message.get("more_body", False)
            elif kind == "websocket.close":
                answer.status, answer.is_complete = WEBSOCKET_REFUSED, True

        try:
            await self._app(scope, receiving, sending)
        except Exception as error:  # Hypercorn closes the connection, and logs nothing
            answer.fail(error)
            raise
        finally:
            self._log(scope, answer, time.perf_counter() - started)

    def _log(self, scope: Scope, answer: _Answer, took_s: float) -> None:
        unanswered = CLIENT_LEFT if answer.has_client_left else NOT_ANSWERED
        status = answer.status or unanswered
        line = {
            "method": _printable(scope.get("method", "GET"), _LONGEST_METHOD),
            "path": self._shown(scope["path"]),
            "status": status,
            "sent_bytes": answer.sent_bytes,
            "took_s": round(took_s, 4),
            "caller": answer.caller,
            "address": self._address(scope),
            "request_id": scope[ID_KEY],
        }
        if answer.code is not None:
            line["code"] = answer.code
        if not answer.is_complete:
            line["aborted"] = True
        if self._is_routine(scope["path"], status):
            log.debug("request", **line)
        else:
            log.info("request", **line)

    def _shown(self, path: str) -> str:
        """A path without its secrets. The query, which may hold the signature of a link, is never logged."""
        if "://" in path:  # a whole URL, as a client sends it that takes us for a proxy
            path = "/" + path.partition("://")[2].partition("/")[2]
        for folder in self._secret_folders:
            before, found, name = path.partition(folder)
            if found:
                path = f"{before}{folder}{name[:_SHOWN_OF_SECRET]}*"
        return _printable(path, _LONGEST_PATH)


def _printable(text: str, most: int) -> str:
    """A text in which all but plain characters are percent-encoded, cut to a length."""
    written = quote(text[:most], safe=_SAFE, errors="replace")
    return written if len(text) <= most and len(written) <= most else f"{written[:most]}..."
