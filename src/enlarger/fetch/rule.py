"""Which addresses and ports ``ENLARGER_FETCH`` allows."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from enlarger.config import allowed_sources
from enlarger.fetch.urls import PORTS

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Ranges that ``is_global`` lets pass on some Python versions; RFC 6890, 3056, 6052, 8215, 3879, 7526.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "3fff::/20",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""All that is given out; the rest is reserved (RFC 4291) or has a special purpose."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class FetchRule:
    """What ``ENLARGER_FETCH`` allows."""

    enabled: bool
    hosts: frozenset[str]
    """``host`` or ``host:port``, lower case, whose addresses are not checked."""

    networks: tuple[Network, ...]
    """Networks allowed besides public ones."""

    ports: frozenset[int]
    """Ports allowed everywhere: 80, 443, and those of entries such as ``:8080``."""

    @classmethod
    def parse(cls, rule: str) -> FetchRule:
        """The rule of a checked setting."""
        entries = allowed_sources(rule)
        networks = [entry for entry in entries if "/" in entry]
        ports = [entry for entry in entries if entry.startswith(":") and entry not in networks]
        hosts = set(entries).difference(networks, ports)
        return cls(
            enabled=rule != "off",
            hosts=frozenset(host.lower() for host in hosts),
            networks=tuple(map(ipaddress.ip_network, networks)),
            ports=frozenset({*PORTS.values(), *(int(port[1:]) for port in ports)}),
        )

    def in_words(self) -> str:
        """What may be fetched, as an operator reads it in the log."""
        if not self.enabled:
            return "nothing: fetching is off"
        *ports, last = sorted(self.ports)
        allowed = [f"public addresses on ports {', '.join(map(str, ports))} and {last}"]
        for host in sorted(self.hosts):
            name, _, port = host.partition(":")
            allowed.append(
                f"host {name} on {f'port {port}' if port else 'any port'}, whatever its address is"
            )
        allowed += [f"network {network}, by address on any port" for network in self.networks]
        return "; ".join(allowed)

    def trusts(self, host: str, port: int) -> bool:
        """Whether the operator named this host."""
        written = f"[{host}]" if ":" in host else host
        return bool(self.hosts & {host, written, f"{written}:{port}"})

    def allows(self, address: str) -> bool:
        """Whether this address may be connected to."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if any(ip in network for network in self.networks if network.version == ip.version):
            return True
        return all(_is_public(part) for part in _with_embedded(ip))

    def allows_port(self, host: str, port: int) -> bool:
        """80, 443 and named ones, those of named hosts, and any on an address of a named network."""
        if port in self.ports or self.trusts(host, port):
            return True
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(ip in network for network in self.networks if network.version == ip.version)


def _with_embedded(ip: Address) -> list[Address]:
    """The address and the IPv4 addresses that it carries inside."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if (
        ip in _NAT64 or int(ip) >> 32 == 0 or (int(ip) >> 32) & 0xFCFFFFFF == 0x5EFE
    ):  # NAT64, compatible, ISATAP
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    found = [part for part in inner if part is not None]
    # A mapped or translated address is as public as the one inside; its own prefix says nothing.
    return list(found) if ip.ipv4_mapped or ip in _NAT64 else [ip, *found]


def _is_public(ip: Address) -> bool:
    return (
        ip.is_global
        and not ip.is_multicast
        and (ip.version == 4 or ip in _GLOBAL_V6)
        and not any(ip in network for network in _NEVER if network.version == ip.version)
    )
