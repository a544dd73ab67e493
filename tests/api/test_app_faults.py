"""What a gateway responds to a faulty request, over a real socket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from support.app_calls import BODY_LIMIT_BYTES, fault, send
from support.gateways import B64, PNG, Start
from support.sites import Site, page

pytestmark = pytest.mark.asyncio(loop_scope="module")


# Faults of the sender


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
    """The response is JSON for every fault, and says that a repeat makes no sense."""
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
    """The file has an unknown format or is cut short. Nothing is left of the request."""
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
