"""A real gateway and what strangers may send it, byte by byte: each gets a clear response, and memory stays bounded."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h2.connection
import h2.events
import h2.exceptions
import pytest
from running import RunningService
from support.strangers import (
    GOOD,
    PICTURE,
    Wire,
    parsed,
    request,
    told,
)

BODY_LIMIT = 10_835_291
"""Bytes: 7 MiB in base64, and 1 MiB around it."""

MIB = 1 << 20


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """One model server, which may fetch from public addresses alone."""
    folder = tmp_path_factory.mktemp("secret-place")
    with RunningService(folder, environment | {"NUM_SERVERS": "1"}) as service:
        assert service.upscale(PICTURE, model="nearest")[0] == 200  # whatever is loaded once, is
        yield service


def memory_kib(service: RunningService, what: str) -> int:
    """``VmRSS`` or its peak, ``VmHWM``."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+)", status, re.MULTILINE)
    assert found
    return int(found[1])


@contextmanager
def gateway_grows_less_than(service: RunningService, limit_mib: int) -> Iterator[None]:
    """Its memory, at no moment in between."""
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")  # proc(5): forgets the peak
    before_kib = memory_kib(service, "VmRSS")
    yield
    grown_mib = (memory_kib(service, "VmHWM") - before_kib) / 1024
    assert grown_mib < limit_mib


@pytest.fixture(autouse=True)
def _all_is_well_afterwards(service: RunningService) -> Iterator[None]:
    """Whatever happens in a test, the next request is served."""
    yield
    answer = told(service, request(GOOD))
    assert answer.status == 200, answer.body


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = request(content_length="", transfer_encoding="chunked")
ENDLESS_MIB = 64 * 1024
"""More than goes through a socket of this machine while a refused body is thrown away."""


def test_chunked_body_without_end_is_refused(service: RunningService) -> None:
    """At its limit, whatever still comes; the sender finds the answer, and the connection ends."""
    with gateway_grows_less_than(service, 64), Wire(service) as wire:
        wire.say(CHUNKED)
        piece, sent = chunk(bytes(MIB)), 0
        with contextlib.suppress(ConnectionError):
            while sent < ENDLESS_MIB:
                wire.say(piece)
                sent += 1
        answer = parsed(wire.heard())
    assert (answer.status, answer.json["code"]) == (400, "file_too_large")
    assert answer.headers["connection"] == "close"
    assert sent < ENDLESS_MIB


@pytest.mark.parametrize("length", [str(BODY_LIMIT + 1), "9" * 20])
def test_declared_length_is_refused_before_the_body(service: RunningService, length: str) -> None:
    """Nobody has to send a gibibyte to learn that it is too much."""
    answer = told(service, request(content_length=length))
    assert (answer.status, answer.json["code"]) == (400, "file_too_large")
    assert answer.headers["connection"] == "close"


def test_many_large_bodies_at_once_are_bounded(service: RunningService) -> None:
    """Clients send 48 bodies, 384 MiB in all. The service reads only as much as it has room for, and the rest stays with its senders."""
    head, part = request(content_length=str(8 * MIB + 1)), bytes(8 * MIB)

    def send(wire: Wire) -> int:
        wire.say(head)
        wire.socket.settimeout(3)  # without progress
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(part):
                sent += wire.socket.send(part[sent : sent + MIB])
        return sent

    with ExitStack() as stack, gateway_grows_less_than(service, 128 + 96):
        wires = [stack.enter_context(Wire(service)) for _ in range(48)]
        with ThreadPoolExecutor(len(wires)) as threads:
            sent_mib = sum(threads.map(send, wires)) / MIB
        assert service.get("/health")[0] == 200
    assert sent_mib > 128 + 96


def test_body_that_comes_too_slowly_is_refused(service: RunningService) -> None:
    """One that drips, one that stops before its declared length, and one that never begins: 408 after ten seconds."""
    with ExitStack() as stack:
        dripping, short, silent = (stack.enter_context(Wire(service)) for _ in range(3))
        dripping.say(CHUNKED)
        short.say(request(content_length="100") + b"{")
        silent.say(request(content_length="100"))
        started = time.monotonic()
        while not (gone := dripping.hung_up()) and time.monotonic() - started < 10:
            dripping.say(chunk(b" "))
            time.sleep(0.2)
        assert not gone
        for wire in (dripping, short, silent):
            answer = parsed(wire.heard())
            assert (answer.status, answer.json["code"]) == (408, "request_timeout")
            assert answer.headers["connection"] == "close"
        assert 9 < time.monotonic() - started < 20


def test_body_longer_than_declared_is_cut(service: RunningService) -> None:
    """What is behind it is no part of it: a request of its own, and a bad one."""
    sent = request(b"[]and more\r\n\r\n", content_length="2", connection="keep-alive")
    answer = told(service, sent)
    assert (answer.status, answer.json["code"]) == (400, "missing_body")
    assert answer.rest.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"", b"{", GOOD[:-1]])
def test_sender_that_hangs_up_costs_nothing(service: RunningService, sent: bytes) -> None:
    """In the middle of a body."""
    with Wire(service) as wire:
        wire.say(request(content_length=str(len(GOOD))) + sent)


def test_headers_that_do_not_end_hold_up_nobody(service: RunningService) -> None:
    """Two hundred connections with half a request each."""
    with ExitStack() as stack, gateway_grows_less_than(service, 64):
        for _ in range(200):
            stack.enter_context(Wire(service)).say(b"POST /upscale HTTP/1.1\r\nx-slow: ")
        assert told(service, request(GOOD)).status == 200


JUNK = {
    "nothing": b"\r\n\r\n",
    "no HTTP": b"EHLO mail.example\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "an old version": b"GET /\r\n\r\n",
    "a false version": b"GET / HTTP/9.9\r\nhost: here\r\nconnection: close\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nhost: here\r\n\r\n",
    "no ASCII in the target": b"GET /\xff\xfe HTTP/1.1\r\nhost: here\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nhost: he\0re\r\n\r\n",
    "a long line": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: here\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nhost: here\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nhost: here\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    "two lengths": request(b"{}", content_length="2\r\ncontent-length: 3"),
    "a negative length": request(b"{}", content_length="-2"),
    "an endless length": request(b"{}", content_length="9" * 5000),
    "no length": request(b"{}", content_length="two"),
    "length and chunks of another kind": request(b"{}", transfer_encoding="xchunked"),
    "packed in transfer": request(content_length="", transfer_encoding="gzip, chunked"),
    "no size of a chunk": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative size of a chunk": CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
    "an endless size of a chunk": CHUNKED + b"f" * 5000 + b"\r\n",
    "an endless extension of a chunk": CHUNKED + b"1;" + b"x" * 70_000 + b"\r\n",
}
"""What no HTTP client says."""


@pytest.mark.parametrize("said", JUNK.values(), ids=JUNK)
def test_what_is_no_request_is_refused(service: RunningService, said: bytes) -> None:
    """With a status of 400 or so, and the connection ends."""
    with Wire(service) as wire:
        with contextlib.suppress(
            OSError
        ):  # it may have been refused, and cut off, before all was said
            wire.say(said)
            wire.socket.shutdown(socket.SHUT_WR)
        heard = wire.heard()
    # What is read as a request for the service itself is led to its page.
    assert not heard or 400 <= parsed(heard).status < 500 or parsed(heard).status in (307, 501)


def test_websocket_is_refused(service: RunningService) -> None:
    """On any route: there is none."""
    with Wire(service) as wire:
        wire.say(
            b"GET /upscale HTTP/1.1\r\nhost: here\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert wire.socket.recv(65536).startswith(b"HTTP/1.1 403 ")


def multipart(parts: int) -> bytes:
    """A form of so many parts."""
    one = b'--b\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n.\r\n'
    return one * parts + b"--b--\r\n"


BODIES = {
    "multipart": (
        multipart(100_000),
        {"content_type": "multipart/form-data; boundary=b"},
        "missing_body",
    ),
    "form": (
        b"a=b&" * 1_000_000,
        {"content_type": "application/x-www-form-urlencoded"},
        "missing_body",
    ),
    "no type": (GOOD, {"content_type": ""}, "missing_body"),
    "deep lists": (b"[" * 10_000_000, {}, "malformed_json"),
    "deep objects": (b'{"a":' * 2_000_000, {}, "malformed_json"),
    "deep, and closed": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}, "malformed_json"),
    "many lists": (b'{"a":[' + b"[]," * 3_500_000 + b"[]]}", {}, "malformed_json"),
    "many objects": (b'{"a":[' + b"{}," * 3_500_000 + b"{}]}", {}, "malformed_json"),
    "many names": (
        b"{" + b",".join(b'"%d":1' % number for number in range(900_000)) + b"}",
        {},
        "malformed_json",
    ),
    "a long number": (b'{"scale":' + b"9" * 10_000_000 + b"}", {}, "malformed_json"),
    "an endless number": (b'{"scale":1e999}', {}, "invalid_option"),
    "no number": (b'{"scale":NaN}', {}, "malformed_json"),
    "packed otherwise than it says": (
        gzip.compress(GOOD),
        {"content_encoding": "deflate"},
        "malformed_encoding",
    ),
    "a packed bomb": (
        gzip.compress(bytes(1000 * MIB)),
        {"content_encoding": "gzip"},
        "file_too_large",
    ),
    "a packed picture of nothing": (
        gzip.compress(b'{"image_b64":"' + b"A" * 10_000_000 + b'"}'),
        {"content_encoding": "gzip"},
        "file_too_large",
    ),
    "UTF-16": (
        GOOD.decode().encode("utf-16"),
        {"content_type": "application/json; charset=utf-16"},
        "malformed_json",
    ),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + GOOD, {}, "malformed_json"),
    "Latin-1": (
        '{"model":"é"}'.encode("latin1"),
        {"content_type": "application/json; charset=latin-1"},
        "malformed_json",
    ),
    "half a surrogate": (b'{"model":"\\ud800"}', {}, "unknown_model"),
    "NUL": (b'{"model":"\\u0000"}', {}, "unknown_model"),
    "nothing": (b"", {}, "missing_body"),
    "NUL bytes": (bytes(10_000_000), {}, "malformed_json"),
    "a wide text": (b'{"img_url":"' + "𝄞".encode() * 2_600_000 + b'"}', {}, "invalid_url"),
    "a long name": (b'{"model":"' + b"a" * 10_000_000 + b'"}', {}, "unknown_model"),
    "base64 of nothing": (b'{"image_b64":"' + b"=" * 9_000_000 + b'"}', {}, "unsupported_format"),
    "base64 of spaces": (b'{"image_b64":"' + b"\\n" * 4_500_000 + b'"}', {}, "unsupported_format"),
}
"""Bodies that come whole, and what is said of each."""


@pytest.mark.parametrize(("body", "headers", "code"), BODIES.values(), ids=BODIES)
def test_odd_body_is_refused_with_its_code(
    service: RunningService, body: bytes, headers: dict[str, str], code: str
) -> None:
    """In bounded memory: a few times the largest body."""
    assert len(body) <= BODY_LIMIT
    with gateway_grows_less_than(service, 128):
        answer = told(service, request(body, **headers))
    assert (answer.status, answer.json["code"]) == (400, code)


def test_http_2_is_under_the_same_limits(service: RunningService) -> None:
    """A body without end on a stream: one answer, and the stream ends."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/upscale"),
        (":authority", "here"),
    ]
    connection.send_headers(1, [*fields, ("content-type", "application/json")])
    status, text, ended = "", b"", False
    with gateway_grows_less_than(service, 64), Wire(service) as wire:
        while not ended:
            with contextlib.suppress(
                h2.exceptions.ProtocolError
            ):  # no window, or no stream any more
                while connection.local_flow_control_window(1) >= 16_384:
                    connection.send_data(1, bytes(16_384))
            wire.say(connection.data_to_send())
            data = wire.socket.recv(65536)
            for event in connection.receive_data(data) if data else ():
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status"].decode()
                elif isinstance(event, h2.events.DataReceived):
                    text += event.data
                ended = ended or isinstance(event, h2.events.StreamEnded | h2.events.StreamReset)
            ended = ended or not data
    assert (status, json.loads(text)["code"]) == ("400", "file_too_large")
