"""Downloads, and requests to receivers, under a rule.

The address is checked where the connection is made: whatever a name resolved to before, the socket to a
forbidden address is never opened. Redirects are followed by hand, each hop under the same rules.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from enlarger import open_files
from enlarger.errors import (
    DownloadTooLarge,
    InvalidUrl,
    SourceFailed,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
)
from enlarger.fetch.rule import FetchRule
from enlarger.fetch.urls import check_url, redirected, target_url
from enlarger.reasons import reason_of

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10
TOTAL_TIMEOUT_S = 30
MAX_REDIRECTS = 3

_BLOCK_BYTES = 16_384
"""What has to come within each ``READ_TIMEOUT_S``: 1.6 KB/s. One rule for sources that stop and for those that drip."""

_HEADER_LIMIT_BYTES = 65_536
"""The longest header of an answer. A Content-Security-Policy or a redirect with a signed URL may have tens of KiB."""

_MOST_HEADERS = 256

_REDIRECTS = (301, 302, 303, 307, 308)

_WHOLE = (200, 201, 203)
"""Statuses whose body is the picture: a source may have made it just now, or a proxy may have changed its headers."""

_PART = 206
_PART_ALONE = ": the source sent a part of it, and all of it was asked for"

_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})
"""Content encodings that change the bytes. Other names stand over plain bytes in the wild: ``aws-chunked``, ``UTF-8``."""

_UNREACHABLE = "could not reach the source"
"""One text for unknown, refused and forbidden hosts, so that answers do not map a private network."""


class _Forbidden(OSError):
    """The rule does not allow it; the text is for the log."""


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
            OpenFilesExhausted: this process can make no more connections.
        """
        host = check_url(url).hostname
        try:
            async with asyncio.timeout(self._total_timeout_s):
                return await self._follow(url)
        except TimeoutError as error:
            log.info("source_timeout", host=host)
            raise SourceTimeout("the source took too long") from error
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError, InvalidUrl) as error:
            open_files.raise_if_exhausted(error)
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
            OpenFilesExhausted: this process can make no more connections.
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
            open_files.raise_if_exhausted(error)
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
        if response.status not in _WHOLE:
            raise _refused(response.status)
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
            f"the file has {size_bytes} bytes, and up to {self._limit_bytes} are read",
            limit=self._limit_bytes,
            actual=size_bytes,
        )


def _refused(status: int) -> SourceRefused | SourceFailed:
    """The error for a source that answers with a status other than those of a whole picture."""
    error = SourceFailed if status >= 500 else SourceRefused
    reason = _PART_ALONE if status == _PART else ""
    return error(
        f"the source answered with the HTTP status {status}{reason}",
        facts={"source_status": status, "reason": reason},
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
