"""What clients really send, over a real socket, on every route that takes it."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.gateways import B64, PNG, Running, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMS = {
    "/v1/upscale": {},
    "/v1/jobs": {},
    "/v1/estimate": {},
    "/v1/compare": {"models": "nearest", "region": "0,0,8,8"},
    "/v1/images/upscale": {},
}
"""Routes that read forms, each with what it needs besides a picture."""

JSON: dict[str, dict[str, Any]] = {
    "/upscale": {"image_b64": B64},
    "/v1/upscale": {"image_b64": B64},
    "/v1/jobs": {"image_b64": B64},
    "/v1/estimate": {"image_b64": B64},
    "/v1/compare": {"image_b64": B64, "models": ["nearest"], "region": "0,0,8,8"},
    "/v1/batches": {"items": [{"image_b64": B64}]},
    "/v1/images/upscale": {"image": B64},
    "/sdapi/v1/extra-single-image": {"image": B64, "upscaler_1": "nearest"},
    "/sdapi/v1/extra-batch-images": {
        "imageList": [{"data": B64, "name": "a"}],
        "upscaler_1": "nearest",
    },
    "/predictions": {"input": {"image": B64}},
    "/v1/predictions": {"version": "enlarger/nearest", "input": {"image": B64}},
    "/v1/models/enlarger/nearest/predictions": {"input": {"image": B64}},
}
"""Routes that read JSON, each with a body that it takes."""


def form(fields: dict[str, str], *, picture: bytes, head: str) -> dict[str, Any]:
    """A request with a form whose picture has just that Content-Disposition, and no Content-Type."""
    parts = [(f'form-data; name="{name}"', value.encode()) for name, value in fields.items()]
    body = b"".join(
        b"--x\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"
        for disposition, data in [*parts, (head, picture)]
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return {"data": body + b"--x--\r\n", "headers": kind}


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("head", ['form-data; name="image"', "form-data; name=image; filename="])
async def test_picture_of_a_form_needs_no_file_name(start: Start, path: str, head: str) -> None:
    """``fetch`` with a ``Blob`` in an array, Go's ``WriteField``, Java's ``ByteArrayBody``: bytes without a name."""
    gateway = await start()
    request = form(FORMS[path], picture=PNG, head=head)
    async with gateway.http.post(path, **request) as response:
        assert response.status in (200, 202), await response.text()
        if path == "/v1/estimate":
            assert (await response.json())["output"] == {"width": 60, "height": 40}


@pytest.mark.parametrize("path", JSON)
async def test_json_may_begin_with_a_byte_order_mark(start: Start, path: str) -> None:
    """Notepad, PowerShell and .NET's ``Encoding.UTF8`` write one."""
    gateway = await start()
    body = json.dumps(JSON[path]).encode("utf-8-sig")
    kind = {"Content-Type": "application/json"}
    async with gateway.http.post(path, data=body, headers=kind) as response:
        assert response.status in (200, 202), await response.text()


def raw_deflate(data: bytes) -> bytes:
    """Without zlib's head and checksum."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "GZip": ("GZip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a head": ("deflate", raw_deflate),
    "identity": ("identity", bytes),
    "nothing": ("", bytes),
    "two": ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
}
"""Values of ``Content-Encoding``, and what makes such bodies."""


@pytest.mark.parametrize(("encoding", "pack"), PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("path", ["/upscale", "/v1/upscale"])
async def test_body_may_be_packed(
    start: Start, path: str, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """As Java's and Go's clients do it: the answer is that to the plain body."""
    gateway = await start()
    body = pack(json.dumps({"image_b64": B64, "scale": 4}).encode())
    kind = {"Content-Type": "application/json", "Content-Encoding": encoding}
    async with gateway.http.post(path, data=body, headers=kind) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize("path", JSON)
async def test_body_of_every_route_may_be_packed(start: Start, path: str) -> None:
    """One rule for all."""
    gateway = await start()
    body = gzip.compress(json.dumps(JSON[path]).encode())
    kind = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with gateway.http.post(path, data=body, headers=kind) as response:
        assert response.status in (200, 202), await response.text()


@pytest.mark.parametrize("path", FORMS)
async def test_form_may_be_packed(start: Start, path: str) -> None:
    """Its picture is no smaller for it, but some clients pack every body."""
    gateway = await start()
    request = form(FORMS[path], picture=PNG, head='form-data; name="image"')
    packed = gzip.compress(request["data"])
    headers = request["headers"] | {"Content-Encoding": "gzip"}
    async with gateway.http.post(path, data=packed, headers=headers) as response:
        assert response.status in (200, 202), await response.text()


async def test_picture_may_be_packed_and_chunked(start: Start) -> None:
    """``curl -H 'Content-Encoding: gzip' -T cat.png.gz``: no length is declared."""
    gateway = await start()

    async def pieces() -> AsyncIterator[bytes]:
        packed = gzip.compress(PNG)
        yield packed[:100]
        yield packed[100:]

    headers = {"Content-Encoding": "gzip"}
    async with gateway.http.post("/v1/upscale", data=pieces(), headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", JSON)
@pytest.mark.parametrize("encoding", ["compress", "UTF-8", "gzip, aws-chunked", "gzip,gzip,gzip"])
async def test_other_encodings_are_refused_by_the_names_of_those_that_are_read(
    start: Start, path: str, encoding: str
) -> None:
    """415 on every route, in its own words, with the names in the text and in ``Accept-Encoding``."""
    gateway = await start()
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    async with gateway.http.post(path, data=b"packed", headers=headers) as response:
        assert response.status == 415
        taken = [name.strip() for name in response.headers["Accept-Encoding"].split(",")]
        text = await response.text()
    assert {"gzip", "deflate"} <= set(taken)
    assert ", ".join(taken) in text
    assert response.headers["X-Request-Id"] in text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"plain", 400, "malformed_encoding"),
        (gzip.compress(PNG)[:-9], 400, "malformed_encoding"),
        (gzip.compress(PNG)[:-1] + b"\xff", 400, "malformed_encoding"),
        (gzip.compress(PNG) + b"more", 400, "malformed_encoding"),
        (gzip.compress(bytes(200 << 20)), 413, "file_too_large"),
        (gzip.compress(gzip.compress(bytes(200 << 20))), 415, "unsupported_format"),
    ],
    ids=["plain", "cut short", "damaged", "followed", "bomb", "packed twice"],
)
async def test_packed_body_that_cannot_be_used_is_refused(
    start: Start, body: bytes, status: int, code: str
) -> None:
    """With what is wrong. A body may not become larger than it might have come."""
    gateway = await start()
    reply = await refused(gateway, "/v1/upscale", body)
    assert reply[:2] == (status, code)
    if status == 413:
        assert reply[2] == gateway.gateway.settings.limits.body_limit_bytes


async def refused(gateway: Running, path: str, body: bytes) -> tuple[int, str, int | None]:
    """Status, code and limit of the answer to a body that says that it is gzip."""
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    async with gateway.http.post(path, data=body, headers=headers) as response:
        problem = json.loads(await response.text())
        return response.status, problem["code"], problem.get("limit")


async def test_packed_body_may_be_sent_again_plain(start: Start) -> None:
    """An ``Idempotency-Key`` stands for what was asked, however it came."""
    gateway = await start()
    kind = {"Content-Type": "application/json", "Idempotency-Key": "order-17"}
    body = json.dumps({"image_b64": B64}).encode()
    packed = kind | {"Content-Encoding": "gzip"}
    async with (
        gateway.http.post("/v1/jobs", data=gzip.compress(body), headers=packed) as first,
        gateway.http.post("/v1/jobs", data=body, headers=kind) as second,
    ):
        assert (await first.json())["id"] == (await second.json())["id"]
    assert second.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("query", "accept"), [("format=jpg", "*/*"), ("", "image/jpg"), ("format=jpg", "image/jpg")]
)
async def test_jpg_is_jpeg(start: Start, query: str, accept: str) -> None:
    """People know the format by two names; the answer has the registered one."""
    gateway = await start()
    headers = {"Accept": accept}
    async with gateway.http.post(f"/v1/upscale?{query}", data=PNG, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "image/jpeg")
        assert (await response.read()).startswith(b"\xff\xd8\xff")
    body = {"image_b64": B64, "format": "jpg"}
    async with gateway.http.post("/upscale", json=body) as response:
        assert base64.b64decode((await response.json())["base64"]).startswith(b"\xff\xd8\xff")
