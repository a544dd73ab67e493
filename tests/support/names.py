"""A name server for tests: each name has the answers to one look-up after another, the last of them for good."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

_ADDRESS_KINDS = {1: 4, 28: 6}
"""Versions of IP by type of question: A, AAAA (RFC 1035, 3596)."""

_NO_SUCH_NAME = 3


def system_server() -> str:
    """The name server that this machine asks."""
    found = re.search(r"^nameserver\s+([^\s%]+)", _configuration(), re.MULTILINE)
    return found[1] if found else "127.0.0.1"


def _configuration() -> str:
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""


class NameServer(asyncio.DatagramProtocol):
    """Answers questions for addresses; to be handed to ``create_datagram_endpoint``."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._names = names
        self._asked: dict[tuple[str, int], int] = {}
        """How often each name was asked for with each type: a look-up asks once with each."""

    @property
    def questions(self) -> set[str]:
        """The names that were asked for."""
        return {name for name, _ in self._asked}

    def forget(self) -> None:
        """Begin again with the first answers."""
        self._asked.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # asyncio's own transport is of that class from Python 3.12 on only.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        """Answer one question (RFC 1035, 4.1)."""
        (id_,) = struct.unpack_from(">H", data)
        labels, position = [], 12
        while length := data[position]:
            labels.append(data[position + 1 : position + 1 + length].decode("ascii"))
            position += 1 + length
        question = data[12 : position + 5]
        (kind,) = struct.unpack_from(">H", data, position + 1)
        known, addresses = self._addresses(".".join(labels).lower(), kind)
        records = b"".join(
            # A pointer to the name in the question, type, class, no time to live, length, address.
            struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed
            for packed in addresses
        )
        flags = 0x8180 | (0 if known else _NO_SUCH_NAME)
        head = struct.pack(">HHHHHH", id_, flags, 1, len(addresses), 0, 0)
        self._transport.sendto(head + question + records, address)

    def _addresses(self, name: str, kind: int) -> tuple[bool, list[bytes]]:
        number = self._asked.get((name, kind), 0)
        self._asked[name, kind] = number + 1
        answers = self._names.get(name)
        if answers is None:
            return False, []
        now = map(ipaddress.ip_address, answers[min(number, len(answers) - 1)])
        return True, [ip.packed for ip in now if ip.version == _ADDRESS_KINDS.get(kind)]
