"""Files as answers to those who have a part already, or want one: RFC 9110, conditions and ranges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from quart import Response
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_etags, parse_range_header

OCTETS = "application/octet-stream"
"""The type of any file, for clients that know no other one. Many that are generated from the OpenAPI document do not:
they decode an answer as bytes only where this type is documented."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of a file is answered."""

    status: int
    """200 all of it, 206 a part, 304 nothing since it is known, 416 nothing since there is no such part."""

    start: int
    end: int
    """The first byte, and the one behind the last."""


def part_of(headers: Headers, *, etag: str, size_bytes: int) -> Part:
    """What a request's conditions and range ask for.

    Args:
        headers: of the request.
        etag: of the file, with its quotes; strong.
        size_bytes: of the file.
    """
    bare = etag.strip('"')
    # A list that has it, or any: https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match
    if "If-None-Match" in headers and parse_etags(headers["If-None-Match"]).contains_weak(bare):
        return Part(304, 0, 0)
    whole = Part(200, 0, size_bytes)
    ranges = parse_range_header(headers.get("Range"))
    if ranges is None or ranges.units != "bytes" or len(ranges.ranges) != 1:
        return whole  # several ranges may be answered with all of it
    # A weak tag never matches, nor does a date: no file here has one.
    if headers.get("If-Range", etag).strip() != etag:
        return whole
    ((start, end),) = ranges.ranges
    if start < 0:  # the last bytes; of a shorter file all of it
        start = max(0, size_bytes + start)
    end = size_bytes if end is None else min(end, size_bytes)
    return Part(206, start, end) if start < end else Part(416, 0, 0)


async def download(
    request_headers: Headers,
    method: str,
    *,
    etag: str,
    size_bytes: int,
    headers: Mapping[str, str],
    read: Callable[[int, int], Awaitable[AsyncIterator[bytes] | bytes]],
) -> Response:
    """Return the response with a file, a part of it, or neither.

    The file is opened first, while its absence can still be an error.

    Args:
        request_headers: may have ``If-None-Match``, ``Range`` and ``If-Range``.
        method: of the request; for HEAD nothing is read.
        etag: of the file, with its quotes; strong.
        size_bytes: of the file.
        headers: of the answer with all of it.
        read: opens the file, and returns its bytes from the first number to before the second. It is not called if
            no bytes are sent.
    """
    part = part_of(request_headers, etag=etag, size_bytes=size_bytes)
    shared = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if part.status == 304:
        del shared["Content-Type"]
        return Response(b"", status=304, headers=shared)
    if part.status == 416:
        return Response(
            b"", status=416, headers={**shared, "Content-Range": f"bytes */{size_bytes}"}
        )
    if part.status == 206:
        shared["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size_bytes}"
    body = await read(part.start, part.end) if method != "HEAD" else b""
    answer = Response(body, status=part.status, headers=shared)
    answer.content_length = part.end - part.start
    return answer


def typed_as_accepted(answer: Response, accept: MIMEAccept) -> Response:
    """A file as ``application/octet-stream`` where the request accepts that, and not the file's own type."""
    own = answer.mimetype or ""
    if not own.startswith("image/") and own != "application/zip":
        return answer
    answer.vary.add("Accept")
    if accept and not accept.quality(own) and accept.quality(OCTETS):
        answer.content_type = OCTETS
    return answer
