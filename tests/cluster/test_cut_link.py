"""A gateway and two nodes of a Ray cluster in networks of their own, and the cable of a node that is pulled.

Nothing says that a node is gone: its packets are lost. A removed node, whose connections end, is in ``test_ray.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.pictures import encoded, noise
from support.separate_networks import SeparateNetworks

pytestmark = pytest.mark.cluster

GATEWAY, FIRST, SECOND = range(3)
"""The networks. The head of the cluster is the gateway's, and computes nothing."""

PORT = 6379
DEADLINE_S = 120
STORE_BYTES = 150_000_000

ATTEMPTS = 4
"""A node gives up when a part of it is not there after 15 s, as on a busy machine."""

MODEL = "realesr-animevideov3"


@pytest.fixture(scope="module")
def networks() -> Iterator[SeparateNetworks]:
    """Three networks on one switch."""
    if find_spec("ray") is None:
        reason = "Ray is not installed: make cluster-test installs it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with SeparateNetworks(3) as networks:
        yield networks


@pytest.fixture(scope="module")
def settings(environment: dict[str, str], networks: SeparateNetworks) -> dict[str, str]:
    """Settings of every program here."""
    from enlarger.cluster.environment import DEFAULTS

    return {
        **environment,
        **DEFAULTS,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "ENLARGER_RAY_ADDRESS": f"{networks.address(GATEWAY)}:{PORT}",
        "ENLARGER_DEADLINE": str(DEADLINE_S),
    }


@pytest.fixture(scope="module")
def nodes(
    networks: SeparateNetworks, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The head without CPUs, and two nodes with one each, as ``docs/how-to/ray.md`` starts them."""
    head = ["--head", "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", "false"]
    join = ["--address", settings["ENLARGER_RAY_ADDRESS"], "--num-cpus", "1"]
    log = tmp_path_factory.mktemp("ray") / "ray.log"
    with contextlib.ExitStack() as stack:
        for number, arguments in ((GATEWAY, head), (FIRST, join), (SECOND, join)):
            command = [
                *networks.inside(number),
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                *("--node-ip-address", networks.address(number)),
                *("--object-store-memory", str(STORE_BYTES), *arguments),
            ]
            assert any(
                stack.enter_context(running_node(command, settings, log)) for _ in range(ATTEMPTS)
            ), log.read_text()
        yield


@contextlib.contextmanager
def running_node(command: list[str], settings: dict[str, str], log: Path) -> Iterator[bool]:
    """A node as long as the context lasts; whether it has started."""
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as lines:
        node = subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdout=lines,
            stderr=lines,
            start_new_session=True,
        )
    while not (has_started := b"Ray runtime started" in log.read_bytes()[before:]):
        if node.poll() is not None:
            break
        time.sleep(0.2)
    try:
        yield has_started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def enlarger(
    networks: SeparateNetworks, *arguments: str, settings: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command in the gateway's network."""
    return subprocess.run(
        [*networks.inside(GATEWAY), sys.executable, "-m", "enlarger", *arguments],
        env={**os.environ, **settings, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def call(url: str, body: bytes | None = None, **headers: str) -> Any:
    """The JSON of a response."""
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        return json.load(answer)


def both_compute(gateway: RunningService) -> bool:
    """Whether both nodes have tiles now."""
    servers = gateway.get("/status")[1]["servers"]
    return len(servers) == 2 and all(one["tiles_in_flight"] for one in servers)


@pytest.mark.usefixtures("nodes")
def test_picture_whose_node_is_cut_off_is_finished_on_the_other(
    networks: SeparateNetworks, settings: dict[str, str], tmp_path: Path
) -> None:
    """A cable is pulled while both nodes compute: the picture is the command line's, before its deadline."""
    two = ("--min-replicas", "2", "--max-replicas", "2")
    assert enlarger(networks, "ray", "deploy", *two, settings=settings).stdout.count("running") == 2
    picture = encoded(noise(1280, 1280, 3, seed=1), "png")  # seconds, on a fast machine, too
    host = ("--engine", "ray", "--host", networks.address(GATEWAY))
    command = (*networks.inside(GATEWAY), sys.executable, "-m", "enlarger")
    with RunningService(tmp_path, settings, command=command, arguments=host) as gateway:
        url = f"{gateway.url}/v1/jobs?scale=4&model={MODEL}"
        job = call(url, picture, **{"Content-Type": "image/png"})["id"]
        began = time.monotonic()
        shown = call(f"{gateway.url}/v1/jobs/{job}")
        while shown["progress"]["tiles_done"] < 2 or not both_compute(gateway):
            assert shown["state"] in ("queued", "running"), shown
            time.sleep(0.1)
            shown = call(f"{gateway.url}/v1/jobs/{job}")
        networks.cut(SECOND)
        while (shown := call(f"{gateway.url}/v1/jobs/{job}"))["state"] == "running":
            time.sleep(0.2)
        assert shown["state"] == "succeeded", shown
        assert time.monotonic() - began < DEADLINE_S
        assert shown["result"]["tiles"]["retried"] > 0
        with urllib.request.urlopen(f"{gateway.url}/v1/jobs/{job}/result", timeout=60) as answer:
            made = answer.read()
        # The gateway knows by now: the next picture does not wait for the lost node.
        again = call(
            f"{gateway.url}/v1/upscale?scale=4&model=nearest",
            encoded(noise(64, 64, 3, seed=2), "png"),
            **{"Content-Type": "image/png", "Accept": "application/json"},
        )
        assert again["tiles"]["retried"] == 0
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(picture)
    options = ("--model", MODEL, "--scale", "4")
    enlarger(networks, "upscale", str(source), str(target), *options, settings=settings)
    assert made == target.read_bytes()
