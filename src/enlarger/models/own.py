"""Rows of ``MODEL_DIR``: reading them, and looking whether their files are what they say, without computing anything."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Annotated, TypeVar

import pydantic

from enlarger.errors import ConfigError, WeightsError
from enlarger.models.architectures import KINDS, Architecture
from enlarger.models.architectures.rrdb import dense_blocks, growth
from enlarger.models.files import MOST_TEXT_BYTES, open_regular, read_bounded
from enlarger.models.golden import read_golden
from enlarger.models.ranges import Ranges
from enlarger.models.readers.ncnn import NcnnFiles, read_binary

SUFFIX = ".toml"

T = TypeVar("T")

SCALES = sorted({scale for kind in KINDS.values() for scale in kind.scales})

_ALLOWED_SCALE = (
    f"it must be {' or '.join(map(str, SCALES))}: networks of other scales cannot run here"
)


def _beside_the_row(name: str) -> str:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or not name.isprintable():
        raise ValueError("it must name a file in MODEL_DIR, relative to the row and without '..'")
    return name


def _runs_here(scale: int) -> int:
    if scale not in SCALES:
        raise ValueError(_ALLOWED_SCALE)
    return scale


FileName = pydantic.AfterValidator(_beside_the_row)


class Row(pydantic.BaseModel):
    """A row of ``MODEL_DIR``: a TOML file beside the weights it names."""

    model_config = pydantic.ConfigDict(extra="forbid")

    id: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str
    scale: Annotated[int, pydantic.Strict(), pydantic.AfterValidator(_runs_here)]
    architecture: Architecture
    param: Annotated[str, FileName]
    bin: Annotated[str, FileName]
    sha256: str = pydantic.Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    source: str
    golden: Annotated[str, FileName] | None = None
    ranges: Annotated[str, FileName] | None = None

    @pydantic.field_validator("id")
    @classmethod
    def _not_auto(cls, value: str) -> str:
        if value == "auto":
            raise ValueError("requests say 'auto' for no model in particular; take another id")
        return value


_ALLOWED = {
    "id": "it must be 1 to 64 of the characters a-z 0-9 . _ -, the first one a letter or digit",
    "scale": _ALLOWED_SCALE,
    "architecture": "it must be " + " or ".join(f'"{name}"' for name in KINDS),
    "sha256": "it must be the 64 digits that `sha256sum` prints of the .bin file, in lower case",
}
"""What may stand in a field; in all others a text."""


def rows_in(folder: Path) -> list[Path]:
    """The files of ``MODEL_DIR`` that are rows. A folder that is not there has none.

    Raises:
        ConfigError: it is a file, or cannot be read.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - as Path's own, but for what it is raised with
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise ConfigError(
            f"MODEL_DIR: '{folder}' is a file; name the folder with your models, or none"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"MODEL_DIR: cannot read '{folder}': {error.strerror}; let the user that runs enlarger read it"
        ) from error
    # Hidden files are those of editors and of other systems.
    return [folder / name for name in sorted(names) if name.endswith(SUFFIX) and name[0] != "."]


def read_row(path: Path) -> Row:
    """What a row says.

    Raises:
        WeightsError: it is not TOML, or a field is missing, unknown or wrong; the text begins with its name.
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
    """The first thing that is wrong with a row's fields."""
    # A field that is unknown explains one that is missing.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    name = str(first["loc"][0])
    if first["type"] == "missing":
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


def check_id(path: Path, row: Row, others: Mapping[str, str]) -> None:
    """Look whether a row's id is its own.

    Args:
        path: the row's file.
        row: what it says.
        others: names of the rows before it, by their ids.

    Raises:
        WeightsError: another row has it.
    """
    if row.id in others:
        raise WeightsError(
            f"{path.name}: id: '{row.id}' is the id of {others[row.id]}, too; take another one"
        )


def check_hash(path: Path, row: Row) -> None:
    """Read the ``.bin`` file of a row as a whole, and compare its hash.

    Raises:
        WeightsError: it is another file.
    """
    try:
        read_binary(path.parent / row.bin, sha256=row.sha256)
    except WeightsError as error:
        raise WeightsError(
            f"{path.name}: sha256: {error}; if the file is the right one, correct the row"
        ) from error


def check_files(path: Path, row: Row) -> None:
    """Look whether a row's files are there, and are what it says. The ``.bin`` is not read as a whole.

    Raises:
        WeightsError: one is not; the text begins with the row's name and says what to do.
    """
    folder = path.parent
    param, binary = folder / row.param, folder / row.bin
    named = {"param": row.param, "bin": row.bin, "golden": row.golden, "ranges": row.ranges}
    for field, name in named.items():
        if name is not None:
            _check_file(path, field, name)
    kind, files = KINDS[row.architecture], NcnnFiles(param, binary)
    graph = _checked(path, "param", lambda: files.graph)
    why = kind.misfit(graph)
    if graph.scale not in (None, row.scale):
        why = f"it makes {graph.scale:g} times the size; only scale {row.scale} can run here"
    if why is not None:
        raise WeightsError(
            f"{path.name}: param: {row.param} is no {row.architecture} network that can run here: {why}"
        )
    _checked(path, "bin", files.check_size)
    if row.golden is not None:
        golden = folder / row.golden
        _checked(path, "golden", lambda: read_golden(golden, scale=row.scale))
    if row.ranges is not None:
        table = folder / row.ranges
        if not kind.has_int8:
            raise WeightsError(
                f"{path.name}: ranges: only rrdb networks have int8; leave the line out"
            )
        ranges = _checked(path, "ranges", lambda: Ranges.read(table, sha256=row.sha256))
        _checked(
            path,
            "ranges",
            lambda: ranges.check_shape(
                table,
                dense_blocks=dense_blocks(graph.outlines),
                growth=growth(graph.outlines),
            ),
        )


def _check_file(path: Path, field: str, name: str) -> None:
    try:
        with open_regular(path.parent / name):
            return
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path.name}: {field}: there is no file '{name}' beside it; put it there, or correct the name"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{path.name}: {field}: cannot read '{name}': {error.strerror}"
        ) from error


def _checked(path: Path, field: str, read: Callable[[], T]) -> T:
    """What is read, where all that is wrong with it is told as a fault of the row."""
    try:
        return read()
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {field}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{path.name}: {field}: cannot be read: {error.strerror}") from error
