"""Addresses as proxies write them: each spelling is read, and what a client sent changes no entry of a proxy."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.api.forwarded import FORWARDED, Address, address_of, addresses

X_FORWARDED_FOR = "x-forwarded-for"
HEADERS = [X_FORWARDED_FOR, FORWARDED]

ports = st.integers(1, 65535).map(str) | st.from_regex(r"_[A-Za-z0-9._-]{1,9}", fullmatch=True)
latin1 = st.text(st.characters(max_codepoint=255), max_size=60)
"""What a client may have sent in a header."""


@st.composite
def nodes(draw: st.DrawFn) -> tuple[Address, str]:
    """An address, and a text that a proxy may write for it."""
    address = draw(st.ip_addresses())
    text = str(address)
    if isinstance(address, ipaddress.IPv6Address):
        text = draw(st.sampled_from([text, text.upper(), address.exploded]))
        text += draw(st.sampled_from(["", "%eth0", "%25en1"]))
        is_bracketed = draw(st.booleans())
        text = f"[{text}]" if is_bracketed else text
        if is_bracketed and draw(st.booleans()):
            text += f":{draw(ports)}"
    else:
        text = draw(st.sampled_from([text, f"::ffff:{text}", f"[::FFFF:{text}]"]))
        if draw(st.booleans()) and (text.startswith("[") or "::" not in text):
            text += f":{draw(ports)}"
    quote = draw(st.sampled_from(["", '"']))
    space = draw(st.sampled_from(["", " ", "\t "]))
    return unmapped(address), f"{space}{quote}{text}{quote}{space}"


def unmapped(address: Address) -> Address:
    """IPv4 that is mapped into IPv6 as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def entry_of(header: str, node: str) -> str:
    """The entry that a proxy appends to the header for a node."""
    return f"for={node.strip()};proto=https" if header == FORWARDED else node


@given(node=nodes())
def test_every_spelling_of_an_address_is_that_address(node: tuple[Address, str]) -> None:
    """With and without port, brackets, quotes, zone and spaces, in any case."""
    address, text = node
    assert address_of(text) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.6:1001", "203.0.113.6"),
        ('"203.0.113.6:1001"', "203.0.113.6"),
        ("203.0.113.6:_hidden", "203.0.113.6"),
        ("[203.0.113.6]", "203.0.113.6"),
        ("[203.0.113.6]:80", "203.0.113.6"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:DB8::1]:443"', "2001:db8::1"),
        (r'"\[2001:db8::1\]"', "2001:db8::1"),
        ("2001:db8:0:1:2:3:4:5:443", "2001:db8:0:1:2:3:4:5"),
        ("::ffff:203.0.113.6:443", "203.0.113.6"),
        ("[::ffff:203.0.113.6]:443", "203.0.113.6"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
    ],
)
def test_address_is_found_in_what_proxies_write(text: str, address: str) -> None:
    """The forms of RFC 7239, and those of proxies that follow no standard."""
    assert str(address_of(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"',
        '""',
        "[]",
        "[",
        ":80",
        "unknown",
        "UNKNOWN:80",
        '"unknown"',
        "_hidden",
        '"_SEVKISEK"',
        "_203.0.113.6",
        "unix:",
        "localhost",
        "client.example:80",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.06",
        "3405803782",
        "203.0.113.6:",
        "203.0.113.6:http",
        "203.0.113.6:123456",
        "203.0.113.6 80",
        "203.0.113.6/32",
        "203.0.113.6%eth0",
        '"203.0.113.6',
        '203.0.113.6"',
        "'203.0.113.6'",
        "[2001:db8::1",
        "2001:db8::1]:443",
        "[2001:db8::1]443",
        "²03.0.113.6",
    ],
)
def test_what_names_no_address_has_none(text: str) -> None:
    """Unknown, obfuscated, half of an address, or anything else: nothing is guessed."""
    assert address_of(text) is None


@pytest.mark.parametrize("header", HEADERS)
@given(chain=st.lists(nodes(), max_size=5), spaces=st.sampled_from([",", ", ", " ,", ",,", ", ,"]))
def test_chain_is_read_from_the_last_to_the_first(
    header: str, chain: list[tuple[Address, str]], spaces: str
) -> None:
    """Empty entries between them are left out."""
    text = spaces.join(entry_of(header, node) for _, node in chain)
    assert list(addresses(header, text)) == [address for address, _ in reversed(chain)]


@pytest.mark.parametrize("header", HEADERS)
@given(sent=latin1 | st.text('for=";,\\ []:_1a', max_size=30), node=nodes())
def test_nothing_that_a_client_sent_changes_the_entry_of_a_proxy(
    header: str, sent: str, node: tuple[Address, str]
) -> None:
    """An open quote, a backslash or any other garbage before it: the proxy's entry is read first, as it is."""
    address, text = node
    assert next(addresses(header, f"{sent},{entry_of(header, text)}")) == address


@given(host=latin1, node=nodes())
def test_quoted_parameters_of_an_element_are_no_entries(
    host: str, node: tuple[Address, str]
) -> None:
    """A proxy passes on the host that a client asked for: commas and quotes in it are the client's."""
    address, text = node
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    element = f'for={text.strip()};host="{quoted}"'
    assert list(addresses(FORWARDED, f"for=192.0.2.1, {element}")) == [
        address,
        ipaddress.ip_address("192.0.2.1"),
    ]


@pytest.mark.parametrize("header", HEADERS)
@given(text=latin1)
def test_any_text_is_read(header: str, text: str) -> None:
    """Whatever is sent, there are addresses or none, and no error."""
    list(addresses(header, text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("for=192.0.2.1", ["192.0.2.1"]),
        ("For=192.0.2.1;proto=http;by=203.0.113.43", ["192.0.2.1"]),
        ("by=203.0.113.43;FOR=192.0.2.1", ["192.0.2.1"]),
        ("for=192.0.2.43, for=198.51.100.17", ["198.51.100.17", "192.0.2.43"]),
        ('for="[2001:db8:cafe::17]:4711"', ["2001:db8:cafe::17"]),
        ("for=[2001:db8:cafe::17]:4711", ["2001:db8:cafe::17"]),
        ("for=192.0.2.1:47011", ["192.0.2.1"]),
        ('for="192.0.2.1" ; proto=https ', ["192.0.2.1"]),
        ("for=192.0.2.1;", ["192.0.2.1"]),
        ("for=_hidden, for=_SEVKISEK", [None, None]),
        ("for=unknown", [None]),
        ("proto=https", [None]),
        ("for=", [None]),
        ("for", [None]),
        ("192.0.2.1", [None]),
        ("for = 192.0.2.1", [None]),
        ("for=192.0.2.1 proto=https", [None]),
        ("for=192.0.2.1;for=192.0.2.2", [None]),
        ('for="192.0.2.1', [None]),
        ('for="192.0.2.1"x', [None]),
        (";", [None]),
        ("", []),
        (" ,\t,", []),
    ],
)
def test_elements_of_forwarded(text: str, found: list[str | None]) -> None:
    """Examples of RFC 7239, and what breaks its grammar."""
    read = list(addresses(FORWARDED, text))
    assert [None if address is None else str(address) for address in read] == found


@pytest.mark.parametrize("text", ['"' * 50_000, '\\"' * 25_000, "," * 50_000, 'for="\\' * 10_000])
@pytest.mark.parametrize("header", HEADERS)
def test_long_headers_take_little_time(header: str, text: str) -> None:
    """The work grows with the length, and not with its square: a test that takes minutes fails."""
    assert all(address is None for address in addresses(header, text))
