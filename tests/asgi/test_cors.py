"""CORS: which origins may read responses, with the headers that the Fetch standard defines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.asgi.bodies import TOO_SLOW, LimitedBodies
from enlarger.asgi.cors import Cors
from enlarger.asgi.messages import Answer, AsgiApp, Receive, Scope, Send

HERE, THERE = "https://a.example", "http://localhost:3000"
ORIGINS = (HERE, THERE)
PREFLIGHT = "access-control-request-method"


async def application(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers 200 with two headers."""
    headers = [(b"vary", b"Accept"), (b"x-path", scope["path"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"done", "more_body": False})


async def answered(
    headers: dict[str, str],
    *,
    origins: tuple[str, ...] = ORIGINS,
    method: str = "GET",
    app: AsgiApp = application,
) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers of the answer to a request."""
    sent: list[Any] = []

    async def receive() -> None:
        await asyncio.Event().wait()  # no body comes

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": "/x",
        "headers": [(name.encode(), value.encode("latin1")) for name, value in headers.items()],
    }
    await Cors(app, origins, sent=["X-API-Key"], exposed=["ETag", "X-Id"])(scope, receive, send)
    start = sent[0]
    return start["status"], [(name.decode(), value.decode()) for name, value in start["headers"]]


OWN = [("vary", "Accept"), ("x-path", "/x")]
EXPOSED = ("access-control-expose-headers", "ETag, X-Id")


@pytest.mark.parametrize("origin", ORIGINS)
async def test_page_of_a_known_origin_may_read(origin: str) -> None:
    """Caches are told that the answer is for it alone; what the application says stays."""
    allowed = [("vary", "Origin"), ("access-control-allow-origin", origin), EXPOSED]
    assert await answered({"origin": origin}) == (200, OWN + allowed)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": ""},
        {"origin": "null"},
        {"origin": "https://a.example.evil"},
        {"origin": "http://a.example"},
        {"origin": "https://a.example:8443"},
        {"origin": "HTTPS://A.EXAMPLE"},
        {"origin": f"{HERE}, {THERE}"},
        {"origin": "*"},
        {"origin": "\xff"},
    ],
)
async def test_others_may_not(headers: dict[str, str]) -> None:
    """A cache must not give them the answer of a page that may, nor the other way round."""
    assert await answered(headers) == (200, [*OWN, ("vary", "Origin")])


@given(origin=st.text(st.characters(max_codepoint=255), max_size=30))
async def test_nobody_but_the_listed_is_allowed(origin: str) -> None:
    """Whatever is said."""
    _, headers = await answered({"origin": origin})
    assert (("access-control-allow-origin", origin) in headers) == (origin in ORIGINS)


@pytest.mark.parametrize("headers", [{}, {"origin": HERE}, {"origin": "null"}])
async def test_any_page_may_read_where_all_are_allowed(headers: dict[str, str]) -> None:
    """One answer for all, so that caches can share it."""
    allowed = [("access-control-allow-origin", "*"), EXPOSED]
    assert await answered(headers, origins=("*",)) == (200, OWN + allowed)


async def test_page_learns_why_it_was_refused() -> None:
    """Answers of the layers around an application are to be read as well: here of a body that does not come."""

    def refuse(_scope: Scope, status: int) -> Answer:
        return status, [], b"slow"

    limited = LimitedBodies(
        application, limit_of=lambda _: 1, refuse=refuse, timeout_s=0.01, linger_s=0.01
    )
    status, headers = await answered({"origin": HERE}, app=limited)
    assert status == TOO_SLOW
    assert dict(headers)["access-control-allow-origin"] == HERE


async def asked(origin: str, origins: tuple[str, ...] = ORIGINS) -> dict[str, str]:
    """The headers of the answer to a preflight, which does not reach the application."""
    request = {"origin": origin, PREFLIGHT: "POST", "x-request-id": "mine"}
    status, headers = await answered(request, origins=origins, method="OPTIONS")
    assert status == 204
    return dict(headers)


@pytest.mark.parametrize(("origins", "allowed"), [(ORIGINS, THERE), (("*",), "*")])
async def test_preflight_says_what_pages_may_send(origins: tuple[str, ...], allowed: str) -> None:
    """Which methods and headers, and for how long that is to be remembered."""
    varies = {"vary": "Origin"} if allowed != "*" else {}
    assert await asked(THERE, origins) == {
        "x-request-id": "mine",
        **varies,
        "access-control-allow-origin": allowed,
        "access-control-allow-methods": "GET, HEAD, POST, DELETE",
        "access-control-allow-headers": "X-API-Key",
        "access-control-max-age": "600",
    }


async def test_preflight_of_others_allows_nothing() -> None:
    """The browser then does not send the request."""
    assert await asked("https://evil.example") == {"x-request-id": "mine", "vary": "Origin"}


@pytest.mark.parametrize("headers", [{}, {"origin": HERE}, {PREFLIGHT: "GET"}])
async def test_other_options_requests_are_the_application_s(headers: dict[str, str]) -> None:
    """A preflight has both headers."""
    status, found = await answered(headers, method="OPTIONS")
    assert (status, found[:2]) == (200, OWN)


@pytest.mark.parametrize("origins", [ORIGINS, ("*",)])
async def test_cookies_are_never_allowed(origins: tuple[str, ...]) -> None:
    """Neither for the request nor before it."""
    for method in ("GET", "OPTIONS"):
        request = {"origin": HERE, PREFLIGHT: "GET"}
        _, headers = await answered(request, origins=origins, method=method)
        assert "access-control-allow-credentials" not in dict(headers)


async def test_start_and_end_pass_through() -> None:
    """The server's own have no origin."""
    passed: list[object] = []

    async def taking(*given: object) -> None:
        passed.extend(given)

    given = {"type": "lifespan"}, object(), object()
    await Cors(taking, ORIGINS, sent=[], exposed=[])(*given)  # type: ignore[arg-type]
    assert passed == list(given)
