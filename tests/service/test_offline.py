"""Nothing phones home: the service in a network that it cannot leave, where every address would answer."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.closed_network import (
    be_every_address,
    bring_up_loopback,
    in_closed_network,
    interfaces,
)
from support.names import NameServer, system_server
from support.pictures import encoded, noise
from support.sites import Site, page

MODEL = "realesr-animevideov3"
ELSEWHERE = "telemetry.example"


async def work(folder: Path) -> dict[str, Any]:
    """Start a service, use it, stop it; what was asked of the name server and of web servers meanwhile."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(Site({"/": page()}, host="", port=port))
            for port in (80, 443)
        ]
        transport, names = await loop.create_datagram_endpoint(
            lambda: NameServer({}), (system_server(), 53)
        )
        stack.callback(transport.close)
        statuses = await asyncio.to_thread(use_service, folder)
        asked, reached = sorted(names.questions), sum(site.connections for site in sites)
        # Would it have been seen?
        await asyncio.to_thread(reach_out)
        return {
            "interfaces": sorted(interfaces()),
            "statuses": statuses,
            "asked": asked,
            "reached": reached,
            "asked_after": sorted(names.questions),
            "reached_after": sum(site.connections for site in sites),
        }


def use_service(folder: Path) -> list[int]:
    """Enlarge a picture, and ask the service how it does; the statuses."""
    with RunningService(folder, {"NUM_SERVERS": "1"}) as service:
        status, _ = service.upscale(encoded(noise(20, 30, 3)), model=MODEL)
        return [status, service.get("/health")[0], service.get("/status")[0]]


def reach_out() -> None:
    """What a program does that phones home."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(ELSEWHERE, 80)
    urllib.request.urlopen("http://93.184.215.14/").close()


@pytest.mark.parametrize(("ci", "end"), [("", "Skipped"), ("true", "Failed")])
def test_without_such_networks_ci_fails(tmp_path: Path, ci: str, end: str) -> None:
    """Elsewhere the test below is skipped. Nothing is on the search path here, ``unshare`` neither."""
    code = "from support.closed_network import in_closed_network; in_closed_network('true')"
    environment = {"PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "CI": ci}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.stderr.splitlines()[-1].startswith(f"{end}: network namespaces are not to be had")


def test_service_works_without_reaching_out(environment: dict[str, str], tmp_path: Path) -> None:
    """From its start to its end it asks for no name and connects to no web server; it could not leave anyway."""
    command = in_closed_network(sys.executable, __file__, str(tmp_path))
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        command,
        env={**os.environ, **environment, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["interfaces"] == ["lo"]
    assert found["statuses"] == [200, 200, 200]
    assert (found["asked"], found["reached"]) == ([], 0)
    assert ELSEWHERE in found["asked_after"]
    assert found["reached_after"] == 1


if __name__ == "__main__":
    bring_up_loopback()
    be_every_address()
    print(json.dumps(asyncio.run(work(Path(sys.argv[1])))))  # noqa: T201 - to the test
