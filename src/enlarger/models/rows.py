"""Rows of the catalogue: what a model's TOML states, read and checked field by field."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated

import pydantic

from enlarger.errors import WeightsError
from enlarger.models.architectures import KINDS
from enlarger.models.files import MOST_TEXT_BYTES, read_bounded
from enlarger.models.readers import WeightFiles
from enlarger.models.readers.ncnn import NcnnFiles

SCALES = sorted({scale for kind in KINDS.values() for scale in kind.scales})


def _allowed_scale(scales: Iterable[int]) -> str:
    return f"it must be {' or '.join(map(str, scales))}: networks of other scales cannot run here"


_ALLOWED = {
    "id": "it must be 1 to 64 of the characters a-z 0-9 . _ -, the first one a letter or digit",
    "scale": _allowed_scale(SCALES),
    "architecture": "it must be " + " or ".join(f'"{name}"' for name in KINDS),
    "sha256": "it must be the 64 digits that `sha256sum` prints of the .bin file, in lower case",
    "seams": "it must be a table of median_db, worst_db, p999_difference and max_difference",
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


class Row(pydantic.BaseModel):
    """One model: a TOML file of ``MODEL_DIR``, or a table of ``builtin.toml``."""

    model_config = pydantic.ConfigDict(extra="forbid")

    id: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str
    architecture: Annotated[str, pydantic.AfterValidator(_known_kind)]
    scale: Annotated[int, pydantic.Strict(), pydantic.AfterValidator(_known_scale)]
    param: Annotated[str, FileName]
    bin: Annotated[str, FileName]
    sha256: str = pydantic.Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    source: str
    golden: Annotated[str, FileName] | None = None
    ranges: Annotated[str, FileName] | None = None
    seams: Seams | None = None

    @pydantic.field_validator("title", "licence", "source")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("it must be a text of one line, without control characters")
        return value

    @pydantic.field_validator("id")
    @classmethod
    def _not_auto(cls, value: str) -> str:
        if value == "auto":
            raise ValueError("requests say 'auto' for no model in particular; take another id")
        return value

    def weights(self, folder: Path) -> WeightFiles:
        """Return the weights that the row names, relative to ``folder``. Another file format is another branch here."""
        return NcnnFiles(folder / self.param, folder / self.bin)


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
    if first["type"] == "value_error":
        allowed = first["msg"].removeprefix("Value error, ")
    else:
        allowed = _ALLOWED.get(name, "it must be a text in quotes")
    return f"{name}: {allowed}, not {str(first['input'])[:80]!r}"
