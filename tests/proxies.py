"""A real nginx before a gateway, where it is installed, with the configuration that the documentation gives."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import missing

_START_S = 30

_HTTP_API = Path(__file__).parent.parent / "docs" / "reference" / "http-api.md"


def documented_location(port: int) -> str:
    """The ``location`` of http-api.md, for a gateway on a port."""
    found = re.search(r"```nginx\n(.*?)```", _HTTP_API.read_text(), re.DOTALL)
    assert found is not None
    assert found[1].count(":8000/") == 1
    return found[1].replace(":8000/", f":{port}/")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, *, port: int, location: str) -> Iterator[None]:
    """One that listens on 127.0.0.1, until the end of the block.

    Args:
        folder: all its files are there.
        port: where it listens.
        location: what it does with requests.
    """
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        missing("nginx")
    assert binary is not None
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
        while not _listens(port):
            assert process.poll() is None, (folder / "error.log").read_text()
            if time.monotonic() > give_up:
                pytest.fail("nginx does not start")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(_START_S)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
