"""Which URLs and addresses may be fetched."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import (
    InvalidUrl,
)
from enlarger.fetch.rule import FetchRule
from enlarger.fetch.urls import check_url

PUBLIC = FetchRule.parse("public")


NOT_PUBLIC_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.128/25",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
"""IANA's registry of IPv4 special-purpose addresses, where not globally reachable, and multicast."""


SPECIAL_V4 = [ipaddress.IPv4Network(text) for text in [*NOT_PUBLIC_V4, "192.0.0.0/24"]]
"""The same, with a block of which two addresses are globally reachable."""


NOT_PUBLIC_V6 = [
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:2::/48",
    "2001:10::/28",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
"""The same for IPv6, and the former site-local addresses."""


UNASSIGNED_V6 = ["100::/8", "400::/6", "1000::/4", "4000::/3", "8000::/3", "e000::/4", "fe00::/9"]
"""Reserved by the IETF: outside 2000::/3 nothing is global unicast (RFC 4291, IANA's address space)."""

EMBEDDED: dict[str, Callable[[int], int]] = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "NAT64": lambda v4: 0x64FF9B << 96 | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "Teredo": lambda v4: 0x20010000 << 96 | 0x08080808 << 64 | (v4 ^ 0xFFFFFFFF),
    "ISATAP": lambda v4: 0x2600 << 112 | 0x5EFE << 32 | v4,
    "ISATAP, universal": lambda v4: 0x2600 << 112 | 0x02005EFE << 32 | v4,
}
"""IPv6 addresses that carry an IPv4 one."""


def any_of(networks: list[str]) -> st.SearchStrategy[Any]:
    """Addresses in these networks."""
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/a/b.png?c=d&e=f#g",
        "HTTP://EXAMPLE.COM/",
        "http://example.com:8080/",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "http://example.com/at@in-the-path",
        "http://bücher.example/",
    ],
)
def test_url_with_a_host_passes(url: str) -> None:
    """The schemes are http and https in any letter case; which hosts may be reached comes later."""
    assert check_url(url).geturl().lower() == url.lower()


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "example.com/cat.png",
        "//example.com/cat.png",
        "ftp://example.com/cat.png",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "data:image/png;base64,QUJD",
        "http:",
        "http://",
        "http:///cat.png",
        "http:example.com",
        "http://:80/",
        "http://?a=b",
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:http/",
        "http://[::1/",
        "http://::1]/",
        " http://example.com/",
        "http://example.com/ ",
        "http://exam\nple.com/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: x",
        "http://example.com/\x00",
    ],
    ids=ascii,
)
def test_url_of_another_form_is_refused(url: str) -> None:
    """Another scheme, no host, a user name, a bad port, or a sign that no URL has."""
    with pytest.raises(InvalidUrl, match=r"^the URL is not one of http or https$"):
        check_url(url)


@given(url=st.text(max_size=30) | st.text(max_size=20).map("http://{}".format))
def test_any_text_is_a_url_with_a_host_or_refused(url: str) -> None:
    """No text raises anything else."""
    try:
        parts = check_url(url)
    except InvalidUrl:
        return
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert parts.username is None


# The rule


@given(address=any_of(NOT_PUBLIC_V4))
def test_special_ipv4_address_is_refused(address: ipaddress.IPv4Address) -> None:
    """Loopback, link-local, private, CGNAT, multicast, reserved and documentation ranges."""
    assert not PUBLIC.allows(str(address))


@given(address=st.ip_addresses(v=4))
def test_other_ipv4_address_is_allowed(address: ipaddress.IPv4Address) -> None:
    """What no registry calls special is public."""
    special = any(address in network for network in SPECIAL_V4)
    assert special or PUBLIC.allows(str(address))


@given(address=any_of(NOT_PUBLIC_V6))
def test_special_ipv6_address_is_refused(address: ipaddress.IPv6Address) -> None:
    """Loopback, link-local, private, multicast and documentation ranges."""
    assert not PUBLIC.allows(str(address))


@given(address=any_of(UNASSIGNED_V6))
def test_reserved_ipv6_address_is_refused(address: ipaddress.IPv6Address) -> None:
    """Only 2000::/3 is given out as global unicast."""
    assert not PUBLIC.allows(str(address))


@given(address=any_of(["2400::/12", "2600::/12", "2800::/12", "2a00::/12", "2c00::/12"]))
def test_global_ipv6_address_is_allowed(address: ipaddress.IPv6Address) -> None:
    """What the registries of the five regions give out is public."""
    carries_ipv4 = (int(address) >> 32) & 0xFCFFFFFF == 0x5EFE
    assert carries_ipv4 or PUBLIC.allows(str(address))


@pytest.mark.parametrize("form", EMBEDDED)
@given(inner=any_of(NOT_PUBLIC_V4))
def test_special_ipv4_address_inside_ipv6_is_refused(
    form: str, inner: ipaddress.IPv4Address
) -> None:
    """However an address is wrapped, what it leads to counts."""
    assert not PUBLIC.allows(str(ipaddress.IPv6Address(EMBEDDED[form](int(inner)))))


@pytest.mark.parametrize("form", ["mapped", "NAT64"])
def test_public_ipv4_address_inside_ipv6_is_allowed(form: str) -> None:
    """Hosts without IPv4 of their own reach the world by such addresses."""
    inner = int(ipaddress.IPv4Address("8.8.8.8"))
    assert PUBLIC.allows(str(ipaddress.IPv6Address(EMBEDDED[form](inner))))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1%eth0", "100.100.100.200"],
)
def test_addresses_of_known_attacks_are_refused(address: str) -> None:
    """The host itself and the metadata services of clouds."""
    assert not PUBLIC.allows(address)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("public", "public addresses on ports 80 and 443"),
        ("off", "nothing: fetching is off"),
        (
            "public, Minio:9000, pictures.lan, 10.0.0.0/8, :8080",
            "public addresses on ports 80, 443 and 8080; host minio on port 9000, whatever its address is; "
            "host pictures.lan on any port, whatever its address is; network 10.0.0.0/8, by address on any port",
        ),
    ],
)
def test_rule_is_said_in_words(rule: str, words: str) -> None:
    """So that an operator sees at the start what was understood."""
    assert FetchRule.parse(rule).in_words() == words


@given(address=any_of(["10.0.0.0/8", "fd00::/8"]))
def test_named_network_is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Networks in the setting are allowed besides public ones, and no others."""
    rule = FetchRule.parse("10.0.0.0/8, fd00::/8")
    assert rule.allows(str(address))
    assert rule.allows("8.8.8.8")
    assert not rule.allows("192.168.0.1")
    assert not rule.allows("fe80::1")


@pytest.mark.parametrize(
    ("rule", "host", "port", "trusted"),
    [
        ("public", "example.com", 80, False),
        ("pictures.local", "pictures.local", 80, True),
        ("pictures.local", "pictures.local", 9000, True),
        ("Pictures.Local", "pictures.local", 80, True),
        ("pictures.local:9000", "pictures.local", 9000, True),
        ("pictures.local:9000", "pictures.local", 80, False),
        ("pictures.local", "www.pictures.local", 80, False),
        ("pictures.local", "local", 80, False),
        ("a.local, b.local:81", "b.local", 81, True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("10.0.0.0/8", "10.0.0.1", 80, False),
        (":8080", "10.0.0.1", 8080, False),
    ],
)
def test_named_host_is_trusted(rule: str, host: str, port: int, trusted: bool) -> None:
    """A host with a port is trusted on that port, one without on all; a network names no host."""
    assert FetchRule.parse(rule).trusts(host, port) is trusted


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("public", "example.com", 80, True),
        ("public", "example.com", 443, True),
        ("public", "example.com", 22, False),
        ("public", "8.8.8.8", 8080, False),
        ("a.local", "a.local", 8080, True),
        ("a.local:8080", "a.local", 8080, True),
        ("a.local:8080", "a.local", 8081, False),
        ("a.local", "example.com", 8080, False),
        ("10.0.0.0/8", "10.1.2.3", 8080, True),
        ("10.0.0.0/8", "11.1.2.3", 8080, False),
        ("10.0.0.0/8", "a.local", 8080, False),
        ("fd00::/8", "fd00::1", 8080, True),
        (":8080", "example.com", 8080, True),
        (":8080", "example.com", 443, True),
        (":8080", "example.com", 8081, False),
        ("a.local:8081, :8080", "example.com", 8081, False),
        ("::1/128", "::1", 8080, True),
    ],
)
def test_ports_are_80_and_443_unless_listed(rule: str, host: str, port: int, allowed: bool) -> None:
    """A stranger's URL does not lead to a database."""
    assert FetchRule.parse(rule).allows_port(host, port) is allowed
