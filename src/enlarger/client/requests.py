"""Builds requests as values. All is pure, except the reading of a source."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOBase
from pathlib import Path
from typing import BinaryIO, Literal, TypedDict

from enlarger.errors import NotFound, UnreadableImage
from enlarger.precision import Precision

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A picture: a path, the bytes of its file, an open file, or an http or https URL, which the server fetches."""

Picture = bytes | str
"""The bytes of a file, or a URL."""

_JOB_ID = re.compile("job_[0-9A-Za-z]{1,64}")

_SHOWN_CHARACTERS = 40
"""Characters of a wrong id that are shown in its error."""


class UpscaleOptions(TypedDict, total=False):
    """Options for upscaling and writing a picture. The server decides what is not given.

    docs/reference/pictures.md describes them.
    """

    scale: float
    width: int
    height: int
    long_side: int
    short_side: int
    fit: Literal["inside", "fill", "outside", "cover"]
    region: tuple[int, int, int, int]
    model: str
    denoise: int
    precision: Precision
    device: str
    color_lock: bool
    alpha_edge: Literal["keep", "clean"]
    color: Literal["keep", "srgb"]
    format: Literal["auto", "png", "jpeg", "webp", "avif", "tiff"]
    quality: int
    max_bytes: int
    frames: Literal["all", "first"] | int
    background: str
    metadata: Literal["keep", "strip"]
    provenance: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, relative to the address of the server."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def is_url(source: Source) -> bool:
    """Whether the source is a URL, which the server fetches."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def read(source: Source) -> Picture:
    """Return the picture's bytes, or its URL.

    Raises:
        UnreadableImage: the file cannot be read.
        TypeError: the source is something else, such as a file that was opened as text.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, str) and is_url(source):
        return source
    if isinstance(source, (str, os.PathLike)):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            name = os.fspath(source)
            raise UnreadableImage(f"cannot read '{name}': {error.strerror}") from error
    read_all = getattr(source, "read", None)
    data = read_all() if callable(read_all) and not isinstance(source, TextIOBase) else source
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            "a picture is a path, the bytes of its file, a file opened with 'rb', or an http or https URL, "
            f"not {type(source).__name__}"
        )
    return bytes(data)


def picture_request(
    path: str,
    picture: Picture,
    options: Mapping[str, object],
    *,
    headers: Mapping[str, str] | None = None,
) -> Request:
    """Return a POST with a picture: its bytes with the options in the query, or JSON with its URL."""
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(picture, str):
        return json_request(path, {**given, "img_url": picture}, headers=headers)
    return Request(
        "POST",
        path,
        query={name: _text(value) for name, value in given.items()},
        headers={"Content-Type": "application/octet-stream", **(headers or {})},
        body=picture,
    )


def json_request(
    path: str, fields: Mapping[str, object], *, headers: Mapping[str, str] | None = None
) -> Request:
    """Return a POST of a JSON object."""
    return Request(
        "POST",
        path,
        headers={"Content-Type": "application/json", **(headers or {})},
        body=json.dumps(dict(fields)).encode(),
    )


def _text(value: object) -> str:
    """Return an option in the form of a query parameter."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)


def job_path(job_id: str, *below: str) -> str:
    """Return the path of a job or of a part of it.

    Raises:
        NotFound: the text is not the id of a job. Users and assistants may give any text, and it must not lead to
            another path of the server.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound(
            f"there is no job {job_id[:_SHOWN_CHARACTERS]!r}: the id of a job is job_ with letters and digits; give the "
            "one that was returned when the job was submitted"
        )
    return "/".join(["/v1/jobs", job_id, *below])


def events_request(path: str, last_event_id: str, jobs: Sequence[str] = ()) -> Request:
    """Return the request for a stream of events, starting after the last one that is known.

    Args:
        path: of the stream.
        last_event_id: id of the last event that is known; empty for none.
        jobs: ids of the jobs, for a stream of several.
    """
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    return Request("GET", path, query={"jobs": ",".join(jobs)} if jobs else {}, headers=headers)


def preview_request(path: str, max_side: int | None) -> Request:
    """Return the request for a preview; with None, the server determines its size."""
    return Request("GET", path, query={} if max_side is None else {"max_side": str(max_side)})
