"""The models of ``MODEL_DIR``: finding their rows, and checking the files that these name without computing anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from enlarger.errors import ConfigError, WeightsError
from enlarger.models.architectures import KINDS
from enlarger.models.files import open_regular
from enlarger.models.golden import read_golden
from enlarger.models.model import Model
from enlarger.models.ranges import Ranges
from enlarger.models.rows import Row, read_row

SUFFIX = ".toml"

T = TypeVar("T")


def own_models(folder: Path, *, hashed: bool) -> tuple[list[Model], list[str]]:
    """Read the rows of a folder.

    Args:
        folder: ``MODEL_DIR``; one that does not exist has no rows.
        hashed: whether to read and hash the weights, too.

    Returns:
        The models that can be used, and an error text for each row that cannot.

    Raises:
        ConfigError: ``folder`` is not a folder, or cannot be read.
    """
    found: dict[str, Model] = {}
    names: dict[str, str] = {}
    """File names of the rows, by id."""

    faults: list[str] = []
    for path in rows_in(folder):
        try:
            row = read_row(path)
            check_id(path, row, names)
            names[row.id] = path.name
            check_files(path, row)
            if hashed:
                check_hash(path, row)
        except WeightsError as error:
            faults.append(str(error))
        else:
            found[row.id] = Model.of(row, weights_folder=folder, folder=folder)
    return list(found.values()), faults


def rows_in(folder: Path) -> list[Path]:
    """Return the files of ``MODEL_DIR`` that are rows; none if the folder does not exist.

    Raises:
        ConfigError: ``folder`` is a file, or cannot be read.
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


def check_id(path: Path, row: Row, others: Mapping[str, str]) -> None:
    """Check that no other row has the same id.

    Args:
        path: the row's file.
        row: the row.
        others: file names of the earlier rows, by id.

    Raises:
        WeightsError: another row has it.
    """
    if row.id in others:
        raise WeightsError(
            f"{path.name}: id: '{row.id}' is the id of {others[row.id]}, too; take another one"
        )


def check_hash(path: Path, row: Row) -> None:
    """Read the weights of a row and compare their hashes.

    Raises:
        WeightsError: weights have another hash.
    """
    try:
        for one in row.networks():
            one.weights(path.parent).verify(one.sha256)
    except WeightsError as error:
        raise WeightsError(
            f"{path.name}: sha256: {error}; if the file is the right one, correct the row"
        ) from error


def check_files(path: Path, row: Row) -> None:
    """Check that a row's files exist and match the row. The weights are not read as a whole.

    Raises:
        WeightsError: a file does not match; the text begins with the row's file name and says what to do.
    """
    for one in row.networks():
        _check_network(path, one)


def _check_network(path: Path, row: Row) -> None:
    folder = path.parent
    named = {"param": row.param, "bin": row.bin, "golden": row.golden, "ranges": row.ranges}
    for field, name in named.items():
        if name is not None:
            _check_file(path, field, name)
    kind, files = KINDS[row.architecture], row.weights(folder)
    graph = _checked(path, "param", lambda: kind.describe(files))
    why = kind.misfit(graph)
    if graph.scale not in (None, row.scale):
        is_possible = graph.scale in kind.scales
        what = (
            f"the row says {row.scale}"
            if is_possible
            else f"only scale {' or '.join(map(str, kind.scales))} can run here"
        )
        why = f"it makes {graph.scale:g} times the size; {what}"
    if why is not None:
        raise WeightsError(
            f"{path.name}: param: {row.param} is no {row.architecture} network that can run here: {why}"
        )
    _checked(path, "bin", lambda: kind.check_size(files))
    if row.golden is not None:
        golden = folder / row.golden
        _checked(path, "golden", lambda: read_golden(golden, scale=row.scale))
    if row.ranges is not None:
        table, shape = folder / row.ranges, kind.ranges_shape(graph)
        if shape is None:
            raise WeightsError(
                f"{path.name}: ranges: {row.architecture} networks have no int8; leave the line out"
            )
        ranges = _checked(path, "ranges", lambda: Ranges.read(table, sha256=row.sha256))
        _checked(path, "ranges", lambda: ranges.check_shape(table, shape))


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
    """Call ``read``, and turn its errors into errors of the row."""
    try:
        return read()
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {field}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{path.name}: {field}: cannot be read: {error.strerror}") from error
