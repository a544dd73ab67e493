"""Hosts, ports, networks and places of files, as several settings have them."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Network, IPv6Network

from enlarger.config.group import WrongPart

HOST = re.compile(r"[\w.-]+")
"""A host name or an IPv4 address."""


def is_port(text: str) -> bool:
    """Return whether a text is the number of a port, from 1 to 65535."""
    return re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_network(text: object, *, allowed: str) -> IPv4Network | IPv6Network:
    """Read a network. An address becomes a network of one; IPv4 that is mapped into IPv6 becomes IPv4.

    Args:
        text: such as 10.0.0.0/8 or fd00::1.
        allowed: what is allowed, in words, for the error's text.

    Raises:
        ValueError: the text is neither an address nor a network, or the network does not begin at its first address.
    """
    written = str(text)
    try:
        network = ipaddress.ip_network(written, strict=False)
    except ValueError as error:
        raise WrongPart(allowed, written) from error
    address, first = written.partition("/")[0], network.network_address
    if first != ipaddress.ip_address(address):
        raise WrongPart(
            f"a network begins at its first address: write {network} for all of it, or {address} for one address",
            written,
        )
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - 96))
    return network


def is_place(text: str, *schemes: str) -> bool:
    """Return whether a text is a path, or a URL of one of these schemes."""
    # One slash is a slip: nobody means a folder that is called "s3:".
    return text.startswith(schemes) or bool(
        text and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text)
    )
