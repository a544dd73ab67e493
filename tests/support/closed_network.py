"""A network that belongs to one process: nothing leads out of it, and whatever happens in it is seen there.

Linux's network namespaces, entered with ``unshare``; inside, the kernel is asked without further tools.
"""

from __future__ import annotations

import fcntl
import functools
import os
import socket
import struct
import subprocess
from pathlib import Path

import pytest

_WAYS = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])
"""Commands for root, and for other users where the system allows it."""

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_NEW_ROUTE, _REQUEST_CREATE_ACK = 24, 0x1 | 0x400 | 0x4
_LOCAL_TABLE, _BY_BOOT, _ON_HOST, _LOCAL = 255, 3, 254, 2
_RTA_OIF, _LOOPBACK_INDEX = 4, 1


@functools.cache
def _entering() -> tuple[list[str], str]:
    """The command that enters such a network, or an empty one and the reason."""
    reason = "unshare is not installed"
    for way in _WAYS:
        try:
            ran = subprocess.run([*way, "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if ran.returncode == 0:
            return way, ""
        reason = ran.stderr.strip()
    return [], reason


def in_closed_network(*command: str) -> list[str]:
    """The command, to be run in a network of its own.

    Where there are none the test is skipped; in CI (the variable ``CI`` is set) it fails: a promise of
    ARCHITECTURE.md must not go untested unseen.
    """
    way, reason = _entering()
    if not way:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"network namespaces are not to be had here: {reason}")
    return [*way, *command]


def bring_up_loopback() -> None:
    """Make this network's loopback work. A new network has it, switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def be_every_address() -> None:
    """Make every address there is one of this machine: ``ip route add local 0.0.0.0/0 dev lo``, and for IPv6."""
    for family in (socket.AF_INET, socket.AF_INET6):
        # rtnetlink(7): header, route to everything, and the interface that it leads to.
        route = struct.pack(
            "BBBBBBBBI", family, 0, 0, 0, _LOCAL_TABLE, _BY_BOOT, _ON_HOST, _LOCAL, 0
        )
        interface = struct.pack("HHI", 8, _RTA_OIF, _LOOPBACK_INDEX)
        length = 16 + len(route) + len(interface)
        head = struct.pack("IHHII", length, _NEW_ROUTE, _REQUEST_CREATE_ACK, 1, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.send(head + route + interface)
            (error,) = struct.unpack_from("i", kernel.recv(4096), 16)
        if error:
            raise OSError(-error, "the route was refused")


def interfaces() -> dict[str, int]:
    """This network's interfaces, and how many packets each has sent."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    named = (line.partition(":") for line in lines)
    return {name.strip(): int(counts.split()[9]) for name, _, counts in named}
