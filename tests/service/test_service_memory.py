"""Large tiles come back through the gateway's memory in a real service, where the model server can reach it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.pictures import encoded
from support.real_services import QUICK, logged, logged_in, until

from enlarger.geometry.rect import Pixels
from enlarger.shared_blocks import can_share

pytestmark = pytest.mark.skipif(not can_share(), reason="only Linux has such memory")

_IN_A_CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
"""Runs a command that sees no process but its own, as in a container."""


def made(service: RunningService, picture: Pixels) -> str:
    """Return the result of a request, as base64."""
    status, answer = service.upscale(encoded(picture), scale=4, model=QUICK)
    assert status == 200, answer
    result: str = answer["base64"]
    return result


def sent_bytes(lines: list[dict[str, Any]]) -> list[int]:
    """Return the sizes of the bodies that a model server sent for tiles."""
    requests = [line for line in lines if line["event"] == "request"]
    return [line["sent_bytes"] for line in requests if line["path"] == "/tiles"]


def test_large_tiles_come_through_memory(
    environment: dict[str, str], tmp_path: Path, photo: Pixels
) -> None:
    """The model server sends no samples, and a small tile is sent as ever."""
    settings = environment | {"NUM_SERVERS": "1", "ENLARGER_LOG_LEVEL": "debug"}
    with RunningService(tmp_path, settings) as service:
        first, second = (made(service, photo[:160, :160]) for _ in range(2))
        made(service, photo[:8, :8])
    assert first == second
    *large, small = sent_bytes(logged(service))
    assert large
    assert not any(large)
    assert small == 32 * 32 * 3 * 2


@contextmanager
def in_a_container(environment: Mapping[str, str], folder: Path) -> Iterator[tuple[str, Path]]:
    """Run a model server that sees no other process; yield its address and its log."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "enlarger", "model-server", "--port", str(port)]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*_IN_A_CONTAINER, *command],
            cwd=folder,
            env={**os.environ, **environment},
            stderr=errors,
        )
    try:
        yield f"127.0.0.1:{port}", log
    finally:
        process.kill()
        process.wait()


def can_be_in_a_container() -> bool:
    """Return whether this process may start such a command."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*_IN_A_CONTAINER, "true"], capture_output=True, check=False).returncode == 0
    )


def test_server_in_another_container_sends_the_tiles(
    environment: dict[str, str], tmp_path: Path, photo: Pixels
) -> None:
    """All of their bytes, since it cannot reach the memory. The picture is the same."""
    if not can_be_in_a_container():
        pytest.skip("only root can start a process that sees no other")
    settings = environment | {"ENLARGER_LOG_LEVEL": "debug"}
    with (
        in_a_container(settings, tmp_path) as (address, log),
        RunningService(tmp_path, settings | {"ENLARGER_SERVERS": address}) as service,
    ):
        there = [made(service, photo[:160, :160]) for _ in range(2)]
        until(lambda: sum(sent_bytes(logged_in(log))) == 2 * 640 * 640 * 3 * 2)
    with RunningService(tmp_path, settings | {"NUM_SERVERS": "1"}) as service:
        here = made(service, photo[:160, :160])
    assert there == [here] * 2
