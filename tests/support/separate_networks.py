"""Networks with an address each, joined by a switch: what is several machines to programs that run in them.

Linux's network namespaces, made with ``ip``; it needs root.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from types import TracebackType

import pytest


@dataclass
class SeparateNetworks:
    """Networks as long as the context lasts. Where there can be none the test is skipped, and in CI it fails.

    Args:
        count: how many, at most 9.
    """

    count: int

    def __post_init__(self) -> None:
        # Names of interfaces have 15 characters at most, and other tests may run at the same time.
        self._tag = f"{os.getpid() % 10**7}"
        self._switch = f"enl{self._tag}"
        self._subnet = f"10.77.{os.getpid() % 250}"

    def __enter__(self) -> SeparateNetworks:
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            reason = getattr(error, "stderr", None) or str(error)
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"there can be no network namespaces here: {reason}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def address(self, number: int) -> str:
        """Return the address of a network, from 0."""
        return f"{self._subnet}.{number + 10}"

    def inside(self, number: int) -> list[str]:
        """Return the beginning of a command that runs in a network."""
        return ["ip", "netns", "exec", self._name(number)]

    def cut(self, number: int) -> None:
        """Cut a network off: what is sent to it or from it is lost without an answer, as with a pulled cable."""
        _ip("link", "set", self._plug(number), "down")

    def _name(self, number: int) -> str:
        return f"enlarger-{self._tag}-{number}"

    def _plug(self, number: int) -> str:
        return f"enl{self._tag}v{number}"

    def _make(self) -> None:
        _ip("link", "add", self._switch, "type", "bridge")
        _ip("address", "add", f"{self._subnet}.1/24", "dev", self._switch)
        _ip("link", "set", self._switch, "up")
        for number in range(self.count):
            name, plug = self._name(number), self._plug(number)
            _ip("netns", "add", name)
            _ip(*f"link add {plug} type veth peer name eth0 netns {name}".split())
            _ip("link", "set", plug, "master", self._switch, "up")
            _ip("-n", name, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                _ip("-n", name, "link", "set", interface, "up")

    def _remove(self) -> None:
        for number in range(self.count):
            _ip("netns", "delete", self._name(number), check=False)
        _ip("link", "delete", self._switch, check=False)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)  # noqa: S607 - Debian's iproute2
