"""The gateway over a real socket: its routes, its answers, and what each fault comes to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import pytest
import structlog
from fakes import FailsFirst, HeldEngine, NearestEngine, StuckEngine, nearest
from gateways import B64, PNG, RED, Json, Reply, Running, Start, running, samples
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from oracles import lanczos
from pictures import encoded, noise, oriented, visible
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from quart import Quart, abort
from results import FolderResults
from sites import Site, page
from structlog.testing import capture_logs
from werkzeug.exceptions import HTTPException
from yarl import URL

from enlarger import __version__, config
from enlarger.api.errors import http_error
from enlarger.asgi.request_ids import follow
from enlarger.engine.tile import ModelFacts, TileRequest, TileResult
from enlarger.errors import EngineFailed, EngineLost, EnlargerError, OutOfMemory, WrongOutput
from enlarger.models import Catalogue
from enlarger.picture.sandbox.pool import Decoders
from enlarger.pool.health import Health, State
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import Readiness
from enlarger.storage import Draft, StoredResult, storage_at

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
STORED = re.compile(r"upscaled_([0-9a-f]{32})\.png")

T = TypeVar("T")


def fields_of(path: Path, name: str) -> Path:
    """A file of another name in a folder of results."""
    (path / name).write_bytes(b"not ours")
    return path / name


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - that is the point
            await asyncio.sleep(0.002)


# Callers

KEYS = ",".join(
    f"{name}:sha256-{hashlib.sha256(name.encode() * 5).hexdigest()}" for name in ("alice", "bob")
)


def key_of(name: str) -> dict[str, str]:
    """The header of one of them."""
    return {"Authorization": f"Bearer {name * 5}"}


PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
"""What a browser asks before it lets a page send a request."""


async def test_keys_are_asked_for_if_there_are_any(start: Start) -> None:
    """401 before anything else; health and results are open, and a request id is kept."""
    gateway = await start(api_keys=KEYS)
    for method, path in [
        ("POST", "/upscale"),
        ("GET", "/status"),
        ("POST", "/cleanup"),
        ("GET", "/metrics"),
    ]:
        reply = await gateway.call(method, path, headers={"X-Request-Id": "mine"})
        assert (reply.status, reply.body["code"]) == (401, "unauthorized"), path
        assert (reply.body["retryable"], reply.body["request_id"]) == (False, "mine")
        assert (reply.headers["WWW-Authenticate"], reply.headers["X-Request-Id"]) == (
            "Bearer",
            "mine",
        )
    assert (await gateway.call("GET", "/health")).status == 200
    assert (await gateway.call("GET", "/files/none.png")).status == 404
    fields = {"image_b64": B64, "scale": 4}
    made = await gateway.call("POST", "/upscale", json=fields, headers=key_of("alice"))
    assert made.status == 200
    async with gateway.http.get(made.body["url"]) as file:
        assert file.status == 200


async def test_sender_of_a_large_body_reads_that_its_key_is_wrong(start: Start) -> None:
    """Though it looks for an answer only when it has sent all: 16 MiB, more than sockets hold on the way."""
    gateway = await start(api_keys=KEYS)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    length = 16 << 20
    writer.write(
        f"POST /v1/upscale HTTP/1.1\r\nHost: a\r\nX-API-Key: no\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    for _ in range(16):
        writer.write(bytes(length // 16))
        await writer.drain()
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "unauthorized"


async def test_callers_with_keys_share_no_results(start: Start) -> None:
    """Whether somebody else sent a picture before is nobody's business."""
    gateway = await start(api_keys=KEYS)
    found = []
    for name in ("alice", "bob", "alice"):
        fields = {"image_b64": B64, "scale": 4, "inline": False}
        reply = await gateway.call("POST", "/upscale", json=fields, headers=key_of(name))
        found.append(reply.body["cache"])
    assert found == ["miss", "miss", "hit"]


async def test_rate_limit_counts_output_megapixels(start: Start) -> None:
    """A picture of 120 x 80 is 9600 pixels; one of the same found again costs nothing."""
    gateway = await start(rate_limit="0.01mp/1000s")
    policy = '"output-mp";q=0.01;w=1000'
    fields = {"image_b64": B64, "inline": False}
    first = await gateway.upscale(**fields, scale=4)
    assert (first.status, first.headers["RateLimit-Policy"]) == (200, policy)
    assert first.headers["RateLimit"] == '"output-mp";r=0;t=960'
    assert (await gateway.upscale(**fields, scale=4)).body["cache"] == "hit"
    assert (await gateway.upscale(**fields, scale=2)).status == 200
    refused = await gateway.upscale(**fields, scale=2, format="webp")
    assert (refused.status, refused.body["code"], refused.body["retryable"]) == (
        429,
        "rate_limited",
        True,
    )
    assert (
        refused.body["error"] == "Rate limit exceeded: more than 0.01 output megapixels in 1000 s"
    )
    assert int(refused.headers["Retry-After"]) == 120
    assert gateway.load() == 0


async def test_rate_limits_are_per_caller(start: Start) -> None:
    """By key, where there are keys; by the address that a trusted proxy names, where there are none."""
    gateway = await start(api_keys=KEYS, rate_limit="0.001mp/1000s")
    fields = {"image_b64": B64, "inline": False}
    for name, options, status in [
        ("alice", {"scale": 4}, 200),
        ("alice", {"scale": 2}, 429),
        ("bob", {"scale": 2}, 200),
    ]:
        reply = await gateway.call("POST", "/upscale", json=fields | options, headers=key_of(name))
        assert reply.status == status
    gateway = await start(rate_limit="0.001mp/1000s", trusted_proxies="127.0.0.1")
    for address, scale, status in [
        ("192.0.2.1", 4, 200),
        ("192.0.2.1", 2, 429),
        ("192.0.2.2", 2, 200),
    ]:
        headers = {"X-Forwarded-For": address}
        reply = await gateway.call(
            "POST", "/upscale", json={**fields, "scale": scale}, headers=headers
        )
        assert reply.status == status


@pytest.mark.parametrize(
    ("settings", "header", "one", "again", "other"),
    [
        ({}, "X-Forwarded-For", "203.0.113.6:1001", "203.0.113.6:1002", "203.0.113.7:1001"),
        ({}, "X-Forwarded-For", "[2001:db8::1]:443", "2001:db8::ffff", "[2001:db8:0:1::1]:443"),
        ({}, "X-Forwarded-For", "192.0.2.1", "192.0.2.1:9, 127.0.0.1:443", "192.0.2.2, 127.0.0.1"),
        (
            {"proxy_header": "Forwarded"},
            "Forwarded",
            'for="203.0.113.6:1001";proto=https',
            "For=203.0.113.6",
            'for="[2001:db8::1]:443"',
        ),
    ],
)
async def test_rate_limits_are_per_address_however_a_proxy_writes_it(
    start: Start, settings: Json, header: str, one: str, again: str, other: str
) -> None:
    """Ports, brackets and quotes make no new caller, and no trusted proxy is one."""
    gateway = await start(rate_limit="0.001mp/1000s", trusted_proxies="127.0.0.1", **settings)
    fields = {"image_b64": B64, "inline": False}
    for sent, scale, status in [(one, 4, 200), (again, 2, 429), (other, 2, 200)]:
        reply = await gateway.call(
            "POST", "/upscale", json={**fields, "scale": scale}, headers={header: sent}
        )
        assert reply.status == status


# Results


@pytest.mark.parametrize(
    "fields",
    [
        {"image_b64": B64},
        {"image_b64": f"data:image/png;base64,{B64}"},
        {"img_url": f"data:image/png;base64,{B64}"},
        {"img_url": f"data:image/jpeg;base64,{B64}"},
    ],
    ids=["base64", "base64-with-prefix", "data-url", "data-url-of-another-type"],
)
async def test_picture_in_the_request_comes_back_enlarged(start: Start, fields: Json) -> None:
    """Each pixel is where it belongs, in RGB order; content counts, not the declared type."""
    gateway = await start()
    assert np.array_equal(await gateway.picture(scale=4, **fields), nearest(RED, 4))


async def test_picture_behind_a_url_comes_back_enlarged(start: Start) -> None:
    """A source that the setting names."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        reply = await gateway.upscale(img_url=site.url("/cat.png"), scale=4)
        assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(RED, 4))
        assert reply.body["original_size"] == {"width": 30, "height": 20, "bytes": len(PNG)}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_picture_keeps_its_channels(start: Start, channels: int) -> None:
    """Gray stays gray and alpha stays alpha."""
    pixels = visible(noise(20, 30, channels))
    stored = pixels[:, :, 0] if channels == 1 else pixels
    gateway = await start()
    made = await gateway.picture(image_b64=base64.b64encode(encoded(stored)).decode(), scale=4)
    assert np.array_equal(made, nearest(stored, 4))


async def test_double_size_is_the_model_s_picture_reduced(start: Start) -> None:
    """A model of 4x and Lanczos to 2x; the answer says so. It is the default."""
    gateway = await start()
    reply = await gateway.upscale(image_b64=B64)
    found = samples(base64.b64decode(reply.body["base64"]))
    assert np.abs(found - lanczos(nearest(RED, 4), 2)).max() <= 0.501
    assert reply.body["upscaled_size"] == {"width": 60, "height": 40, "scale": 2}
    assert [note["code"] for note in reply.body["notes"]] == ["resampled"]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("tiff", "tif")],
)
async def test_result_is_of_the_format_that_is_asked_for(
    start: Start, kind: str, suffix: str
) -> None:
    """In the answer, in the file, and behind the URL, with its media type."""
    gateway = await start()
    reply = await gateway.upscale(image_b64=B64, scale=4, format=kind, quality=90)
    data = base64.b64decode(reply.body["base64"])
    with Image.open(BytesIO(data)) as image:
        assert (image.format or "").lower() == kind
        assert image.size == (120, 80)
    assert reply.body["url"].endswith(f".{suffix}")
    async with gateway.http.get(reply.body["url"]) as response:
        assert (response.status, response.content_type) == (200, f"image/{kind}")
        assert await response.read() == data


async def test_answer_states_what_was_done(start: Start, models: list[ModelFacts]) -> None:
    """All fields of the contract, in their types."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    began = time.time()
    reply = await gateway.upscale(image_b64=B64, scale=4, model="nearest", precision="f32")
    body = reply.body
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert list(body) == [
        "success",
        "file_path",
        "base64",
        "original_size",
        "upscaled_size",
        "processing_time",
        "url",
        "expires_at",
        "model",
        "engine",
        "precision",
        "tiles",
        "kept",
        "notes",
        "cache",
        "color_delta",
        "model_sha256",
        "request_id",
    ]
    token = body["url"].removeprefix("/files/").removesuffix(".png")
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert body["success"] is True
    assert body["file_path"] == f"uploads/upscaled_{token}.png"
    assert body["original_size"] == {"width": 30, "height": 20, "bytes": len(PNG)}
    assert body["upscaled_size"] == {"width": 120, "height": 80, "scale": 4}
    assert 0 <= body["processing_time"] <= time.time() - began + 0.01
    assert (body["model"], body["engine"], body["precision"]) == ("nearest", "nearest", "f32")
    assert body["tiles"] == {
        "total": len(engine.requests) + body["tiles"]["reused"],
        "servers": 1,
        "retried": 0,
        "repeated": {},
        "reused": body["tiles"]["reused"],
    }
    assert body["cache"] == "miss"
    assert (body["kept"], body["color_delta"]) == ([], 0.0)
    assert body["model_sha256"] == next(row.sha256 for row in models if row.id == "nearest")
    assert body["notes"] == []
    assert body["request_id"] == reply.headers["X-Request-Id"]
    assert {request.request_id for request in engine.requests} == {body["request_id"]}


async def test_size_is_that_of_the_picture_as_seen(start: Start) -> None:
    """Orientation is applied before anything is measured."""
    file = oriented(RED, 6, "PNG")
    gateway = await start()
    reply = await gateway.upscale(image_b64=base64.b64encode(file).decode(), scale=4)
    assert reply.body["original_size"] == {"width": 20, "height": 30, "bytes": len(file)}
    assert reply.body["upscaled_size"] == {"width": 80, "height": 120, "scale": 4}
    assert reply.body["notes"][0] == {
        "code": "orientation_applied",
        "detail": "EXIF orientation 6",
    }


async def test_base64_file_and_url_hold_the_same_bytes(start: Start) -> None:
    """The PNG is encoded once, and the route's headers are those of the contract."""
    gateway = await start()
    body = (await gateway.upscale(image_b64=B64, scale=4)).body
    data = base64.b64decode(body["base64"], validate=True)
    assert (gateway.store.folder.parent / body["file_path"]).read_bytes() == data
    async with gateway.http.get(body["url"]) as response:
        assert response.status == 200
        assert await response.read() == data
        headers = response.headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Length"] == str(len(data))
    assert headers["ETag"] == f'"sha256-{hashlib.sha256(data).hexdigest()}"'
    assert headers["Content-Disposition"] == "inline"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    match = re.fullmatch(r"private, max-age=(\d+), immutable", headers["Cache-Control"])
    assert match is not None
    assert 290 <= int(match.group(1)) <= 300
    async with gateway.http.head(body["url"]) as response:
        assert response.status == 200
        assert await response.read() == b""
        for name in ("Content-Type", "Content-Length", "ETag", "X-Content-Type-Options"):
            assert response.headers[name] == headers[name]


@pytest.mark.parametrize("width_px", [300, 301, 302])
async def test_base64_in_several_pieces_is_whole(start: Start, width_px: int) -> None:
    """The answer has the length that it declares, and the file's bytes, however many these are."""
    gateway = await start()
    file = encoded(noise(300, width_px, 3))
    async with gateway.http.post(
        "/upscale", json={"image_b64": base64.b64encode(file).decode(), "scale": 2}
    ) as response:
        raw = await response.read()
        assert response.headers["Content-Length"] == str(len(raw))
    body = json.loads(raw)
    data = base64.b64decode(body["base64"], validate=True)
    assert len(data) > 3 << 18  # one piece
    assert (gateway.store.folder.parent / body["file_path"]).read_bytes() == data


async def test_base64_is_left_out_on_request(start: Start) -> None:
    """``inline`` false leaves null; the file is there all the same."""
    gateway = await start()
    reply = await gateway.upscale(image_b64=B64, scale=4, inline=False)
    assert reply.body["base64"] is None
    assert reply.headers["Cache-Control"] == "no-store"
    file = (gateway.store.folder.parent / reply.body["file_path"]).read_bytes()
    assert np.array_equal(samples(file), nearest(RED, 4))


async def test_same_request_gives_the_same_bytes_under_another_name(start: Start) -> None:
    """Nothing random is in a picture, and no name is used twice."""
    gateway = await start()
    one, other = [(await gateway.upscale(image_b64=B64, scale=2)).body for _ in range(2)]
    assert one["base64"] == other["base64"]
    assert one["url"] != other["url"]


async def test_every_answer_belongs_to_its_request(start: Start) -> None:
    """Many at once, with distinct pictures: distinct names, and each picture its own."""
    gateway = await start()
    pictures = [noise(9 + number, 12, 3, seed=number) for number in range(24)]
    replies = await asyncio.gather(
        *(
            gateway.upscale(image_b64=base64.b64encode(encoded(pixels)).decode(), scale=4)
            for pixels in pictures
        )
    )
    for pixels, reply in zip(pictures, replies, strict=True):
        assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(pixels, 4))
    assert len({reply.body["url"] for reply in replies}) == len(pictures)
    assert gateway.load() == 0


async def test_query_stands_for_the_body(start: Start) -> None:
    """``GET`` takes the same names."""
    gateway = await start()
    query = {"img_url": f"data:image/png;base64,{B64}", "scale": "4", "model": "nearest"}
    reply = await gateway.call("GET", str(URL("/upscale").with_query(query)))
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.body["model"] == "nearest"
    assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(RED, 4))


async def test_get_with_a_body_is_read_as_a_post(start: Start) -> None:
    """Where there is no query."""
    gateway = await start()
    reply = await gateway.call("GET", "/upscale", json={"image_b64": B64, "scale": 4})
    assert reply.status == 200
    assert reply.body["upscaled_size"] == {"width": 120, "height": 80, "scale": 4}


async def test_public_url_stands_before_the_paths(start: Start) -> None:
    """Taken from the setting, never from the ``Host`` header."""
    gateway = await start(public_url="https://cdn.example.com/")
    reply = await gateway.call(
        "POST", "/upscale", json={"image_b64": B64}, headers={"Host": "evil.example"}
    )
    assert re.fullmatch(r"https://cdn\.example\.com/files/[0-9a-f]{32}\.png", reply.body["url"])


# Faults of the sender


def fault(reply: Reply) -> tuple[int, str, str]:
    """Status, code and text of an error, whose form is checked on the way."""
    assert reply.body["request_id"] == reply.headers["X-Request-Id"]
    assert type(reply.body["retryable"]) is bool
    return reply.status, reply.body["code"], reply.body["error"]


@pytest.mark.parametrize(
    ("body", "content_type", "code", "text"),
    [
        (b"", "application/json", "missing_body", "No JSON data provided"),
        (b"{}", "application/json", "missing_body", "No JSON data provided"),
        (b'{"scale": 2}', "text/plain", "missing_body", "No JSON data provided"),
        (b"{", "application/json", "malformed_json", "Malformed JSON"),
        (b'{"scale": 3}', "application/json", "invalid_option", "Scale must be 2 or 4"),
        (b'{"scale": 4}', "application/json", "missing_input", "img_url is required"),
        (b'{"img_url": "ftp://x"}', "application/json", "invalid_url", "Invalid img_url format"),
        (
            b'{"image_b64": "?"}',
            "application/json",
            "unreadable_image",
            "Invalid image: not valid base64",
        ),
    ],
)
async def test_fault_of_the_body_is_400(
    start: Start, body: bytes, content_type: str, code: str, text: str
) -> None:
    """Whatever is wrong with a request is answered in JSON, and a repeat makes no sense."""
    gateway = await start()
    reply = await gateway.call(
        "POST", "/upscale", data=body, headers={"Content-Type": content_type}
    )
    assert fault(reply) == (400, code, text)
    assert reply.body["retryable"] is False
    assert "Retry-After" not in reply.headers


async def test_fault_of_the_query_is_400(start: Start) -> None:
    """A query is checked as a body is; without either there is no request."""
    gateway = await start()
    assert fault(await gateway.call("GET", "/upscale?scale=3&img_url=http://x/")) == (
        400,
        "invalid_option",
        "Scale must be 2 or 4",
    )
    assert fault(await gateway.call("GET", "/upscale")) == (
        400,
        "missing_body",
        "No JSON data provided",
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"certainly no picture", "unsupported_format"),
        (b"%PDF-1.7" + bytes(20), "unsupported_format"),
        (PNG[:60], "unreadable_image"),
        (PNG[:-40], "unreadable_image"),
    ],
    ids=["text", "pdf", "header-cut", "cut"],
)
async def test_what_is_no_picture_is_400(start: Start, data: bytes, code: str) -> None:
    """Not a format that we read, or one that is cut short; nothing is left of the request."""
    gateway = await start()
    status, found, text = fault(await gateway.upscale(image_b64=base64.b64encode(data).decode()))
    assert (status, found) == (400, code)
    assert text.startswith("Invalid image: ")
    assert gateway.load() == 0
    assert list(gateway.store.folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["base64", "url"])
async def test_file_over_the_limit_is_400(start: Start, kind: str) -> None:
    """One byte too many, however it arrives; exactly the limit passes."""
    async with Site({"/cat.png": page(PNG)}) as site:
        fields = {"base64": {"image_b64": B64}, "url": {"img_url": site.url("/cat.png")}}[kind]
        gateway = await start(max_file_size_bytes=len(PNG), fetch=site.address)
        assert (await gateway.upscale(**fields)).status == 200
        gateway = await start(max_file_size_bytes=len(PNG) - 1, fetch=site.address)
        reply = await gateway.upscale(**fields)
    prefix = {"base64": "Invalid image", "url": "Failed to download image"}[kind]
    assert fault(reply) == (
        400,
        "file_too_large",
        f"{prefix}: Image too large: {len(PNG)} bytes (max: {len(PNG) - 1})",
    )
    assert (reply.body["limit"], reply.body["actual"]) == (len(PNG) - 1, len(PNG))


async def test_picture_with_a_side_over_the_limit_is_400(start: Start) -> None:
    """One pixel too many is refused by the header; exactly the limit passes."""
    assert (await (await start(max_image_dimension_px=30)).upscale(image_b64=B64)).status == 200
    reply = await (await start(max_image_dimension_px=29)).upscale(image_b64=B64)
    assert fault(reply) == (
        400,
        "image_too_large",
        "Invalid image: Image dimensions too large: 30x20 (max: 29)",
    )
    assert (reply.body["limit"], reply.body["actual"]) == (29, 30)


async def test_output_over_the_limit_is_400(start: Start) -> None:
    """The answer has the size and the scale, and the raw samples that it would take."""
    gateway = await start(max_output_px=120 * 80)
    assert (await gateway.upscale(image_b64=B64, scale=4)).status == 200
    reply = await (await start(max_output_px=120 * 80 - 1)).upscale(image_b64=B64, scale=4)
    assert fault(reply) == (
        400,
        "output_too_large",
        f"Upscaled image would be too large: ~{120 * 80 * 3} bytes",
    )
    assert reply.body["original_size"] == {"width": 30, "height": 20}
    assert reply.body["scale"] == 4
    assert (reply.body["limit"], reply.body["actual"]) == (120 * 80 - 1, 120 * 80)


@pytest.mark.parametrize(
    ("path", "code", "text", "retryable"),
    [
        ("/gone.png", "source_refused", "HTTP 404: Failed to download image", False),
        ("/broken.png", "source_failed", "HTTP 503: Failed to download image", True),
    ],
)
async def test_source_that_refuses_is_400(
    start: Start, path: str, code: str, text: str, retryable: bool
) -> None:
    """The source's own number is in the text."""
    async with Site({"/broken.png": page(status=503)}) as site:
        gateway = await start(fetch=site.address)
        reply = await gateway.upscale(img_url=site.url(path))
    assert fault(reply) == (400, code, f"Failed to download image: {text}")
    assert reply.body["retryable"] is retryable


@pytest.mark.parametrize("rule", ["public", "off"])
async def test_source_out_of_reach_is_400(start: Start, rule: str) -> None:
    """The text is the same for all reasons and names no address; nothing was connected to."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=rule)
        reply = await gateway.upscale(img_url=site.url("/cat.png"))
        assert site.connections == 0
    assert fault(reply) == (
        400,
        "source_unreachable",
        "Failed to download image: could not reach the source",
    )


# Bodies


BODY_LIMIT_BYTES = 4 + 1_048_576
"""Of a gateway that takes pictures of one byte: 4 * ceil(1 / 3) + 1048576."""


async def send(port: int, head: str, body: bytes = b"") -> tuple[str, Json]:
    """A request by hand: the head and the JSON of all that came until the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = f"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n"
    writer.write(lines.encode() + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    heading, _, text = answer.decode().partition("\r\n\r\n")
    return heading, json.loads(text)


@pytest.mark.parametrize("kind", ["declared", "counted"])
async def test_body_over_the_limit_is_400_and_the_connection_is_closed(
    start: Start, kind: str
) -> None:
    """Declared or counted: the rest of the body is not waited for."""
    gateway = await start(max_file_size_bytes=1)
    too_many = BODY_LIMIT_BYTES + 1
    if kind == "declared":
        sent = await send(gateway.port, f"X-Request-Id: mine\r\nContent-Length: {too_many}\r\n")
    else:
        sent = await send(
            gateway.port,
            "X-Request-Id: mine\r\nTransfer-Encoding: chunked\r\n",
            f"{too_many:x}\r\n".encode() + b" " * too_many + b"\r\n",
        )
    heading, body = sent
    assert heading.startswith("HTTP/1.1 400 ")
    assert "x-request-id: mine" in heading.lower()
    assert body["error"] == f"Request body too large (max: {BODY_LIMIT_BYTES})"
    assert (body["code"], body["retryable"]) == ("file_too_large", False)
    assert (body["limit"], body["request_id"]) == (BODY_LIMIT_BYTES, "mine")


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_of_the_limit_is_read(start: Start, chunked: bool) -> None:
    """Exactly as many bytes as allowed, with a length or in chunks."""
    gateway = await start(max_file_size_bytes=1)
    body = b'{"scale": 3}'.ljust(BODY_LIMIT_BYTES)

    async def pieces() -> AsyncIterator[bytes]:
        for start_ in range(0, len(body), 300_000):
            yield body[start_ : start_ + 300_000]

    reply = await gateway.call(
        "POST",
        "/upscale",
        data=pieces() if chunked else BytesIO(body),
        headers={"Content-Type": "application/json"},
    )
    assert fault(reply) == (400, "invalid_option", "Scale must be 2 or 4")


# Not now, or not at all


async def test_identical_request_finds_the_result(start: Start, models: list[ModelFacts]) -> None:
    """The same bytes under a name of its own, and the answer says so; ``no-cache`` computes anew."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    first = await gateway.upscale(image_b64=B64)
    tiles = len(engine.requests)
    again = await gateway.upscale(image_b64=B64)
    assert len(engine.requests) == tiles
    assert (first.body["cache"], again.body["cache"]) == ("miss", "hit")
    assert again.body["base64"] == first.body["base64"]
    assert again.body["file_path"] != first.body["file_path"]
    skip_cache = await gateway.call(
        "POST", "/upscale", json={"image_b64": B64}, headers={"Cache-Control": "no-cache"}
    )
    assert (skip_cache.body["cache"], len(engine.requests)) == ("miss", 2 * tiles)
    other = await gateway.upscale(image_b64=B64, scale=4)
    assert other.body["cache"] == "miss"


async def test_identical_requests_in_flight_share_the_work(
    start: Start, models: list[ModelFacts]
) -> None:
    """One is computed; each gets its own file; what one client sees is what the others see."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    replies = await asyncio.gather(*(gateway.upscale(image_b64=B64) for _ in range(5)))
    found = Counter(reply.body["cache"] for reply in replies)
    assert found["miss"] == 1
    assert found["miss"] + found["coalesced"] + found["hit"] == 5
    assert len({reply.body["url"] for reply in replies}) == 5
    assert len({reply.body["base64"] for reply in replies}) == 1
    assert len({reply.body["request_id"] for reply in replies}) == 5


async def test_full_queue_is_503_and_says_when_to_come_back(
    start: Start, models: list[ModelFacts]
) -> None:
    """A request over the limit is refused at once, before its picture is decoded."""
    stuck = StuckEngine(models)
    gateway = await start(stuck, queue_limit=1)
    first = asyncio.create_task(gateway.upscale(image_b64=B64))
    await asyncio.wait_for(stuck.started.wait(), 10)
    reply = await gateway.upscale(image_b64=B64, scale=4)
    status, code, text = fault(reply)
    assert (status, code) == (503, "queue_full")
    assert text.startswith("Upscaling failed: ")
    assert 1 <= int(reply.headers["Retry-After"]) <= 120
    assert reply.body["retryable"] is True
    assert gateway.load() == 1
    first.cancel()
    await until(lambda: gateway.load() == 0)


async def test_refusals_for_lack_of_room_are_not_logged_one_by_one(
    start: Start, models: list[ModelFacts]
) -> None:
    """A flood has a line for what keeps us from work, and fewer and fewer; what senders do wrong is always logged."""
    stuck = StuckEngine(models)
    gateway = await start(stuck, queue_limit=1)
    first = asyncio.create_task(gateway.upscale(image_b64=B64))
    await asyncio.wait_for(stuck.started.wait(), 10)
    with capture_logs() as entries:
        for _ in range(5):
            await gateway.upscale(image_b64=B64, scale=4)
            await gateway.upscale(image_b64=B64, scale=5)
    codes = Counter(entry["code"] for entry in entries if entry["event"] == "refused")
    assert codes == {"queue_full": 1, "invalid_option": 5}
    first.cancel()
    await until(lambda: gateway.load() == 0)


async def test_no_engine_is_503_until_one_is_ready(start: Start, models: list[ModelFacts]) -> None:
    """Health and work follow the model servers, without a restart of the gateway."""
    engine = NearestEngine(models)
    readiness = Readiness(State.FAILED)

    async def probe() -> Readiness:
        return readiness

    member = Member("one", engine, probe=probe)
    async with Pool([member]) as pool:
        gateway = await start(pool=pool)
        await until(lambda: member.state is State.FAILED)
        assert (await gateway.call("GET", "/health")).status == 503
        reply = await gateway.upscale(image_b64=B64)
        status, code, text = fault(reply)
        assert (status, code) == (503, "no_engine_ready")
        assert text.startswith("Upscaling failed: ")
        assert 1 <= int(reply.headers["Retry-After"]) <= 120
        readiness = Readiness(State.READY, engine.facts(), "b1946ac9")
        member.changed.set()
        await asyncio.wait_for(pool.started(patience_s=0), 5)
        assert (await gateway.call("GET", "/health")).status == 200
        assert (await gateway.upscale(image_b64=B64)).status == 200


async def test_passed_deadline_is_504(start: Start, models: list[ModelFacts]) -> None:
    """The work is dropped, and the text is always the same."""
    stuck = StuckEngine(models)
    gateway = await start(stuck, deadline_s=0.3)
    reply = await gateway.upscale(image_b64=B64)
    assert fault(reply) == (504, "deadline_exceeded", "Upscaling failed: deadline exceeded")
    assert reply.body["retryable"] is False
    assert stuck.in_flight == 0
    assert gateway.load() == 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineFailed("the runtime failed"), 500, "engine_failed"),
        (WrongOutput("the output is constant"), 500, "wrong_output"),
        (EngineLost("it went away"), 500, "engine_lost"),
        (OutOfMemory("the tile does not fit"), 503, "out_of_memory"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_engine_that_always_fails_is_told(
    start: Start, models: list[ModelFacts], error: EnlargerError, status: int, code: str
) -> None:
    """The engine's own reason, after all attempts; nothing is left of the request."""
    gateway = await start(FailsFirst(NearestEngine(models), failures=1000, error=error))
    reply = await gateway.upscale(image_b64=B64)
    assert fault(reply) == (status, code, f"Upscaling failed: {error}")
    assert ("Retry-After" in reply.headers) is (status == 503)
    assert gateway.load() == 0
    assert list(gateway.store.folder.iterdir()) == []


async def test_engine_that_fails_once_is_not_noticed(
    start: Start, models: list[ModelFacts]
) -> None:
    """The tile is sent again, and the answer counts it."""
    failing = FailsFirst(NearestEngine(models), failures=1, error=EngineFailed("once"))
    gateway = await start(failing)
    reply = await gateway.upscale(image_b64=B64, scale=4)
    assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(RED, 4))
    assert reply.body["tiles"]["retried"] == 1


async def test_no_room_for_the_result_is_500(start: Start) -> None:
    """A file stands in the folder's place; the text names no path. All else is answered as ever, and no error is unforeseen."""
    gateway = await start()
    made = await gateway.upscale(image_b64=B64)
    shutil.rmtree(gateway.store.folder)
    gateway.store.folder.touch()
    with capture_logs() as logs:
        reply = await gateway.upscale(image_b64=B64)
        status, code, text = fault(reply)
        assert (status, code) == (500, "storage_full")
        assert text.startswith("Upscaling failed: ")
        assert str(gateway.store.folder) not in text
        assert gateway.load() == 0
        assert (await gateway.call("GET", "/health")).status == 200
        shown = await gateway.call("GET", "/status")
        assert shown.body["upload_folder_stats"] == {"total_files": 0, "total_size_mb": 0.0}
        assert (await gateway.call("GET", made.body["url"])).status == 404
        swept = await gateway.call("POST", "/cleanup")
        assert swept.body["error"].startswith("Manual cleanup failed: ")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []
    gateway.store.folder.unlink()
    assert (await gateway.upscale(image_b64=B64)).status == 200


async def test_folder_of_results_that_went_away_is_made_anew(start: Start) -> None:
    """For a picture that is made and for one that was."""
    gateway = await start()
    for scale in (2, 2, 4):
        shutil.rmtree(gateway.store.folder)
        reply = await gateway.upscale(image_b64=B64, scale=scale)
        assert reply.status == 200
        assert (gateway.store.folder.parent / reply.body["file_path"]).exists()


class ForgetfulResults(FolderResults):
    """Loses each file as soon as it is there."""

    async def publish(self, draft: Draft[object], *, suffix: str) -> StoredResult:
        """In vain."""
        stored = await super().publish(draft, suffix=suffix)
        await self.delete(stored.name)
        return stored


async def test_result_that_went_away_before_it_was_sent_is_told(start: Start) -> None:
    """By an error that was foreseen."""
    gateway = await start(store=ForgetfulResults)
    status, code, text = fault(await gateway.upscale(image_b64=B64))
    assert (status, code) == (500, "storage_full")
    assert text == "Upscaling failed: the result went away before it could be sent; try again"


class BrokenEngine(NearestEngine):
    """Raises what no engine should."""

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Fail in words that are nobody's business."""
        raise ValueError("/etc/secret is at 10.0.0.7")


async def test_unforeseen_error_is_500_and_says_nothing(
    start: Start, models: list[ModelFacts]
) -> None:
    """The exception's text is in the log and nowhere else."""
    gateway = await start(BrokenEngine(models))
    with capture_logs() as logs:
        reply = await gateway.upscale(image_b64=B64)
    assert [str(entry["exc_info"]) for entry in logs if entry["event"] == "internal_error"] == [
        "/etc/secret is at 10.0.0.7"
    ]
    assert fault(reply) == (500, "internal_error", "Internal server error")
    assert set(reply.body) == {"error", "code", "retryable", "request_id"}
    assert gateway.load() == 0


async def test_stopping_gateway_takes_nothing_new(start: Start) -> None:
    """Health and new work are refused, what was made can still be fetched."""
    gateway = await start()
    made = await gateway.upscale(image_b64=B64)
    gateway.gateway.service.draining = True
    reply = await gateway.upscale(image_b64=B64)
    assert fault(reply) == (503, "draining", "Upscaling failed: the server is stopping")
    assert 1 <= int(reply.headers["Retry-After"]) <= 120
    health = await gateway.call("GET", "/health")
    assert (health.status, health.body["status"]) == (503, "unhealthy")
    assert health.body["reason"] == "draining"
    assert (await gateway.call("GET", "/status")).status == 200
    async with gateway.http.get(made.body["url"]) as response:
        assert response.status == 200


async def test_client_that_hangs_up_cancels_its_work(
    start: Start, models: list[ModelFacts]
) -> None:
    """Its tiles are dropped and its place is free again."""
    stuck = StuckEngine(models)
    gateway = await start(stuck)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = json.dumps({"image_b64": B64}).encode()
    writer.write(
        b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await asyncio.wait_for(stuck.started.wait(), 10)
    assert gateway.load() == 1
    tiles = len(stuck.requests)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: gateway.load() == 0)
    assert stuck.cancelled == tiles > 0
    assert stuck.in_flight == 0
    assert list(gateway.store.folder.iterdir()) == []


# Traces


async def test_request_is_traced_with_its_stages(
    start: Start, models: list[ModelFacts], spans: InMemorySpanExporter
) -> None:
    """A span for the request, and below it one for each stage and for each tile that was sent."""
    engine = NearestEngine(models)
    gateway = await start(FailsFirst(engine, failures=1, error=EngineFailed("e")))
    reply = await gateway.call(
        "POST", "/upscale", json={"image_b64": B64}, headers={"X-Request-Id": "mine"}
    )
    *steps, edge = spans.get_finished_spans()
    assert Counter(span.name for span in steps) == Counter(
        ["fetch", "queue", "decode", "infer", "encode", *["tile"] * reply.body["tiles"]["total"]]
    )
    assert all(span.parent == edge.context for span in steps)
    assert (edge.name, edge.parent) == ("POST /upscale", None)
    assert edge.attributes == {
        "enlarger.request_id": "mine",
        "enlarger.model": reply.body["model"],
        "enlarger.found": "miss",
        "enlarger.tiles": reply.body["tiles"]["total"],
    }
    tiles: list[Json] = [dict(span.attributes or {}) for span in steps if span.name == "tile"]
    assert sum(tile["enlarger.attempts"] for tile in tiles) == len(tiles) + 1
    assert {tile["enlarger.server"] for tile in tiles} == {"one"}
    assert {tile["enlarger.precision"] for tile in tiles} == {reply.body["precision"]}
    assert {tile["enlarger.index"] for tile in tiles} == set(range(len(tiles)))


async def test_result_that_is_found_again_is_traced_as_such(
    start: Start, spans: InMemorySpanExporter
) -> None:
    """Nothing was computed for it."""
    gateway = await start()
    await gateway.upscale(image_b64=B64)
    spans.clear()
    await gateway.upscale(image_b64=B64)
    fetch, edge = spans.get_finished_spans()
    assert (fetch.name, edge.name) == ("fetch", "POST /upscale")
    assert edge.attributes is not None
    assert edge.attributes["enlarger.found"] == "hit"


async def test_failed_request_is_traced_with_its_code(
    start: Start, models: list[ModelFacts], spans: InMemorySpanExporter
) -> None:
    """A fault of the sender is none of ours; of the tiles, one failed and took the others along."""
    engine = NearestEngine(models)
    gateway = await start(FailsFirst(engine, failures=3, error=EngineFailed("e")))
    await gateway.upscale(image_b64=B64, scale=3)
    await gateway.upscale(image_b64=base64.b64encode(encoded(noise(4, 4, 3))).decode())
    await gateway.call("GET", "/status")
    await gateway.call("GET", "/health")
    ends = [
        (span.name, (span.attributes or {}).get("error.type"), span.status.status_code)
        for span in spans.get_finished_spans()
        if span.name in {"POST /upscale", "tile"}
    ]
    assert ends == [
        ("POST /upscale", "invalid_option", StatusCode.UNSET),
        ("tile", "engine_failed", StatusCode.ERROR),
        ("POST /upscale", "engine_failed", StatusCode.ERROR),
    ]


# Files


async def test_file_that_is_not_there_is_404(start: Start) -> None:
    """A token that nobody has, or another spelling of one that is there."""
    gateway = await start()
    url = (await gateway.upscale(image_b64=B64)).body["url"]
    token = url.removeprefix("/files/").removesuffix(".png")
    fields_of(gateway.store.folder, "notes.txt")
    fields_of(gateway.store.folder.parent, "outside.png")
    for name in (
        "0" * 32 + ".png",
        token,
        f"{token}.jpg",
        f"{token}.png.png",
        f"{token}.png%00",
        f"{token}.png%0a",
        f"{token[:-1]}.png",
        f"upscaled_{token}.png",
        "notes.txt",
        "..%2foutside.png",
        "%2e%2e%2foutside.png",
        f"..%2fuploads%2fupscaled_{token}.png",
        f"%2e%2f{token}.png",
    ):
        reply = await gateway.call("GET", f"/files/{name}")
        assert fault(reply) == (404, "not_found", "Not found"), name
    for name in ("..", "%2e%2e", "../uploads"):  # clients take this for / or /uploads themselves
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"GET /files/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404 "), name
        writer.close()
        await writer.wait_closed()


async def test_gateways_share_results_in_a_bucket(start: Start, bucket: str) -> None:
    """Each serves, sweeps and counts what another one has made, without a common folder."""
    settings = {"upload_folder": bucket, "blobs": f"{bucket}/jobs", "file_max_age_s": 300}
    one, other = await start(**settings), await start(**settings)
    body = (await one.upscale(image_b64=B64)).body
    assert body["file_path"] == f"{bucket}/upscaled_{body['url'].removeprefix('/files/')}"
    data = base64.b64decode(body["base64"])
    async with other.http.get(body["url"]) as response:
        assert (response.status, await response.read()) == (200, data)
        etag = response.headers["ETag"]
        assert etag == f'"sha256-{hashlib.sha256(data).hexdigest()}"'
        assert response.headers["Content-Type"] == "image/png"
    async with other.http.get(body["url"], headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with other.http.get(body["url"], headers={"Range": "bytes=5-9"}) as response:
        assert (response.status, await response.read()) == (206, data[5:10])
        assert response.headers["Content-Range"] == f"bytes 5-9/{len(data)}"
    async with other.http.head(body["url"]) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(data)))
    again = (await one.upscale(image_b64=B64)).body
    assert (again["cache"], again["base64"]) == ("hit", body["base64"])
    assert again["file_path"] != body["file_path"]
    stats = (await other.call("GET", "/status")).body["upload_folder_stats"]
    assert stats["total_files"] == 2
    assert (await other.call("POST", "/cleanup")).body["deleted_files"] == 0


async def test_results_in_a_bucket_expire(start: Start, bucket: str) -> None:
    """For all gateways, and the sweep of any of them deletes them."""
    settings = {"upload_folder": bucket, "blobs": f"{bucket}/jobs", "file_max_age_s": 1}
    one, other = await start(**settings), await start(**settings)
    body = (await one.upscale(image_b64=B64)).body
    await asyncio.sleep(2.1)  # a bucket counts whole seconds
    for gateway in (one, other):
        assert (await gateway.call("GET", body["url"])).status == 404
    assert (await other.call("POST", "/cleanup")).body["deleted_files"] == 1
    assert await one.gateway.store.usage() == []


async def test_results_of_requests_stay_in_the_folder_where_only_jobs_have_a_bucket(
    start: Start, bucket: str
) -> None:
    """``file_path`` is what it was, and leads to the file."""
    gateway = await start(blobs=bucket)
    body = (await gateway.upscale(image_b64=B64)).body
    assert body["file_path"] == f"uploads/upscaled_{body['url'].removeprefix('/files/')}"
    path = gateway.store.folder.parent / body["file_path"]
    assert path.read_bytes() == base64.b64decode(body["base64"])
    assert await storage_at(bucket).keys("") == []


WAYS_TO_ASK: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=5-9"}),
    ("GET", {"If-None-Match": "*"}),
]


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_file_that_was_deleted_is_not_found(
    start: Start, kind: str, request: pytest.FixtureRequest
) -> None:
    """However it is asked for; no header promises bytes that are not there."""
    place = {"upload_folder": request.getfixturevalue("bucket")} if kind == "bucket" else {}
    gateway = await start(**place)
    url = (await gateway.upscale(image_b64=B64)).body["url"]
    await gateway.store.delete(url.removeprefix("/files/"))
    for method, headers in WAYS_TO_ASK:
        async with gateway.http.request(method, url, headers=headers) as response:
            assert response.status == 404
            await response.read()


class LosingResults(FolderResults):
    """Loses each file between finding it and opening it."""

    async def find(self, name: str, *, sha256: str | None = None) -> StoredResult | None:
        """Delete what is found."""
        found = await super().find(name, sha256=sha256)
        await self.delete(name)
        return found


async def test_file_that_is_deleted_while_it_is_asked_for_is_not_found(start: Start) -> None:
    """It is opened before the headers are sent."""
    gateway = await start(store=LosingResults)
    for headers in ({}, {"Range": "bytes=5-9"}):
        url = (await gateway.upscale(image_b64=B64, no_cache=True)).body["url"]
        with capture_logs() as logs:
            async with gateway.http.get(url, headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (404, "not_found")
        assert [entry["event"] for entry in logs if entry["log_level"] != "info"] == ["result_lost"]


async def test_bucket_that_is_away_is_told(
    start: Start, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleanup is refused as anything else that needs the bucket; the status has the last count."""
    gateway = await start(upload_folder=bucket)
    await gateway.upscale(image_b64=B64)
    before = (await gateway.call("GET", "/status")).body["upload_folder_stats"]
    assert before["total_files"] == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    gateway.store.storage.store = storage_at(bucket).store
    reply = await gateway.call("POST", "/cleanup")
    text = "Manual cleanup failed: the server's bucket cannot be reached now; try again later"
    assert fault(reply) == (503, "storage_unavailable", text)
    assert (reply.body["retryable"], reply.headers["Retry-After"]) == (True, "5")
    assert (await gateway.call("GET", "/status")).body["upload_folder_stats"] == before


async def test_file_is_served_until_it_expires(start: Start) -> None:
    """From that moment on it is gone, swept or not."""
    gateway = await start(file_max_age_s=300)
    body = (await gateway.upscale(image_b64=B64)).body
    path = gateway.store.folder.parent / body["file_path"]
    now = time.time()
    os.utime(path, (now - 290, now - 290))
    async with gateway.http.get(body["url"]) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] in {
            f"private, max-age={left}, immutable" for left in range(11)
        }
    os.utime(path, (now - 300, now - 300))
    assert fault(await gateway.call("GET", body["url"])) == (404, "not_found", "Not found")
    assert path.exists()


# Operations


async def test_health_of_a_ready_gateway(start: Start) -> None:
    """All fields of the contract, with live values."""
    gateway = await start(
        max_file_size_bytes=3 << 19,
        max_image_dimension_px=77,
        cleanup_interval_s=90,
        file_max_age_s=30,
    )
    reply = await gateway.call("GET", "/health")
    assert reply.status == 200
    assert abs(reply.body.pop("timestamp") - time.time()) < 10
    assert reply.body == {
        "status": "healthy",
        "max_file_size_mb": 1.5,
        "max_dimension": 77,
        "supported_scales": [2, 4],
        "cleanup_interval_minutes": 1.5,
        "file_max_age_minutes": 0.5,
        "model_servers": 1,
        "model_servers_ready": 1,
        "reason": None,
        "version": __version__,
    }


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.STARTING, "starting"),
        (State.GONE, "no_engine_ready"),
        (State.FAILED, "no_engine_ready"),
    ],
)
async def test_health_without_a_ready_server(
    start: Start, models: list[ModelFacts], state: State, reason: str
) -> None:
    """503 with the same fields, and why."""

    async def never() -> Readiness:
        await asyncio.Event().wait()
        raise AssertionError

    members = [Member(str(number), NearestEngine(models), probe=never) for number in range(2)]
    for member in members:
        member.health = Health(state=state)
    gateway = await start(pool=Pool(members))
    reply = await gateway.call("GET", "/health")
    assert reply.status == 503
    assert (reply.body["status"], reply.body["reason"]) == ("unhealthy", reason)
    assert (reply.body["model_servers"], reply.body["model_servers_ready"]) == (2, 0)
    assert reply.body["supported_scales"] == [2, 4]


async def test_probes_of_an_orchestrator(start: Start, models: list[ModelFacts]) -> None:
    """Live as long as it answers; ready while a model server is."""
    gateway = await start()
    assert (await gateway.call("GET", "/livez")).body == {"alive": True}
    ready = await gateway.call("GET", "/readyz")
    assert (ready.status, ready.body) == (
        200,
        {"ready": True, "reason": None, "servers_ready": 1, "servers": 1},
    )

    async def never() -> Readiness:
        await asyncio.Event().wait()
        raise AssertionError

    down = Member("down", NearestEngine(models), probe=never)
    down.health = Health(state=State.FAILED)
    gateway = await start(pool=Pool([down]))
    assert (await gateway.call("GET", "/livez")).status == 200
    unready = await gateway.call("GET", "/readyz")
    assert (unready.status, unready.body) == (
        503,
        {"ready": False, "reason": "no_engine_ready", "servers_ready": 0, "servers": 1},
    )


async def test_answers_say_where_the_time_went(start: Start) -> None:
    """In milliseconds by stage; a result that was found again has no stages of computing."""
    gateway = await start()
    first, again = [await gateway.upscale(image_b64=B64) for _ in range(2)]
    stages = ["fetch", "queue", "decode", "infer", "encode", "total"]
    named, total_ms = timing(first)
    assert named == stages
    assert total_ms == pytest.approx(1000 * first.body["processing_time"], abs=10)
    assert timing(again)[0] == ["fetch", "total"]


def timing(reply: Reply) -> tuple[list[str], float]:
    """Names of the stages, and milliseconds in all."""
    entries = [entry.split(";dur=") for entry in reply.headers["Server-Timing"].split(", ")]
    return [name for name, _ in entries], float(entries[-1][1])


SERVER_STATE = "enlarger_server_state"
SERVER_RSS = "enlarger_server_rss_bytes"


async def metrics(gateway: Running) -> dict[tuple[str, ...], float]:
    """Values by name and labels, in the form that Prometheus reads."""
    async with gateway.http.get("/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        families = list(text_string_to_metric_families(await response.text()))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


async def test_metrics_count_what_was_done(start: Start, models: list[ModelFacts]) -> None:
    """By how requests ended; stages, tiles, servers and queue."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    for _ in range(2):
        await gateway.upscale(image_b64=B64)
    await gateway.upscale(image_b64=B64, scale=3)
    await send(gateway.port, f"Content-Length: {99 << 20}\r\n")
    found = await metrics(gateway)
    assert found["enlarger_requests_total", "miss"] == 1
    assert found["enlarger_requests_total", "hit"] == 1
    assert found["enlarger_requests_total", "invalid_option"] == 1
    assert found["enlarger_requests_total", "file_too_large"] == 1
    assert found["enlarger_stage_seconds_count", "infer"] == 1
    assert found["enlarger_stage_seconds_count", "total"] == 2
    assert found["enlarger_tiles_total", "computed"] == len(engine.requests)
    assert found["enlarger_server_tiles_total",] == len(engine.requests)
    assert found["enlarger_servers", "ready"] == 1
    assert found["enlarger_servers", "gone"] == 0
    assert found["enlarger_queue_requests",] == 0
    assert found["enlarger_tiles_in_flight",] == 0
    assert found["process_resident_memory_bytes",] > 1e6


async def test_metrics_count_jobs_like_requests(start: Start, models: list[ModelFacts]) -> None:
    """By how they ended; those that have not ended by state."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    made = await gateway.call("POST", "/v1/jobs", data=PNG)
    await engine.holds(1)
    found = await metrics(gateway)
    assert (found["enlarger_jobs", "running"], found["enlarger_jobs", "queued"]) == (1, 0)
    assert found["enlarger_queue_held_bytes",] > 0
    assert found["enlarger_tiles_waiting",] == 0
    engine.let_go()
    await gateway.call("GET", f"/v1/jobs/{made.body['id']}?wait=30")
    found = await metrics(gateway)
    assert found["enlarger_requests_total", "miss"] == 1
    assert found["enlarger_stage_seconds_count", "infer"] == 1
    assert (found["enlarger_jobs", "running"], found["enlarger_jobs", "queued"]) == (0, 0)


async def test_metrics_tell_servers_apart(start: Start, models: list[ModelFacts]) -> None:
    """Each is in one state: one here is ready, and one is still being started."""

    async def never() -> Readiness:
        raise AssertionError("nobody probes a pool that was not entered")

    engine = NearestEngine(models)
    gateway = await start(pool=Pool([Member("one", engine), Member("two", engine, probe=never)]))
    found = await metrics(gateway)
    states = {labels[1:]: value for labels, value in found.items() if labels[0] == SERVER_STATE}
    assert len(states) == 2 * len(State)
    assert {labels for labels, value in states.items() if value} == {
        ("0", "ready"),
        ("1", "starting"),
    }


async def test_server_has_one_name_in_status_and_metrics(
    start: Start, models: list[ModelFacts]
) -> None:
    """That of the log, beside the number that it has had."""
    members = [Member(name, NearestEngine(models)) for name in ("server-0", "server-1")]
    gateway = await start(pool=Pool(members))
    async with gateway.http.get("/metrics") as response:
        text = await response.text()
    assert 'enlarger_server_info{name="server-1",server="1"} 1.0' in text
    status = (await gateway.call("GET", "/status")).body
    named = [(server["id"], server["name"]) for server in status["servers"]]
    assert named == [(0, "server-0"), (1, "server-1")]


async def test_metrics_tell_the_version(start: Start) -> None:
    """And what it runs on."""
    gateway = await start()
    async with gateway.http.get("/metrics") as response:
        (line,) = re.findall(
            r"^enlarger_build_info\{(.+)\} 1\.0$", await response.text(), re.MULTILINE
        )
    labels = dict(re.findall(r'(\w+)="([^"]+)"', line))
    assert labels["version"] == __version__
    assert labels["python"] == platform.python_version()
    assert labels.keys() == {"version", "python", "openvino"}


async def test_memory_of_model_servers_is_shown(start: Start, models: list[ModelFacts]) -> None:
    """As they say it themselves; those that do not say it have none."""
    engine = NearestEngine(models)

    async def probe() -> Readiness:
        return Readiness(State.READY, engine.facts(), "b1946ac9", rss_bytes=700 << 20)

    async with Pool([Member("one", engine, probe=probe), Member("two", engine)]) as pool:
        gateway = await start(pool=pool)
        await asyncio.wait_for(pool.started(patience_s=5), 10)
        found = await metrics(gateway)
        status = (await gateway.call("GET", "/status")).body
    memory = {labels[1:]: value for labels, value in found.items() if labels[0] == SERVER_RSS}
    assert memory == {("0",): 700 << 20}
    assert [server["rss_mb"] for server in status["servers"]] == [700.0, None]


async def test_metrics_count_ejections_and_restarts(start: Start, models: list[ModelFacts]) -> None:
    """Over all servers: here one of two is ejected for its third failure in a row, and then its process ends."""
    engine = NearestEngine(models)

    async def probe() -> Readiness:
        return Readiness(State.READY, engine.facts(), "b1946ac9")

    failing = Member("one", engine, probe=probe)
    async with Pool([failing, Member("two", engine)]) as pool:
        gateway = await start(pool=pool)
        await asyncio.wait_for(pool.started(patience_s=5), 10)
        for _ in range(3):
            failing.strike(may_eject=True)
        ejected = await metrics(gateway)
        failing.lose()
        found = await metrics(gateway)
    assert ejected[SERVER_STATE, "0", "ejected"] == 1
    assert found["enlarger_server_ejections_total",] == 1
    assert (
        ejected["enlarger_server_restarts_total",],
        found["enlarger_server_restarts_total",],
    ) == (0, 1)


async def test_status_shows_what_is_here(start: Start) -> None:
    """All fields of the contract; files of others are not counted."""
    gateway = await start(max_file_size_bytes=1 << 20)
    body = (await gateway.upscale(image_b64=B64, scale=4)).body
    path = gateway.store.folder.parent / body["file_path"]
    os.truncate(path, 3 << 19)
    fields_of(gateway.store.folder, "theirs.png")
    reply = await gateway.call("GET", "/status")
    assert reply.status == 200
    assert reply.body == {
        "status": "running",
        "model_servers": 1,
        "thread_pool_workers": 4,
        "supported_formats": ["png", "jpg", "jpeg", "webp", "bmp", "tiff", "gif", "avif"],
        "cleanup_task_running": True,
        "upload_folder_stats": {"total_files": 1, "total_size_mb": 1.5},
        "limits": {
            "max_file_size_mb": 1.0,
            "max_dimension": 2048,
            "cleanup_interval_minutes": 5.0,
            "file_max_age_minutes": 5.0,
        },
        "model_servers_ready": 1,
        "queue": {"requests": 0, "megapixels": 0.0},
        "version": __version__,
        "servers": [
            {
                "id": 0,
                "name": "one",
                "state": "ready",
                "tiles_in_flight": 0,
                "tiles_done": body["tiles"]["total"],
                "strikes": 0,
                "rss_mb": None,
            }
        ],
    }


async def test_status_counts_the_work_under_way(start: Start, models: list[ModelFacts]) -> None:
    """Requests, their LR megapixels, and tiles at each server."""
    stuck = StuckEngine(models)
    gateway = await start(stuck)
    pixels = np.zeros((300, 400, 3), np.uint8)
    fields = {"image_b64": base64.b64encode(encoded(pixels)).decode()}
    work = asyncio.create_task(gateway.upscale(**fields))
    await asyncio.wait_for(stuck.started.wait(), 10)
    body = (await gateway.call("GET", "/status")).body
    assert body["queue"] == {"requests": 1, "megapixels": 0.12}
    assert body["servers"][0]["tiles_in_flight"] == stuck.in_flight > 0
    assert body["servers"][0]["tiles_done"] == 0
    work.cancel()
    await until(lambda: gateway.load() == 0)


async def test_status_says_when_nobody_sweeps(start: Start) -> None:
    """A cleanup task that ended is not running."""
    gateway = await start()
    gateway.gateway.sweeper.cancel()
    await asyncio.wait([gateway.gateway.sweeper])
    assert (await gateway.call("GET", "/status")).body["cleanup_task_running"] is False


async def test_cleanup_deletes_old_results_and_nothing_else(start: Start) -> None:
    """A younger result stays, and so does any file of another name, however old."""
    gateway = await start()
    bodies = [(await gateway.upscale(image_b64=B64)).body for _ in range(3)]
    paths = [gateway.store.folder.parent / body["file_path"] for body in bodies]
    planted = [
        fields_of(gateway.store.folder, name)
        for name in ("theirs.png", "upscaled_notes.png", "upscaled_" + "0" * 32 + ".txt")
    ]
    for path in [*paths[:2], *planted]:
        os.utime(path, (0, 0))
    reply = await gateway.call("POST", "/cleanup", data=b"ignored")
    assert reply.status == 200
    assert reply.body == {"success": True, "deleted_files": 2, "errors": []}
    assert set(gateway.store.folder.iterdir()) == {paths[2], *planted}
    again = await gateway.call("POST", "/cleanup")
    assert again.body["deleted_files"] == 0


async def test_cleanup_that_cannot_run_is_500(start: Start) -> None:
    """The text has our reason and no path."""
    gateway = await start()
    gateway.store.folder.rmdir()
    reply = await gateway.call("POST", "/cleanup")
    status, code, text = fault(reply)
    assert (status, code) == (500, "internal_error")
    assert text.startswith("Manual cleanup failed: ")
    assert str(gateway.store.folder) not in text


# Every answer


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
    """By a new one for each request."""
    gateway = await start()
    headers = {} if given is None else {"X-Request-Id": given}
    ids = [
        (await gateway.call("GET", "/health", headers=headers)).headers["X-Request-Id"]
        for _ in range(2)
    ]
    assert all(REQUEST_ID.fullmatch(id_) for id_ in ids)
    assert len({*ids, given}) == 3


async def test_every_line_about_a_request_has_its_id(start: Start) -> None:
    """Done or refused, on the event loop or on a thread, by the gateway or by what it calls."""
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
    """Those that each request has."""
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
    """One, whoever answered it: with the id of the answer, and the bytes of its body."""
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
    """Of a body that is too large, before and while it comes."""
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
    """With the status 499, since there was no answer."""
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
    """An orchestrator asks every second; what is refused is no probe."""
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
    """It is the permission to read it."""
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
    """The line says for whom it worked."""
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
    """It is another path: no redirect, which would lead to whatever host the request names."""
    gateway = await start()
    async with gateway.http.get(path, allow_redirects=False) as response:
        assert response.status == 404
        assert "Location" not in response.headers
        assert (await response.json(content_type=None))["code"] == "not_found"


@pytest.mark.parametrize("host", ["", "a b", "[::1", "\xe9", "x" * 300, "a..b", "a:b:c"])
async def test_any_host_is_served(start: Start, host: str) -> None:
    """Behind which name it stands is not the service's to know."""
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
    """In those of each contract; only its own faults are called ours."""
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
