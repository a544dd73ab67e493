"""The models that an engine computes while its catalogue is replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.networks import nearest_layers, write_halved, write_nearest

from enlarger.engine.versions import RETIRED_S, Versions
from enlarger.models import Catalogue, Model


@pytest.fixture
def first(tmp_path: Path) -> Model:
    """A model."""
    write_nearest(tmp_path, "own")
    return Catalogue.installed(tmp_path).choose("own", scale=4)


def test_tiles_of_the_version_before_are_computed_for_a_while(first: Model) -> None:
    """For longer than any picture takes; new pictures are planned with the new one."""
    now = 0.0
    versions = Versions(Catalogue([first]), clock=lambda: now)
    second = replace(first, sha256="2" * 64)
    versions.offer(Catalogue([second]))
    assert versions.current("own") == second
    assert list(versions) == [second, first]
    assert versions.find(first.network_key) == first
    now = RETIRED_S + 1
    assert list(versions) == [second]
    assert versions.find(first.network_key) is None


def test_versions_may_have_the_same_weights(first: Model, tmp_path: Path) -> None:
    """The graph tells them apart: animevideov3 at 2x and at 4x have one ``.bin``. A tile that names no graph gets the newest."""
    (tmp_path / "second").mkdir()
    write_halved(tmp_path / "second", "own", nearest_layers())
    second = Catalogue.installed(tmp_path / "second").choose("own", scale=2)
    assert (first.sha256, first.scale, second.scale) == (second.sha256, 4, 2)
    versions = Versions(Catalogue([first]))
    versions.offer(Catalogue([second]))
    assert list(versions) == [second, first]
    assert versions.find(first.network_key) == first
    assert versions.find(second.network_key) == second
    assert versions.find(("own", first.sha256, "")) == second


def test_model_that_goes_is_computed_for_a_while(first: Model) -> None:
    """Nothing is planned with it any more."""
    versions = Versions(Catalogue([first]))
    versions.offer(Catalogue([]))
    assert versions.find(first.network_key) == first
    with pytest.raises(KeyError):
        versions.current("own")


def test_version_that_returns_is_listed_once(first: Model) -> None:
    """Also if only its title is another one."""
    versions = Versions(Catalogue([first]))
    for title in ("b", "c"):
        versions.offer(Catalogue([replace(first, title=title)]))
    assert [model.title for model in versions] == ["c"]
    versions.offer(Catalogue([first]))
    assert list(versions) == [first]
