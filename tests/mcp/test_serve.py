"""How ``enlarger mcp`` ends: at once, with the status that shells expect, and without its temporary folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.pictures import encoded, skimage_photo

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}}


@contextmanager
def started(
    folder: Path, environment: dict[str, str], *options: str
) -> Iterator[subprocess.Popen[str]]:
    """A process that may use a folder, and whose temporary files lie in ``tmp`` beside it."""
    (folder.parent / "tmp").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "enlarger", "mcp", "--allow", str(folder), *options],
        env={**os.environ, **environment, "TMPDIR": str(folder.parent / "tmp")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], number: int, method: str, **params: Any) -> Any:
    """The result of a request over stdio."""
    assert process.stdin is not None
    assert process.stdout is not None
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    while line := process.stdout.readline():
        answer = json.loads(line)
        if answer.get("id") == number:
            return answer["result"]
    raise AssertionError("the process has ended")


def keep_a_result(process: subprocess.Popen[str], folder: Path) -> None:
    """A job whose result lies in the temporary folder, and is never saved."""
    (folder / "cat.jpg").write_bytes(encoded(skimage_photo("chelsea.png")[80:120, 130:180], "JPEG"))
    said(process, 1, "initialize", **HELLO, clientInfo={"name": "a test", "version": "1"})
    wanted = {"picture": "cat.jpg", "options": {"model": "nearest"}}
    job = said(process, 2, "tools/call", name="submit_job", arguments=wanted)["structuredContent"]
    wait = {"id": job["id"], "wait_seconds": 50}
    ended = said(process, 3, "tools/call", name="job", arguments=wait)["structuredContent"]
    assert ended["state"] == "succeeded", ended
    (temporary,) = (folder.parent / "tmp").glob("enlarger-mcp-*")
    assert [path.name for path in temporary.iterdir()] == [f"{job['id']}.png"]


def check_nothing_is_left(process: subprocess.Popen[str], folder: Path) -> None:
    """Neither a temporary folder nor a traceback."""
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert list((folder.parent / "tmp").iterdir()) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that clients may use."""
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_stdio_at_once(
    number: signal.Signals, folder: Path, environment: dict[str, str]
) -> None:
    """One is enough, while the client keeps stdin open, and results that nobody saved are deleted."""
    with started(folder, environment) as process:
        keep_a_result(process, folder)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        check_nothing_is_left(process, folder)


def test_end_of_input_ends_stdio(folder: Path, environment: dict[str, str]) -> None:
    """This is how clients end the process."""
    with started(folder, environment) as process:
        keep_a_result(process, folder)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
        check_nothing_is_left(process, folder)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_http(
    number: signal.Signals, folder: Path, environment: dict[str, str]
) -> None:
    """With the status that it has over stdio."""
    with started(folder, environment, "--http", "0") as process:
        assert process.stderr is not None
        assert "http://127.0.0.1:" in process.stderr.readline()
        assert list((folder.parent / "tmp").glob("enlarger-mcp-*"))
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        check_nothing_is_left(process, folder)
