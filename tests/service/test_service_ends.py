"""How a real service starts and ends, and what it leaves behind."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from running import RunningService
from support.pictures import encoded, noise
from support.real_services import (
    BEST,
    GIVE_UP_S,
    QUICK,
    SERVERS,
    alive,
    logged,
    until,
    working,
)

from enlarger.geometry.rect import Pixels


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Five model servers, which may fetch from this machine."""
    settings = environment | {"NUM_SERVERS": str(SERVERS), "ENLARGER_FETCH": "127.0.0.1"}
    with RunningService(tmp_path_factory.mktemp("service"), settings) as service:
        yield service


@pytest.fixture
def alone(environment: dict[str, str], tmp_path: Path) -> RunningService:
    """One model server, not started yet: for tests that end it."""
    # What runs may take minutes on a busy machine.
    return RunningService(tmp_path, environment | {"NUM_SERVERS": "1", "ENLARGER_DRAIN": "600"})


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_results_are_removed_in_time(environment: dict[str, str], tmp_path: Path) -> None:
    """The background task removes what is too old, leaves what is not ours, and says what it did."""
    settings = {"NUM_SERVERS": "1", "FILE_MAX_AGE": "1", "CLEANUP_INTERVAL": "0.2"}
    with RunningService(tmp_path, environment | settings) as service:
        stranger = tmp_path / "uploads" / "holiday.png"
        stranger.write_bytes(b"mine")
        os.utime(stranger, (0, 0))
        _, answer = service.upscale(encoded(noise(5, 5, 3)), model="nearest")
        path = tmp_path / answer["file_path"]
        assert path.exists()
        until(lambda: not path.exists())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(service.url + answer["url"])
        assert refused.value.code == 404
        refused.value.close()
        assert stranger.read_bytes() == b"mine"
        until(lambda: '"sweep_done"' in service.log.read_text())


def test_sigterm_finishes_what_runs(alone: RunningService, photo: Pixels) -> None:
    """The running request is answered, a new one is refused, and the process ends with status 0."""
    with alone as service, ThreadPoolExecutor(1) as threads:
        children = descendants(service.process.pid)
        asked = threads.submit(service.upscale, encoded(photo), scale=4, model=QUICK)
        until(lambda: working(service))
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.get("/health")[0] == 503)
        status, refusal = service.upscale(encoded(photo[:8, :8]), model="nearest")
        assert (status, refusal["code"]) == (503, "draining")
        status, answer = asked.result()
        assert (status, answer["upscaled_size"]["width"]) == (200, 2048)
        assert service.process.wait(GIVE_UP_S) == 0
        until(lambda: not any(alive(child) for child in children))
    lines = logged(service)
    draining = [line["process"] for line in lines if line["event"] == "draining"]
    assert sorted(draining) == ["gateway", "server-0"]
    assert {line["process"] for line in lines} == {"gateway", "server-0"}
    assert [line["server"] for line in lines if line["event"] == "server_started"] == ["server-0"]


def test_level_of_the_log_holds_for_all_processes(alone: RunningService, photo: Pixels) -> None:
    """Tiles at model servers, and probes of the gateway, have lines at the level debug."""
    alone.environment = {**alone.environment, "ENLARGER_LOG_LEVEL": "debug"}
    with alone as service:
        service.upscale(encoded(photo[:8, :8]), model=QUICK)
        assert service.get("/livez")[0] == 200
    lines = [line for line in logged(service) if line["event"] == "request"]
    assert {("server-0", "/tiles"), ("server-0", "/ready"), ("gateway", "/livez")} <= {
        (line["process"], line["path"]) for line in lines
    }


@pytest.mark.alone
@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]],
    ids=["ctrl-c", "second-sigterm", "ctrl-c-while-draining"],
)
def test_impatient_end_takes_less_than_5_seconds(
    alone: RunningService, photo: Pixels, signals: list[signal.Signals]
) -> None:
    """Ctrl-C, or a second signal, ends everything at once, also in the middle of a long picture."""
    with alone as service, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(service.upscale, encoded(photo), model=BEST)
        until(lambda: working(service))
        children = descendants(service.process.pid)
        assert children
        started = time.monotonic()
        first, *second = signals
        service.process.send_signal(first)
        for number in second:
            until(lambda: service.get("/health")[0] == 503)  # else the two would be one
            service.process.send_signal(number)
        service.process.wait(5)
        until(lambda: not any(alive(child) for child in children), give_up_s=5)
        assert time.monotonic() - started < 5
        assert isinstance(asked.exception(), (OSError, http.client.HTTPException, ValueError))
        # What was dropped as the operator wished is no fault.
        assert not {"internal_error", "library", "uncaught"} & {
            line["event"] for line in logged(service)
        }


def test_no_process_outlives_a_killed_gateway(alone: RunningService, photo: Pixels) -> None:
    """After ``kill -9`` of the gateway its model servers and decoders end by themselves, busy or not."""
    with alone as service, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(service.upscale, encoded(photo), model=BEST)
        until(lambda: working(service))
        children = descendants(service.process.pid)
        assert len(children) >= 2  # a model server and a decoder
        service.process.kill()
        until(lambda: not any(alive(child) for child in children), give_up_s=10)
        assert isinstance(asked.exception(), (OSError, http.client.HTTPException, ValueError))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it must be able to read its stdin")
def test_stopped_model_server_does_not_outlive_a_killed_gateway(alone: RunningService) -> None:
    """Nor does one that is stuck in native code: it cannot notice by itself that its gateway is gone."""
    with alone as service:
        (entry,) = service.get("/status")[1]["servers"]
        assert entry["state"] == "ready"
        servers = [child for child in descendants(service.process.pid) if is_model_server(child)]
        assert servers
        for server in servers:
            os.kill(server, signal.SIGSTOP)
        service.process.kill()
        until(lambda: not any(alive(server) for server in servers), give_up_s=10)


def is_model_server(pid: int) -> bool:
    """Whether that process was started as one."""
    return b"model-server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_servers_of_somebody_else_may_come_later(
    alone: RunningService, environment: dict[str, str]
) -> None:
    """Without a model server the gateway answers 503 with ``Retry-After``; once one starts, 200, with no restart."""
    port, server_port = free_port(), free_port()
    service = replace(
        alone,
        environment=environment | {"ENLARGER_SERVERS": f"127.0.0.1:{server_port}"},
        arguments=["--port", str(port)],
        announced=False,
    )
    service.url = f"http://127.0.0.1:{port}"
    picture = encoded(noise(5, 5, 3))

    def health() -> int:
        try:
            return service.get("/health")[0]
        except OSError:
            return 0

    with service:
        until(lambda: health() == 503)
        until(lambda: service.get("/health")[1]["reason"] == "no_engine_ready")
        status, answer = service.upscale(picture, model="nearest")
        assert (status, answer["code"], answer["retryable"]) == (503, "no_engine_ready", True)
        command = [sys.executable, "-m", "enlarger", "model-server", "--port", str(server_port)]
        server = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: health() == 200)
            assert service.upscale(picture, model="nearest")[0] == 200
        finally:
            server.terminate()
            server.wait()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUM_SERVERS", "none"),
        ("BASE_PORT", "99999"),
        ("MAX_FILE_SIZE", "7MB"),
        ("ENLARGER_SERVERS", "localhost"),
        ("UPLOAD_FOLDER", "/proc/results"),
        ("ENLARGER_APIKEYS", "enl_secret"),
        ("ENLARGER_FETCH", "yes"),
    ],
)
def test_wrong_setting_stops_the_start(
    name: str, value: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """One line that names the variable, and exit status 2."""
    ended = subprocess.run(
        [sys.executable, "-m", "enlarger", "serve", "--port", "0"],
        env={**os.environ, **environment, name: value},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )
    assert ended.returncode == 2
    assert re.fullmatch(rf"enlarger: {name}: .+\n", ended.stderr)
    assert "secret" not in ended.stderr


def test_start_says_what_may_be_fetched(service: RunningService) -> None:
    """In words, so that a rule that was understood otherwise is noticed."""
    events = [json.loads(line) for line in service.log.read_text().splitlines() if line[:1] == "{"]
    assert [event["allowed"] for event in events if event["event"] == "fetching"] == [
        "public addresses on ports 80 and 443; host 127.0.0.1 on any port, whatever its address is"
    ]


@pytest.mark.parametrize("variable", ["--port", "BASE_PORT"])
def test_taken_port_stops_the_start(
    variable: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """A port that is in use is named, with what to do about it: another one, or 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"--port": "0", "BASE_PORT": "0", variable: str(port)}
        ended = subprocess.run(
            [sys.executable, "-m", "enlarger", "serve", "--port", ports["--port"]],
            env={**os.environ, **environment, "BASE_PORT": ports["BASE_PORT"]},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=GIVE_UP_S,
            check=False,
        )
    assert ended.returncode == 2
    assert re.fullmatch(
        rf"enlarger: {variable}: cannot listen on 127.0.0.1:{port}: .+; .+\b0\b.+\n", ended.stderr
    )
