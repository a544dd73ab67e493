"""A real gateway and what strangers may send it, byte by byte: each gets a clear answer, and memory stays bounded."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import h2.exceptions
import pytest
from pictures import encoded, noise
from PIL import Image
from running import RunningService

GIVE_UP_S = 60
BODY_LIMIT = 10_835_291
"""Bytes: 7 MiB in base64, and 1 MiB around it."""

MIB = 1 << 20
PICTURE = encoded(noise(9, 7, 3))
GOOD = json.dumps(
    {"image_b64": base64.b64encode(PICTURE).decode(), "model": "nearest", "inline": False}
).encode()


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """One model server, which may fetch from public addresses alone."""
    folder = tmp_path_factory.mktemp("secret-place")
    with RunningService(folder, environment | {"NUM_SERVERS": "1"}) as service:
        assert service.upscale(PICTURE, model="nearest")[0] == 200  # whatever is loaded once, is
        yield service


@dataclass(frozen=True)
class Answer:
    """What came back, to the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes
    """Behind this answer: further ones."""

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields


def parsed(data: bytes) -> Answer:
    """The first answer in what a server sent."""
    head, _, behind = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", len(behind)))
    return Answer(int(first.split(" ")[1]), headers, behind[:length], behind[length:])


class Wire:
    """A connection to a service, on which anything may be said."""

    def __init__(self, service: RunningService) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=GIVE_UP_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        """Send it all."""
        self.socket.sendall(data)

    def heard(self) -> bytes:
        """All that comes until the server closes."""
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def hung_up(self) -> bool:
        """Whether the server has closed, now."""
        self.socket.settimeout(0)
        try:
            return self.socket.recv(1) == b""
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(GIVE_UP_S)


def request(body: bytes = b"", *, target: str = "/upscale", **headers: str) -> bytes:
    """A POST after which the connection ends."""
    fields = {
        "host": "here",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([f"POST {target} HTTP/1.1", *lines, "", ""]).encode() + body


def told(service: RunningService, data: bytes) -> Answer:
    """The answer to all these bytes."""
    with Wire(service) as wire:
        wire.say(data)
        return parsed(wire.heard())


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


# Bodies


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
    """Of 48 that are coming, 384 MiB in all, no more is read than there is room for: the rest waits with its senders."""
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


# Files


@pytest.fixture(scope="module")
def token(service: RunningService) -> str:
    """That of a result, beside which files lie that are none."""
    uploads = service.folder / "uploads"
    for name in (".env", "secret.png", "upscaled_secret.png", f".enlarger_{'0' * 32}"):
        (uploads / name).write_text(NOT_OURS)
    (uploads / "folder").mkdir()
    (service.folder / f"upscaled_{'1' * 32}.png").write_text(NOT_OURS)
    status, answer = service.upscale(PICTURE, model="nearest", inline=False)
    assert status == 200
    return str(answer["url"]).removeprefix("/files/").removesuffix(".png")


NOT_OURS = "nobody may read this"

TRAVERSALS = [
    "/files",
    "/files/",
    "/files/.",
    "/files/..",
    "/files/../",
    "/files/../service.log",
    "/files/../uploads/secret.png",
    "/files/../../../../../../etc/passwd",
    "/files/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/files/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/files/%2e%2e%2fservice.log",
    "/files/%252e%252e%252fservice.log",
    "/files/....//....//etc/passwd",
    "/files/..;/service.log",
    "/files/..\\service.log",
    "/files/..%5cservice.log",
    "/files/%c0%ae%c0%ae%c0%afservice.log",
    "/files/%uff0e%uff0e/service.log",
    "/files/%ef%bc%8e%ef%bc%8e/service.log",
    "/files/%2fetc%2fpasswd",
    "/files/file:%2f%2f%2fetc%2fpasswd",
    "/files/~root",
    "/files/.env",
    "/files/secret.png",
    "/files/upscaled_secret.png",
    "/files/folder",
    f"/files/.enlarger_{'0' * 32}",
    f"/files/.enlarger_{'0' * 32}.png",
    f"/files/%2e%2e%2fupscaled_{'1' * 32}.png",
    f"/files/..%2fuploads%2fupscaled_{'1' * 32}.png",
    f"/files/{'0' * 32}.png",
    f"/files/{'f' * 32}.png",
    f"/files/{'0' * 31}.png",
    f"/files/{'0' * 4000}.png",
    "/files/*",
    "/files/*.png",
    "/files/%2a.png",
    "/files/[0-9a-f].png",
    "/files/%00",
    "/files/%0a",
    "/files/%25",
    "/files/{token}",
    "/files/{token}.",
    "/files/{token}.PNG",
    "/files/{token}.jpg",
    "/files/{token}.txt",
    "/files/{token}.png.png",
    "/files/{token}.png%00",
    "/files/{token}.png%00.jpg",
    "/files/{token}.png%0a",
    "/files/{token}.png%20",
    "/files/{token}.png.",
    "/files/{token}.png/",
    "/files/{token}.png/.",
    "/files/{token}.png;a",
    "/files/%20{token}.png",
    "/files/./{token}.png",
    "/files/folder/../{token}.png",
    "/files/upscaled_{token}.png",
    "/files/{upper}.png",
    "/files/{first}*.png",
    "/files/{first}%25.png",
    "/FILES/{token}.png",
    "/file/{token}.png",
    "/uploads/upscaled_{token}.png",
    "/upscaled_{token}.png",
    "/static/secret.png",
    "/../uploads/secret.png",
    "/%2e%2e/service.log",
    "/.env",
    "/.git/config",
]
"""What finds a file where paths are joined, or tells that one is there."""


def got(service: RunningService, target: str, method: str = "GET") -> Answer:
    """The answer to a request whose target nobody made nicer on the way."""
    head = f"{method} {target} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
    return told(service, head.encode("latin1"))


@pytest.mark.parametrize("target", TRAVERSALS, ids=ascii)
def test_nothing_but_results_is_read(service: RunningService, token: str, target: str) -> None:
    """404, with the same words whatever lies there."""
    wanted = target.format(token=token, upper=token.upper(), first=token[:8])
    answer = got(service, wanted)
    assert answer.status == 404
    assert (answer.json["error"], answer.json["code"]) == ("Not found", "not_found")
    assert NOT_OURS.encode() not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"])
def test_results_are_only_read(service: RunningService, token: str, method: str) -> None:
    """405 for whatever else one may want to do with them; they stay as they are."""
    assert got(service, f"/files/{token}.png", method).status == 405
    assert got(service, f"/files/{token}.png").status == 200


@pytest.mark.parametrize(
    ("format_", "type_"),
    [
        ("png", "image/png"),
        ("jpeg", "image/jpeg"),
        ("webp", "image/webp"),
        ("avif", "image/avif"),
        ("tiff", "image/tiff"),
    ],
)
def test_result_is_a_picture_and_nothing_else_to_a_browser(
    service: RunningService, format_: str, type_: str
) -> None:
    """Its type is that of its bytes, is not guessed, and nothing in it may run, load or be framed."""
    status, made = service.upscale(PICTURE, model="nearest", format=format_, inline=False)
    assert status == 200
    answer = got(service, made["url"])
    assert answer.headers["content-type"] == type_
    assert_guarded(answer)


def assert_guarded(answer: Answer) -> None:
    """What every answer tells a browser."""
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    "target",
    ["/page", "/health", "/livez", "/readyz", "/status", "/metrics", "/upscale", "/files/none"],
)
def test_other_answers_are_guarded_too(service: RunningService, target: str) -> None:
    """And no other site may read them: there is no CORS."""
    assert_guarded(got(service, target))


def test_page_may_load_its_own_files_alone(service: RunningService) -> None:
    """The page is the one answer that runs scripts: its own, from its own origin, in nobody's frame."""
    answer = got(service, "/")
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not [rule for rule in policy if "unsafe" in rule or "http" in rule or "*" in rule]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# What answers tell


def asked(**fields: Any) -> bytes:
    """A job."""
    return request(json.dumps(fields).encode())


def picture(data: bytes, **options: Any) -> bytes:
    """A job with a picture."""
    return asked(image_b64=base64.b64encode(data).decode(), model="nearest", **options)


def long_animation() -> bytes:
    """Two frames whose results together are too large."""
    frames = [Image.new("L", (2048, 2048), value) for value in (0, 255)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


PROVOKED: dict[str, bytes] = {
    "missing_body": request(b""),
    "malformed_json": request(b"{"),
    "missing_input": asked(scale=2),
    "invalid_option": asked(scale=3),
    "unknown_model": asked(model="../../etc/passwd"),
    "invalid_url": asked(img_url="file:///etc/passwd"),
    "file_too_large": request(content_length=str(1 << 30)),
    "image_too_large": picture(encoded(noise(1, 2049, 1))),
    "unsupported_format": picture(b"<svg/>"),
    "unreadable_image": picture(PICTURE[:60]),
    "source_unreachable": asked(img_url="http://127.0.0.1:1/"),
    "output_too_large": picture(long_animation(), scale=4, frames="all"),
    "not_found": b"GET /nothing HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n",
    "method_not_allowed": request(target="/health"),
}
"""A request for each error that a caller can provoke."""


def assert_tells_nothing(service: RunningService, answer: Answer) -> None:
    """No path, module, exception or address of ours."""
    text = (answer.body + repr(answer.headers).encode()).decode("latin1")
    ours = (
        str(service.folder),
        "secret-place",
        f"{Path.home()}/",
        sys.prefix,
        "site-packages",
    )
    for word in (
        *ours,
        "Traceback",
        "Error(",
        "Exception",
        "Errno",
        "enlarger.",
        ".py",
        "0x",
        "127.0.0.1",
    ):
        assert word not in text, text
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("code", PROVOKED)
def test_error_tells_nothing_of_the_inside(service: RunningService, code: str) -> None:
    """Its code and a text that was written for the caller."""
    answer = told(service, PROVOKED[code])
    assert answer.json["code"] == code
    assert 400 <= answer.status < 500
    assert_tells_nothing(service, answer)
    assert_guarded(answer)


def test_failure_of_ours_tells_nothing_of_the_inside(service: RunningService) -> None:
    """A file in the place of the folder of results; once that is back, all is well."""
    uploads, away = service.folder / "uploads", service.folder / "away"
    uploads.rename(away)
    uploads.touch()
    try:
        full = told(service, picture(noise_picture(), inline=False))
        swept = told(service, request(target="/cleanup"))
    finally:
        uploads.unlink()
        away.rename(uploads)
    assert (full.status, full.json["code"]) == (500, "storage_full")
    assert (swept.status, swept.json["code"]) == (500, "internal_error")
    for answer in (full, swept):
        assert_tells_nothing(service, answer)
        assert_guarded(answer)


def noise_picture() -> bytes:
    """One that was not enlarged before."""
    return encoded(noise(6, 5, 3, seed=77))
