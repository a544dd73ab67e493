"""What holds for every response of a gateway: headers, lines in the log, and faults of HTTP."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from quart import Quart, abort
from structlog.testing import capture_logs
from support.app_calls import BODY_LIMIT_BYTES, KEYS, fault, key_of, send, until
from support.fakes import NearestEngine, StuckEngine
from support.gateways import B64, PNG, Start, running
from werkzeug.exceptions import HTTPException
from yarl import URL

from enlarger import config
from enlarger.api.errors import http_error
from enlarger.asgi.request_ids import follow
from enlarger.engine.tile import ModelFacts
from enlarger.models import Catalogue
from enlarger.picture.sandbox.pool import Decoders
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


# Callers


PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
"""What a browser asks before it lets a page send a request."""


# Every response


async def test_no_answer_of_the_route_may_be_stored(start: Start) -> None:
    """Neither results nor refusals: ``GET /upscale`` would otherwise be kept by caches."""
    gateway = await start()
    done = await gateway.upscale(image_b64=B64, inline=False)
    refused = await gateway.call("GET", "/upscale?scale=3")
    gateway.gateway.service.draining = True
    not_now = await gateway.upscale(image_b64=B64)
    assert [reply.status for reply in (done, refused, not_now)] == [200, 400, 503]
    for reply in (done, refused, not_now):
        assert reply.headers.get("Cache-Control") == "no-store"


@pytest.mark.parametrize("given", ["r-7Qm2", "a", "A.b_c-9", "x" * 64])
async def test_usable_request_id_comes_back(start: Start, given: str) -> None:
    """On answers, refusals and unknown routes alike."""
    gateway = await start()
    headers = {"X-Request-Id": given}
    for method, path in (("GET", "/health"), ("POST", "/upscale"), ("GET", "/nowhere")):
        reply = await gateway.call(method, path, headers=headers)
        assert reply.headers["X-Request-Id"] == given
    assert (await gateway.call("POST", "/upscale", headers=headers)).body["request_id"] == given


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a/b", "\xe9", "a,b"])
async def test_unusable_request_id_is_replaced(start: Start, given: str | None) -> None:
    """Each request gets a new id."""
    gateway = await start()
    headers = {} if given is None else {"X-Request-Id": given}
    ids = [
        (await gateway.call("GET", "/health", headers=headers)).headers["X-Request-Id"]
        for _ in range(2)
    ]
    assert all(REQUEST_ID.fullmatch(id_) for id_ in ids)
    assert len({*ids, given}) == 3


async def test_every_line_about_a_request_has_its_id(start: Start) -> None:
    """This includes requests that succeed or are refused, work on the event loop or on a thread, and code that the gateway calls."""
    mine = {"headers": {"X-Request-Id": "mine"}}
    gateway = await start(max_file_size_bytes=len(PNG))
    with capture_logs([structlog.contextvars.merge_contextvars]) as entries:
        for fields in (
            {"image_b64": B64},
            {"image_b64": B64, "scale": 3},
            {"img_url": "http://127.0.0.1:1/x.png"},
        ):
            await gateway.call("POST", "/upscale", json=fields, **mine)
        shutil.rmtree(gateway.store.folder)
        gateway.store.folder.write_bytes(b"a file where the folder was")
        await gateway.call("POST", "/upscale", json={"image_b64": B64, "scale": 4}, **mine)
        await gateway.call("POST", "/cleanup", **mine)
        await send(gateway.port, f"X-Request-Id: mine\r\nContent-Length: {9 << 20}\r\n")
    about = [entry for entry in entries if entry["event"] != "request"]
    assert [(entry["event"], entry.get("code")) for entry in about] == [
        ("admitted", None),
        ("picture_done", None),
        ("refused", "invalid_option"),
        ("source_unreachable", None),
        ("refused", "source_unreachable"),
        ("admitted", None),
        ("result_not_written", None),
        ("refused", "storage_full"),
        ("cleanup_failed", None),
        ("refused", "file_too_large"),
    ]
    assert {entry["request_id"] for entry in entries} == {"mine"}


def lines_of(entries: list[Any]) -> list[Any]:
    """Return the lines that the log has for each request."""
    return [entry for entry in entries if entry["event"] == "request"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code", "caller"),
    [
        ("GET", "/v1/models", {"headers": key_of("alice")}, 200, None, "key:alice"),
        ("HEAD", "/v1/models", {"headers": key_of("bob")}, 200, None, "key:bob"),
        ("GET", "/v1/models", {}, 401, "unauthorized", None),
        ("GET", "/v1/models", {"headers": {"X-API-Key": "wrong"}}, 401, "unauthorized", None),
        ("GET", "/v1/models?sig=kid.no&expires=1", {}, 403, "signature_invalid", None),
        ("GET", "/docs", {}, 200, None, None),
        ("GET", "/nowhere", {"headers": key_of("bob")}, 404, "not_found", "key:bob"),
        ("PUT", "/upscale", {"headers": key_of("bob")}, 405, "method_not_allowed", "key:bob"),
        (
            *("POST", "/upscale", {"headers": key_of("bob"), "json": {"scale": 4}}),
            *(400, "missing_input", "key:bob"),
        ),
        (
            *("POST", "/upscale", {"headers": key_of("bob"), "json": {"image_b64": B64}}),
            *(429, "rate_limited", "key:bob"),
        ),
        ("OPTIONS", "/upscale", {"headers": PREFLIGHT}, 204, None, None),
        ("GET", "/files/none.png", {}, 404, "not_found", None),
    ],
)
async def test_every_request_has_a_line(
    start: Start,
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
    code: str | None,
    caller: str | None,
) -> None:
    """It has exactly one, whichever layer responds. The line has the id of the response and the number of bytes in its body."""
    gateway = await start(
        api_keys=KEYS,
        signing_keys="kid:a-secret-of-a-test",
        rate_limit="0.001mp/1000s",
        cors_origins="https://a.example",
        trusted_proxies="127.0.0.1",
    )
    headers = {"X-Forwarded-For": "192.0.2.9", "Cache-Control": "no-cache"} | options.pop(
        "headers", {}
    )
    url = URL(path, encoded=True)
    if status == 429:  # uses up what the next one is refused
        await gateway.http.request(method, url, headers=headers, **options)
    with capture_logs() as entries:
        async with gateway.http.request(method, url, headers=headers, **options) as response:
            body = await response.read()
        id_ = response.headers["X-Request-Id"]
        await until(lambda: id_ in {line["request_id"] for line in lines_of(entries)})
    (line,) = [line for line in lines_of(entries) if line["request_id"] == id_]
    shown = "/files/none.png*" if path.startswith("/files/") else path.partition("?")[0]
    assert (line["method"], line["path"], line["status"]) == (method, shown, status)
    assert (line.get("code"), line["caller"], line["address"]) == (code, caller, "192.0.2.9")
    assert line["sent_bytes"] == len(body)
    assert "aborted" not in line


async def test_early_refusals_have_a_line(start: Start) -> None:
    """The body is too large: one request declares its length, the other sends too many chunks."""
    gateway = await start(max_file_size_bytes=1)
    too_many = BODY_LIMIT_BYTES + 1
    with capture_logs() as entries:
        await send(gateway.port, f"X-Request-Id: mine\r\nContent-Length: {too_many}\r\n")
        await send(
            gateway.port,
            "X-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n",
            f"{too_many:x}\r\n".encode() + bytes(too_many),
        )
    assert [(line["status"], line["code"], line["request_id"]) for line in lines_of(entries)] == [
        (400, "file_too_large", "mine")
    ] * 2


async def test_client_that_hangs_up_has_a_line(start: Start, models: list[ModelFacts]) -> None:
    """The line has the status 499, because there was no response."""
    stuck = StuckEngine(models)
    gateway = await start(stuck)
    with capture_logs() as entries:
        work = asyncio.create_task(gateway.upscale(image_b64=B64))
        await asyncio.wait_for(stuck.started.wait(), 10)
        work.cancel()
        await until(lambda: len(lines_of(entries)) == 1)
    (line,) = lines_of(entries)
    assert (line["path"], line["status"], line["aborted"]) == ("/upscale", 499, True)


async def test_probes_are_logged_at_the_level_debug(start: Start) -> None:
    """An orchestrator probes every second, which would fill the log. A refused request is not a probe."""
    gateway = await start()
    with capture_logs() as entries:
        for path in ("/health", "/livez", "/readyz", "/metrics", "/health-check"):
            async with gateway.http.get(path) as response:
                await response.read()
        async with gateway.http.post("/livez") as response:
            await response.read()
        await until(lambda: len(lines_of(entries)) == 6)
    levels = [line["log_level"] for line in lines_of(entries)]
    assert levels == ["debug"] * 5 + ["info"]


async def test_name_of_a_result_is_not_in_the_log(start: Start) -> None:
    """Anybody who knows the name can read the file."""
    gateway = await start()
    with capture_logs() as entries:
        made = (await gateway.upscale(image_b64=B64)).body
        async with gateway.http.get(made["url"]) as response:
            size_bytes = len(await response.read())
        await until(lambda: len(lines_of(entries)) == 2)
    token = made["url"].removeprefix("/files/")
    assert token not in str(entries)
    line = lines_of(entries)[1]
    assert (line["path"], line["sent_bytes"]) == (f"/files/{token[:8]}*", size_bytes)


async def test_decoder_that_is_killed_is_logged_with_its_request(
    catalogue: Catalogue, models: list[ModelFacts], tmp_path: Path
) -> None:
    """The line has the id of the request for which the decoder worked."""
    pool = Pool([Member("one", NearestEngine(models))])
    settings = config.load(upload_folder=tmp_path)
    async with (
        Decoders(1, timeout_s=0) as decoders,
        running(pool, catalogue, decoders, settings) as gateway,
    ):
        with capture_logs([structlog.contextvars.merge_contextvars]) as entries:
            await gateway.call(
                "POST", "/upscale", json={"image_b64": B64}, headers={"X-Request-Id": "mine"}
            )
    assert [(entry["event"], entry["request_id"]) for entry in entries[:2]] == [
        ("decoder_killed", "mine"),
        ("refused", "mine"),
    ]


@pytest.mark.parametrize(
    "path", ["/index.html", "/docs/", "/nowhere", "/upscale/", "/upscale/4", "/files/", "/static/x"]
)
async def test_unknown_route_is_404(start: Start, path: str) -> None:
    """In JSON, as all errors are."""
    gateway = await start()
    assert fault(await gateway.call("GET", path)) == (404, "not_found", "Not found")


@pytest.mark.parametrize("path", ["/v1//models", "/files//a.png", "/health//"])
async def test_doubled_slash_is_not_found(start: Start, path: str) -> None:
    """It is another path. A redirect would lead to whatever host the request names."""
    gateway = await start()
    async with gateway.http.get(path, allow_redirects=False) as response:
        assert response.status == 404
        assert "Location" not in response.headers
        assert (await response.json(content_type=None))["code"] == "not_found"


@pytest.mark.parametrize("host", ["", "a b", "[::1", "\xe9", "x" * 300, "a..b", "a:b:c"])
async def test_any_host_is_served(start: Start, host: str) -> None:
    """The service does not know by which names it is reached."""
    gateway = await start()
    reply = await gateway.call("GET", "/health", headers={"Host": host})
    assert (reply.status, reply.body["status"]) == (200, "healthy")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/upscale", {"GET", "POST"}),
        ("DELETE", "/upscale", {"GET", "POST"}),
        ("POST", "/health", {"GET"}),
        ("GET", "/cleanup", {"POST"}),
        ("POST", f"/files/{'0' * 32}.png", {"GET", "HEAD"}),
    ],
)
async def test_wrong_method_is_405_and_says_which_are_right(
    start: Start, method: str, path: str, allowed: set[str]
) -> None:
    """RFC 9110, section 15.5.6: with an ``Allow`` header."""
    gateway = await start()
    reply = await gateway.call(method, path)
    assert fault(reply) == (405, "method_not_allowed", "Method not allowed")
    methods = {name.strip() for name in reply.headers["Allow"].split(",")}
    assert allowed <= methods
    assert method not in methods


@pytest.mark.parametrize(
    ("path", "status", "code", "text"),
    [
        ("/400", 400, "bad_request", "Bad request"),
        ("/v1/400", 400, "bad_request", "Bad request"),
        ("/v1/415", 415, "unsupported_media_type", "Unsupported media type"),
        ("/500", 500, "internal_error", "Internal server error"),
        ("/v1/500", 500, "internal_error", "Internal server error"),
    ],
)
async def test_faults_that_quart_finds_are_told_in_the_words_of_http(
    path: str, status: int, code: str, text: str
) -> None:
    """Each contract has its own form for them. Only status 500 is called our fault."""
    app = Quart(__name__)
    follow(app)
    app.register_error_handler(HTTPException, http_error)

    async def view() -> NoReturn:
        abort(status)

    app.add_url_rule(path, view_func=view)
    answer = await app.test_client().get(path)
    body = await answer.get_json(force=True)
    assert (answer.status_code, body["code"], body["error"]) == (status, code, text)
    assert ("title" in body) == path.startswith("/v1")
