"""How a server begins and ends: an address, a drain, a signal."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from support.model_servers import Connection

from enlarger.asgi.server import Lifecycle, bind
from enlarger.errors import ConfigError

END_S = 5
"""Within this the end comes, once nothing is waited for any more."""


# An address


def test_port_0_takes_a_free_port() -> None:
    """Two of them differ, and both are connected to at once."""
    with bind("127.0.0.1", 0, variable="--port") as one, bind("127.0.0.1", 0, variable="x") as two:
        ports = {listener.getsockname()[1] for listener in (one, two)}
        assert len(ports - {0}) == 2
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_port_can_be_had_again_at_once() -> None:
    """A server that is restarted need not wait until the system forgets its last connections."""
    with bind("127.0.0.1", 0, variable="--port") as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=5)
        listener.setblocking(True)
        accepted, _ = listener.accept()
        accepted.close()  # the server closes first, so the connection lingers on its side
        client.close()
    bind("127.0.0.1", port, variable="--port").close()


@pytest.mark.parametrize(
    ("ways_out", "shown"),
    [
        ({}, "name another port, or 0 for a free one"),
        ({"way_out": "set 0"}, "set 0"),
    ],
)
def test_port_that_is_taken_is_an_error_that_names_the_setting(
    ways_out: dict[str, str], shown: str
) -> None:
    """The address, and what to do about it."""
    with bind("127.0.0.1", 0, variable="--port") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"^BASE_PORT: cannot listen on 127.0.0.1:{port}: .+; {shown}$"
        ):
            bind("127.0.0.1", port, variable="BASE_PORT", **ways_out)


@pytest.mark.parametrize(
    ("host", "port", "variable"),
    [
        ("127.0.0.1", 65536, "BASE_PORT"),
        ("127.0.0.1", -1, "BASE_PORT"),
        ("192.0.2.1", 0, "--host"),
        ("2001:db8::1", 0, "--host"),
        ("ü..example", 0, "--host"),
    ],
)
def test_address_that_cannot_be_used_is_an_error_that_names_what_is_wrong(
    host: str, port: int, variable: str
) -> None:
    """The port, or the host, whichever it is; with a reason and a way out behind it."""
    with pytest.raises(ConfigError) as refusal:
        bind(host, port, variable="BASE_PORT")
    before, _, reason = str(refusal.value).partition(
        f"{variable}: cannot listen on {host}:{port}: "
    )
    assert before == ""
    assert re.fullmatch(r"\w.+; name an.+", reason)


# A drain


class Request:
    """A request of a counted application, which lasts until it is let go."""

    def __init__(self, service: Lifecycle) -> None:
        self.runs = asyncio.Event()
        self.may_end = asyncio.Event()

        async def app(*_: object) -> None:
            self.runs.set()
            await self.may_end.wait()

        self.task = asyncio.create_task(self._ask(service, app))

    @staticmethod
    async def _ask(service: Lifecycle, app: object) -> None:
        counted = service.counting(app)  # type: ignore[arg-type]
        await counted({"type": "http"}, None, None)

    async def end(self) -> None:
        """Answer it."""
        self.may_end.set()
        await self.task


async def settled() -> None:
    """Let all tasks run as far as they come: nothing here waits for anything outside."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_drain_without_work_stops_at_once() -> None:
    """However long the work might have taken."""
    service = Lifecycle(drain_s=1000)
    assert not service.draining
    service.drain()
    assert service.draining
    async with asyncio.timeout(END_S):
        await service.stopped()


async def test_drain_waits_for_the_last_request() -> None:
    """It stops when that one is done."""
    service = Lifecycle(drain_s=1000)
    first, second = Request(service), Request(service)
    await asyncio.gather(first.runs.wait(), second.runs.wait())
    stopped = asyncio.create_task(service.stopped())
    service.drain()
    await first.end()
    await settled()
    assert service.draining
    assert not stopped.done()
    await second.end()
    async with asyncio.timeout(END_S):
        await stopped


async def test_drain_ends_with_its_time() -> None:
    """A request that takes longer is dropped."""
    service = Lifecycle(drain_s=0.05)
    endless = Request(service)
    await endless.runs.wait()
    service.drain()
    async with asyncio.timeout(END_S):
        await service.stopped()
    assert not endless.task.done()
    await endless.end()


async def test_second_drain_stops_now() -> None:
    """A second signal means that the operator does not want to wait."""
    service = Lifecycle(drain_s=1000)
    endless = Request(service)
    await endless.runs.wait()
    stopped = asyncio.create_task(service.stopped())
    service.drain()
    await settled()
    assert not stopped.done()
    service.drain()
    async with asyncio.timeout(END_S):
        await stopped
    await endless.end()


async def test_failed_and_cancelled_requests_do_not_hold_up_a_drain() -> None:
    """They are over as those that were answered."""
    service = Lifecycle(drain_s=1000)

    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await service.counting(broken)({"type": "http"}, None, None)
    cancelled = Request(service)
    await cancelled.runs.wait()
    cancelled.task.cancel()
    await asyncio.wait({cancelled.task})
    service.drain()
    async with asyncio.timeout(END_S):
        await service.stopped()


async def test_stop_takes_nothing_new() -> None:
    """It is a drain without waiting."""
    service = Lifecycle(drain_s=1000)
    service.stop()
    assert service.draining
    async with asyncio.timeout(END_S):
        await service.stopped()


# A signal, to a process of its own


SERVER = """
import asyncio, sys
from enlarger.asgi.server import Lifecycle, bind, serve

service = Lifecycle(drain_s=float(sys.argv[1]))
released = asyncio.Event()

async def answer(send, body):
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/hold":
        print("held", flush=True)
        await released.wait()
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"event", "more_body": True})
            await asyncio.sleep(0.01)
    if scope["path"] == "/release":
        released.set()
    await answer(send, b"draining" if service.draining else b"serving")

async def main():
    listener = bind("127.0.0.1", 0, variable="--port")
    port = listener.getsockname()[1]
    serving = asyncio.create_task(
        serve(app, listener=listener, service=service, idle_s=float(sys.argv[2]))
    )
    await asyncio.sleep(0)
    print(port, flush=True)
    await serving
    print("ended", flush=True)

asyncio.run(main())
"""


Start = Callable[..., Awaitable["Server"]]


class Server:
    """The process of a server, and the connections to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, stack: AsyncExitStack
    ) -> None:
        self._process = process
        self.port = port
        self._stack = stack

    async def asked(self, path: str) -> Connection:
        """A connection that has asked for ``path``; it stays open."""
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        self._stack.push_async_callback(connection.close)
        await connection.send("GET", path, {})
        return connection

    async def get(self, path: str) -> bytes:
        """The body of an answer, on a connection that stays open."""
        connection = await self.asked(path)
        return (await connection.answer()).body

    async def says(self, piece: bytes) -> asyncio.StreamReader:
        """What comes from a connection on which that is said again and again, until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._stack.callback(writer.close)
        while not reader.at_eof():
            writer.write(piece)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0.05)
        return reader

    async def holds_a_request(self) -> Connection:
        """The connection of a request that runs until it is released."""
        connection = await self.asked("/hold")
        assert await self._says() == "held"
        return connection

    async def drains(self) -> None:
        """It got its first signal, and says so to those who still ask."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            while await self.get("/") != b"draining":
                pass

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def ends(self) -> None:
        """It ends in good order, and in time."""
        async with asyncio.timeout(END_S):
            assert await self._process.wait() == 0
        assert await self._says() == "ended"

    async def _says(self) -> str:
        """The next of its own lines on stdout: not of its log."""
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            while True:
                line = (await self._process.stdout.readline()).decode().strip()
                if not line or line in {"held", "ended"}:
                    return line


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a server that drains for so long, and lets connections idle for so long; it is gone in the end."""
    async with AsyncExitStack() as stack:

        async def start(drain_s: float = 1000, idle_s: float = 1000) -> Server:
            times = (str(drain_s), str(idle_s))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SERVER, *times, stdout=asyncio.subprocess.PIPE
            )
            stack.push_async_callback(process.wait)
            stack.callback(kill, process)
            assert process.stdout is not None
            async with asyncio.timeout(20):
                return Server(process, int(await process.stdout.readline()), stack)

        yield start


def kill(process: asyncio.subprocess.Process) -> None:
    """End it, if it has not ended."""
    if process.returncode is None:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_server_ends_at_either_signal(start: Start, number: signal.Signals) -> None:
    """A connection that is kept alive does not hold it up."""
    server = await start()
    assert await server.get("/") == b"serving"
    server.signal(number)
    await server.ends()


async def test_sigterm_finishes_the_running_request(start: Start) -> None:
    """Others are still answered until then, so that probes see that it drains."""
    server = await start()
    held = await server.holds_a_request()
    await server.drains()
    assert await server.get("/release") == b"draining"
    assert (await held.answer()).body == b"draining"
    await server.ends()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_ends_at_once(start: Start, number: signal.Signals) -> None:
    """Although a request runs and connections are open: within five seconds, the contract says."""
    server = await start()
    held = await server.holds_a_request()
    await server.drains()
    server.signal(number)
    await server.ends()
    assert b" 200 " not in await held.reader.read()


async def test_ctrl_c_ends_at_once(start: Start) -> None:
    """Without a drain before it."""
    server = await start()
    held = await server.holds_a_request()
    server.signal(signal.SIGINT)
    await server.ends()
    assert b" 200 " not in await held.reader.read()


@pytest.mark.parametrize(
    ("drain_s", "signals"),
    [(0.1, [signal.SIGTERM]), (1000, [signal.SIGTERM, signal.SIGTERM]), (1000, [signal.SIGINT])],
)
async def test_open_stream_does_not_hold_the_server(
    start: Start, drain_s: float, signals: list[signal.Signals]
) -> None:
    """An endless stream of events whose client reads everything is cut when the drain time is over, or at once after a second signal."""
    server = await start(drain_s)
    stream = await server.asked("/stream")
    assert b"event" in await stream.reader.readuntil(b"event")
    for number in signals:
        server.signal(number)
        await asyncio.sleep(0.2)  # two signals of one kind at the same moment are one
    await server.ends()


async def test_end_of_the_drain_time_ends_the_server(start: Start) -> None:
    """Although a request runs."""
    server = await start(0.1)
    await server.holds_a_request()
    server.signal(signal.SIGTERM)
    await server.ends()


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["silent", "dripping headers"])
async def test_connection_without_a_request_is_closed_in_time(start: Start, piece: bytes) -> None:
    """Nothing is said, or headers that do not end; a request that runs takes as long as it takes."""
    server = await start(idle_s=0.4)
    held = await server.holds_a_request()
    async with asyncio.timeout(END_S):
        assert await (await server.says(piece)).read() == b""
    await server.get("/release")
    assert (await held.answer()).body == b"serving"


async def test_nothing_holds_a_process_that_has_closed() -> None:
    """A thread that does not end, as one that waits for a dead disk; the exit status is as it would have been."""
    code = (
        "import threading; from enlarger.asgi.server import end_surely; "
        "threading.Thread(target=threading.Event().wait).start(); end_surely(7, within_s=0.2)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(10 * END_S):
        assert await process.wait() == 7


# Open files

MANY = 80
"""More connections than a process with 64 open files accepts."""

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"

HELD = "held = [open('/dev/null') for _ in range(34)]"
"""Files that are no connections: more than half of those allowed."""


async def started(stack: AsyncExitStack, program: str) -> tuple[asyncio.subprocess.Process, Server]:
    """Start a server whose stdout and stderr are read, until the end of the stack."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{program}\n{SERVER}", "1000", "1000"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stack.push_async_callback(process.wait)
    stack.callback(kill, process)
    assert process.stdout is not None
    return process, Server(process, int(await process.stdout.readline()), stack)


async def check_recovery(process: asyncio.subprocess.Process, server: Server, event: bytes) -> None:
    """Check that the server answers again, and has logged the event a few times at most and nothing else."""
    async with asyncio.timeout(20):
        while await server.get("/") != b"serving":
            pass
    server.signal(signal.SIGTERM)
    async with asyncio.timeout(END_S):
        later, errors = await process.communicate()
    assert later.count(event) <= 3
    assert errors == b""


async def test_connections_use_half_of_the_open_files() -> None:
    """Further ones are refused in words, so that the files that a picture needs can be opened."""
    async with AsyncExitStack() as stack:
        process, server = await started(stack, LIMITED)
        async with AsyncExitStack() as clients:
            answers, body = [], b""
            for _ in range(MANY):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                clients.callback(writer.close)
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                async with asyncio.timeout(20):
                    answers.append(await reader.readuntil(b"\r\n\r\n"))
                    body = await reader.read(100)
            statuses = [int(answer.split()[1]) for answer in answers]
            assert statuses == [200] * 32 + [503] * (MANY - 32)
            assert b"retry-after: 5" in answers[-1]
            assert b"the server has too many files" in body
        await asyncio.sleep(0.5)
        await check_recovery(process, server, b"connections_refused")


async def test_server_without_open_files_logs_little_and_recovers() -> None:
    """It logs the problem once and then at growing intervals, not for each attempt of each second."""
    async with AsyncExitStack() as stack:
        process, server = await started(stack, f"{LIMITED}\n{HELD}")
        async with AsyncExitStack() as clients:
            for _ in range(MANY):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                clients.callback(writer.close)
            async with asyncio.timeout(20):
                assert process.stdout is not None
                first = await process.stdout.readline()
            assert b"connections_not_accepted" in first
            await asyncio.sleep(3)  # asyncio tries again each second
        await check_recovery(process, server, b"connections_not_accepted")
