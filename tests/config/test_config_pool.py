"""Settings of the model servers: how many start here, and where others are."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from enlarger.config import (
    load,
)

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process may use one processor core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def test_auto_starts_a_server_per_core_and_five_at_most() -> None:
    """Which cores there are is the system's to say."""
    assert load().pool.server_count == min(5, len(os.sched_getaffinity(0)))


@pytest.mark.usefixtures("one_core")
def test_cores_are_those_this_process_may_use() -> None:
    """A container on one core of many gets one server with one thread."""
    assert load().pool.server_count == 1
    assert load().pool.threads_per_server == 1


@pytest.mark.parametrize("servers", [1, 7, 100])
def test_any_number_of_servers_works(servers: int) -> None:
    """The bound of five is that of ``auto`` alone."""
    settings = load(num_servers=servers)
    assert settings.pool.server_count == servers
    assert settings.pool.threads_per_server == max(1, len(os.sched_getaffinity(0)) // servers)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ()),
        (" , ", ()),
        ("one:5002", ("one:5002",)),
        (" one:5002 , 10.0.0.7:65535,", ("one:5002", "10.0.0.7:65535")),
        ("a-b.example:1", ("a-b.example:1",)),
    ],
)
def test_servers_are_a_list_with_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, servers: tuple[str, ...]
) -> None:
    """Spaces and a comma at the end do no harm."""
    monkeypatch.setenv("ENLARGER_SERVERS", text)
    assert load().pool.servers == servers


@pytest.mark.parametrize(
    ("engine", "address", "shared"),
    [
        ("servers", None, ("one:5002",)),
        ("servers", "10.0.0.7:6379", ("one:5002",)),
        ("ray", "10.0.0.7:6379", ("10.0.0.7:6379",)),
        ("ray", "auto", ()),
        ("ray", None, ()),
    ],
)
def test_gateways_know_whether_they_share_an_engine(
    monkeypatch: pytest.MonkeyPatch, engine: str, address: str | None, shared: tuple[str, ...]
) -> None:
    """By the addresses of what computes; a cluster on the gateway's own machine may be another one elsewhere."""
    monkeypatch.setenv("ENLARGER_SERVERS", "one:5002")
    monkeypatch.setenv("ENLARGER_ENGINE", engine)
    if address is not None:
        monkeypatch.setenv("ENLARGER_RAY_ADDRESS", address)
    assert load().pool.shared_engine == shared
