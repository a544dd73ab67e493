"""Adds a network to ``MODEL_DIR`` and removes it: what kind it is, its row, and its files under their hash."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enlarger.errors import ConfigError, UnknownModel, WeightsError
from enlarger.models.architectures import KINDS
from enlarger.models.files import MOST_TEXT_BYTES, read_bounded
from enlarger.models.own import SUFFIX, check_files, check_hash, check_id, rows_in
from enlarger.models.readers import WeightFiles
from enlarger.models.rows import Row, read_row, refuse_id
from enlarger.reasons import reason_of

_DRAFT = ".adding-"
"""The start of the names of folders in which models are prepared."""

_ABANDONED_S = 3600
"""After so long without a new file a draft is nobody's: to try a network takes minutes."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a network is."""

    architecture: str
    scale: int


def recognised(files: WeightFiles) -> Recognised:
    """Return the kind of network that files describe: the first one that fits, which is the fastest.

    Raises:
        WeightsError: no kind fits, or the weights do not have the size that the layers need; the text has the reason
            of the kind that takes any network.
    """
    why = ""
    for name, kind in KINDS.items():
        try:
            graph = kind.describe(files)
            why = kind.misfit(graph) or ""
            scale = kind.scales[0] if graph.scale is None else graph.scale
            if not why and scale not in kind.scales:
                why = f"it makes {scale:g} times the size; possible is {' or '.join(map(str, kind.scales))}"
            if not why:
                kind.check_size(files)
                return Recognised(name, int(scale))
        except WeightsError as error:
            why = str(error)
        except OSError as error:
            raise WeightsError(
                f"{files.paths[0].name}: cannot be read: {reason_of(error)}"
            ) from error
    raise WeightsError(f"{files.paths[0].name} is no network that can run here: {why}")


def id_of(param: Path) -> str:
    """Return the id that a file's name suggests: its characters that ids may have, in lower case."""
    return re.sub(r"[^a-z0-9._-]+", "-", param.stem.lower()).lstrip("._-")[:64] or "model"


class Draft:
    """A model that is being added. Nothing of it is seen in ``MODEL_DIR`` before ``publish``.

    Args:
        folder: where it is prepared.
        model_dir: where it will be.
        fields: fields of its row.
    """

    def __init__(self, folder: Path, model_dir: Path, fields: dict[str, Any]) -> None:
        self._folder = folder
        self._model_dir = model_dir
        self._fields = fields
        self.path = folder / f"{fields['id']}{SUFFIX}"
        """The row."""

    @property
    def golden(self) -> Path:
        """Where the golden picture belongs."""
        return self._folder / f"{self._stem}.png"

    @property
    def _stem(self) -> str:
        return f"{self._fields['id']}-{self._fields['sha256'][:12]}"

    def take(self, param: Path, binary: Path) -> None:
        """Copy the files, under the hash of the weights."""
        for field, file in (("param", param), ("bin", binary)):
            self._fields[field] = f"{self._stem}.{field}"
            shutil.copyfile(file, self._folder / self._fields[field])

    def write(self, **more: Any) -> Row:
        """Write the row with these fields as well, and check it with its files.

        Raises:
            WeightsError: a field or a file cannot be used.
        """
        self._fields |= more
        try:
            self.path.write_text("".join(_lines(self._fields)), encoding="utf-8")
        except UnicodeEncodeError as error:
            raise WeightsError(
                f"{self.path.name}: title, licence and source must be UTF-8"
            ) from error
        row = read_row(self.path)
        check_files(self.path, row)
        check_hash(self.path, row)
        return row

    def publish(self) -> None:
        """Move the files to ``MODEL_DIR``, and the row last, so that no process sees a part of the model.

        Raises:
            WeightsError: another row has the same id.
        """
        row, target = read_row(self.path), self._model_dir / self.path.name
        check_id(target, row, ids_in(self._model_dir, without=target))
        before = _stored_for(target)
        with ExitStack() as undo:
            for name in row.file_names:
                stored = self._model_dir / name
                if not stored.exists():
                    undo.callback(stored.unlink, missing_ok=True)
                (self._folder / name).replace(stored)
            self.path.replace(target)
            undo.pop_all()
        for name in before - set(row.file_names):
            (self._model_dir / name).unlink(missing_ok=True)


@contextmanager
def draft(model_dir: Path, *, param: Path, binary: Path, **fields: Any) -> Iterator[Draft]:
    """Prepare a model beside ``MODEL_DIR``'s rows; what is not published by the end of the block is deleted.

    Raises:
        WeightsError: no row may have the id.
        ConfigError: a file cannot be read, or the folder cannot be written.
    """
    refuse_id(fields["id"])  # before it becomes a part of the names of files
    target = model_dir / f"{fields['id']}{SUFFIX}"
    if target.is_dir():
        raise ConfigError(
            f"cannot add '{param}': '{target}' is a folder, and the model's row belongs there; "
            "rename the folder, or take another id"
        )
    try:
        with binary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        model_dir.mkdir(parents=True, exist_ok=True)
        _delete_abandoned(model_dir)
        folder = Path(tempfile.mkdtemp(dir=model_dir, prefix=_DRAFT))
    except OSError as error:
        raise ConfigError(f"cannot add '{param}': {reason_of(error)}") from error
    try:
        found = Draft(folder, model_dir, {**fields, "sha256": sha256})
        found.take(param, binary)
        yield found
    except OSError as error:
        raise ConfigError(f"cannot add '{param}': {reason_of(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _delete_abandoned(model_dir: Path) -> None:
    """Delete the drafts of processes that were killed: those in which nothing was written for an hour."""
    for folder in model_dir.glob(f"{_DRAFT}*"):
        with suppress(FileNotFoundError):  # another process deletes it
            if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)


def remove(model_dir: Path, model_id: str) -> list[str]:
    """Remove the row of a model, and the files that were stored for it under their hash.

    Args:
        model_dir: the folder.
        model_id: the id; for a row that cannot be read, the name of its file without ``.toml``.

    Returns:
        The names of the removed files. Files whose names were chosen elsewhere, and those that another row names,
        are left alone.

    Raises:
        UnknownModel: no row of ``MODEL_DIR`` has this id.
        ConfigError: a file cannot be removed.
    """
    rows = removable_in(model_dir)
    if model_id not in rows:
        there_are = f"there are {', '.join(sorted(rows))}" if rows else "it has none"
        raise UnknownModel(
            f"'{model_id[:80]}' is no model of MODEL_DIR, '{model_dir}'; {there_are}. "
            "Models of installed packages are removed with pip"
        )
    path = model_dir / rows[model_id]
    stored = sorted(_stored_for(path))
    try:
        # The row first: a process that looks meanwhile sees a model that goes, not one that breaks.
        path.unlink()
        for name in stored:
            (model_dir / name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot remove '{model_id}': {reason_of(error)}") from error
    return [path.name, *stored]


def ids_in(model_dir: Path, *, without: Path | None = None) -> dict[str, str]:
    """Return the file names of the rows of ``MODEL_DIR`` by the ids of their models. Rows that cannot be read have none.

    Args:
        model_dir: the folder, which may be absent.
        without: a row that is left out.
    """
    found = {}
    for path in rows_in(model_dir):
        if path != without:
            with suppress(WeightsError):
                found[read_row(path).id] = path.name
    return found


def removable_in(model_dir: Path) -> dict[str, str]:
    """Return the file names of all rows by what ``remove`` calls them: the ids, and the names of rows that have none."""
    ids = ids_in(model_dir)
    named = {path.stem: path.name for path in rows_in(model_dir) if path.name not in ids.values()}
    return named | ids


def _stored_for(path: Path) -> set[str]:
    """Return the files that ``Draft`` stored for a row, if it exists, and that no other row names.

    Their names begin with the row's id, which is the name of its file, too, and hash.
    """
    try:
        row = read_row(path)
    except WeightsError:
        pattern = re.compile(rf"{re.escape(path.stem)}-[0-9a-f]{{12}}\.(param|bin|png)")
        there = path.parent.iterdir() if path.is_file() else ()
        stored = {file.name for file in there if pattern.fullmatch(file.name)}
    else:
        start = f"{row.id}-{row.sha256[:12]}."
        stored = {name for name in row.file_names if name.startswith(start)}
    others = [_text_of(other) for other in rows_in(path.parent) if other != path] if stored else ()
    return {name for name in stored if not any(name in text for text in others)}


def _text_of(row: Path) -> str:
    """Return the text of a row, which contains the names of its files even if it is no TOML; empty if it cannot be read."""
    try:
        return read_bounded(row, MOST_TEXT_BYTES).decode("utf-8", "replace")
    except (OSError, WeightsError):
        return ""


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of a TOML file. A string of JSON is one of TOML, too."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            inner = ", ".join(f"{key} = {one}" for key, one in value.items())
            yield f"{name} = {{ {inner} }}\n"
        else:
            yield f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
