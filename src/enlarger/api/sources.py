"""Where a request says its picture is: a URL, a data URL, or base64."""

from __future__ import annotations

import base64
import binascii
import re

from enlarger.errors import InvalidOption, InvalidUrl, MissingInput, UnreadableImage
from enlarger.fetch import check_url
from enlarger.job import BytesSource, Source, UrlSource

_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+)?(;[a-z0-9=-]+)*;base64,", re.IGNORECASE)
_DATA_PREFIX = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_SPACE = re.compile(r"\s+")

_MOST_SIGNS = 10_000
"""Commas and opening brackets. A job has some twenty, and base64 has none."""


def has_thousands_of_parts(body: bytes) -> bool:
    """Whether JSON is too rich to be read: as lists and objects it would be twenty times as long as on the wire."""
    return sum(map(body.count, (b",", b"[", b"{"))) > _MOST_SIGNS


def source_of(url: object, encoded: object) -> Source:
    """The source that ``img_url`` and ``image_b64`` name.

    Raises:
        MissingInput: neither is given.
        InvalidOption: both are, or the second is no text.
        InvalidUrl, UnreadableImage: what is given cannot be used.
    """
    if url in (None, "") and encoded in (None, ""):
        raise MissingInput("img_url is required")
    if url not in (None, "") and encoded not in (None, ""):
        raise InvalidOption("Give either img_url or image_b64")
    if encoded not in (None, ""):
        if not isinstance(encoded, str):
            raise InvalidOption("Invalid image_b64 format")
        match = _DATA_PREFIX.match(encoded)
        return BytesSource(_decode_base64(encoded[match.end() :] if match else encoded))
    if not isinstance(url, str):
        raise InvalidUrl("Invalid img_url format")
    if url[:5].lower() == "data:":
        match = _DATA_URL.match(url)
        if match is None or not match.group(1):
            raise InvalidUrl("Invalid img_url format")
        return BytesSource(_decode_base64(url[match.end() :]))
    check_url(url)
    return UrlSource(url)


def _decode_base64(text: str) -> bytes:
    compact = _SPACE.sub("", text).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableImage("not valid base64") from error
