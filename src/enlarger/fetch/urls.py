"""URLs as they are checked, requested and redirected: byte for byte as they are spelled."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, urlsplit

from yarl import URL

from enlarger.errors import InvalidUrl

PORTS = {"http": 80, "https": 443}
"""The schemes that may be fetched, with the port of each."""

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*:)?(?P<authority>//[^/?#]*)?(?P<path>[^?#]*)(?P<query>\?[^#]*)?",
    re.IGNORECASE,
)
"""The parts of a URL or of a relative reference, without the fragment (RFC 3986, appendix B)."""

_NOT_IN_A_URL = re.compile(r"[^!-~]+")
"""Spaces, control characters and what is not ASCII: no request line can hold them."""


def check_url(url: str) -> SplitResult:
    """The parts of a URL that may be fetched.

    Raises:
        InvalidUrl: not http or https, no host, or a user name in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl("the URL is not one of http or https") from error
    has_space = any(sign.isspace() or ord(sign) < 32 for sign in url)
    if (
        parts.scheme not in PORTS
        or not parts.hostname
        or "@" in parts.netloc
        or port == 0
        or has_space
        or "\\" in parts.netloc
    ):
        raise InvalidUrl("the URL is not one of http or https")
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
