"""Which addresses only this machine reaches."""

from __future__ import annotations

import pytest

from enlarger.config import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback(host: str) -> None:
    """The addresses that are reserved for it, and its usual name."""
    assert is_loopback(host)


ALL_INTERFACES = ["0.0.0.0", "::"]  # noqa: S104 - nothing listens


@pytest.mark.parametrize(
    "host",
    ["", *ALL_INTERFACES, "10.0.0.1", "128.0.0.1", "127.0.0.1.example.org", "localhost.org"],
)
def test_not_loopback(host: str) -> None:
    """All addresses of all interfaces are no loopback, and a name is none that only looks like one."""
    assert not is_loopback(host)
