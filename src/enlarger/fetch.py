"""Downloading a stranger's URL, or sending to one, without being led into the private network.

The address is checked where the connection is made: whatever a name resolved to before, the socket to a
forbidden address is never opened. Redirects are followed by hand, each hop under the same rules.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from enlarger.config import allowed_sources
from enlarger.errors import (
    DownloadTooLarge,
    InvalidUrl,
    SourceFailed,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
    reason_of,
)

log = structlog.get_logger()

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10
TOTAL_TIMEOUT_S = 30
MAX_REDIRECTS = 3

_BLOCK_BYTES = 16_384
"""What has to come within each ``READ_TIMEOUT_S``: 1.6 KB/s. One rule for sources that stop and for those that drip."""

_HEADER_LIMIT_BYTES = 65_536
"""The longest header of an answer. A Content-Security-Policy or a redirect with a signed URL may have tens of KiB."""

_MOST_HEADERS = 256

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)

_WHOLE = (200, 201, 203)
"""Statuses whose body is the picture: a source may have made it just now, or a proxy may have changed its headers."""

_PART = 206

_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})
"""Content encodings that change the bytes. Other names stand over plain bytes in the wild: ``aws-chunked``, ``UTF-8``."""

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*:)?(?P<authority>//[^/?#]*)?(?P<path>[^?#]*)(?P<query>\?[^#]*)?",
    re.IGNORECASE,
)
"""The parts of a URL or of a relative reference, without the fragment (RFC 3986, appendix B)."""

_NOT_IN_A_URL = re.compile(r"[^!-~]+")
"""Spaces, control characters and what is not ASCII: no request line can hold them."""

_UNREACHABLE = "could not reach the source"
"""One text for unknown, refused and forbidden hosts, so that answers do not map a private network."""

# Ranges that ``is_global`` lets pass on some Python versions; RFC 6890, 3056, 6052, 8215, 3879, 7526.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "3fff::/20",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""All that is given out; the rest is reserved (RFC 4291) or has a special purpose."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class _Forbidden(OSError):
    """The rule does not allow it; the text is for the log."""


@dataclass(frozen=True)
class FetchRule:
    """What ``ENLARGER_FETCH`` allows."""

    enabled: bool
    hosts: frozenset[str]
    """``host`` or ``host:port``, lower case, whose addresses are not checked."""

    networks: tuple[Network, ...]
    """Networks allowed besides public ones."""

    ports: frozenset[int]
    """Ports allowed everywhere: 80, 443, and those of entries such as ``:8080``."""

    @classmethod
    def parse(cls, rule: str) -> FetchRule:
        """The rule of a checked setting."""
        entries = allowed_sources(rule)
        networks = [entry for entry in entries if "/" in entry]
        ports = [entry for entry in entries if entry.startswith(":") and entry not in networks]
        hosts = set(entries).difference(networks, ports)
        return cls(
            enabled=rule != "off",
            hosts=frozenset(host.lower() for host in hosts),
            networks=tuple(map(ipaddress.ip_network, networks)),
            ports=frozenset({*_PORTS.values(), *(int(port[1:]) for port in ports)}),
        )

    def in_words(self) -> str:
        """What may be fetched, as an operator reads it in the log."""
        if not self.enabled:
            return "nothing: fetching is off"
        *ports, last = sorted(self.ports)
        allowed = [f"public addresses on ports {', '.join(map(str, ports))} and {last}"]
        for host in sorted(self.hosts):
            name, _, port = host.partition(":")
            allowed.append(
                f"host {name} on {f'port {port}' if port else 'any port'}, whatever its address is"
            )
        allowed += [f"network {network}, by address on any port" for network in self.networks]
        return "; ".join(allowed)

    def trusts(self, host: str, port: int) -> bool:
        """Whether the operator named this host."""
        written = f"[{host}]" if ":" in host else host
        return bool(self.hosts & {host, written, f"{written}:{port}"})

    def allows(self, address: str) -> bool:
        """Whether this address may be connected to."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if any(ip in network for network in self.networks if network.version == ip.version):
            return True
        return all(_is_public(part) for part in _with_embedded(ip))

    def allows_port(self, host: str, port: int) -> bool:
        """80, 443 and named ones, those of named hosts, and any on an address of a named network."""
        if port in self.ports or self.trusts(host, port):
            return True
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(ip in network for network in self.networks if network.version == ip.version)


def _with_embedded(ip: Address) -> list[Address]:
    """The address and the IPv4 addresses that it carries inside."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if (
        ip in _NAT64 or int(ip) >> 32 == 0 or (int(ip) >> 32) & 0xFCFFFFFF == 0x5EFE
    ):  # NAT64, compatible, ISATAP
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    found = [part for part in inner if part is not None]
    # A mapped or translated address is as public as the one inside; its own prefix says nothing.
    return list(found) if ip.ipv4_mapped or ip in _NAT64 else [ip, *found]


def _is_public(ip: Address) -> bool:
    return (
        ip.is_global
        and not ip.is_multicast
        and (ip.version == 4 or ip in _GLOBAL_V6)
        and not any(ip in network for network in _NEVER if network.version == ip.version)
    )


def check_url(url: str) -> SplitResult:
    """The parts of a URL that may be fetched.

    Raises:
        InvalidUrl: not http or https, no host, or a user name in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl("Invalid img_url format") from error
    has_space = any(sign.isspace() or ord(sign) < 32 for sign in url)
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or "@" in parts.netloc
        or port == 0
        or has_space
        or "\\" in parts.netloc
    ):
        raise InvalidUrl("Invalid img_url format")
    return parts


def target_url(url: str) -> URL:
    """``url`` as it is requested: its path and query byte for byte, since what signs a URL signs its spelling.

    Only what no URL may hold is percent-encoded, as UTF-8. The host is written as aiohttp connects to it.

    Raises:
        ValueError: the host cannot be used.
    """
    parts = _parts(url)
    origin = URL(f"{parts['scheme']}{parts['authority']}")
    target = f"{parts['path'] or '/'}{parts['query']}"
    # All of it as the path: yarl would drop the question mark of an empty query.
    return URL.build(
        scheme=origin.scheme, authority=origin.raw_authority, path=_quoted(target), encoded=True
    )


def redirected(url: str, location: str) -> str:
    """Where ``Location`` leads to from ``url``, in its own spelling (RFC 3986, section 5.2.2).

    ``urljoin`` drops empty segments, and yarl decodes. Spaces and raw UTF-8 are percent-encoded, as browsers do.
    """
    base, new = _parts(url), _parts(location.strip())
    if new["scheme"]:
        origin, path, query = new["scheme"] + new["authority"], new["path"], new["query"]
    elif new["authority"]:
        origin, path, query = base["scheme"] + new["authority"], new["path"], new["query"]
    else:
        origin = base["scheme"] + base["authority"]
        path, query = base["path"], new["query"] or base["query"]
        if new["path"]:
            path, query = _merged(base["path"], new["path"]), new["query"]
    return f"{origin}{_quoted(path + query)}"


def _parts(url: str) -> dict[str, str]:
    match = _URL.match(url)  # always one: each part of the pattern may be empty
    return match.groupdict(default="") if match else {}


def _merged(base: str, path: str) -> str:
    """A relative path below the folder of ``base``, without ``.`` and ``..``; an absolute one as it is."""
    if path.startswith("/"):
        return path
    merged: list[str] = []
    segments = [*base.split("/")[1:-1], *path.split("/")]
    for segment in segments:
        if segment == "..":
            del merged[-1:]
        elif segment != ".":
            merged.append(segment)
    if segments[-1] in (".", ".."):
        merged.append("")
    return "/" + "/".join(merged)


def _quoted(text: str) -> str:
    # Bytes of a header that are not UTF-8 come from aiohttp as surrogates, and go out as the bytes that they were.
    return _NOT_IN_A_URL.sub(lambda found: quote(found[0].encode("utf-8", "surrogateescape")), text)


class Fetcher:
    """Downloads under a rule and a size limit, and sends under the same rule.

    Args:
        rule: a checked ``ENLARGER_FETCH``.
        limit_bytes: the largest picture.
        connect_timeout_s: what a connection may take.
        read_timeout_s: what the head of an answer, and each next 16 KiB of its body, may take.
        total_timeout_s: what a download may take, redirects included.
    """

    def __init__(
        self,
        rule: str,
        *,
        limit_bytes: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._rule = FetchRule.parse(rule)
        self._limit_bytes = limit_bytes
        self._read_timeout_s = read_timeout_s
        self._total_timeout_s = total_timeout_s
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_s)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind ``url``.

        Raises:
            InvalidUrl: see ``check_url``.
            SourceUnreachable: host unknown, address not allowed, connection or TLS refused, too many redirects.
            SourceTimeout: no connection, or not done, in time; or slower than 16 KiB in ``read_timeout_s``.
            SourceRefused, SourceFailed: the source answers anything but 200, 201 or 203.
            DownloadTooLarge: more bytes than allowed, declared or counted.
        """
        host = check_url(url).hostname
        try:
            async with asyncio.timeout(self._total_timeout_s):
                return await self._follow(url)
        except TimeoutError as error:
            log.info("source_timeout", host=host)
            raise SourceTimeout("Timeout downloading image") from error
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError, InvalidUrl) as error:
            log.info("source_unreachable", host=host, reason=reason_of(error))
            raise SourceUnreachable(_UNREACHABLE) from error

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> int:
        """Send ``body`` to ``url``; gives the status of the answer, the rest of which is not read.

        Redirects are not followed: their status is the answer's.

        Raises:
            InvalidUrl: see ``check_url``.
            SourceUnreachable: as of ``fetch``.
            SourceTimeout: there is no status after ``timeout_s``.
        """
        host = check_url(url).hostname
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session(url) as (session, target),
                session.post(target, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status
        except TimeoutError as error:
            raise SourceTimeout("the receiver took too long") from error
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError) as error:
            log.info("receiver_unreachable", host=host, reason=reason_of(error))
            raise SourceUnreachable("could not reach the receiver") from error

    async def _follow(self, url: str) -> bytes:
        """The bytes at the end of all redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._hop(url)
            if isinstance(answer, bytes):
                return answer
            url = redirected(url, answer)
            check_url(url)
        raise _Forbidden(f"there are more than {MAX_REDIRECTS} redirects")

    async def _hop(self, url: str) -> bytes | str:
        """The body, or where the source redirects to."""
        async with self._session(url) as (session, target):
            async with asyncio.timeout(self._read_timeout_s):
                response = await session.get(
                    target, allow_redirects=False, headers={"Accept": "image/*"}
                )
            async with response:
                return await self._answer(response)

    @asynccontextmanager
    async def _session(self, url: str) -> AsyncIterator[tuple[aiohttp.ClientSession, URL]]:
        """For one request to ``url``: what the rule does not allow is not connected to."""
        if not self._rule.enabled:
            raise _Forbidden("ENLARGER_FETCH switches fetching off")
        # As aiohttp reads it: whom to trust is decided on the very name that is connected to.
        target = target_url(url)
        host, port = str(target.host).lower(), int(target.port or 0)
        if not self._rule.allows_port(host, port):
            raise _Forbidden(f"port {port} is not allowed by ENLARGER_FETCH")
        trusted = self._rule.trusts(host, port)
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._rule, trusted=trusted),
            socket_factory=_socket_factory(self._rule, trusted=trusted),
            use_dns_cache=False,
            force_close=True,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept-Encoding": "identity",
                "User-Agent": "enlarger",
            },
            auto_decompress=False,
            trust_env=False,
            max_line_size=_HEADER_LIMIT_BYTES,
            max_field_size=_HEADER_LIMIT_BYTES,
            max_headers=_MOST_HEADERS,
        ) as session:
            yield session, target

    async def _answer(self, response: aiohttp.ClientResponse) -> bytes | str:
        if response.status in _REDIRECTS and "Location" in response.headers:
            return response.headers["Location"]
        if response.status == _PART:
            raise SourceRefused(
                "HTTP 206: Failed to download image: the source sent a part of it, and all of it was asked for"
            )
        if response.status not in _WHOLE:
            error = SourceFailed if response.status >= 500 else SourceRefused
            raise error(f"HTTP {response.status}: Failed to download image")
        if encoding := _encoding(response.headers.getall("Content-Encoding", [])):
            raise SourceRefused(
                f"HTTP {response.status} with the content encoding {encoding}, which was not asked for"
            )
        declared = response.content_length
        if declared is not None and declared > self._limit_bytes:
            raise self._too_large(declared)
        body = bytearray()
        while not response.content.at_eof():
            async with asyncio.timeout(self._read_timeout_s):
                body += await _up_to(response.content, _BLOCK_BYTES)
            if len(body) > self._limit_bytes:
                raise self._too_large(len(body))
        return bytes(body)

    def _too_large(self, size_bytes: int) -> DownloadTooLarge:
        return DownloadTooLarge(
            f"Image too large: {size_bytes} bytes (max: {self._limit_bytes})",
            limit=self._limit_bytes,
            actual=size_bytes,
        )


def _encoding(values: Iterable[str]) -> str | None:
    """The first encoding of ``Content-Encoding`` that changes the bytes."""
    names = (name.strip().lower() for value in values for name in value.split(","))
    return next((name for name in names if name in _ENCODINGS), None)


async def _up_to(stream: aiohttp.StreamReader, size_bytes: int) -> bytes:
    """So many bytes, or what is left."""
    try:
        return await stream.readexactly(size_bytes)
    except asyncio.IncompleteReadError as end:
        return end.partial


class _Resolver(AbstractResolver):
    """Refuses a name if any of its addresses is forbidden: a mixed answer is an attack or a mistake."""

    def __init__(self, rule: FetchRule, *, trusted: bool) -> None:
        self._rule = rule
        self._trusted = trusted
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of ``host``."""
        answers = await self._inner.resolve(host, port, family)
        for answer in answers:
            if not self._trusted and not self._rule.allows(answer["host"]):
                raise _Forbidden(
                    f"{host} resolves to {answer['host']}, which is not allowed by ENLARGER_FETCH"
                )
        return answers

    async def close(self) -> None:
        """Nothing to close."""
        await self._inner.close()


def _socket_factory(rule: FetchRule, *, trusted: bool) -> Any:
    """The last look before a connection: literals pass no resolver, and names may have changed."""

    def create(address_info: Any) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if not trusted and not rule.allows(address[0]):
            raise _Forbidden(f"address {address[0]} is not allowed by ENLARGER_FETCH")
        return socket.socket(family, kind, protocol)

    return create
