"""Where a request says its picture is: a URL, a data URL, or base64."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from enlarger.errors import Fault, InvalidOption, InvalidUrl, MissingInput, UnreadableImage
from enlarger.fetch.urls import check_url
from enlarger.request import BytesSource, Source, UrlSource

_IS_BASE64 = re.compile(r"; *base64$", re.IGNORECASE)

_STRIPPED = "".join(map(chr, range(0x21)))
"""Spaces and control characters, which the URL standard takes off both ends."""

_REMOVED = str.maketrans("", "", "\t\n\r")
"""What it takes out of the middle."""

_WHITE_SPACE = b"\t\n\f\r "
_URL_SAFE = bytes.maketrans(b"-_", b"+/")

_BLOCK_BYTES = 65_536

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
        detail = "give either img_url or image_b64, not both"
        raise InvalidOption(
            "Give either img_url or image_b64", faults=[Fault("image_b64", "conflict", detail)]
        )
    if encoded not in (None, ""):
        if not isinstance(encoded, str):
            raise InvalidOption(
                "Invalid image_b64 format",
                faults=[Fault("image_b64", "type", "it must be a string of base64, or a data URL")],
            )
        try:
            data = data_of(encoded)
        except InvalidUrl as error:
            raise UnreadableImage("a data URL without a comma before its data") from error
        return BytesSource(decoded(encoded) if data is None else data)
    if not isinstance(url, str):
        raise InvalidUrl("Invalid img_url format")
    try:
        data = data_of(url)
        if data is not None:
            return BytesSource(data)
        check_url(url)
    except InvalidUrl as error:
        raise InvalidUrl("Invalid img_url format") from error
    return UrlSource(url)


def data_of(url: str) -> bytes | None:
    """The bytes that a data URL carries, by the standard that browsers follow; None for any other text.

    https://fetch.spec.whatwg.org/#data-urls: what stands before the first comma ends in ``;base64`` or does not. Media
    type and parameters say nothing about the bytes, which are told by their content.

    Raises:
        InvalidUrl: it has no comma.
        UnreadableImage: what follows is not base64, though it says so.
    """
    if url[:256].lstrip(_STRIPPED)[:5].lower() != "data:":
        return None
    head, comma, body = url.lstrip(_STRIPPED).partition("#")[0].partition(",")
    if not comma:
        raise InvalidUrl("the data URL has no comma before its data")
    if _IS_BASE64.search(head.translate(_REMOVED).strip(" \f")):
        return decoded(body)
    try:
        return _percent_decoded(body.rstrip(_STRIPPED).translate(_REMOVED))
    except UnicodeError as error:
        raise UnreadableImage("a data URL with half a surrogate pair") from error


def decoded(text: str) -> bytes:
    """The bytes of base64, of either alphabet, with or without padding, white space and percent-encoding.

    That is the forgiving decoding of https://infra.spec.whatwg.org/#forgiving-base64, and RFC 4648's URL-safe alphabet.

    Raises:
        UnreadableImage: it is not base64.
    """
    try:
        compact = _percent_decoded(text).translate(_URL_SAFE, _WHITE_SPACE).rstrip(b"=")
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableImage("not valid base64") from error


def _percent_decoded(text: str) -> bytes:
    data = text.encode()
    if b"%" not in data:
        return data
    # Block by block: the library's list has an object of fifty bytes for each escape.
    blocks, start = [], 0
    while start < len(data):
        end = start + _BLOCK_BYTES
        cut = data.rfind(b"%", end - 2, end)  # an escape that the border would cut in two
        end = end if cut < 0 else cut
        blocks.append(unquote_to_bytes(data[start:end]))
        start = end
    return b"".join(blocks)
