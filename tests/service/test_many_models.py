"""Many models in one service, and a ``MODEL_DIR`` that changes while it works: real processes and real sockets."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.networks import (
    nearest_layers,
    random_layers,
    write_compact,
    write_halved,
    write_nearest,
)
from support.pictures import encoded, noise
from support.real_services import GIVE_UP_S, until

USUAL = "realesrgan-x4plus"
"""A small network has this id here, so that the service starts at once."""

NAMES = (USUAL, "a", "b", "c", "d")

BUDGET_MIB = 21
"""Room for two of these networks, which are counted with 10 MiB each and 1000 bytes for each pixel of their tiles."""


@pytest.fixture
def own_models(tmp_path: Path) -> Path:
    """Five small models."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in NAMES:
        write_nearest(folder, name)
    return folder


@pytest.fixture
def service(
    environment: dict[str, str], own_models: Path, tmp_path: Path
) -> Iterator[RunningService]:
    """Two model servers, each with memory for two models."""
    settings = environment | {
        "MODEL_DIR": str(own_models),
        "ENLARGER_CACHE_DIR": str(tmp_path / "cache"),
        "ENLARGER_MODEL_MEMORY": str(BUDGET_MIB),
        "ENLARGER_DEADLINE": "600",
        "NUM_SERVERS": "2",
    }
    with RunningService(tmp_path, settings) as service:
        yield service


def text_of(url: str) -> str:
    """What a URL answers."""
    with urllib.request.urlopen(url, timeout=GIVE_UP_S) as answer:
        return str(answer.read().decode())


def metric(text: str, name: str) -> float:
    """The value of a metric without labels."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def server_urls(service: RunningService) -> list[str]:
    """Where the newest processes of the model servers listen, from the log."""
    newest = {
        event["server"]: event["port"]
        for event in events(service)
        if event["event"] == "server_started"
    }
    return [f"http://127.0.0.1:{port}" for port in newest.values()]


def events(service: RunningService) -> list[dict[str, Any]]:
    """All lines of the log."""
    return [json.loads(line) for line in service.log.read_text().splitlines()]


def models(service: RunningService) -> dict[str, str]:
    """The hashes of the models that are offered, by id."""
    return {model["id"]: model["sha256"] for model in service.get("/v1/models")[1]["models"]}


def left_out(service: RunningService) -> dict[str, str | None]:
    """The rows that are left out, with the models that are still offered for them."""
    rows = service.get("/v1/models")[1]["left_out"]
    return {row["row"]: row["still_offered"] for row in rows}


def working(service: RunningService) -> bool:
    """Whether a tile is being computed."""
    return any(one["tiles_in_flight"] for one in service.get("/status")[1]["servers"])


numbers = itertools.count()


def upscale(service: RunningService, model: str, *, side_px: int = 24) -> tuple[int, Any]:
    """Upscale a picture that nobody has upscaled before."""
    picture = encoded(noise(side_px, side_px, 3, seed=next(numbers)))
    status, answer = service.upscale(picture, model=model, scale=4)
    return status, answer.get("error")


def upscaled(service: RunningService, picture: bytes, *, model: str) -> bytes:
    """A picture at 4x, from the result cache if it is there."""
    fields = {"image_b64": base64.b64encode(picture).decode(), "model": model, "scale": 4}
    asked = urllib.request.Request(
        f"{service.url}/upscale", json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=GIVE_UP_S) as answer:
        url = json.load(answer)["url"]
    with urllib.request.urlopen(service.url + url, timeout=GIVE_UP_S) as answer:
        return bytes(answer.read())


def test_five_models_in_turn_with_memory_for_two(service: RunningService) -> None:
    """No request fails, memory stays within the budget at all times, and switches are counted."""
    held: list[float] = []
    urls = server_urls(service)
    assert len(urls) == 2

    def watch(url: str) -> None:
        held.append(metric(text_of(f"{url}/metrics"), "enlarger_model_server_networks_bytes"))

    def ask() -> None:
        with ThreadPoolExecutor(8) as threads:
            work = [threads.submit(upscale, service, name) for _ in range(12) for name in NAMES]
            while not all(one.done() for one in work):
                for url in urls:
                    watch(url)
                time.sleep(0.02)
            answers = [one.result() for one in work]
        assert answers == [(200, None)] * 60

    def switches() -> tuple[float, float]:
        name = "enlarger_model_server_networks_switches_total"
        there = sum(metric(text_of(f"{url}/metrics"), name) for url in urls)
        shown = metric(text_of(f"{service.url}/metrics"), "enlarger_server_switches_total")
        return there, shown

    # Four models have room at the same time, so that each round loads a fifth one at least.
    for _ in range(2):
        ask()
    until(lambda: switches()[0] == switches()[1])
    assert switches()[1] >= 2
    assert len(held) >= 4
    assert 0 < max(held) <= BUDGET_MIB << 20


def test_models_change_break_and_go_under_load(service: RunningService, own_models: Path) -> None:
    """No request fails, whatever happens to the files of its model; and ``/readyz`` stays 200."""
    stop = False
    ready: list[int] = []

    def load() -> list[tuple[int, Any]]:
        answers = []
        while not stop:
            answers.append(upscale(service, "a"))
            ready.append(service.get("/readyz")[0])
        return answers

    with ThreadPoolExecutor(2) as threads:
        work = [threads.submit(load) for _ in range(2)]
        try:
            before = models(service)["a"]
            write_compact(own_models, "a", random_layers(7, [(3, 8), (8, 48)]))
            until(lambda: models(service)["a"] != before)
            changed = models(service)["a"]
            (own_models / "a.bin").write_bytes(b"junk")
            (own_models / "new.toml").write_text("junk")
            until(lambda: left_out(service) == {"a.toml": "a", "new.toml": None})
            assert models(service)["a"] == changed
            write_nearest(own_models, "a")
            write_nearest(own_models, "late")
            (own_models / "new.toml").unlink()
            until(lambda: models(service)["a"] == before and "late" in models(service))
            assert left_out(service) == {}
            assert upscale(service, "late") == (200, None)
        finally:
            stop = True
        answers = [answer for one in work for answer in one.result()]
    assert set(answers) == {(200, None)}
    assert set(ready) == {200}


def test_version_with_the_same_weights_is_another_one(
    service: RunningService, own_models: Path
) -> None:
    """No request fails while networks of 4 and of 2 times with one ``.bin`` take turns, and none has a result of the other."""
    stop = False

    def load() -> list[tuple[int, Any]]:
        answers = []
        while not stop:
            answers.append(upscale(service, "a"))
        return answers

    def offers(native_scale: int) -> Callable[[], bool]:
        return lambda: service.get("/v1/models/a")[1]["native_scale"] == native_scale

    picture = encoded(noise(24, 24, 3, seed=next(numbers)))
    made = []
    with ThreadPoolExecutor(2) as threads:
        work = [threads.submit(load) for _ in range(2)]
        try:
            write_halved(own_models, "a", nearest_layers())
            until(offers(2))
            made.append(upscaled(service, picture, model="a"))
            write_nearest(own_models, "a")
            until(offers(4))
            made.append(upscaled(service, picture, model="a"))
            write_halved(own_models, "a", nearest_layers())
            until(offers(2))
            made.append(upscaled(service, picture, model="a"))
        finally:
            stop = True
        answers = [answer for one in work for answer in one.result()]
    assert made[0] == made[2] != made[1]
    assert set(answers) == {(200, None)}
    failures = [one for one in events(service) if one["event"] in {"tile_failed", "tile_refused"}]
    # A machine that is suddenly much slower may have a tile computed twice. Another version may not.
    assert [one for one in failures if "did not answer within" not in one["reason"]] == []
    replaced = [one for one in events(service) if one["event"] == "model_replaced"]
    assert [one["model"] for one in replaced] == ["a", "a", "a"]
    assert len({one["sha256"] for one in replaced}) == 1


def test_picture_is_finished_with_a_model_that_goes(
    service: RunningService, own_models: Path
) -> None:
    """Its tiles still need the network while nobody can ask for it any more, and one server had not loaded it."""
    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(upscale, service, "b", side_px=1400)
        until(lambda: work.done() or working(service))
        assert not work.done(), work.result()
        for file in own_models.glob("b.*"):
            file.unlink()
        until(lambda: "b" not in models(service))
        was_running = not work.done()
        assert work.result() == (200, None)
    assert was_running
    status, _ = upscale(service, "b")
    assert status == 400


def test_server_that_is_killed_comes_back_with_the_version_before(
    service: RunningService, own_models: Path
) -> None:
    """Though the files of the model are broken by now. The next start of the service refuses them."""
    (own_models / "c.bin").write_bytes(b"junk")
    until(lambda: left_out(service) == {"c.toml": "c"})
    for event in [one for one in events(service) if one["event"] == "server_started"]:
        os.kill(event["pid"], signal.SIGKILL)
    assert upscale(service, "c") == (200, None)
    hints = [one["hint"] for one in events(service) if one["event"] == "model_left_out"]
    assert all("the next start will refuse it" in hint for hint in hints)
    shutil.rmtree(own_models)
