"""Downloads: which addresses may be reached, and what each kind of source comes to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sites import Site, page, redirect
from structlog.testing import capture_logs

from enlarger.errors import (
    DownloadTooLarge,
    EnlargerError,
    InvalidUrl,
    SourceFailed,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
)
from enlarger.fetch.fetcher import Fetcher
from enlarger.fetch.rule import FetchRule
from enlarger.fetch.urls import check_url

PICTURE = bytes(range(256)) * 8
LIMIT_BYTES = 4096

UNREACHABLE = r"^could not reach the source$"
TOO_SLOW = r"^the source took too long$"

PUBLIC = FetchRule.parse("public")

NOT_PUBLIC_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.128/25",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
"""IANA's registry of IPv4 special-purpose addresses, where not globally reachable, and multicast."""

SPECIAL_V4 = [ipaddress.IPv4Network(text) for text in [*NOT_PUBLIC_V4, "192.0.0.0/24"]]
"""The same, with a block of which two addresses are globally reachable."""

NOT_PUBLIC_V6 = [
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:2::/48",
    "2001:10::/28",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
"""The same for IPv6, and the former site-local addresses."""

UNASSIGNED_V6 = ["100::/8", "400::/6", "1000::/4", "4000::/3", "8000::/3", "e000::/4", "fe00::/9"]
"""Reserved by the IETF: outside 2000::/3 nothing is global unicast (RFC 4291, IANA's address space)."""

EMBEDDED: dict[str, Callable[[int], int]] = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "NAT64": lambda v4: 0x64FF9B << 96 | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "Teredo": lambda v4: 0x20010000 << 96 | 0x08080808 << 64 | (v4 ^ 0xFFFFFFFF),
    "ISATAP": lambda v4: 0x2600 << 112 | 0x5EFE << 32 | v4,
    "ISATAP, universal": lambda v4: 0x2600 << 112 | 0x02005EFE << 32 | v4,
}
"""IPv6 addresses that carry an IPv4 one."""


def any_of(networks: list[str]) -> st.SearchStrategy[Any]:
    """Addresses in these networks."""
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


def fetcher(rule: str, **options: Any) -> Fetcher:
    """A fetcher with a limit that tests can reach."""
    return Fetcher(rule, **{"limit_bytes": LIMIT_BYTES, **options})


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/a/b.png?c=d&e=f#g",
        "HTTP://EXAMPLE.COM/",
        "http://example.com:8080/",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "http://example.com/at@in-the-path",
        "http://bücher.example/",
    ],
)
def test_url_with_a_host_passes(url: str) -> None:
    """The schemes are http and https in any letter case; which hosts may be reached comes later."""
    assert check_url(url).geturl().lower() == url.lower()


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "example.com/cat.png",
        "//example.com/cat.png",
        "ftp://example.com/cat.png",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "data:image/png;base64,QUJD",
        "http:",
        "http://",
        "http:///cat.png",
        "http:example.com",
        "http://:80/",
        "http://?a=b",
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:http/",
        "http://[::1/",
        "http://::1]/",
        " http://example.com/",
        "http://example.com/ ",
        "http://exam\nple.com/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: x",
        "http://example.com/\x00",
    ],
    ids=ascii,
)
def test_url_of_another_form_is_refused(url: str) -> None:
    """Another scheme, no host, a user name, a bad port, or a sign that no URL has."""
    with pytest.raises(InvalidUrl, match=r"^the URL is not one of http or https$"):
        check_url(url)


@given(url=st.text(max_size=30) | st.text(max_size=20).map("http://{}".format))
def test_any_text_is_a_url_with_a_host_or_refused(url: str) -> None:
    """No text raises anything else."""
    try:
        parts = check_url(url)
    except InvalidUrl:
        return
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert parts.username is None


# The rule


@given(address=any_of(NOT_PUBLIC_V4))
def test_special_ipv4_address_is_refused(address: ipaddress.IPv4Address) -> None:
    """Loopback, link-local, private, CGNAT, multicast, reserved and documentation ranges."""
    assert not PUBLIC.allows(str(address))


@given(address=st.ip_addresses(v=4))
def test_other_ipv4_address_is_allowed(address: ipaddress.IPv4Address) -> None:
    """What no registry calls special is public."""
    special = any(address in network for network in SPECIAL_V4)
    assert special or PUBLIC.allows(str(address))


@given(address=any_of(NOT_PUBLIC_V6))
def test_special_ipv6_address_is_refused(address: ipaddress.IPv6Address) -> None:
    """Loopback, link-local, private, multicast and documentation ranges."""
    assert not PUBLIC.allows(str(address))


@given(address=any_of(UNASSIGNED_V6))
def test_reserved_ipv6_address_is_refused(address: ipaddress.IPv6Address) -> None:
    """Only 2000::/3 is given out as global unicast."""
    assert not PUBLIC.allows(str(address))


@given(address=any_of(["2400::/12", "2600::/12", "2800::/12", "2a00::/12", "2c00::/12"]))
def test_global_ipv6_address_is_allowed(address: ipaddress.IPv6Address) -> None:
    """What the registries of the five regions give out is public."""
    carries_ipv4 = (int(address) >> 32) & 0xFCFFFFFF == 0x5EFE
    assert carries_ipv4 or PUBLIC.allows(str(address))


@pytest.mark.parametrize("form", EMBEDDED)
@given(inner=any_of(NOT_PUBLIC_V4))
def test_special_ipv4_address_inside_ipv6_is_refused(
    form: str, inner: ipaddress.IPv4Address
) -> None:
    """However an address is wrapped, what it leads to counts."""
    assert not PUBLIC.allows(str(ipaddress.IPv6Address(EMBEDDED[form](int(inner)))))


@pytest.mark.parametrize("form", ["mapped", "NAT64"])
def test_public_ipv4_address_inside_ipv6_is_allowed(form: str) -> None:
    """Hosts without IPv4 of their own reach the world by such addresses."""
    inner = int(ipaddress.IPv4Address("8.8.8.8"))
    assert PUBLIC.allows(str(ipaddress.IPv6Address(EMBEDDED[form](inner))))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1%eth0", "100.100.100.200"],
)
def test_addresses_of_known_attacks_are_refused(address: str) -> None:
    """The host itself and the metadata services of clouds."""
    assert not PUBLIC.allows(address)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("public", "public addresses on ports 80 and 443"),
        ("off", "nothing: fetching is off"),
        (
            "public, Minio:9000, pictures.lan, 10.0.0.0/8, :8080",
            "public addresses on ports 80, 443 and 8080; host minio on port 9000, whatever its address is; "
            "host pictures.lan on any port, whatever its address is; network 10.0.0.0/8, by address on any port",
        ),
    ],
)
def test_rule_is_said_in_words(rule: str, words: str) -> None:
    """So that an operator sees at the start what was understood."""
    assert FetchRule.parse(rule).in_words() == words


@given(address=any_of(["10.0.0.0/8", "fd00::/8"]))
def test_named_network_is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Networks in the setting are allowed besides public ones, and no others."""
    rule = FetchRule.parse("10.0.0.0/8, fd00::/8")
    assert rule.allows(str(address))
    assert rule.allows("8.8.8.8")
    assert not rule.allows("192.168.0.1")
    assert not rule.allows("fe80::1")


@pytest.mark.parametrize(
    ("rule", "host", "port", "trusted"),
    [
        ("public", "example.com", 80, False),
        ("pictures.local", "pictures.local", 80, True),
        ("pictures.local", "pictures.local", 9000, True),
        ("Pictures.Local", "pictures.local", 80, True),
        ("pictures.local:9000", "pictures.local", 9000, True),
        ("pictures.local:9000", "pictures.local", 80, False),
        ("pictures.local", "www.pictures.local", 80, False),
        ("pictures.local", "local", 80, False),
        ("a.local, b.local:81", "b.local", 81, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("10.0.0.0/8", "10.0.0.1", 80, False),
        (":8080", "10.0.0.1", 8080, False),
    ],
)
def test_named_host_is_trusted(rule: str, host: str, port: int, trusted: bool) -> None:
    """A host with a port is trusted on that port, one without on all; a network names no host."""
    assert FetchRule.parse(rule).trusts(host, port) is trusted


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("public", "example.com", 80, True),
        ("public", "example.com", 443, True),
        ("public", "example.com", 22, False),
        ("public", "8.8.8.8", 8080, False),
        ("a.local", "a.local", 8080, True),
        ("a.local:8080", "a.local", 8080, True),
        ("a.local:8080", "a.local", 8081, False),
        ("a.local", "example.com", 8080, False),
        ("10.0.0.0/8", "10.1.2.3", 8080, True),
        ("10.0.0.0/8", "11.1.2.3", 8080, False),
        ("10.0.0.0/8", "a.local", 8080, False),
        ("fd00::/8", "fd00::1", 8080, True),
        (":8080", "example.com", 8080, True),
        (":8080", "example.com", 443, True),
        (":8080", "example.com", 8081, False),
        ("a.local:8081, :8080", "example.com", 8081, False),
        ("::1/128", "::1", 8080, True),
    ],
)
def test_ports_are_80_and_443_unless_listed(rule: str, host: str, port: int, allowed: bool) -> None:
    """A stranger's URL does not lead to a database."""
    assert FetchRule.parse(rule).allows_port(host, port) is allowed


# Downloads


@pytest.fixture
async def site() -> Any:
    """A web site on this computer."""
    async with Site({"/cat.png": page(PICTURE)}) as site:
        yield site


async def test_download_is_the_bytes_of_the_source(site: Site) -> None:
    """A host that the setting names, on its port."""
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_download_is_not_bound_to_a_declared_length(site: Site) -> None:
    """A chunked body, and one that ends with the connection."""
    chunks = b"".join(b"400\r\n" + PICTURE[:1024] + b"\r\n" for _ in range(2))
    site.answers["/chunked"] = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    site.answers["/open"] = b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE
    source = fetcher(site.address)
    assert await source.fetch(site.url("/chunked")) == PICTURE[:1024] * 2
    assert await source.fetch(site.url("/open")) == PICTURE


async def test_request_says_no_more_than_it_must(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, cookies or credentials, and no encoding but identity."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    site.answers["/first"] = page(
        status=302, location="/cat.png", set_cookie="session=1; Path=/", connection="close"
    )
    source = fetcher(site.address)
    await source.fetch(site.url("/first"))
    await source.fetch(site.url("/cat.png"))
    assert len(site.heads) == 3
    for head in site.heads:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}
        assert "Accept-Encoding: identity" in head


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (202, SourceRefused),
        (204, SourceRefused),
        (300, SourceRefused),
        (304, SourceRefused),
        (401, SourceRefused),
        (404, SourceRefused),
        (429, SourceRefused),
        (500, SourceFailed),
        (503, SourceFailed),
    ],
)
async def test_status_without_a_whole_picture_is_refused_with_its_number(
    site: Site, status: int, cls: type[EnlargerError]
) -> None:
    """From 500 up the source failed; below, it refused."""
    site.answers["/cat.png"] = page(status=status)
    with pytest.raises(cls, match=f"^the source answered with the HTTP status {status}$"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize("status", [200, 201, 203])
async def test_status_with_a_whole_picture_is_taken(site: Site, status: int) -> None:
    """RFC 9110: it was made just now (201), or a proxy has changed the answer (203); the body is the picture."""
    site.answers["/cat.png"] = page(PICTURE, status=status)
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_part_of_a_picture_is_refused_with_its_reason(site: Site) -> None:
    """206: nobody asked for a part, and a part may decode as a whole picture."""
    site.answers["/cat.png"] = page(PICTURE, status=206, content_range="bytes 0-2047/9000")
    with pytest.raises(SourceRefused, match=r"HTTP status 206: the source sent a part"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(site: Site, status: int) -> None:
    """Each kind, relative to where it was met."""
    site.answers["/old/cat.png"] = redirect("../cat.png", status)
    assert await fetcher(site.address).fetch(site.url("/old/cat.png")) == PICTURE


async def test_redirect_without_a_place_is_refused(site: Site) -> None:
    """There is nothing to follow, and no picture."""
    site.answers["/cat.png"] = page(status=302)
    with pytest.raises(SourceRefused, match=r"HTTP status 302$"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


def chain(site: Site, redirects: int) -> str:
    """Lay that many redirects before the picture; the URL to begin with."""
    for number in range(redirects):
        following = "/cat.png" if number == redirects - 1 else f"/{number + 1}"
        site.answers[f"/{number}"] = redirect(site.url(following))
    return site.url("/0")


async def test_three_redirects_are_followed(site: Site) -> None:
    """As many as the contract allows."""
    assert await fetcher(site.address).fetch(chain(site, 3)) == PICTURE
    assert site.connections == 4


async def test_fourth_redirect_is_not_followed(site: Site) -> None:
    """Four requests are made, and the picture is not among them."""
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(chain(site, 4))
    assert site.connections == 4
    assert not any("/cat.png" in head for head in site.heads)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.com/cat.png",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
        "http://",
        "http://[::1/",
        "data:image/png;base64,QUJD",
    ],
)
async def test_redirect_to_no_web_address_is_refused(site: Site, location: str) -> None:
    """Every hop is under the rules of the first."""
    site.answers["/cat.png"] = redirect(location)
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(site.url("/cat.png"))


async def test_redirect_to_a_port_that_is_not_listed_reaches_nothing(site: Site) -> None:
    """Trust in one address is none in its neighbours."""
    async with Site({"/": page(PICTURE)}) as other:
        site.answers["/cat.png"] = redirect(other.url("/"))
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher(site.address).fetch(site.url("/cat.png"))
        assert other.connections == 0


# Limits


@pytest.mark.parametrize("length", [LIMIT_BYTES - 1, LIMIT_BYTES])
async def test_download_up_to_the_limit_passes(site: Site, length: int) -> None:
    """The limit itself is allowed."""
    site.answers["/cat.png"] = page(bytes(length))
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == bytes(length)


async def test_download_declared_too_large_is_refused_unread(site: Site) -> None:
    """The text has the declared number; not a byte of the body has to come."""
    site.answers["/cat.png"] = page(content_length=str(LIMIT_BYTES + 1))
    with pytest.raises(DownloadTooLarge) as caught:
        await fetcher(site.address).fetch(site.url("/cat.png"))
    assert (
        str(caught.value)
        == f"the file has {LIMIT_BYTES + 1} bytes, and up to {LIMIT_BYTES} are read"
    )
    assert (caught.value.limit, caught.value.actual) == (LIMIT_BYTES, LIMIT_BYTES + 1)


async def test_download_without_end_is_refused_when_it_passes_the_limit(site: Site) -> None:
    """Bytes are counted as they come, and the connection is closed."""
    closed = asyncio.Event()

    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
                await writer.drain()
        finally:
            closed.set()

    site.answers["/cat.png"] = flood
    with pytest.raises(DownloadTooLarge) as caught:
        await fetcher(site.address).fetch(site.url("/cat.png"))
    assert caught.value.limit == LIMIT_BYTES
    assert caught.value.actual is not None
    assert LIMIT_BYTES < caught.value.actual <= LIMIT_BYTES + 65536
    await asyncio.wait_for(closed.wait(), 5)


async def test_download_cut_short_is_refused(site: Site) -> None:
    """A source that closes before the length it declared."""
    site.answers["/cat.png"] = page(PICTURE, content_length=str(len(PICTURE) + 1))
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize("length", [8_191, 65_536])
async def test_long_header_of_a_source_does_no_harm(site: Site, length: int) -> None:
    """Up to 64 KiB: some sites send a Content-Security-Policy of tens of KiB with every answer."""
    site.answers["/cat.png"] = page(PICTURE, content_security_policy="x" * length)
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_many_headers_of_a_source_do_no_harm(site: Site) -> None:
    """A page that sets 200 cookies, some 20 KB of them."""
    cookies = b"".join(b"set-cookie: c%d=%s\r\n" % (number, b"x" * 80) for number in range(200))
    site.answers["/cat.png"] = page(PICTURE).replace(b"\r\n\r\n", b"\r\n" + cookies + b"\r\n", 1)
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_header_above_the_limit_is_refused(site: Site) -> None:
    """Headers are held in memory, so they have a limit."""
    site.answers["/cat.png"] = page(PICTURE, content_security_policy="x" * 70_000)
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize(
    "encoding", ["", "identity", "aws-chunked", "UTF-8", "none", "binary", "identity, utf-8", " , "]
)
async def test_content_encoding_that_changes_no_bytes_does_no_harm(
    site: Site, encoding: str
) -> None:
    """Buckets keep what an upload said, and pages write their charset there: the bytes are plain all the same."""
    site.answers["/cat.png"] = page(PICTURE, content_encoding=encoding)
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_each_content_encoding_header_counts(site: Site) -> None:
    """A list may stand in several headers (RFC 9110, section 5.3)."""
    site.answers["/cat.png"] = page(
        PICTURE, content_encoding="aws-chunked\r\ncontent-encoding: GZip"
    )
    with pytest.raises(SourceRefused, match="content encoding gzip, which was not asked for"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize(
    "encoding",
    ["gzip", "deflate", "br", "identity, gzip", "x-gzip", "zstd", "BR", "aws-chunked,gzip"],
)
async def test_encoded_download_is_refused(site: Site, encoding: str) -> None:
    """It was not asked for, and a bomb may be inside."""
    site.answers["/cat.png"] = page(PICTURE, content_encoding=encoding)
    with pytest.raises(SourceRefused):
        await fetcher(site.address).fetch(site.url("/cat.png"))


# Out of reach


async def test_connection_refused_is_unreachable(site: Site) -> None:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher(f"{host}:{port}").fetch(f"http://{host}:{port}/cat.png")


async def test_tls_refused_is_unreachable(site: Site) -> None:
    """A server that speaks no TLS."""
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(f"https://{site.address}/cat.png")


@pytest.mark.parametrize("said", [b"", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 two OK\r\n\r\n"])
async def test_server_that_speaks_no_http_is_unreachable(site: Site, said: bytes) -> None:
    """It hangs up, or talks of something else."""
    site.answers["/cat.png"] = said
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(site.url("/cat.png"))


async def test_switched_off_fetching_reaches_nothing(site: Site) -> None:
    """``ENLARGER_FETCH=off``; what is no URL is still called so."""
    source = fetcher("off")
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await source.fetch(site.url("/cat.png"))
    with pytest.raises(InvalidUrl):
        await source.fetch("ftp://example.com/cat.png")
    assert site.connections == 0


async def test_loopback_is_out_of_reach_by_default(site: Site) -> None:
    """A local server never hears of a stranger's URL."""
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch(site.url("/cat.png"))
    assert site.connections == 0


async def test_refusal_does_not_tell_what_is_there(site: Site) -> None:
    """A forbidden host that listens, one that does not, and a name that nobody knows: one answer, at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{free.getsockname()[1]}/"
        source = fetcher(f":{site.port},:{free.getsockname()[1]}")
        reasons = []
        for url in (site.url("/cat.png"), silent, "http://nowhere.invalid/"):
            with capture_logs() as logs, pytest.raises(SourceUnreachable, match=UNREACHABLE):
                await source.fetch(url)
            reasons.append(logs[0]["reason"])
    assert site.connections == 0
    assert ["address 127.0.0.1" in reason for reason in reasons] == [True, True, False]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0.0.0.0",  # noqa: S104 - asked for, not bound
        "localhost",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
    ],
)
async def test_local_host_is_refused_however_it_is_spelt(host: str) -> None:
    """The operator's log says that the address was the reason; the caller reads what all read."""
    with capture_logs() as logs, pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch(f"http://{host}/cat.png")
    (entry,) = logs
    assert entry["event"] == "source_unreachable"
    assert "address" in entry["reason"] or "resolves to" in entry["reason"]


@pytest.mark.parametrize(
    ("rule", "url", "reason"),
    [
        ("public", "http://example.com:28000/", "port 28000 is not allowed by ENLARGER_FETCH"),
        ("public", "http://10.0.0.7/", "address 10.0.0.7 is not allowed by ENLARGER_FETCH"),
        ("off", "http://example.com/", "ENLARGER_FETCH switches fetching off"),
    ],
)
async def test_log_says_in_words_what_is_not_allowed(rule: str, url: str, reason: str) -> None:
    """And by which setting."""
    with capture_logs() as logs, pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(rule).fetch(url)
    assert [entry["reason"] for entry in logs] == [reason]


async def test_log_says_in_words_why_a_connection_failed() -> None:
    """As the system says it, for a fetched picture and for a webhook."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        source = fetcher("127.0.0.1")
        with capture_logs() as logs:
            with pytest.raises(SourceUnreachable):
                await source.fetch(url)
            with pytest.raises(SourceUnreachable):
                await source.post(url, b"", {}, timeout_s=5)
    assert [entry["reason"] for entry in logs] == ["Connection refused"] * 2


# Names


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A directory of names in place of the DNS: each has a list of addresses and ports per question."""
    known: dict[str, Any] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in known:
            return real(host, port, *args, **options)
        answers = known[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def test_name_in_a_named_network_is_reached(site: Site, names: dict[str, Any]) -> None:
    """The addresses of a name count, not its spelling."""
    names["pictures.example"] = [[("127.0.0.1", site.port)]]
    data = await fetcher("127.0.0.0/8").fetch("http://pictures.example/cat.png")
    assert data == PICTURE


async def test_name_of_a_forbidden_address_reaches_nothing(
    site: Site, names: dict[str, Any]
) -> None:
    """A public name may well point at a private host."""
    names["evil.example"] = [[("127.0.0.1", site.port)]]
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch("http://evil.example/cat.png")
    assert site.connections == 0


@pytest.mark.parametrize("order", [1, -1])
async def test_name_with_one_forbidden_address_reaches_nothing(
    names: dict[str, Any], order: int
) -> None:
    """Not even the allowed one: which comes first is the attacker's choice."""
    async with Site(host="127.0.0.2") as allowed, Site(host="127.0.0.1") as forbidden:
        both = [(site.host, site.port) for site in (allowed, forbidden)]
        names["mixed.example"] = [both[::order]]
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher("127.0.0.2/32").fetch("http://mixed.example/cat.png")
        assert (allowed.connections, forbidden.connections) == (0, 0)


async def test_name_whose_address_changes_reaches_nothing_forbidden(
    names: dict[str, Any],
) -> None:
    """Each hop asks again and checks again."""
    async with Site(host="127.0.0.2") as allowed, Site(host="127.0.0.1") as forbidden:
        names["moves.example"] = [
            [(allowed.host, allowed.port)],
            [(forbidden.host, forbidden.port)],
        ]
        allowed.answers["/cat.png"] = redirect("/cat.png")
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher("127.0.0.2/32").fetch("http://moves.example/cat.png")
        assert (allowed.connections, forbidden.connections) == (1, 0)


async def test_redirect_to_a_forbidden_address_reaches_nothing(
    site: Site, names: dict[str, Any]
) -> None:
    """A trusted host cannot lend its trust."""
    async with Site({"/": page(PICTURE)}) as other:
        names["inside.example"] = [[("127.0.0.1", other.port)]]
        site.answers["/cat.png"] = redirect("http://inside.example/")
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher(site.address).fetch(site.url("/cat.png"))
        assert (site.connections, other.connections) == (1, 0)


@pytest.mark.parametrize(
    "error",
    [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long")],
    ids=repr,
)
async def test_name_that_nobody_knows_is_unreachable(
    names: dict[str, Any], error: Exception
) -> None:
    """It reads as any other source out of reach."""
    names["nowhere.example"] = [error]
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch("http://nowhere.example/cat.png")


# Time


@contextmanager
def full_listener() -> Iterator[tuple[str, int]]:
    """The address of a listener that takes no more connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        callers = [socket.socket() for _ in range(2)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()
        finally:
            for caller in callers:
                caller.close()


async def test_connection_that_takes_too_long_is_a_timeout() -> None:
    """A host that does not answer at all."""
    with full_listener() as (host, port):
        source = fetcher(f"{host}:{port}", connect_timeout_s=0.1, total_timeout_s=60)
        with pytest.raises(SourceTimeout, match=TOO_SLOW):
            await source.fetch(f"http://{host}:{port}/cat.png")


async def test_source_that_says_nothing_is_a_timeout(site: Site) -> None:
    """It took the connection and keeps still; the connection is closed."""
    site.answers["/cat.png"] = None
    source = fetcher(site.address, connect_timeout_s=60, total_timeout_s=0.1)
    with pytest.raises(SourceTimeout, match=TOO_SLOW):
        await source.fetch(site.url("/cat.png"))
    await asyncio.wait_for(site.left.wait(), 5)


async def drip(writer: asyncio.StreamWriter) -> None:
    """A picture of 4096 bytes, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4096\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "times",
    [
        {"read_timeout_s": 0.2, "total_timeout_s": 60},
        {"read_timeout_s": 60, "total_timeout_s": 0.2},
    ],
    ids=["slower than the least rate", "not done in time"],
)
async def test_dripping_source_is_a_timeout(site: Site, times: dict[str, float]) -> None:
    """Bytes that come now and then put neither end off: not that of a block, nor that of the whole."""
    site.answers["/cat.png"] = drip
    async with asyncio.timeout(30):
        with capture_logs() as logs, pytest.raises(SourceTimeout, match=TOO_SLOW):
            await fetcher(site.address, **times).fetch(site.url("/cat.png"))
    assert [log["event"] for log in logs] == ["source_timeout"]


async def test_source_that_keeps_the_least_rate_may_take_longer(site: Site) -> None:
    """The time of a block begins anew with each block."""
    block = bytes(20_000)

    async def steadily(writer: asyncio.StreamWriter) -> None:
        writer.write(page(content_length=str(3 * len(block))))
        for _ in range(3):
            await asyncio.sleep(0.4)
            writer.write(block)
            await writer.drain()

    site.answers["/cat.png"] = steadily
    source = fetcher(site.address, limit_bytes=100_000, read_timeout_s=0.8)
    assert await source.fetch(site.url("/cat.png")) == 3 * block


async def test_head_that_does_not_end_is_a_timeout(site: Site) -> None:
    """Each of its bytes comes in time."""

    async def drip_head(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    site.answers["/cat.png"] = drip_head
    source = fetcher(site.address, read_timeout_s=0.2, total_timeout_s=60)
    with pytest.raises(SourceTimeout, match=TOO_SLOW):
        await source.fetch(site.url("/cat.png"))


async def test_slow_redirects_share_one_time_limit(site: Site) -> None:
    """The limit is for the download as a whole: each hop alone would have passed."""
    hops = count(1)

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(redirect(f"/{next(hops)}"))
        await writer.drain()

    site.answers |= {"/cat.png": slow, "/1": slow, "/2": slow, "/3": page(PICTURE)}
    source = fetcher(site.address, total_timeout_s=0.3)
    with pytest.raises(SourceTimeout):
        await source.fetch(site.url("/cat.png"))


async def test_cancelled_download_closes_its_connection(site: Site) -> None:
    """A caller that went away leaves nothing behind."""
    site.answers["/cat.png"] = None
    task = asyncio.create_task(fetcher(site.address).fetch(site.url("/cat.png")))
    await asyncio.wait_for(site.arrived.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(site.left.wait(), 5)
