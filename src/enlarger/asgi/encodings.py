"""Request bodies that are compressed (``Content-Encoding``, RFC 9110, section 8.4), under the limits of plain ones.

gzip and deflate come with Python. Brotli and Zstandard are read where a library for them is installed, one that can
stop at a limit: ``brotli`` from 1.2 on, and Python 3.14 or ``backports.zstd``.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from enlarger.asgi.messages import Answer, AsgiApp, Receive, Scope, Send, replayed, send_answer
from enlarger.errors import BodyTooLarge, EnlargerError, MalformedEncoding, UnsupportedEncoding
from enlarger.threads import in_thread

_BLOCK_BYTES = 65_536

_MOST_MEMBERS = 1000
"""Streams behind one another in one body. bgzip makes one of each 64 KiB; millions of empty ones only cost time."""

_MOST_ENCODINGS = 2
"""Encodings that one body may have."""

_AT_ONCE = 2
"""Bodies that are decoded at the same time. A thousand small bodies may be a thousand large ones once decoded, so the
next is decoded when an earlier one has reached the application, which refuses what it has no room for."""

_ZSTD_WINDOW_LOG = 23
"""A decoder may have to hold 8 MiB, the window that RFC 9659 sets for HTTP."""


class Decoder(Protocol):
    """The decoder of one stream, with the interface of zlib."""

    @property
    def eof(self) -> bool:
        """Whether its end was read."""

    @property
    def unused_data(self) -> bytes:
        """The bytes behind the end of the stream."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Decode until there are ``max_length`` bytes of output."""


def _gzip(_: bytes) -> Decoder:
    return zlib.decompressobj(wbits=31)


def _deflate(data: bytes) -> Decoder:
    # RFC 9110 means the zlib format; some clients send raw deflate under that name.
    is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.decompressobj(wbits=15 if is_zlib else -15)


class _Brotli:
    unused_data = b""  # the library refuses what stands behind the end

    def __init__(self, library: Any) -> None:
        self._stream = library.Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece: bytes = self._stream.process(data, output_buffer_limit=max_length)
        return piece


def _brotli(library: Any, _: bytes) -> Decoder:
    return _Brotli(library)


def _zstd(library: Any, _: bytes) -> Decoder:
    options = {library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    stream: Decoder = library.ZstdDecompressor(options=options)
    return stream


def _found() -> tuple[dict[str, Callable[[bytes], Decoder]], tuple[type[Exception], ...]]:
    """Makers of decoders by encoding, and the exceptions of their libraries."""
    makers: dict[str, Callable[[bytes], Decoder]] = {"gzip": _gzip, "deflate": _deflate}
    errors: list[type[Exception]] = [zlib.error, EOFError]
    with suppress(ImportError):
        brotli: Any = import_module("brotli")
        if hasattr(brotli.Decompressor, "can_accept_more_data"):  # from 1.2 on it can stop
            makers["br"] = partial(_brotli, brotli)
            errors.append(brotli.error)
    for name in ("compression.zstd", "backports.zstd"):
        with suppress(ImportError):
            zstd: Any = import_module(name)
            makers["zstd"] = partial(_zstd, zstd)
            errors.append(zstd.ZstdError)
            break
    return makers, tuple(errors)


_MAKERS, _ERRORS = _found()

TAKEN = tuple(_MAKERS)
"""Names of the encodings that this server decodes."""

_ALIASES = {"x-gzip": "gzip"}


def encodings_of(scope: Scope) -> list[str]:
    """The encodings of a request's body, in the order in which they were applied."""
    values = [value for name, value in scope["headers"] if name.lower() == b"content-encoding"]
    names = [name.strip().lower() for name in b",".join(values).decode("latin1").split(",")]
    return [_ALIASES.get(name, name) for name in names if name not in ("", "identity")]


def decoded(body: bytes, names: list[str], *, limit_bytes: int) -> bytes:
    """A body as it was before it was encoded.

    Args:
        body: as it came.
        names: see ``encodings_of``.
        limit_bytes: of the body, also in between.

    Raises:
        UnsupportedEncoding: an encoding is not read here, or there are too many.
        MalformedEncoding: the body is not in that encoding, or cut short.
        BodyTooLarge: it becomes too large.
    """
    allowed = f"it may be {', '.join(TAKEN)}, or be left out"
    for name in names:
        if name not in _MAKERS:
            raise UnsupportedEncoding(f"Content-Encoding '{name[:40]}' is not read here; {allowed}")
    if len(names) > _MOST_ENCODINGS:
        raise UnsupportedEncoding(f"Content-Encoding names {len(names)} encodings; {allowed}")
    for name in reversed(names):
        try:
            body = _undone(body, _MAKERS[name], limit_bytes)
        except _ERRORS as error:
            raise MalformedEncoding(
                f"the body is not {name}, as its Content-Encoding says, or is cut short"
            ) from error
    return body


def _undone(body: bytes, make: Callable[[bytes], Decoder], limit_bytes: int) -> bytes:
    """One encoding less. The body goes in piece by piece, so that what is behind a stream is not copied for each."""
    pieces: list[bytes] = []
    size_bytes = members = 0
    stream: Decoder | None = None
    for start in range(0, len(body), _BLOCK_BYTES):
        block = body[start : start + _BLOCK_BYTES]
        while block:
            if stream is None or stream.eof:
                if stream is not None and not block.strip(b"\0"):
                    break  # tape drives pad with zeros, and gzip ignores them
                members += 1
                if members > _MOST_MEMBERS:
                    raise EOFError
                stream = make(block)
            piece = stream.decompress(block, limit_bytes + 1 - size_bytes)
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                raise BodyTooLarge(
                    f"Request body too large once it is decoded (max: {limit_bytes})",
                    limit=limit_bytes,
                )
            pieces.append(piece)
            block = stream.unused_data if stream.eof else b""
    if stream is not None and not stream.eof:
        raise EOFError
    return b"".join(pieces)


class DecodedBodies:
    """An ASGI application behind the decoding of request bodies, which come whole: see ``LimitedBodies``.

    Args:
        app: the application. It receives requests as if they had been sent plain.
        executor: threads that decode.
        limit_of: from the path of a request to its longest body, decoded, in bytes.
        refuse: makes the answer to a body that cannot be used.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        executor: Executor,
        limit_of: Callable[[str], int],
        refuse: Callable[[Scope, EnlargerError], Answer],
    ) -> None:
        self._app = app
        self._executor = executor
        self._limit_of = limit_of
        self._refuse = refuse
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        names = encodings_of(scope) if scope["type"] == "http" else []
        if not names:
            await self._app(scope, receive, send)
            return
        message = await receive()
        if body := message.get("body", b""):
            limit_bytes = self._limit_of(scope["path"])
            try:
                async with self._turns:
                    body = await in_thread(self._executor, _decoded, body, names, limit_bytes)
            except EnlargerError as error:
                await send_answer(self._refuse(scope, error), send)
                return
        await self._app(
            _plain(scope, len(body)), replayed({**message, "body": body}, receive), send
        )


def _decoded(body: bytes, names: list[str], limit_bytes: int) -> bytes:
    return decoded(body, names, limit_bytes=limit_bytes)


def _plain(scope: Scope, size_bytes: int) -> Scope:
    """The request as if its body had been sent plain."""
    gone = (b"content-encoding", b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in gone]
    return {**scope, "headers": [*headers, (b"content-length", str(size_bytes).encode())]}
