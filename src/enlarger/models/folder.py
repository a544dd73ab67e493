"""``MODEL_DIR`` while a process runs: rows that appear, change, break or go, without a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from enlarger import open_files
from enlarger.errors import ConfigError, WeightsError
from enlarger.models.catalogue import Catalogue, refuse
from enlarger.models.copies import Copies, Stamp
from enlarger.models.files import stamp_of
from enlarger.models.model import Model
from enlarger.models.own import check_files, check_hash, check_id, rows_in
from enlarger.models.rows import Row, read_row


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of ``MODEL_DIR`` that cannot be used now."""

    row: str
    """Name of its file."""

    reason: str
    """What is wrong, and what to do."""

    model: str | None = None
    """Id of the model that is still offered for it: the version before. None if there is none."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A row in one state that can be used."""

    row: Row
    path: Path
    """The row: in ``MODEL_DIR``, or its copy."""

    model: Model

    @classmethod
    def read(cls, path: Path) -> _Version:
        row = read_row(path)
        return cls(row, path, Model.of(row, weights_folder=path.parent, folder=path.parent))


@dataclass(slots=True)
class _Known:
    """What is known of one row."""

    names: tuple[str, ...] = ()
    """The files that it names."""

    seen: Stamp | None = None
    """Its state at the last look."""

    examined: Stamp | None = None
    """The state of ``newest`` and ``fault``."""

    newest: _Version | None = None
    """What was examined; None if it cannot be used."""

    fault: str | None = None
    """Why it cannot be used."""

    offered: _Version | None = None
    """The newest version that can be used."""


class ModelFolder:
    """The models of the installation and of ``MODEL_DIR``, kept up to date by looking at the folder again and again.

    Args:
        folder: ``MODEL_DIR``; it may be absent.
        copies: where the versions of rows are copied to; None uses the files where they are.
    """

    def __init__(self, folder: Path, copies: Copies | None = None) -> None:
        self._folder = folder
        self._copies = copies
        self._rows: dict[str, _Known] = {}
        self.catalogue = Catalogue([])
        """The models that can be used."""

        self.left_out: tuple[LeftOut, ...] = ()
        """The rows that cannot be used."""

        self._examined: Mapping[str, Stamp | None] = {}
        """The states of the rows that models were last offered for."""

        self._is_unreadable = False
        """Whether the folder could not be read at the last look."""

        self.rows: Mapping[str, str] = {}
        """File names of the rows, by the id of the model that is offered for them."""

    def start(self) -> None:
        """Examine all rows, and hash their weights.

        Raises:
            WeightsError: a row cannot be used; the text begins with its file's name.
            ConfigError: the folder is a file, or cannot be read.
            OpenFilesExhausted: this process has no file left to read a row with.
        """
        for path in rows_in(self._folder):
            self._rows[path.name] = self._looked_at(path, _Known(), at_once=True, hashed=True)
        self._offer()
        refuse([row.reason for row in self.left_out], self._folder)
        self.use_copies()

    def start_again(self) -> None:
        """Examine all rows; the place of one that cannot be used is taken by its version before.

        This is for a process that takes the place of another one, which had that version.

        Raises:
            ConfigError: the folder is a file, or cannot be read.
            OpenFilesExhausted: this process has no file left to read a row with.
        """
        for path in rows_in(self._folder):
            known = self._looked_at(path, _Known(), at_once=True)
            copy = self._copies.newest(path) if self._copies and known.newest is None else None
            known.offered = _Version.read(copy) if copy is not None else None
            self._rows[path.name] = known
        self._offer()

    def look(self) -> bool:
        """Look for rows that have appeared, changed or gone; return whether models or faults are others now.

        A row that has just changed is examined at the next look, if it has not changed again: it, or one of its files,
        may be half written.

        Raises:
            OpenFilesExhausted: this process has no file left to look with; the next look sees what this one missed.
        """
        before = self.catalogue, self.left_out
        try:
            paths = rows_in(self._folder)
        except ConfigError as error:
            open_files.raise_if_exhausted(error)
            self._is_unreadable = True
            self.left_out = (LeftOut(self._folder.name, str(error)),)
            return self.left_out != before[1]
        self._rows = {
            path.name: self._looked_at(path, self._rows.get(path.name, _Known())) for path in paths
        }
        if self._states == self._examined and not self._is_unreadable:
            return False
        self._is_unreadable = False
        self._offer()
        return (list(before[0]), before[1]) != (list(self.catalogue), self.left_out)

    def use_copies(self) -> None:
        """Mark the copies of the models as used, and delete those that nobody has used for a day."""
        if self._copies is not None:
            offered = [row.offered for row in self._rows.values() if row.offered is not None]
            self._copies.use([version.path for version in offered])

    @property
    def _states(self) -> dict[str, Stamp | None]:
        """The state of each row that was examined last, by its file's name. Without another one, nothing is offered anew."""
        return {name: known.examined for name, known in self._rows.items()}

    def _looked_at(
        self, path: Path, known: _Known, *, at_once: bool = False, hashed: bool = False
    ) -> _Known:
        """Examine a row if it has changed, and not since the last look, or ``at_once``."""
        own = stamp_of(path)
        if known.seen is None or known.seen[0] != own:
            known.names = _names_in(path)
        seen = (own, *(stamp_of(path.parent / name) for name in known.names))
        is_stable, known.seen = at_once or known.seen == seen, seen
        if is_stable and known.examined != seen:
            newest, fault = None, None
            try:
                newest = self._version(path, seen, hashed=hashed)
            except WeightsError as error:
                open_files.raise_if_exhausted(error)
                fault = str(error)
            known.examined, known.newest, known.fault = seen, newest, fault
        return known

    def _version(self, path: Path, stamp: Stamp, *, hashed: bool) -> _Version:
        """Return a row in its state of now.

        Raises:
            WeightsError: the row cannot be used.
        """
        row = read_row(path)
        if hashed:
            _check(path)
        copy = self._copies.find(path, stamp) if self._copies is not None else None
        if copy is not None:
            return _Version.read(copy)
        check_files(path, row)
        if self._copies is not None:
            copy = self._copies.make(path, row, stamp, _check)
        if copy is None and not hashed:
            check_hash(path, row)
        return _Version.read(copy or path)

    def _offer(self) -> None:
        """Offer the newest version of each row that can be used, and has an id of its own."""
        names: dict[str, str] = {}
        """File names of the rows, by id."""

        left_out = []
        for name, known in self._rows.items():
            fault = known.fault
            if known.newest is not None:
                try:
                    check_id(Path(name), known.newest.row, names)
                    known.offered = known.newest
                except WeightsError as error:
                    fault = str(error)
            if known.offered is not None:
                if known.offered.model.id in names:
                    known.offered = None
                else:
                    names[known.offered.model.id] = name
            if fault is not None:
                still = None if known.offered is None else known.offered.model.id
                left_out.append(LeftOut(name, fault, still))
        self.left_out, self.rows, self._examined = tuple(left_out), names, self._states
        offered = [row.offered.model for row in self._rows.values() if row.offered is not None]
        self.catalogue = Catalogue.with_own(offered)


def _names_in(path: Path) -> tuple[str, ...]:
    try:
        return read_row(path).file_names
    except WeightsError as error:
        open_files.raise_if_exhausted(error)
        return ()


def _check(path: Path) -> None:
    """Check a row and its files completely.

    Raises:
        WeightsError: the row cannot be used.
    """
    row = read_row(path)
    check_files(path, row)
    check_hash(path, row)
