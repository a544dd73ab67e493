"""Tells systemd how a service is: ready, alive, stopping (sd_notify(3)). Elsewhere this does nothing.

The protocol is a datagram to a socket that a variable names. The packages on PyPI that send it are no longer maintained,
or need a compiler and systemd's headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping

import structlog

from enlarger.asgi.server import Lifecycle
from enlarger.config.environment import variables as environment
from enlarger.reasons import reason_of

log = structlog.get_logger()

_BEATS = 3
"""Signs of life in each period of the watchdog. One of them may be late without harm."""


class Systemd:
    """The manager of this process, if it is systemd and wants to hear from it.

    Args:
        variables: the environment of the process.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        variables = environment() if variables is None else variables
        self._address = variables.get("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(variables) if self._address else None
        """Seconds without a sign of life after which systemd kills this process; None: it does not watch."""

    def tell(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``. A failure is logged: the service is as good without it."""
        if not self._address:
            return
        # A leading @ stands for an address in the abstract namespace.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
                one.setblocking(False)
                one.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            log.warning("systemd_not_told", assignments=assignments[0], reason=reason_of(error))

    def ready(self, status: str) -> None:
        """Say that the service has started, and how it is in words for ``systemctl status``."""
        self.tell("READY=1", f"STATUS={status}")

    @contextlib.asynccontextmanager
    async def told(self, service: Lifecycle) -> AsyncIterator[None]:
        """Send signs of life from the event loop, and say when the service begins to stop, as long as this lasts."""
        tasks = [
            asyncio.create_task(self._beat()),
            asyncio.create_task(self._say_stopping(service)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _beat(self) -> None:
        while self.watchdog_s is not None:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / _BEATS)

    async def _say_stopping(self, service: Lifecycle) -> None:
        await service.drains()
        self.tell("STOPPING=1", "STATUS=Finishing what runs")


def _watchdog_s(variables: Mapping[str, str]) -> float | None:
    """The period of sd_watchdog_enabled(3), unless it is meant for another process."""
    period_us = variables.get("WATCHDOG_USEC", "")
    if variables.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(period_us) / 1e6 if period_us.isdecimal() and int(period_us) else None
