"""What systemd hears from a service: a real socket receives it, as systemd's does."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from enlarger.asgi.server import Lifecycle
from enlarger.asgi.systemd import Systemd

_LONG_S = 20


class Manager:
    """Receives what a service says, at a path or at an abstract address."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.variables = {"NOTIFY_SOCKET": address}

    async def hears(self) -> list[str]:
        """The lines of the next message."""
        async with asyncio.timeout(_LONG_S):
            message = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
        return message.decode().split("\n")

    def has_heard_all(self) -> bool:
        """Whether no message waits."""
        try:
            self.socket.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """One at each kind of address."""
    is_path = request.param == "path"
    one = Manager(str(tmp_path / "notify") if is_path else f"@enlarger-test-{os.getpid()}")
    yield one
    one.socket.close()


async def test_readiness_is_told_with_a_status(manager: Manager) -> None:
    """In one message, so that ``systemctl status`` shows both at once."""
    Systemd(manager.variables).ready("Accepts pictures")
    assert await manager.hears() == ["READY=1", "STATUS=Accepts pictures"]


async def test_signs_of_life_come_at_a_third_of_the_period(manager: Manager) -> None:
    """They come from the event loop: if that hangs, they stop."""
    systemd = Systemd({**manager.variables, "WATCHDOG_USEC": "300000"})
    async with systemd.told(Lifecycle(1)):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(4):
            assert await manager.hears() == ["WATCHDOG=1"]
        assert loop.time() - began >= 0.3 * 0.9
    await asyncio.sleep(0)
    assert manager.has_heard_all()


async def test_stopping_is_told_when_it_begins(manager: Manager) -> None:
    """Before the last request has ended."""
    service = Lifecycle(_LONG_S)
    async with Systemd(manager.variables).told(service):
        with service.holding():
            service.drain()
            assert (await manager.hears())[0] == "STOPPING=1"
            assert not service.is_stopped


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"},
    ],
)
async def test_no_signs_of_life_unless_this_process_is_watched(
    manager: Manager, variables: dict[str, str]
) -> None:
    """A variable that was meant for a parent is inherited."""
    systemd = Systemd({**manager.variables, **variables})
    async with systemd.told(Lifecycle(1)):
        await asyncio.sleep(0.01)
    assert systemd.watchdog_s is None
    assert manager.has_heard_all()


async def test_watchdog_of_this_process_is_heard(manager: Manager) -> None:
    """By its number."""
    mine = {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert Systemd({**manager.variables, **mine}).watchdog_s == 2


async def test_without_systemd_nothing_is_sent() -> None:
    """And nothing is logged."""
    systemd = Systemd({"WATCHDOG_USEC": "1000"})
    with capture_logs() as logs:
        systemd.ready("Accepts pictures")
        async with systemd.told(Lifecycle(1)):
            await asyncio.sleep(0.01)
    assert logs == []


def test_lost_manager_is_a_warning(tmp_path: Path) -> None:
    """The service goes on."""
    with capture_logs() as logs:
        Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("Accepts pictures")
    assert [(one["event"], one["assignments"]) for one in logs] == [("systemd_not_told", "READY=1")]
