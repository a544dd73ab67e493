"""The models that a gateway offers while ``MODEL_DIR`` and the model servers change."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.networks import nearest_layers, write_halved, write_nearest
from support.pool_servers import until

from enlarger.engine.shelf import Restocking, Shelf, adopted
from enlarger.models import Catalogue, Model
from enlarger.models.copies import Copies
from enlarger.models.folder import ModelFolder


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model."""
    write_nearest(tmp_path, "own")
    return Catalogue.installed(tmp_path).choose("own", scale=4)


def test_newcomer_is_offered_once_a_server_has_it(model: Model) -> None:
    """Else its tiles would have nowhere to go."""
    catalogue, waiting = adopted(Catalogue([]), Catalogue([model]), lambda _: False)
    assert (list(catalogue), waiting) == ([], [model])
    catalogue, waiting = adopted(Catalogue([]), Catalogue([model]), lambda _: True)
    assert (list(catalogue), waiting) == ([model], [])


def test_next_version_is_offered_once_a_server_has_it(model: Model) -> None:
    """Until then the version before is."""
    after = replace(model, sha256="2" * 64)
    catalogue, waiting = adopted(Catalogue([model]), Catalogue([after]), lambda _: False)
    assert (list(catalogue), waiting) == ([model], [after])
    catalogue, _ = adopted(Catalogue([model]), Catalogue([after]), lambda _: True)
    assert list(catalogue) == [after]


def test_next_version_with_the_same_weights_is_another_one(model: Model, tmp_path: Path) -> None:
    """A graph that enlarges 2 times, say: servers that have the one of 4 times would refuse its tiles."""
    (tmp_path / "after").mkdir()
    write_halved(tmp_path / "after", "own", nearest_layers())
    after = Catalogue.installed(tmp_path / "after").choose("own", scale=2)
    assert after.sha256 == model.sha256
    catalogue, waiting = adopted(Catalogue([model]), Catalogue([after]), lambda _: False)
    assert (list(catalogue), waiting) == ([model], [after])
    catalogue, _ = adopted(Catalogue([model]), Catalogue([after]), lambda _: True)
    assert list(catalogue) == [after]


def test_next_version_is_offered_once_servers_have_all_of_its_noise_levels(model: Model) -> None:
    """Also if the network without a noise level stays the same."""
    level = replace(model, id="own-3", sha256="3" * 64, noise_level=3)
    before = replace(model, levels={3: level})
    after = replace(model, levels={3: replace(level, sha256="4" * 64)})
    served = {model.sha256}
    for offered in (before, after):
        catalogue, _ = adopted(
            Catalogue([before]), Catalogue([after]), lambda one: one.sha256 in served
        )
        assert list(catalogue) == [offered]
        served.add("4" * 64)


def test_model_that_goes_is_offered_no_more(model: Model) -> None:
    """Whatever servers have."""
    catalogue, _ = adopted(Catalogue([model]), Catalogue([]), lambda _: True)
    assert list(catalogue) == []


def test_other_words_for_the_same_weights_need_no_server(model: Model) -> None:
    """A row that changes only its title is offered at once."""
    after = replace(model, title="better words", source="elsewhere")
    catalogue, _ = adopted(Catalogue([model]), Catalogue([after]), lambda _: False)
    assert list(catalogue) == [after]


async def test_shelf_follows_the_folder(tmp_path: Path) -> None:
    """What comes, waits, breaks and goes is on the shelf and in the log, with what the next start will do."""
    model_dir = tmp_path / "models"
    folder = ModelFolder(model_dir, Copies(tmp_path / "copies", model_dir))
    folder.start()
    shelf, is_served = Shelf(folder.catalogue), False
    restocking = Restocking(shelf, folder, lambda _: is_served)

    def offers(model_id: str) -> Callable[[], bool]:
        return lambda: model_id in {model.id for model in shelf.catalogue}

    with capture_logs() as logged:
        task = asyncio.create_task(restocking.run(every_s=0.005))
        model_dir.mkdir()
        write_nearest(model_dir, "own")
        await until(lambda: bool(shelf.left_out))
        assert not offers("own")()
        (waits,) = shelf.left_out
        assert (waits.row, waits.reason, waits.model) == (
            "own.toml",
            "no model server has it yet",
            None,
        )
        is_served = True
        await until(offers("own"))
        assert shelf.left_out == ()
        kept = shelf.catalogue
        (model_dir / "own.bin").write_bytes(b"junk")
        await until(lambda: bool(shelf.left_out))
        assert offers("own")()
        shutil.rmtree(model_dir)
        await until(lambda: not offers("own")())
        assert kept.choose("own", scale=4).layers()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    events = [line for line in logged if line["event"] != "models_not_followed"]
    assert [line["event"] for line in events] == ["model_added", "model_left_out", "model_gone"]
    assert events[1]["row"] == "own.toml"
    assert events[1]["still_offered"] == "own"
    assert "the next start will refuse it" in events[1]["hint"]


async def test_folder_is_followed_on_after_an_unforeseen_error(tmp_path: Path) -> None:
    """Nobody waits for the task: it must not end unseen."""
    folder = ModelFolder(tmp_path / "models")
    folder.start()
    calls = 0

    def is_served(_: Model) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError
        return True

    (tmp_path / "models").mkdir()
    write_nearest(tmp_path / "models", "own")
    shelf = Shelf(folder.catalogue)
    with capture_logs() as logged:
        task = asyncio.create_task(Restocking(shelf, folder, is_served).run(every_s=0.005))
        await until(lambda: "own" in {model.id for model in shelf.catalogue})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [line["event"] for line in logged] == ["models_not_followed", "model_added"]
