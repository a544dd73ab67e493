"""Settings of a process: the folder of compiled networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from enlarger.config import (
    load,
)

pytestmark = pytest.mark.usefixtures("no_settings")


def test_compiled_networks_lie_where_the_operator_says() -> None:
    """Before anything that the system says."""
    assert load(cache_dir="/somewhere").server.cache_folder == Path("/somewhere")


def test_compiled_networks_lie_in_the_cache_folder_of_the_desktop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``XDG_CACHE_HOME`` of the XDG base directory specification."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert load().server.cache_folder == Path("/xdg/enlarger")


@pytest.mark.parametrize("unset", [True, False])
def test_compiled_networks_lie_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, unset: bool
) -> None:
    """The same specification: an empty ``XDG_CACHE_HOME`` is as good as none."""
    monkeypatch.setenv("HOME", "/home/operator")
    if unset:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert load().server.cache_folder == Path("/home/operator/.cache/enlarger")
