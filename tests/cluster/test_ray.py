"""A gateway on a real Ray cluster of three nodes: real processes and sockets, replicas with the real weights.

One replica fits on each node. The pictures use a tiny network, so that the time is that of the way and not of computing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.pictures import encoded, noise
from support.ray_nodes import RayNodes

pytestmark = pytest.mark.cluster

PICTURES = 100
AT_ONCE = 6


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """Three nodes with a CPU each."""
    if find_spec("ray") is None:
        reason = "Ray is not installed: make cluster-test installs it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with RayNodes(tmp_path_factory.mktemp("ray") / "ray.log", (1, 1, 1)) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def settings(environment: dict[str, str], nodes: RayNodes) -> dict[str, str]:
    """Settings of every program here."""
    return environment | nodes.environment


def enlarger(
    *arguments: str, settings: dict[str, str], check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(
        [sys.executable, "-m", "enlarger", *arguments],
        env={**os.environ, **settings, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def deployed(settings: dict[str, str]) -> str:
    """Three replicas; what ``deploy`` printed."""
    three = ("--min-replicas", "3", "--max-replicas", "3")
    return enlarger("ray", "deploy", *three, settings=settings).stdout


@pytest.fixture(scope="module")
def gateway(
    deployed: str, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A gateway of that cluster."""
    with RunningService(
        tmp_path_factory.mktemp("gateway"), settings, arguments=("--engine", "ray")
    ) as gateway:
        yield gateway


def replicas(settings: dict[str, str]) -> list[dict[str, Any]]:
    """The replicas of our one application."""
    state = json.loads(enlarger("ray", "status", "--json", settings=settings).stdout)
    (application,) = state["applications"]
    return list(application["replicas"])


def until(condition: Callable[[], bool], *, within_s: float = 240) -> None:
    """Wait until it holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not become so in time"
        time.sleep(1)


def upscaled(
    gateway: RunningService, picture: bytes, *, model: str = "nearest", accept: str = "image/png"
) -> tuple[int, bytes]:
    """Status and body of a request, for the tiny network where no model is named."""
    request = urllib.request.Request(
        f"{gateway.url}/v1/upscale?scale=4&model={model}",
        picture,
        {"Content-Type": "image/png", "Cache-Control": "no-cache", "Accept": accept},
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def picture_of(side_px: int, seed: int) -> bytes:
    """A picture of noise, as PNG."""
    return encoded(noise(side_px, side_px, 3, seed=seed), "png")


def by_command_line(picture: bytes, folder: Path, settings: dict[str, str]) -> bytes:
    """What ``enlarger upscale`` makes of it."""
    source, target = folder / "in.png", folder / "out.png"
    source.write_bytes(picture)
    target.unlink(missing_ok=True)
    options = ("--model", "nearest", "--scale", "4")
    enlarger("upscale", str(source), str(target), *options, settings=settings)
    return target.read_bytes()


def test_deploy_shows_the_replicas(deployed: str) -> None:
    """A line for each, with its node and device."""
    assert deployed.count("enlarger-cpu") == 3
    assert deployed.count("running") == 3
    assert deployed.count("cpu  ") >= 3


def test_tiles_of_one_picture_are_computed_on_all_nodes(
    gateway: RunningService, settings: dict[str, str], tmp_path: Path
) -> None:
    """The picture is that of the command line, and each node has computed some of it.

    Ray Serve draws two replicas for each call and takes the one with fewer, so that rarely one has none of six calls.
    """
    picture = picture_of(1024, seed=1)
    status, body = upscaled(gateway, picture)
    assert status == 200
    assert body == by_command_line(picture, tmp_path, settings)

    def done() -> dict[str, int]:
        """Tiles that each replica says it has computed."""
        return {one["id"]: one["tiles_done"] for one in replicas(settings)}

    def is_spread() -> bool:
        """Upscale it once more; return whether each replica has computed some of it."""
        before = done()
        status, body = upscaled(gateway, picture, accept="application/json")
        assert status == 200
        tiles = json.loads(body)["tiles"]["total"]
        assert tiles >= 6
        until(lambda: sum(done().values()) >= sum(before.values()) + tiles)
        return all(now > before[replica] for replica, now in done().items())

    assert any(is_spread() for _ in range(4))
    assert len({one["node"] for one in replicas(settings)}) == 3
    status, shown = gateway.get("/status")
    assert (status, shown["model_servers_ready"]) == (200, 3)
    assert all(one["name"].startswith("cpu-") for one in shown["servers"])


def test_lost_node_costs_no_picture(
    gateway: RunningService, nodes: RayNodes, settings: dict[str, str], tmp_path: Path
) -> None:
    """A hundred pictures, and a node that loses power in the middle: each is right."""
    pictures = [picture_of(128, seed=seed) for seed in range(4)]
    right = [by_command_line(picture, tmp_path, settings) for picture in pictures]
    begun = threading.Semaphore(0)

    def one(number: int) -> bool:
        begun.release()
        return upscaled(gateway, pictures[number % 4]) == (200, right[number % 4])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        results = [threads.submit(one, number) for number in range(PICTURES)]
        for _ in range(PICTURES // 3):
            begun.acquire()
        nodes.remove(2)
        assert [result.result() for result in results].count(True) == PICTURES
    nodes.add()
    until(lambda: len(replicas(settings)) == 3)


def test_callers_that_leave_leave_nothing_running(
    gateway: RunningService, settings: dict[str, str]
) -> None:
    """Sixty callers hang up; a moment later no replica computes, and the next picture is made."""
    picture = picture_of(512, seed=3)

    def leave(_: int) -> None:
        request = urllib.request.Request(
            f"{gateway.url}/v1/upscale?scale=4&model=realesr-animevideov3",
            picture,
            {"Content-Type": "image/png", "Cache-Control": "no-cache"},
        )
        with pytest.raises((TimeoutError, urllib.error.URLError)):
            urllib.request.urlopen(request, timeout=0.5)

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(leave, range(60)))
    until(lambda: not any(one["tiles_in_flight"] for one in replicas(settings)), within_s=60)
    _, shown = gateway.get("/status")
    assert shown["queue"]["requests"] == 0
    assert upscaled(gateway, picture_of(64, seed=4))[0] == 200


def test_full_cluster_refuses_instead_of_letting_callers_wait(
    gateway: RunningService, settings: dict[str, str], tmp_path: Path
) -> None:
    """One gateway keeps all replicas busy: callers of another one hear of it within their deadline."""
    photo = picture_of(512, seed=5)
    hurried = settings | {"ENLARGER_DEADLINE": "15"}
    with RunningService(tmp_path, hurried, arguments=("--engine", "ray")) as other:
        stop = threading.Event()

        def load(_: int) -> None:
            while not stop.is_set():
                request = urllib.request.Request(
                    f"{gateway.url}/v1/upscale?scale=4&model=realesrgan-x4plus",
                    photo,
                    {"Content-Type": "image/png", "Cache-Control": "no-cache"},
                )
                try:
                    urllib.request.urlopen(request, timeout=5)
                except OSError:
                    time.sleep(0.1)

        with ThreadPoolExecutor(8) as threads:
            work = [threads.submit(load, number) for number in range(8)]
            time.sleep(5)
            began = time.monotonic()
            answers = [upscaled(other, picture_of(64, seed=seed))[0] for seed in range(3)]
            took_s = time.monotonic() - began
            stop.set()
            for one in work:
                one.result()
    assert set(answers) <= {200, 503, 504}
    assert took_s < 3 * 15 + 10


def test_gateways_have_equal_shares(
    gateway: RunningService, settings: dict[str, str], tmp_path: Path
) -> None:
    """One that comes when another one has filled all replicas does not wait for it."""
    picture = picture_of(64, seed=7)
    done: Counter[str] = Counter()
    stop = threading.Event()

    def load(service: RunningService) -> None:
        """Send one picture after the other, and count those that are done while both gateways are busy."""
        while not stop.is_set():
            status, _ = upscaled(service, picture, model="realesrgan-x4plus")
            assert status in (
                200,
                202,
            )  # the latter if this machine needs longer than a request waits
            done[service.url] += status == 200

    with (
        RunningService(tmp_path, settings, arguments=("--engine", "ray")) as other,
        ThreadPoolExecutor(24) as threads,
    ):
        work = [threads.submit(load, gateway) for _ in range(12)]
        time.sleep(5)
        work += [threads.submit(load, other) for _ in range(12)]
        until(lambda: done[other.url] >= 6)
        done.clear()
        until(lambda: done.total() >= 40)
        counted = dict(done)
        stop.set()
        for one in work:
            one.result()
    assert 0.5 <= counted[gateway.url] / counted[other.url] <= 2, counted


def test_update_under_load_fails_nothing(
    gateway: RunningService, settings: dict[str, str], tmp_path: Path
) -> None:
    """``deploy`` with other settings replaces each replica, and starts the new one first."""
    picture = picture_of(64, seed=6)
    right = by_command_line(picture, tmp_path, settings)
    before = {one["id"] for one in replicas(settings)}
    stop = threading.Event()
    failed: list[int] = []
    made: list[int] = []

    def load() -> None:
        while not stop.is_set():
            answer = upscaled(gateway, picture)
            (made if answer == (200, right) else failed).append(answer[0])

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        more = settings | {"ENLARGER_LOG_LEVEL": "warning"}
        two = ("--min-replicas", "2", "--max-replicas", "2")
        enlarger("ray", "deploy", *two, settings=more)
        until(lambda: not before & {one["id"] for one in replicas(settings)})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert made
    assert not failed


def test_replicas_follow_the_load(
    gateway: RunningService, settings: dict[str, str], tmp_path: Path
) -> None:
    """One replica becomes several under a load, and one again after it; no picture fails."""
    path = tmp_path / "growing.yaml"
    growing = ("--min-replicas", "1", "--max-replicas", "3", "--write", str(path))
    enlarger("ray", "deploy", *growing, settings=settings)
    quick = path.read_text().replace("upscale_delay_s: 10", "upscale_delay_s: 1")
    path.write_text(quick.replace("downscale_delay_s: 300", "downscale_delay_s: 5"))
    enlarger("ray", "deploy", "--config", str(path), settings=settings)
    until(lambda: len(replicas(settings)) == 1)
    stop, answers = threading.Event(), []
    # The tiny network would be no load: the gateway's own work would be the larger part of it.
    picture, model = picture_of(128, seed=7), "realesr-animevideov3"

    def load() -> None:
        while not stop.is_set():
            answers.append(upscaled(gateway, picture, model=model)[0])

    threads = [threading.Thread(target=load) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(replicas(settings)) >= 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    until(lambda: len(replicas(settings)) == 1)
    assert answers
    assert set(answers) == {200}


def test_caller_without_the_token_is_refused(nodes: RayNodes, settings: dict[str, str]) -> None:
    """The error names the variable, and nothing was deployed or shown."""
    done = enlarger("ray", "status", settings=settings | {"RAY_AUTH_TOKEN": "0" * 64}, check=False)
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN" in done.stderr
    assert not done.stdout


def test_down_removes_what_was_deployed(settings: dict[str, str], deployed: str) -> None:
    """It is the last test: afterwards there is nothing to show."""
    assert "removed enlarger-cpu" in enlarger("ray", "down", settings=settings).stderr

    def is_gone() -> bool:
        done = enlarger("ray", "status", settings=settings, check=False)
        return done.returncode == 1 and "enlarger ray deploy" in done.stderr

    until(is_gone)
