"""A real nginx or Caddy before a gateway, where it is installed, with the configuration that the documentation gives."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.places import REFERENCE
from support.stores import missing

_START_S = 30

_HTTP_API = REFERENCE / "http-api.md"


def documented_location(port: int) -> str:
    """The ``location`` of http-api.md, for a gateway on a port."""
    found = re.search(r"```nginx\n(.*?)```", _HTTP_API.read_text(), re.DOTALL)
    assert found is not None
    assert found[1].count(":8000/") == 1
    return found[1].replace(":8000/", f":{port}/")


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _nginx() -> str:
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        missing("nginx")
    assert binary is not None
    return binary


def nginx_reads(folder: Path, text: str) -> None:
    """Check that nginx accepts this text in its ``http`` block."""
    configuration = folder / "nginx.conf"
    configuration.write_text(f"pid {folder}/pid; events {{ }} http {{ access_log off; {text} }}")
    done = subprocess.run(
        [
            _nginx(),
            "-t",
            "-p",
            str(folder),
            "-c",
            str(configuration),
            "-e",
            str(folder / "error.log"),
        ],
        capture_output=True,
        text=True,
        timeout=_START_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def nginx(folder: Path, *, port: int, location: str, upstream: str = "") -> Iterator[None]:
    """Run nginx on 127.0.0.1 until the end of the block.

    Args:
        folder: all its files are there.
        port: where it listens.
        location: what it does with requests.
        upstream: the servers that ``location`` names, if there are several.
    """
    binary = _nginx()
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Its workers would be another user, to whom pytest's folders are closed.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""
        {user} daemon off; worker_processes 1; pid {folder}/pid;
        events {{ }}
        http {{
            access_log off;
            {temporary}
            {upstream}
            server {{ listen 127.0.0.1:{port}; {location} }}
        }}
        """
    )
    process = subprocess.Popen(
        [binary, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")],
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + _START_S
        while not listens(port):
            assert process.poll() is None, (folder / "error.log").read_text()
            if time.monotonic() > give_up:
                pytest.fail("nginx does not start")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(_START_S)


@contextmanager
def caddy(folder: Path, *, port: int, text: str) -> Iterator[None]:
    """One that listens on 127.0.0.1, until the end of the block.

    Args:
        folder: all its files are there.
        port: where it listens.
        text: its Caddyfile, without global options.
    """
    binary = shutil.which(
        "caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    )
    if binary is None:
        missing("caddy")
    assert binary is not None
    configuration = folder / "Caddyfile"
    configuration.write_text(f"{{\n\tadmin off\n\tpersist_config off\n}}\n{text}")
    log = folder / "caddy.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [binary, "run", "--config", str(configuration), "--adapter", "caddyfile"],
            env={**os.environ, "HOME": str(folder)},
            stdout=sink,
            stderr=sink,
        )
    try:
        give_up = time.monotonic() + _START_S
        while not listens(port):
            assert process.poll() is None, log.read_text()
            if time.monotonic() > give_up:
                pytest.fail("Caddy does not start")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(_START_S)


def listens(port: int) -> bool:
    """Whether a program listens on a port of this machine."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
