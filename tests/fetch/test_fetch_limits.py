"""Limits of a download: bytes, headers, encodings and time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.fetchers import LIMIT_BYTES, PICTURE, UNREACHABLE, fetcher
from support.file_limits import no_more_open_files
from support.sites import Site, page, redirect

from enlarger.errors import (
    DownloadTooLarge,
    OpenFilesExhausted,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
)

TOO_SLOW = r"^the source took too long$"


@pytest.fixture
async def site() -> Any:
    """A web site on this computer."""
    async with Site({"/cat.png": page(PICTURE)}) as site:
        yield site


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
    source = fetcher(site.address, connect_timeout_s=60, total_timeout_s=1)
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


@pytest.mark.alone
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


# Open files


async def test_download_without_open_files_is_not_the_senders_fault(site: Site) -> None:
    """The error says that it is a matter of time, and not that the source cannot be reached."""
    fetching = fetcher(site.address)
    with no_more_open_files(), pytest.raises(OpenFilesExhausted):
        await fetching.fetch(site.url("/cat.png"))
    assert await fetching.fetch(site.url("/cat.png")) == PICTURE


async def test_webhook_without_open_files_can_be_sent_later(site: Site) -> None:
    """Nothing has reached the receiver."""
    fetching = fetcher(site.address)
    with no_more_open_files(), pytest.raises(OpenFilesExhausted):
        await fetching.post(site.url("/cat.png"), b"{}", {}, timeout_s=5)
