"""The ports of model servers are checked before anything is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from enlarger import config
from enlarger.asgi.server_ports import check_server_port
from enlarger.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_settings")


def test_port_that_another_program_has() -> None:
    """The setting is named, and how many ports are used."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        pool = config.load(base_port=port, num_servers=1).pool
        with pytest.raises(ConfigError, match=r"^BASE_PORT: cannot listen on .* 1 in a row"):
            check_server_port(port, pool, gateway_port=port + 1)
    check_server_port(port, pool, gateway_port=port + 1)


def test_no_ports_are_checked_that_nothing_uses() -> None:
    """Free ones are taken, or the model servers run elsewhere, or there are none."""
    assert list(config.load(base_port=7000, num_servers=2).pool.server_ports) == [7000, 7001]
    for other in ({"base_port": 0}, {"servers": "10.0.0.7:5002"}, {"engine": "ray"}):
        assert not config.load(num_servers=2, **other).pool.server_ports


def test_gateway_refuses_a_port_of_its_model_servers(tmp_path: Path) -> None:
    """By a line that names both options, with the status of a wrong option, before a model server is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-m", "enlarger", "serve", "--port", str(port)],
        cwd=tmp_path,
        env=os.environ | {"BASE_PORT": str(port), "NUM_SERVERS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"enlarger: --port: {port} is one of the ports {port} to {port}" in done.stderr
    assert "set BASE_PORT to another one" in done.stderr
