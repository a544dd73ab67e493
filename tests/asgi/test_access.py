"""The line that each request has in the log: what stands in it, and that no request has none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from enlarger.asgi.access import Access, note
from enlarger.asgi.messages import Receive, Scope, Send
from enlarger.asgi.request_ids import id_of
from enlarger.errors import StorageUnavailable

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def request(**facts: Any) -> Scope:
    """An ASGI scope."""
    usual = {
        "type": "http",
        "method": "GET",
        "path": "/v1/models",
        "query_string": b"",
        "headers": [(b"x-request-id", b"mine")],
        "client": ("203.0.113.7", 50000),
    }
    return {**usual, **facts}


def answers(status: int, *pieces: bytes, is_complete: bool = True) -> App:
    """An application that sends this answer, or only its beginning."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if is_complete:
            await send({"type": "http.response.body"})

    return app


async def hangs_up() -> Scope:
    """What an application receives from a client that has gone."""
    return {"type": "http.disconnect"}


async def ignored(_: Scope) -> None:
    """Where answers go."""


async def line_of(app: App, scope: Scope, **options: Any) -> dict[str, Any]:
    """The one line that a request has."""
    access = Access(app, **{"is_routine": lambda _path, _status: False, **options})
    with capture_logs() as entries, suppress(ZeroDivisionError, asyncio.CancelledError):
        await access(scope, hangs_up, ignored)
    (line,) = [entry for entry in entries if entry["event"] == "request"]
    return dict(line)


async def test_line_says_who_asked_for_what_from_where_and_what_came_of_it() -> None:
    """Without the query; the bytes are those of the body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        note(scope, caller="key:alice")
        await answers(200, b"12345", b"678")(scope, receive, send)

    scope = request(method="POST", path="/v1/upscale", query_string=b"scale=4&sig=secret")
    line = await line_of(app, scope)
    assert 0 <= line.pop("took_s") < 5
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "path": "/v1/upscale",
        "status": 200,
        "sent_bytes": 8,
        "caller": "key:alice",
        "address": "203.0.113.7",
        "request_id": "mine",
    }


async def test_line_has_the_code_of_the_error() -> None:
    """Where the request ended with one of ours."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        note(scope, code="rate_limited")
        await answers(429, b"{}")(scope, receive, send)

    line = await line_of(app, request())
    assert (line["status"], line["code"], line["caller"]) == (429, "rate_limited", None)


async def test_time_goes_to_the_end_of_a_streamed_answer() -> None:
    """Not to its first byte."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def slow(message: Scope) -> None:
            await asyncio.sleep(0.05)
            await send(message)

        await answers(200, b"1", b"2")(scope, receive, slow)

    assert (await line_of(app, request()))["took_s"] >= 0.15


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("DELETE", 204)])
async def test_body_that_is_not_sent_is_not_counted(method: str, status: int) -> None:
    """Hypercorn drops it."""
    line = await line_of(answers(status, b"12345"), request(method=method))
    assert (line["method"], line["status"], line["sent_bytes"]) == (method, status, 0)


async def left(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that sees its client leave before it has answered."""
    await receive()


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    """An application with a fault."""
    raise ZeroDivisionError


async def is_cancelled(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose server is stopped."""
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("app", "status"),
    [
        (left, 499),
        (fails, 500),
        (is_cancelled, 500),
        (answers(200, b"12", is_complete=False), 200),
    ],
)
async def test_answer_that_did_not_come_to_its_end_is_said(app: App, status: int) -> None:
    """499 is a client that hung up before there was an answer."""
    line = await line_of(app, request())
    assert (line["status"], line["aborted"]) == (status, True)


async def test_fault_of_a_layer_is_logged() -> None:
    """It goes on to Hypercorn, which would say nothing of it."""
    access = Access(fails, is_routine=lambda _path, _status: False)
    with capture_logs() as entries, pytest.raises(ZeroDivisionError):
        await access(request(), hangs_up, ignored)
    assert [entry["event"] for entry in entries] == ["internal_error", "request"]


async def test_body_that_cannot_be_completed_is_one_line() -> None:
    """The storage that failed has said why; Hypercorn closes the connection."""

    async def loses(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"12", "more_body": True})
        raise StorageUnavailable("the server's bucket cannot be reached now; try again later")

    access = Access(loses, is_routine=lambda _path, _status: False)
    with capture_logs() as entries, pytest.raises(StorageUnavailable):
        await access(request(), hangs_up, ignored)
    ((event, code, aborted),) = [
        (entry["event"], entry["code"], entry["aborted"]) for entry in entries
    ]
    assert (event, code, aborted) == ("request", "storage_unavailable", True)


async def test_refused_websocket_has_a_line() -> None:
    """It came as a GET, and Hypercorn answers 403."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})

    scope = request(type="websocket")
    del scope["method"]
    line = await line_of(app, scope)
    assert (line["method"], line["status"], line.get("aborted")) == ("GET", 403, None)


async def test_what_is_no_request_has_no_line() -> None:
    """The server's own start and end."""
    with capture_logs() as entries:
        await Access(answers(200), is_routine=lambda _path, _status: False)(
            {"type": "lifespan"}, hangs_up, ignored
        )
    assert entries == []


@pytest.mark.parametrize(("status", "level"), [(200, "debug"), (401, "info")])
async def test_routine_is_logged_at_the_level_debug(status: int, level: str) -> None:
    """As long as it goes as ever."""
    line = await line_of(
        answers(status), request(path="/livez"), is_routine=lambda path, code: (path, code) == ("/livez", 200)
    )  # fmt: skip
    assert line["log_level"] == level


async def test_all_layers_see_one_request_id() -> None:
    """Also where the caller sent none, or one that cannot be used."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([id_of(scope), id_of({**scope, "more": 1})])
        await answers(200)(scope, receive, send)

    line = await line_of(app, request(headers=[(b"x-request-id", b"a b")]))
    assert seen == [line["request_id"]] * 2
    assert re.fullmatch(r"r-[0-9a-f]{16}", line["request_id"])


# Paths


async def test_name_that_is_a_permission_is_not_logged_whole() -> None:
    """Its first signs tell which it was; behind a prefix of a proxy, too."""
    for prefix in ("", "/images"):
        line = await line_of(
            answers(200), request(path=f"{prefix}/files/{'0123456789abcdef' * 2}.png"), secret_folders=("/files/",)
        )  # fmt: skip
        assert line["path"] == f"{prefix}/files/01234567*"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a b\r\n2026 [info] request\x1b[31m", "/a%20b%0D%0A2026%20%5Binfo%5D%20request%1B%5B31m"),
        ("/ü", "/%C3%BC"),
        ('/"quoted"\\', "/%22quoted%22%5C"),
        ("http://user:password@a.example/v1/models", "/v1/models"),
        ("*", "*"),
        ("/" + "x" * 5000, "/" + "x" * 199 + "..."),
        ("/" + "\n" * 150, "/" + "%0A" * 66 + "%..."),
    ],
)
async def test_path_is_logged_in_plain_signs_and_cut_short(path: str, shown: str) -> None:
    """Nothing in it begins a line, moves a cursor, or fills the disk."""
    assert (await line_of(answers(404), request(path=path)))["path"] == shown


@given(path=st.text(), method=st.text())
async def test_no_path_and_no_method_can_forge_a_line(path: str, method: str) -> None:
    """Whatever a client sends, two short words of printable ASCII without spaces and quotes are logged."""
    line = await line_of(answers(404), request(path=path, method=method))
    for word, most in ((line["path"], 203), (line["method"], 19)):
        assert len(word) <= most
        assert re.fullmatch(r"[!-~]*", word)
        assert not set(word) & set('"\\<>')
