"""Rows of the catalogue: what a model's TOML states, read and checked field by field."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated

import pydantic
from pydantic_core import ErrorDetails

from enlarger.errors import WeightsError
from enlarger.models.architectures import KINDS
from enlarger.models.files import MOST_TEXT_BYTES, read_bounded
from enlarger.models.readers import WeightFiles
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.options import AUTO, DETECT

SCALES = sorted({scale for kind in KINDS.values() for scale in kind.scales})


def _allowed_scale(scales: Iterable[int]) -> str:
    return f"it must be {' or '.join(map(str, scales))}: networks of other scales cannot run here"


_ALLOWED = {
    "id": "it must be 1 to 64 of the characters a-z 0-9 . _ -, the first one a letter or digit",
    "scale": _allowed_scale(SCALES),
    "architecture": "it must be " + " or ".join(f'"{name}"' for name in KINDS),
    "sha256": "it must be the 64 digits that `sha256sum` prints of the .bin file, in lower case",
    "seams": "it must be a table of median_db, worst_db, p999_difference and max_difference",
    "is_residual": "it must be true or false",
    "black": "it must be a number from 0 to 1",
    "white": "it must be a number from 0 to 1",
    "noise_level": "it must be 0, 1, 2 or 3",
    "denoise": "it must have a table for each noise level, such as [denoise.3], of param, bin, sha256 and golden",
}
"""Allowed values of a field, for errors; every other field is a text."""


def _beside_the_row(name: str) -> str:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or not name.isprintable():
        raise ValueError("it must name a file in MODEL_DIR, relative to the row and without '..'")
    return name


def _known_scale(scale: int, info: pydantic.ValidationInfo) -> int:
    kind = KINDS.get(info.data.get("architecture", ""))
    if scale not in (SCALES if kind is None else kind.scales):
        raise ValueError(_allowed_scale(SCALES if kind is None else kind.scales))
    return scale


def _known_kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError(_ALLOWED["architecture"])
    return name


FileName = pydantic.AfterValidator(_beside_the_row)


def _not_a_choice(model_id: str) -> str:
    if model_id in (AUTO, DETECT):
        raise ValueError(f"requests say '{model_id}' for no model in particular; take another id")
    return model_id


Id = Annotated[
    str,
    pydantic.Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$"),
    pydantic.AfterValidator(_not_a_choice),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """Differences between a picture that is made of tiles and the same picture made in one piece.

    They are measured in f32, without the colour lock, on photographs most of which are full of texture:
    benchmarks/halos.py, and benchmarks/seams.py for networks whose halo is exact.
    """

    median_db: float | None = None
    """PSNR of the median photograph in dB; None where tiles change nothing."""

    worst_db: float | None = None
    """PSNR of the worst photograph in dB; None where tiles change nothing."""

    p999_difference: int
    """99.9th percentile of the differences within 24 px of a border, in 8-bit code values."""

    max_difference: int
    """Largest difference of any sample, in 8-bit code values."""


Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]

NoiseLevel = Annotated[int, pydantic.Field(ge=0, le=3)]
"""How much noise a network removes."""


Share = Annotated[float, pydantic.Strict(), pydantic.Field(ge=0, le=1)]


class Level(pydantic.BaseModel):
    """The files of a model at one noise level."""

    model_config = pydantic.ConfigDict(extra="forbid")

    param: Annotated[str, FileName]
    bin: Annotated[str, FileName]
    sha256: Sha256
    golden: Annotated[str, FileName] | None = None


class Row(pydantic.BaseModel):
    """One model: a TOML file of ``MODEL_DIR``, or a table of ``builtin.toml``."""

    model_config = pydantic.ConfigDict(extra="forbid")

    id: Id
    title: str
    architecture: Annotated[str, pydantic.AfterValidator(_known_kind)]
    scale: Annotated[int, pydantic.Strict(), pydantic.AfterValidator(_known_scale)]
    param: Annotated[str, FileName]
    bin: Annotated[str, FileName]
    sha256: Sha256
    licence: str
    source: str
    golden: Annotated[str, FileName] | None = None
    ranges: Annotated[str, FileName] | None = None
    seams: Seams | None = None

    is_residual: Annotated[bool, pydantic.Strict()] = False
    """Whether the network makes what is to be added to the picture, whose pixels are repeated; for generic networks."""

    black: Share = 0.0
    white: Share = 1.0
    """The numbers that the network takes, and makes, for black and for white; for generic networks."""

    noise_level: NoiseLevel | None = None
    """The noise level of ``param`` and ``bin``; None if they have none."""

    denoise: dict[NoiseLevel, Level] = {}
    """The files of other noise levels."""

    @pydantic.field_validator("title", "licence", "source")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("it must be a text of one line, without control characters")
        return value

    @pydantic.field_validator("denoise")
    @classmethod
    def _others(cls, value: dict[int, Level], info: pydantic.ValidationInfo) -> dict[int, Level]:
        if info.data.get("noise_level") in value:
            raise ValueError("it must not have the level of noise_level, whose files the row names")
        return value

    @pydantic.field_validator("is_residual")
    @classmethod
    def _generic_alone(cls, value: bool, info: pydantic.ValidationInfo) -> bool:
        if value and info.data.get("architecture") != "generic":
            raise ValueError('it is for networks of architecture "generic"; leave it out')
        return value

    @pydantic.field_validator("black", "white")
    @classmethod
    def _black_and_white(cls, value: float, info: pydantic.ValidationInfo) -> float:
        if info.data.get("architecture") != "generic" and value != (info.field_name == "white"):
            raise ValueError('it is for networks of architecture "generic"; leave it out')
        if info.field_name == "white" and value <= info.data.get("black", 0.0):
            raise ValueError("it must be more than black")
        return value

    @property
    def file_names(self) -> tuple[str, ...]:
        """The files that the row names."""
        named = (self.param, self.bin, self.golden, self.ranges)
        return tuple(name for name in named if name is not None)

    def weights(self, folder: Path) -> WeightFiles:
        """Return the weights that the row names, relative to ``folder``. Another file format is another branch here."""
        return NcnnFiles(
            folder / self.param,
            folder / self.bin,
            is_residual=self.is_residual,
            black=self.black,
            white=self.white,
        )

    def levels(self) -> Iterator[tuple[int, Row]]:
        """Return the rows of the other noise levels, with ids of their own that no request can name."""
        for level, files in sorted(self.denoise.items()):
            own = files.model_dump() | {
                "id": f"{self.id}+denoise{level}",
                "noise_level": level,
                "denoise": {},
                "ranges": None,
            }
            yield level, self.model_copy(update=own)

    def networks(self) -> Iterator[Row]:
        """Return the row and those of ``levels``."""
        yield self
        yield from (row for _, row in self.levels())


def read_row(path: Path) -> Row:
    """Read a row from a file.

    Raises:
        WeightsError: the file is not TOML, or a field is missing, unknown or wrong; the text begins with the file's name.
    """
    try:
        text = read_bounded(path, MOST_TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise WeightsError(f"{path.name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path.name}: is not TOML, which is UTF-8; save it so") from error
    try:
        return Row.model_validate(tomllib.loads(text))
    except pydantic.ValidationError as error:
        raise WeightsError(f"{path.name}: {_fault(error)}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name}: is not TOML: {error}") from error


def refuse_id(model_id: str) -> None:
    """Refuse an id that no row may have.

    Raises:
        WeightsError: no row may have the id.
    """
    try:
        pydantic.TypeAdapter(Id).validate_python(model_id)
    except pydantic.ValidationError as error:
        raise WeightsError(_in_words("id", error.errors()[0])) from error


def _fault(error: pydantic.ValidationError) -> str:
    """Return the first error of a row's fields, in words."""
    # A misspelt field is reported before the field that is missing because of it.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    name = str(first["loc"][0])
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return f"{name}: is missing"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Row.model_fields, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(Row.model_fields)}"
        return f"{name[:40]}: there is no such field; {hint}"
    return _in_words(name, first)


def _in_words(name: str, first: ErrorDetails) -> str:
    """Return what is wrong with the value of a field."""
    if first["type"] == "value_error":
        allowed = first["msg"].removeprefix("Value error, ")
    else:
        allowed = _ALLOWED.get(name, "it must be a text in quotes")
    return f"{name}: {allowed}, not {str(first['input'])[:80]!r}"
