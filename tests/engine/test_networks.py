"""Networks in memory: one load for many users, a budget that is kept, and nobody who waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support.networks import write_nearest
from support.runtimes import LONG_S, NumpyRuntime

from enlarger.engine.networks import Networks
from enlarger.errors import WeightsError
from enlarger.models import Catalogue, Model

A_NETWORK = 10 << 20
"""What the smallest network is taken to need."""


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    """Four small ones."""
    for name in "abcd":
        write_nearest(tmp_path, name)
    found = Catalogue.installed(tmp_path)
    return [found.choose(name, scale=4) for name in "abcd"]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that a test may leave waiting until it opens what they wait for."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


def loaded(networks: Networks, models: list[Model]) -> str:
    """The ids of those in memory."""
    return "".join(model.id for model in models if networks.loaded(model))


def test_last_used_networks_stay_within_the_budget(models: list[Model]) -> None:
    """Four in turn with a budget for two: each that is loaded takes the place of the one used longest ago."""
    runtime = NumpyRuntime()
    networks = Networks(runtime, budget_bytes=2 * A_NETWORK)
    a, b, c, d = models
    for model in (a, b, a, c):
        networks.load(model, "f32", 1)
    assert loaded(networks, models) == "ac"
    networks.load(d, "f32", 1)
    assert loaded(networks, models) == "cd"
    counts = networks.counts
    assert (counts.loaded, counts.loads, counts.switches) == (2, 4, 2)
    assert counts.held_bytes == 2 * A_NETWORK


def test_one_network_is_always_allowed(models: list[Model]) -> None:
    """However small the budget."""
    networks = Networks(NumpyRuntime(), budget_bytes=1)
    for model in models:
        networks.load(model, "f32", 1)
    assert loaded(networks, models) == "d"


def test_larger_tiles_take_the_place_of_other_networks(models: list[Model]) -> None:
    """The buffers of a network grow with its tiles, and stay."""
    networks = Networks(NumpyRuntime(), budget_bytes=3 * A_NETWORK)
    a, b, *_ = models
    for model in (a, b):
        networks.load(model, "f32", 1)
    with networks.using(a, "f32", 1, tile_px=A_NETWORK // a.tile_bytes_per_px):
        assert loaded(networks, models) == "ab"
    with networks.using(a, "f32", 1, tile_px=2 * A_NETWORK // a.tile_bytes_per_px):
        assert loaded(networks, models) == "a"


def test_network_in_use_is_not_released(models: list[Model], threads: ThreadPoolExecutor) -> None:
    """A load that needs the memory of this network waits until its tile is done."""
    networks = Networks(NumpyRuntime(), budget_bytes=A_NETWORK)
    a, b, *_ = models
    with networks.using(a, "f32", 1):
        waits = threads.submit(networks.load, b, "f32", 1)
        with pytest.raises(TimeoutError):
            waits.result(0.1)
        assert loaded(networks, models) == "a"
    waits.result(LONG_S)
    assert loaded(networks, models) == "b"


def test_nobody_overtakes_who_waits_for_memory(
    models: list[Model], threads: ThreadPoolExecutor
) -> None:
    """Else two networks that are always in use would keep a third one out for ever."""
    networks = Networks(NumpyRuntime(), budget_bytes=A_NETWORK)
    a, b, *_ = models
    order: list[str] = []

    def use(model: Model) -> None:
        with networks.using(model, "f32", 1):
            order.append(model.id)

    with networks.using(a, "f32", 1):
        first = threads.submit(use, b)
        while not networks._line:
            pass
        second = threads.submit(use, a)
        with pytest.raises(TimeoutError):
            second.result(0.1)
    for done in (first, second):
        done.result(LONG_S)
    assert order == ["b", "a"]


def test_network_is_loaded_once_for_all_who_wait(
    models: list[Model], threads: ThreadPoolExecutor
) -> None:
    """And others that are in memory compute meanwhile."""
    runtime = NumpyRuntime()
    networks = Networks(runtime)
    a, b, *_ = models
    networks.load(b, "f32", 1)
    runtime.making = threading.Event()
    uses: list[Future[None]] = [threads.submit(networks.load, a, "f32", 1) for _ in range(3)]
    assert runtime.asked.acquire(timeout=LONG_S)
    assert runtime.asked.acquire(timeout=LONG_S)
    networks.load(b, "f32", 1)
    assert not any(use.done() for use in uses)
    runtime.making.set()
    for use in uses:
        use.result(LONG_S)
    assert runtime.made == [("b", "f32", 1), ("a", "f32", 1)]


def test_network_that_cannot_be_loaded_leaves_nothing(
    models: list[Model], threads: ThreadPoolExecutor
) -> None:
    """Each who waited for it tries again and learns why; the memory is free."""
    runtime = NumpyRuntime()
    networks = Networks(runtime, budget_bytes=A_NETWORK)
    a, b, *_ = models
    a.files.paths[-1].unlink()
    for use in [threads.submit(networks.load, a, "f32", 1) for _ in range(3)]:
        with pytest.raises((WeightsError, OSError)):
            use.result(LONG_S)
    assert (networks.counts.loaded, networks.counts.held_bytes) == (0, 0)
    networks.load(b, "f32", 1)
    assert networks.counts.switches == 0


def test_version_of_a_model_is_another_network(tmp_path: Path, models: list[Model]) -> None:
    """Same id, other files: the one in memory stays what it is."""
    other = tmp_path / "other"
    other.mkdir()
    write_nearest(other, "a")
    again = Catalogue.installed(other).choose("a", scale=4)
    networks = Networks(NumpyRuntime())
    networks.load(models[0], "f32", 1)
    assert networks.loaded(again) == ()
    networks.load(again, "f32", 1)
    assert networks.counts.loaded == 2
