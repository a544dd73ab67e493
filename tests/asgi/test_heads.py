"""Heads of requests: the limit holds however packets fall, and every refusal is a whole answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

import h2.connection
import h2.events
import pytest
from support.gateways import Running, Start

from enlarger.asgi.heads import LIMIT_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

GIVE_UP_S = 20


def head(length: int, *, where: str = "header", line_end: str = "\r\n") -> bytes:
    """A request for ``/health`` of just that many bytes, long in its target, in one header, or by many headers."""
    start = f"GET /health{{}} HTTP/1.1{line_end}host: here{line_end}connection: close{line_end}"
    frame = {
        "header": start.format("") + f"x-long: {{}}{line_end}" + line_end,
        "target": start.format("?{}") + line_end,
        "many": start.format("") + "{}" + line_end,
    }[where]
    missing = length - len(frame.format(""))
    filling = "a" * missing
    if where == "many":
        line = f"x: y{line_end}"
        count, rest = divmod(missing - len(line), len(line))
        filling = line * count + f"x: y{'y' * rest}{line_end}"
    made = frame.format(filling).encode()
    assert len(made) == length
    return made


async def told_over_http_2(gateway: Running, length: int) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a request of HTTP/2 whose one long header has that many bytes."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/health"), (":authority", "here")]
    connection.send_headers(1, [*fields, ("x-long", "a" * length)], end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    headers: dict[str, str] = {}
    body, ended = b"", False
    async with asyncio.timeout(GIVE_UP_S):
        while not ended:
            writer.write(connection.data_to_send())
            for event in connection.receive_data(await reader.read(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                ended = ended or isinstance(event, h2.events.StreamEnded)
    writer.close()
    return int(headers[":status"]), headers, body


async def test_limit_holds_over_http_2(start: Start) -> None:
    """The same answer to a head of the same size, with an id."""
    gateway = await start()
    assert (await told_over_http_2(gateway, 16_000))[0] == 200
    status, headers, body = await told_over_http_2(gateway, 17_000)
    assert (status, json.loads(body)["code"]) == (431, "request_header_fields_too_large")
    assert headers["x-request-id"] == json.loads(body)["request_id"]


@dataclass(frozen=True)
class Told:
    """An answer, to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def same(self) -> tuple[Any, ...]:
        """All that does not change from one request to the next."""
        id_ = self.headers["x-request-id"]
        others = {
            name: value
            for name, value in self.headers.items()
            if name not in ("x-request-id", "date")
        }
        return self.status, others, self.body.replace(id_.encode(), b"id")


async def told(gateway: Running, *pieces: bytes, before: bytes = b"") -> Told:
    """The answer to a request in these packets; each is sent when the one before has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(GIVE_UP_S):
            if before:
                writer.write(before)
                await answer_of(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01 if len(pieces) < 50 else 0)
            answer = await answer_of(reader)
            if writer.can_write_eof() and not reader.at_eof():
                writer.write_eof()  # or the server would wait for the rest
            assert await reader.read() == b"", "something stands behind the answer"
            return answer
    finally:
        writer.close()


async def answer_of(reader: asyncio.StreamReader) -> Told:
    """One answer that states its length."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    pairs = (line.partition(": ") for line in lines if line)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return Told(int(first.split(" ")[1]), headers, body)


def cut(data: bytes, *places: int) -> list[bytes]:
    """In pieces that end there."""
    borders = [0, *places, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(borders) if start < end]


PACKETS = {
    "one": (),
    "in the method": (2,),
    "in the target": (8,),
    "behind the first line": (len("GET /health HTTP/1.1\r\n"),),
    "between CR and LF": (len("GET /health HTTP/1.1\r"),),
    "in a name": (len("GET /health HTTP/1.1\r\nho"),),
    "in a value": (5000,),
    "at the limit": (LIMIT_BYTES,),
    "one before the limit": (LIMIT_BYTES - 1,),
    "before the last line end": (-2,),
    "in the last line end": (-1,),
    "in the last but one": (-3,),
    "many": tuple(range(1000, LIMIT_BYTES, 1000)),
    "bytes at the end": (-5, -4, -3, -2, -1),
}


@pytest.mark.parametrize("where", ["header", "target", "many"])
@pytest.mark.parametrize("places", PACKETS.values(), ids=PACKETS)
async def test_head_above_the_limit_gets_one_answer_however_its_packets_fall(
    start: Start, places: tuple[int, ...], where: str
) -> None:
    """431 with a problem and a request id; one byte less is a request like any other."""
    gateway = await start()
    for more in (1, 60_000):
        data = head(LIMIT_BYTES + more, where=where)
        known = await told(gateway, data)
        spots = [place % len(data) for place in places]
        answer = await told(gateway, *cut(data, *spots))
        assert answer.status == 431
        assert answer.same == known.same
    data = head(LIMIT_BYTES, where=where)
    answer = await told(gateway, *cut(data, *(place % len(data) for place in places)))
    assert answer.status in (200, 503)


async def test_refusal_of_a_head_says_what_is_allowed(start: Start) -> None:
    """As a problem that the compatible routes' clients read as well, with what every answer has."""
    gateway = await start(public_url="https://example.com/e")
    answer = await told(gateway, head(LIMIT_BYTES + 1))
    body = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r"r-[0-9a-f]{16}", body["request_id"])
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["code"] == "request_header_fields_too_large"
    assert body["type"] == "https://example.com/e/errors/request_header_fields_too_large"
    assert str(LIMIT_BYTES) in body["error"]
    assert body["retryable"] is False
    async with gateway.http.get("/errors/request_header_fields_too_large") as page:
        assert page.status == 200


async def test_limit_holds_for_each_request_of_a_connection(start: Start) -> None:
    """A second one, and one that was sent before the first was answered."""
    gateway = await start()
    first = b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n"
    long = head(LIMIT_BYTES + 1)
    alone = await told(gateway, long)
    assert (await told(gateway, long, before=first)).same == alone.same
    assert (await told(gateway, long[9000:], before=first + long[:9000])).same == alone.same


async def test_body_is_not_counted_as_head(start: Start) -> None:
    """What stands behind the head in the same packet is none of it."""
    gateway = await start()
    body = b"{" + b" " * 40_000
    request = "POST /upscale HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\n"
    data = f"{request}content-length: {len(body)}\r\n\r\n".encode() + body
    assert (await told(gateway, data)).status == 400


async def test_answer_arrives_although_the_head_goes_on(start: Start) -> None:
    """A sender that does not look before all is sent finds the 431, and no reset connection."""
    gateway = await start()
    data = head(2_000_000)
    answer = await told(gateway, data)
    assert answer.same == (await told(gateway, head(LIMIT_BYTES + 1))).same


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
async def test_line_ends_make_no_difference(start: Start, line_end: str) -> None:
    """h11 takes bare line feeds."""
    gateway = await start()
    assert (await told(gateway, head(LIMIT_BYTES, line_end=line_end))).status in (200, 503)
    assert (await told(gateway, head(LIMIT_BYTES + 1, line_end=line_end))).status == 431


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /hea lth HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\nx: \x00\r\n\r\n",
        b"POST /upscale HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST /upscale HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ],
    ids=lambda data: ascii(data[:50]),
)
async def test_what_is_no_request_gets_a_whole_answer(start: Start, data: bytes) -> None:
    """400 with a problem and a request id: TLS to the wrong port, a scanner, a broken proxy."""
    gateway = await start()
    answer = await told(gateway, data)
    body = json.loads(answer.body)
    assert answer.status == body["status"] == 400
    assert body["code"] == "bad_request"
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_client_that_leaves_during_a_refusal_leaves_nothing_behind(start: Start) -> None:
    """The connection is closed when the client has closed, not when the time is over."""
    gateway = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head(LIMIT_BYTES + 1))
    await writer.drain()
    writer.close()
    async with asyncio.timeout(1):
        await writer.wait_closed()
