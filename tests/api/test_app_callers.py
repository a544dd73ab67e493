"""Access to a gateway over a real socket: API keys, and a rate limit for each caller."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.app_calls import KEYS, key_of
from support.gateways import B64, Json, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_keys_are_asked_for_if_there_are_any(start: Start) -> None:
    """A missing key is 401, before anything else is checked. Health and results need no key, and a request id is kept."""
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
    """The client reads the response only after it has sent all of the 16 MiB, more than the sockets can buffer."""
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
    """A caller cannot find out whether another one has sent a picture before."""
    gateway = await start(api_keys=KEYS)
    found = []
    for name in ("alice", "bob", "alice"):
        fields = {"image_b64": B64, "scale": 4, "inline": False}
        reply = await gateway.call("POST", "/upscale", json=fields, headers=key_of(name))
        found.append(reply.body["cache"])
    assert found == ["miss", "miss", "hit"]


async def test_rate_limit_counts_output_megapixels(start: Start) -> None:
    """A picture of 120 x 80 counts 9600 pixels. A result from the cache costs nothing."""
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
    """Callers are told apart by their keys or, without keys, by the address that a trusted proxy reports."""
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
