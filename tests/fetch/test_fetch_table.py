"""Hostile URLs, one line each: what the caller reads, and which hosts were reached on the way.

The table is fetched in a network of its own where every address there is answers, with a name server of
its own. So a URL that led astray would arrive; that is tried as well, with the guard switched off.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.closed_network import be_every_address, bring_up_loopback, in_closed_network
from support.names import NameServer, system_server
from support.pictures import encoded, noise
from support.sites import Answer, Site, page, redirect

from enlarger.errors import EnlargerError
from enlarger.fetch.fetcher import Fetcher
from enlarger.picture.decode import probe

PICTURE = encoded(noise(9, 7, 3))
LIMIT_BYTES = 4096
PORTS = (22, 80, 443, 6379, 8080)

PUBLIC, PUBLIC_V6 = "93.184.215.14", "2606:4700::1111"
PRIVATE, PRIVATE_V6 = "10.0.0.5", "fd00::5"
HOME = f"http://{PUBLIC}"

NO_GUARD = "0.0.0.0/0,::/0,:22,:6379,:8080"
"""A rule that allows every address, to see what the guard holds back."""

SERVED = "served"
TEXTS = {
    "invalid_url": "the URL is not one of http or https",
    "source_unreachable": "could not reach the source",
    "source_timeout": "the source took too long",
}
"""All that a caller reads, whatever the reason was."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    url: str
    end: str
    """``served``, or the code of the error."""

    reached: tuple[str, ...] = ()
    """The hosts that got a connection, in order."""

    would_reach: bool = False
    """Whether a fetcher without a guard gets to a host that this one does not."""

    rule: str = "public"


def host(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def forbidden(what: str, *addresses: str, would_reach: bool = True) -> list[Line]:
    """Addresses that are never connected to."""
    return [
        Line(
            f"{what} {address}",
            f"http://{host(address)}/cat.png",
            "source_unreachable",
            (),
            would_reach,
        )
        for address in addresses
    ]


def public(what: str, *addresses: str) -> list[Line]:
    """Addresses that pictures come from."""
    return [
        Line(f"{what} {address}", f"http://{host(address)}/cat.png", SERVED, (address,))
        for address in addresses
    ]


ADDRESSES = [
    *forbidden("this network", "0.0.0.0", "0.255.255.255"),  # noqa: S104 - asked for, not bound
    *public("beside this network", "1.0.0.0"),
    *forbidden("private", "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"),
    *forbidden("private", "192.168.0.0", "192.168.255.255"),
    *public("beside private", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0"),
    *public("beside private", "192.167.255.255", "192.169.0.0"),
    *forbidden("carrier's NAT", "100.64.0.0", "100.127.255.255"),
    *public("beside the carrier's NAT", "100.63.255.255", "100.128.0.0"),
    *forbidden("loopback", "127.0.0.1", "127.255.255.254"),
    *public("beside loopback", "126.255.255.255", "128.0.0.0"),
    *forbidden("link-local", "169.254.0.0", "169.254.255.255"),
    *public("beside link-local", "169.253.255.255", "169.255.0.0"),
    *forbidden("metadata of a cloud", "169.254.169.254", "100.100.100.200", "192.0.0.192"),
    *forbidden("metadata of a cloud", "fd00:ec2::254"),
    *forbidden("protocol assignments", "192.0.0.0", "192.0.0.255"),
    *forbidden("documentation", "192.0.2.0", "192.0.2.255", "198.51.100.1", "203.0.113.1"),
    *public("beside documentation", "192.0.1.255", "192.0.3.0", "203.0.114.0"),
    *forbidden("6to4 relay", "192.88.99.1"),
    *forbidden("benchmarks", "198.18.0.0", "198.19.255.255"),
    *public("beside benchmarks", "198.17.255.255", "198.20.0.0"),
    *forbidden("multicast", "224.0.0.1", "239.255.255.255", would_reach=False),
    *public("beside multicast", "223.255.255.255"),
    *forbidden("reserved", "240.0.0.1", "255.255.255.254"),
    *forbidden("broadcast", "255.255.255.255", would_reach=False),
    *forbidden("unspecified", "::"),
    *forbidden("loopback", "::1"),
    *forbidden("IPv4-mapped", "::ffff:127.0.0.1", "::ffff:a00:5", "::ffff:169.254.169.254"),
    *forbidden("IPv4-compatible", "::127.0.0.1", "::a00:5"),
    *forbidden("IPv4-translated", "::ffff:0:10.0.0.5"),
    *forbidden("NAT64", "64:ff9b::127.0.0.1", "64:ff9b::a00:5", "64:ff9b::a9fe:a9fe"),
    *forbidden("local NAT64", "64:ff9b:1::10.0.0.5", "64:ff9b:1:ffff::808:808"),
    *forbidden("6to4", "2002:7f00:1::", "2002:a00:5::1", "2002:a9fe:a9fe::1"),
    *forbidden("Teredo, its client", "2001:0:808:808::80ff:fffe", "2001:0:808:808::f5ff:fffa"),
    *forbidden("Teredo, its server", "2001:0:a00:5::f7f7:f7f7"),
    *forbidden("ISATAP", "2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:a00:5"),
    *forbidden("unique local", "fc00::", "fdff:ffff::1"),
    *forbidden("link-local", "fe80::1", "febf::1", would_reach=False),
    *forbidden("site-local", "fec0::1", "feff::1"),
    *forbidden("multicast", "ff02::1", "ff0e::1", would_reach=False),
    *forbidden("documentation", "2001:db8::1", "3fff::1"),
    *forbidden("discard", "100::1"),
    *forbidden("benchmarks", "2001:2::1"),
    *forbidden("ORCHID", "2001:10::1"),
    *forbidden("segment routing", "5f00::1"),
    *forbidden("not given out", "4000::1", "1fff:ffff::1", "e000::1"),
    *public("given out", PUBLIC, PUBLIC_V6, "2a00:1450::1", "2400:cb00::1"),
    Line("IPv4-mapped, public", f"http://[::ffff:{PUBLIC}]/cat.png", SERVED, (PUBLIC,)),
    Line("NAT64, public", f"http://[64:ff9b::{PUBLIC}]/cat.png", SERVED, ("64:ff9b::5db8:d70e",)),
]

SPELLINGS = [
    Line(f"loopback as {name}", f"http://{name}/cat.png", "source_unreachable", (), would_reach)
    for name, would_reach in (
        ("localhost", True),
        ("LOCALHOST", True),
        ("localhost.", False),
        ("127.0.0.1.", False),
        ("127.1", False),
        ("127.0.1", False),
        ("0", False),
        ("2130706433", False),
        ("0x7f000001", True),
        ("0x7f.1", True),
        ("0177.0.0.1", False),
        ("017700000001", False),
        ("127。0。0。1", True),
        ("①②⑦.⓪.⓪.①", True),
        ("%31%32%37.0.0.1", False),
        ("[0:0:0:0:0:0:0:1]", True),
        ("[::1%25lo]", False),
        ("[0000::ffff:7f00:0001]", True),
    )
]

FORMS = [
    Line(what, url, "invalid_url")
    for what, url in (
        ("a file", "file:///etc/passwd"),
        ("another scheme", f"ftp://{PUBLIC}/cat.png"),
        ("another scheme", f"gopher://{PRIVATE}:6379/_FLUSHALL"),
        ("a script", "javascript:alert(1)"),
        ("no scheme", f"//{PUBLIC}/cat.png"),
        ("no host", "http:///cat.png"),
        ("user", f"http://user@{PUBLIC}/cat.png"),
        ("user and word", f"http://user:word@{PUBLIC}/cat.png"),
        ("empty user", f"http://@{PUBLIC}/cat.png"),
        ("a public user at a private host", f"http://{PUBLIC}@{PRIVATE}/cat.png"),
        ("backslash", f"http://{PUBLIC}\\@{PRIVATE}/cat.png"),
        ("line break", f"http://{PUBLIC}/cat.png\r\nHost: {PRIVATE}"),
        ("port 0", f"http://{PUBLIC}:0/cat.png"),
        ("port 65536", f"http://{PUBLIC}:65536/cat.png"),
    )
]

ODD_PORTS = [
    *(
        Line(
            f"port {port} of {where}",
            f"http://{where}:{port}/cat.png",
            "source_unreachable",
            (),
            True,
        )
        for where in (PUBLIC, PRIVATE)
        for port in (22, 6379, 8080)
    ),
    Line("port 443, in clear", f"http://{PUBLIC}:443/cat.png", SERVED, (PUBLIC,)),
    Line("a port that is named", f"http://{PUBLIC}:8080/cat.png", SERVED, (PUBLIC,), rule=":8080"),
    Line(
        "a named port, private",
        f"http://{PRIVATE}:8080/cat.png",
        "source_unreachable",
        (),
        True,
        ":8080",
    ),
    Line("no TLS", f"https://{PUBLIC}/cat.png", "source_unreachable", (PUBLIC,)),
    Line("TLS to a private host", f"https://{PRIVATE}/cat.png", "source_unreachable", (), True),
]

ALLOWED = [
    Line("switched off", f"{HOME}/cat.png", "source_unreachable", (), True, "off"),
    Line("a named network", f"http://{PRIVATE}/cat.png", SERVED, (PRIVATE,), rule="10.0.0.0/8"),
    Line(
        "beside a named network",
        "http://192.168.0.1/",
        "source_unreachable",
        (),
        True,
        "10.0.0.0/8",
    ),
    Line(
        "a named host", "http://private.example/cat.png", SERVED, (PRIVATE,), rule="private.example"
    ),
    Line(
        "its neighbour",
        "http://a.private.example/",
        "source_unreachable",
        (),
        True,
        "private.example",
    ),
    Line(
        "what looks like a named host",
        f"http://{PRIVATE}/?private.example",
        "source_unreachable",
        (),
        True,
        "private.example",
    ),
]

TARGETS = {
    "private": f"http://{PRIVATE}/cat.png",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "loopback": "http://localhost/cat.png",
    "mapped": f"http://[::ffff:{PRIVATE}]/cat.png",
    "unique-local": f"http://[{PRIVATE_V6}]/cat.png",
    "name": "http://private.example/cat.png",
    "no-scheme": f"//{PRIVATE}/cat.png",
    "odd-port": f"http://{PUBLIC}:8080/cat.png",
}
"""Where redirects lead that are not followed."""

REDIRECTS = [
    *(
        Line(f"redirect to {name}", f"{HOME}/to-{name}", "source_unreachable", (PUBLIC,), True)
        for name in TARGETS
    ),
    Line("redirect to a user", f"{HOME}/to-user", "source_unreachable", (PUBLIC,)),
    Line("redirect to a file", f"{HOME}/to-file", "source_unreachable", (PUBLIC,)),
    Line("redirect to data", f"{HOME}/to-data", "source_unreachable", (PUBLIC,)),
    Line("three redirects", f"{HOME}/3", SERVED, (PUBLIC,) * 4),
    Line("four redirects", f"{HOME}/4", "source_unreachable", (PUBLIC,) * 4),
    Line("the third redirect to private", f"{HOME}/a", "source_unreachable", (PUBLIC,) * 3, True),
    Line("endless redirects", f"{HOME}/loop", "source_unreachable", (PUBLIC,) * 4),
    Line("redirect to another host", f"{HOME}/to-public", SERVED, (PUBLIC, PUBLIC_V6)),
]

NAMES: dict[str, list[list[str]]] = {
    "cat.example": [[PUBLIC]],
    "cat-v6.example": [[PUBLIC_V6]],
    "cat-nat64.example": [["64:ff9b::5db8:d70e"]],
    "private.example": [[PRIVATE]],
    "a.private.example": [[PRIVATE]],
    "private-v6.example": [[PRIVATE_V6]],
    "mapped.example": [[f"::ffff:{PRIVATE}"]],
    "nat64.example": [["64:ff9b::a00:5"]],
    "metadata.example": [["169.254.169.254"]],
    "mixed.example": [[PUBLIC, PRIVATE]],
    "mixed-behind.example": [[PRIVATE, PUBLIC]],
    "mixed-v6.example": [[PUBLIC, PRIVATE_V6]],
    "rebinds.example": [[PUBLIC], [PRIVATE]],
    "rebinds-first.example": [[PRIVATE], [PUBLIC]],
    "moves.example": [[PUBLIC], [PRIVATE]],
    "empty.example": [[]],
}
"""What each name leads to, look-up by look-up."""

LOOK_UPS = [
    Line("a name", "http://cat.example/cat.png", SERVED, (PUBLIC,)),
    Line("a name of IPv6", "http://cat-v6.example/cat.png", SERVED, (PUBLIC_V6,)),
    Line(
        "a name behind NAT64", "http://cat-nat64.example/cat.png", SERVED, ("64:ff9b::5db8:d70e",)
    ),
    *(
        Line(f"a name: {name}", f"http://{name}.example/cat.png", "source_unreachable", (), True)
        for name in ("private", "private-v6", "mapped", "nat64", "metadata")
    ),
    *(
        Line(f"a mixed answer: {name}", f"http://{name}.example/", "source_unreachable", (), True)
        for name in ("mixed", "mixed-behind", "mixed-v6")
    ),
    # What was checked is what is connected to: there is no second look-up to answer otherwise.
    Line("private from the second look-up on", "http://rebinds.example/cat.png", SERVED, (PUBLIC,)),
    Line(
        "private at the first look-up",
        "http://rebinds-first.example/",
        "source_unreachable",
        (),
        True,
    ),
    Line(
        "private at the second hop",
        "http://moves.example/again",
        "source_unreachable",
        (PUBLIC,),
        True,
    ),
    Line("unknown", "http://nowhere.example/cat.png", "source_unreachable"),
    Line("known, without an address", "http://empty.example/cat.png", "source_unreachable"),
    Line("too long a label", f"http://{'a' * 64}.example/cat.png", "source_unreachable"),
]


def answered(what: str, path: str, end: str) -> Line:
    """What a public host says at a path."""
    return Line(what, HOME + path, end, (PUBLIC,))


CONTENTS = [
    answered("as text", "/as-text", SERVED),
    answered("chunked", "/chunked", SERVED),
    answered("without a length", "/open", SERVED),
    answered("a page called a picture", "/page", "unsupported_format"),
    answered("nothing called a picture", "/empty", "unsupported_format"),
    answered("too large, declared", "/declared", "file_too_large"),
    answered("too large, counted", "/large", "file_too_large"),
    answered("endless", "/endless", "file_too_large"),
    answered("endless headers", "/endless-headers", "source_unreachable"),
    answered("gzip bomb", "/bomb", "source_refused"),
    answered("deflate", "/deflate", "source_refused"),
    answered("gzip that is not said to be", "/gzip-file", "unsupported_format"),
    answered("gzip in transfer", "/gzip-transfer", "unsupported_format"),
    answered("cut short", "/short", "source_unreachable"),
    # aiohttp asks once more, under the same guard.
    Line("hung up", f"{HOME}/hung-up", "source_unreachable", (PUBLIC, PUBLIC)),
    answered("no HTTP", "/mail", "source_unreachable"),
    answered("two lengths", "/two-lengths", "source_unreachable"),
    answered("not found", "/none", "source_refused"),
    answered("a part", "/part", "source_refused"),
    answered("broken", "/broken", "source_failed"),
    answered("silent", "/silent", "source_timeout"),
    answered("silent after its headers", "/half", "source_timeout"),
    answered("a byte now and then", "/drip", "source_timeout"),
    answered("headers now and then", "/drip-headers", "source_timeout"),
]

TABLE = [*ADDRESSES, *SPELLINGS, *FORMS, *ODD_PORTS, *ALLOWED, *REDIRECTS, *LOOK_UPS, *CONTENTS]


def repeating(start: bytes, more: bytes, *, pause_s: float = 0) -> Callable[..., Any]:
    """An answer that does not end."""

    async def repeat(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return repeat


def answers() -> dict[str, Answer]:
    """What every host says at each path."""
    bomb = zlib.compressobj(wbits=31)
    packed = bomb.compress(bytes(1 << 24)) + bomb.flush()
    head = b"HTTP/1.1 200 OK\r\n"
    chunk = b"%x\r\n%s\r\n" % (len(PICTURE), PICTURE)
    return {
        "/cat.png": page(PICTURE, content_type="image/png"),
        "/as-text": page(PICTURE, content_type="text/plain"),
        "/chunked": head + b"transfer-encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n",
        "/open": b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE,
        "/page": page(b"<!doctype html><p>cat", content_type="image/png"),
        "/empty": page(b"", content_type="image/png"),
        "/declared": page(content_length=str(LIMIT_BYTES + 1)),
        "/large": b"HTTP/1.0 200 OK\r\n\r\n" + bytes(LIMIT_BYTES + 1),
        "/endless": repeating(
            head + b"transfer-encoding: chunked\r\n\r\n", b"400\r\n" + bytes(1024) + b"\r\n"
        ),
        "/endless-headers": repeating(head, b"x-more: " + b"x" * 1000 + b"\r\n"),
        "/bomb": page(packed[:LIMIT_BYTES], content_encoding="gzip"),
        "/deflate": page(zlib.compress(PICTURE), content_encoding="deflate"),
        "/gzip-file": page(packed[:1000], content_type="image/png"),
        "/gzip-transfer": head
        + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\n\x1f\x8b\x08\0\0\r\n0\r\n\r\n",
        "/short": page(PICTURE, content_length=str(len(PICTURE) + 1)),
        "/hung-up": head,
        "/mail": b"220 mail.example ESMTP\r\n",
        "/two-lengths": head + b"content-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "/part": page(PICTURE, status=206),
        "/broken": page(status=500),
        "/silent": None,
        "/half": repeating(page(content_length="4000") + PICTURE, b"", pause_s=0.05),
        "/drip": repeating(page(content_length="4000"), b".", pause_s=0.05),
        "/drip-headers": repeating(head + b"x: ", b"x", pause_s=0.05),
        "/again": redirect("/cat.png"),
        "/loop": redirect("/loop"),
        "/to-user": redirect(f"http://user@{PUBLIC}/cat.png"),
        "/to-file": redirect("file:///etc/passwd"),
        "/to-data": redirect("data:image/png;base64,QUJD"),
        "/to-public": redirect(f"http://[{PUBLIC_V6}]/cat.png"),
        "/a": redirect("/b"),
        "/b": redirect("/c"),
        "/c": redirect(f"http://{PRIVATE}/cat.png"),
        "/4": redirect("/3"),
        "/3": redirect("/2"),
        "/2": redirect("/1"),
        "/1": redirect("/cat.png"),
        **{f"/to-{name}": redirect(target) for name, target in TARGETS.items()},
    }


@dataclass(frozen=True)
class Found:
    """What became of a line."""

    end: str
    text: str
    reason: str
    """In the log."""

    reached: tuple[str, ...]
    bytes_got: int
    """By all hosts together."""


async def try_line(line: Line, rule: str, sites: list[Site], names: NameServer) -> Found:
    """Fetch a line's URL, and look at what came as the pipeline does."""
    names.forget()
    for site in sites:
        site.reached.clear()
        site.heads.clear()
    source = Fetcher(
        rule, limit_bytes=LIMIT_BYTES, connect_timeout_s=1, read_timeout_s=0.3, total_timeout_s=2
    )
    end, text = SERVED, ""
    with capture_logs() as logs:
        try:
            probe(await source.fetch(line.url))
        except EnlargerError as error:
            end, text = error.code, str(error)
    return Found(
        end,
        text,
        str([log["reason"] for log in logs if "reason" in log]),
        tuple(address.removeprefix("::ffff:") for site in sites for address in site.reached),
        sum(len(head) for site in sites for head in site.heads),
    )


async def try_table() -> list[tuple[Found, Found | None]]:
    """What becomes of each line, and of those that a guard holds back without it. In a network of its own."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(Site(answers(), host="", port=port)) for port in PORTS
        ]
        transport, names = await loop.create_datagram_endpoint(
            lambda: NameServer(NAMES), (system_server(), 53)
        )
        stack.callback(transport.close)
        return [
            (
                await try_line(line, line.rule, sites, names),
                await try_line(line, NO_GUARD, sites, names) if line.would_reach else None,
            )
            for line in TABLE
        ]


@pytest.fixture(scope="module")
def found() -> dict[Line, tuple[Found, Found | None]]:
    """What became of the table."""
    command = in_closed_network(sys.executable, __file__)
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        command, env={**os.environ, **paths}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return {
        line: (_found(guarded), _found(unguarded) if unguarded else None)
        for line, (guarded, unguarded) in zip(TABLE, json.loads(ran.stdout), strict=True)
    }


def _found(fields: dict[str, Any]) -> Found:
    return Found(**{**fields, "reached": tuple(fields["reached"])})


@pytest.mark.parametrize(
    "line",
    TABLE,
    ids=lambda line: f"{line.what}: {line.url[:60]}".encode("ascii", "replace").decode(),
)
def test_url_ends_as_the_table_says(
    line: Line, found: dict[Line, tuple[Found, Found | None]]
) -> None:
    """Served or refused with that code; no other host got a connection, and refusals read alike."""
    guarded, _ = found[line]
    assert (guarded.end, guarded.reached) == (line.end, line.reached)
    assert guarded.text == TEXTS.get(line.end, guarded.text)
    assert bool(guarded.bytes_got) == bool(line.reached)
    if line.end == "source_unreachable":
        assert guarded.reason != "[]", "the operator is not told why"


@pytest.mark.parametrize(
    "line", [line for line in TABLE if line.would_reach], ids=lambda line: line.what
)
def test_without_the_guard_the_url_would_arrive(
    line: Line, found: dict[Line, tuple[Found, Found | None]]
) -> None:
    """The same URL, with every address allowed, gets to a host that it did not get to: the table can fail."""
    guarded, unguarded = found[line]
    assert unguarded is not None
    assert len(unguarded.reached) > len(guarded.reached)


if __name__ == "__main__":
    bring_up_loopback()
    be_every_address()
    results = asyncio.run(try_table())
    print(json.dumps(results, default=vars))  # noqa: T201 - to the test
