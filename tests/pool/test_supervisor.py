"""Processes that are started, watched, started again, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.supervised import WAITS, Scripts, lives

from enlarger.pool.supervisor import ServerCommand, Supervisor

LISTENS = "print('listening on port', 7000 + NUMBER, flush=True); "
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@dataclass
class Missing:
    """Names a program that does not exist."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, number: int, *, again: bool) -> list[str]:
        """The command line of server ``number``."""
        return ["/no/such/program", str(number)]


class Events:
    """What a supervisor told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_up(self, number: int, address: str) -> None:
        """A server listens."""
        self._tell("up", number, address)

    def on_down(self, number: int) -> None:
        """A server is gone."""
        self._tell("down", number)

    def on_refused(self) -> None:
        """A server cannot use a setting."""
        self._tell("refused")

    def _tell(self, *event: object) -> None:
        self.told.append(event)
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def wait_for(self, *event: object, times: int = 1) -> None:
        """Wait until this was told so many times."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: self.told.count(event) >= times)


def supervised(command: Scripts | Missing, events: Events, *, count: int = 1) -> Supervisor:
    """A supervisor that tells ``events``."""
    return Supervisor(
        command,
        count,
        on_up=events.on_up,
        on_down=events.on_down,
        on_refused=events.on_refused,
    )


async def test_every_server_is_started_and_says_its_address() -> None:
    """Number by number, at the port that it printed; each is a process of its own."""
    events = Events()
    async with supervised(Scripts(LISTENS + WAITS), events, count=3) as supervisor:
        for number in range(3):
            await events.wait_for("up", number, f"127.0.0.1:{7000 + number}")
        pids = supervisor.pids
        assert set(pids) == {0, 1, 2}
        assert len(set(pids.values())) == 3
        assert all(lives(pid) for pid in pids.values())
    assert not any(lives(pid) for pid in pids.values())
    assert len(events.told) == 3


async def test_server_is_kept_whatever_breaks() -> None:
    """The server prints a line that is too long for a port, or the code that hears of it fails. Another one is started, and the log has the reason."""
    events = Events()

    def told_and_breaks(number: int, address: str) -> None:
        events.on_up(number, address)
        if events.told.count(("up", number, address)) == 1:
            raise ZeroDivisionError

    def down_and_breaks(number: int) -> None:
        events.on_down(number)
        raise ZeroDivisionError

    script = "print('x' * 2**17, flush=True) if LIFE == 1 else None; " + LISTENS + WAITS
    supervisor = Supervisor(
        Scripts(script),
        1,
        on_up=told_and_breaks,
        on_down=down_and_breaks,
        on_refused=events.on_refused,
    )
    with capture_logs() as logs:
        async with supervisor:
            await events.wait_for("up", 0, "127.0.0.1:7000", times=2)
            assert len(supervisor.pids) == 1
    assert events.told.count(("down", 0)) == 2
    broken = [entry for entry in logs if entry["event"] == "server_not_kept"]
    assert [(entry["server"], entry["log_level"]) for entry in broken] == [
        ("server-0", "error")
    ] * 4


async def test_server_sees_our_environment_and_its_own_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If both set a variable, the server's own setting wins."""
    monkeypatch.setenv("ENLARGER_TEST_OURS", "1000")
    monkeypatch.setenv("ENLARGER_TEST_BOTH", "7")
    script = (
        "port = int(os.environ['ENLARGER_TEST_OURS']) + int(os.environ['ENLARGER_TEST_BOTH']); "
        "print('listening on port', port, flush=True); " + WAITS
    )
    events = Events()
    async with supervised(Scripts(script, {"ENLARGER_TEST_BOTH": "20"}), events):
        await events.wait_for("up", 0, "127.0.0.1:1020")


async def test_killed_server_is_started_again() -> None:
    """Down is told first, then the successor's address; the others are not touched."""
    events = Events()
    async with supervised(Scripts(LISTENS + WAITS), events, count=2) as supervisor:
        for number in range(2):
            await events.wait_for("up", number, f"127.0.0.1:{7000 + number}")
        before = supervisor.pids
        os.kill(before[1], signal.SIGKILL)
        await events.wait_for("up", 1, "127.0.0.1:7001", times=2)
        after = supervisor.pids
    assert events.told[2:] == [("down", 1), ("up", 1, "127.0.0.1:7001")]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert not lives(before[1])


async def test_restart_ends_a_server_and_starts_another() -> None:
    """This also ends a server that ignores SIGTERM because it is stuck."""
    events = Events()
    async with supervised(Scripts(DEAF + LISTENS + WAITS), events) as supervisor:
        await events.wait_for("up", 0, "127.0.0.1:7000")
        before = supervisor.pids[0]
        supervisor.restart(0)
        await events.wait_for("up", 0, "127.0.0.1:7000", times=2)
        assert supervisor.pids[0] != before
        assert not lives(before)
        supervisor.restart(0)
    assert events.told[1] == ("down", 0)


async def test_restart_of_a_server_that_is_not_there_does_nothing() -> None:
    """It is being started again already."""
    events = Events()
    async with supervised(Missing(), events) as supervisor:
        await events.wait_for("down", 0)
        supervisor.restart(0)
        supervisor.restart(7)
        assert supervisor.pids == {}


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit(1)", "os.kill(os.getpid(), 9)"])
async def test_server_that_ends_by_itself_is_started_again(end: str) -> None:
    """It does not matter how it ended. Here its first life is short, and the second one lasts."""
    events = Events()
    script = f"{LISTENS}\nif LIFE == 1: {end}\n{WAITS}"
    async with supervised(Scripts(script), events):
        await events.wait_for("up", 0, "127.0.0.1:7000", times=2)
    assert events.told[:3] == [
        ("up", 0, "127.0.0.1:7000"),
        ("down", 0),
        ("up", 0, "127.0.0.1:7000"),
    ]


@pytest.mark.parametrize(
    "said",
    ["pass", "print('listening on', flush=True)", f"print('hello', flush=True); {WAITS}"],
    ids=["nothing", "half", "another-and-lives-on"],
)
async def test_server_that_says_something_else_is_started_again(said: str) -> None:
    """Its port is not known, so it is ended and started again."""
    events = Events()
    command = Scripts(f"\nif LIFE == 1:\n  {said}\nelse: {LISTENS}{WAITS}")
    async with supervised(command, events):
        await events.wait_for("up", 0, "127.0.0.1:7000")
    assert events.told == [("down", 0), ("up", 0, "127.0.0.1:7000")]


@pytest.mark.parametrize(
    "end",
    ["sys.exit(2)", "os.close(1); import time; time.sleep(0.2); os._exit(2)"],
    ids=["at-once", "after-its-stdout"],
)
async def test_setting_that_a_server_cannot_use_is_told_once(end: str) -> None:
    """A server that exits with status 2 before it has listened is not started again, and it is not reported as down."""
    events = Events()
    command = Scripts(end)
    async with supervised(command, events, count=2) as supervisor:
        await events.wait_for("refused", times=2)
        assert supervisor.pids == {}
    assert events.told == [("refused",), ("refused",)]
    assert sorted(command.starts) == [0, 1]


async def test_status_2_of_a_server_that_had_listened_is_an_end_like_any_other() -> None:
    """Its settings were good: it is started again, also when the next life ends at once."""
    events = Events()
    script = f"\nif LIFE == 1: {LISTENS}\nif LIFE < 3: sys.exit(2)\n{LISTENS}{WAITS}"
    async with supervised(Scripts(script), events):
        await events.wait_for("up", 0, "127.0.0.1:7000", times=2)
    assert events.told == [
        ("up", 0, "127.0.0.1:7000"),
        ("down", 0),
        ("down", 0),
        ("up", 0, "127.0.0.1:7000"),
    ]


async def test_command_that_does_not_exist_is_survived() -> None:
    """It is tried again after a pause, because an operator may be installing it."""
    events = Events()
    async with supervised(Missing(), events):
        await events.wait_for("down", 0, times=2)
    assert set(events.told) == {("down", 0)}


# The end


async def test_leaving_ends_a_server_that_ignores_sigterm() -> None:
    """All servers are asked to end at the same time, and killed after two seconds."""
    events = Events()
    clock = asyncio.get_running_loop()
    async with supervised(Scripts(DEAF + LISTENS + WAITS), events, count=2) as supervisor:
        for number in range(2):
            await events.wait_for("up", number, f"127.0.0.1:{7000 + number}")
        pids = list(supervisor.pids.values())
        left = clock.time()
    assert not any(lives(pid) for pid in pids)
    assert clock.time() - left < 3.9


async def test_leaving_asks_before_it_kills(tmp_path: Path) -> None:
    """This lets a server finish its work."""
    note = tmp_path / "note"
    events = Events()
    script = (
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(note)!r}, 'w').close(), os._exit(0))); "
        + LISTENS
        + WAITS
    )
    async with supervised(Scripts(script), events):
        await events.wait_for("up", 0, "127.0.0.1:7000")
    assert note.exists()


async def test_leaving_ends_a_server_that_has_not_listened_yet() -> None:
    """It is still starting."""
    events = Events()
    async with asyncio.timeout(10), supervised(Scripts(WAITS), events) as supervisor:
        while not supervisor.pids:  # noqa: ASYNC110 - nothing is told before it listens
            await asyncio.sleep(0.001)
        pid = supervisor.pids[0]
    assert not lives(pid)
    assert events.told == []


async def test_leaving_ends_the_pause_before_a_restart() -> None:
    """Nothing is started after that."""
    events = Events()
    command = Scripts("sys.exit(1)")
    async with supervised(command, events):
        await events.wait_for("down", 0)
    assert command.starts == [0]
    assert events.told == [("down", 0)]


PARENT = """
import asyncio, sys
from enlarger.pool.supervisor import Supervisor

class Command:
    environment = {}
    def arguments(self, number, *, again):
        return [sys.executable, "-c", sys.argv[1]]

async def main():
    up = asyncio.Event()
    told = dict(on_up=lambda *_: up.set(), on_down=print, on_refused=print)
    async with Supervisor(Command(), 1, **told):
        await up.wait()
        print("up", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_server_reads_the_end_of_its_stdin_when_we_are_gone(tmp_path: Path) -> None:
    """Its stdin stays open as long as its supervisor lives: here a process of its own, killed."""
    note = tmp_path / "note"
    server = f"import sys; NUMBER = 0; {LISTENS}{WAITS}; open({str(note)!r}, 'w').close()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, server, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while (line := await process.stdout.readline()) != b"up\n":
            assert line
        assert not note.exists()
        process.kill()
        await process.wait()
        while not note.exists():  # noqa: ASYNC110 - it is no child of ours, so nobody tells us
            await asyncio.sleep(0.01)


# Devices that are lost


async def test_server_whose_device_is_lost_three_times_stays_out() -> None:
    """It is restarted twice. What is told in the end names the server."""
    command = Scripts("import sys; print('listening on port 1', flush=True); sys.exit(75)")
    out = asyncio.Event()
    downs: list[int] = []
    supervisor = Supervisor(
        command,
        1,
        on_up=lambda number, address: None,
        on_down=downs.append,
        on_refused=lambda: None,
        on_out=lambda number: out.set(),
    )
    with capture_logs() as logs:
        async with supervisor:
            async with asyncio.timeout(60):
                await out.wait()
            await asyncio.sleep(0.5)
    assert downs == [0, 0, 0]
    assert [entry["server"] for entry in logs if entry["event"] == "device_given_up"] == [
        "server-0"
    ]


# The command line of a model server


def test_servers_get_the_ports_after_the_first() -> None:
    """Server 2 of base port 5002 listens on 5004."""
    command = ServerCommand(base_port=5002, threads=3, environment={})
    first = command.arguments(2, again=False)
    assert first == [
        sys.executable,
        "-m",
        "enlarger",
        "model-server",
        "--port",
        "5004",
        "--threads",
        "3",
        "--exit-with-parent",
        "--name",
        "server-2",
        "--device",
        "cpu",
    ]
    assert command.arguments(2, again=True) == [*first, "--ready-at-once"]


def test_each_server_has_its_device() -> None:
    """Each GPU has one server. The others use the CPU."""
    command = ServerCommand(0, threads=1, environment={}, devices=("vulkan:0", "cpu"))
    found = [command.arguments(number, again=False) for number in range(2)]
    assert [one[one.index("--device") + 1] for one in found] == ["vulkan:0", "cpu"]


@pytest.mark.parametrize("number", [0, 3])
def test_base_port_0_lets_each_server_take_a_free_one(number: int) -> None:
    """This holds for each number of a server."""
    arguments = ServerCommand(base_port=0, threads=1, environment={}).arguments(number, again=False)
    assert arguments[arguments.index("--port") + 1] == "0"
