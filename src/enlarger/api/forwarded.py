"""The addresses that proxies write into ``X-Forwarded-For`` and into ``Forwarded`` (RFC 7239).

Each proxy appends the address of its peer at the right end; what stands to the left of it was sent by that peer,
and may be forged. Both headers are therefore read from right to left: an open quote, or any other garbage, that
a client sent cannot change how the entry of a proxy is read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDED = "forwarded"
"""The header of RFC 7239. Any other name is read as ``X-Forwarded-For`` is."""

_PORT = re.compile(r":(?:[0-9]{1,5}|_[A-Za-z0-9._-]+)\Z")
"""A port behind an address; RFC 7239 lets a proxy hide its number behind a name."""

_PAIR = re.compile(
    r"""[ \t]* (?P<name> [!#$%&'*+.^_`|~0-9A-Za-z-]+ ) = (?P<value> "(?:[^"\\]|\\.)*" | [^\s",;]* ) [ \t]* (?: ; | \Z )""",
    re.VERBOSE | re.DOTALL,
)
"""One ``name=value`` of an element. Unquoted values may hold ``:`` and brackets, since some proxies write them so."""


def addresses(header: str, text: str) -> Iterator[Address | None]:
    """The addresses in a header, from the last to the first: the nearest proxy's entry comes first.

    Args:
        header: the name of the header, in lower case.
        text: its value; several lines of one name are joined with commas.

    Yields:
        An address, or None for an entry that names none: ``unknown``, an obfuscated name such as ``_hidden``,
        a Forwarded element without ``for``, or garbage. Empty entries are left out (RFC 9110, section 5.6.1).
    """
    for entry in _entries(text):
        if entry.strip():
            node = _for_of(entry) if header == FORWARDED else entry
            yield None if node is None else address_of(node)


def address_of(node: str) -> Address | None:
    """The address in one entry, or None.

    It may stand in quotes and in brackets, and have a port or an IPv6 zone, which are dropped. An IPv4 address that is
    mapped into IPv6 is returned as IPv4, so that each address is returned in one form only.
    """
    text = _unquoted(node.strip()).strip()
    # An IPv6 address without brackets may itself end like a port, so the whole text is tried first.
    return _bare_address(text) or _bare_address(_PORT.sub("", text))


def _bare_address(text: str) -> Address | None:
    """The address, if the text is nothing else but an address, with or without brackets."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    return ip.ipv4_mapped or ipaddress.IPv6Address(int(ip))  # the number has no zone


def _unquoted(text: str) -> str:
    """A quoted string without its quotes and escapes; any other text as it is."""
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


def _for_of(element: str) -> str | None:
    """The ``for`` of an element of ``Forwarded``; None if it has none or several, or cannot be read."""
    found, end = [], 0
    while end < len(element):
        pair = _PAIR.match(element, end)
        if pair is None:
            return None
        end = pair.end()
        if pair["name"].lower() == "for":
            found.append(pair["value"])
    return found[0] if len(found) == 1 else None


def _entries(text: str) -> Iterator[str]:
    """The entries of a list, from the last to the first. Commas inside quoted strings separate nothing."""
    end, is_quoted = len(text), False
    for place in range(len(text) - 1, -1, -1):
        if text[place] == '"' and not (is_quoted and _is_escaped(text, place)):
            is_quoted = not is_quoted
        elif text[place] == "," and not is_quoted:
            yield text[place + 1 : end]
            end = place
    yield text[:end]


def _is_escaped(text: str, place: int) -> bool:
    """Whether an odd number of backslashes stands before the character."""
    start = place
    while start and text[start - 1] == "\\":
        start -= 1
    return (place - start) % 2 == 1
