"""Copies of the rows of ``MODEL_DIR`` and their files, one folder for each version of a row.

A model is used from its copy. Replacing, damaging or removing its files in ``MODEL_DIR`` therefore changes nothing
for pictures that are being made, for model servers that load the model later, or for the version before.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from enlarger.models.rows import Row
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

UNUSED_S = 86_400.0
"""Copies that nobody has used for this long are deleted."""

Stamp = tuple[object, ...]
"""A value that changes when a row or one of its files does."""


class Copies:
    """The copies of one ``MODEL_DIR``.

    Args:
        folder: the folder for the copies of all folders of models; it is made when it is first needed.
        model_dir: the folder whose rows are copied.
    """

    def __init__(self, folder: Path, model_dir: Path) -> None:
        key = hashlib.sha256(os.fsencode(model_dir.resolve())).hexdigest()
        self._folder = folder / key[:16]
        self._not_kept = Repeated()

    def find(self, path: Path, stamp: Stamp) -> Path | None:
        """Return the copy of a row in this state, if there is one.

        Args:
            path: the row in ``MODEL_DIR``.
            stamp: its state.
        """
        copy = self._place(path, stamp) / path.name
        return copy if copy.exists() else None

    def make(
        self, path: Path, row: Row, stamp: Stamp, check: Callable[[Path], None]
    ) -> Path | None:
        """Copy a row and its files, and return the copy of the row; None if the folder cannot be written.

        A copy appears as a whole and checked, so that no process ever sees a part of it.

        Args:
            path: the row in ``MODEL_DIR``.
            row: its content.
            stamp: its state.
            check: called with the copy of the row before anybody can find it. Its files may have changed since they
                were last looked at.

        Raises:
            WeightsError: ``check`` raised it.
        """
        place = self._place(path, stamp)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(dir=place.parent, prefix="."))
            try:
                for name in (path.name, *row.file_names):
                    (aside / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path.parent / name, aside / name)
                check(aside / path.name)
                try:
                    aside.rename(place)
                except OSError:
                    if not place.exists():  # else another process was quicker
                        raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            if (left_out := self._not_kept.occurred()) is not None:
                log.warning(
                    "models_not_copied",
                    folder=str(self._folder),
                    reason=reason_of(error),
                    left_out=left_out,
                )
            return None
        return place / path.name

    def newest(self, path: Path) -> Path | None:
        """Return the copy of a row that was used last, whatever its state; None if there is none."""
        copies = [
            copy / path.name
            for copy in self._of(path)
            if copy.name[0] != "." and (copy / path.name).exists()
        ]
        return max(copies, key=lambda copy: copy.parent.stat().st_mtime, default=None)

    def use(self, copies: Collection[Path], *, now: float | None = None) -> None:
        """Mark copies as used, and delete those that nobody has used for a day.

        Args:
            copies: rows that ``find``, ``make`` or ``newest`` returned.
            now: seconds since the epoch; None for the present.
        """
        now = time.time() if now is None else now
        for copy in copies:
            if copy.is_relative_to(self._folder):
                os.utime(copy.parent, (now, now))
        for row in self._folder.iterdir() if self._folder.exists() else ():
            for copy in row.iterdir():
                if copy.stat().st_mtime < now - UNUSED_S:
                    shutil.rmtree(copy, ignore_errors=True)

    def _of(self, path: Path) -> list[Path]:
        folder = self._folder / path.name
        return list(folder.iterdir()) if folder.exists() else []

    def _place(self, path: Path, stamp: Stamp) -> Path:
        key = hashlib.sha256(repr(stamp).encode()).hexdigest()
        return self._folder / path.name / key[:32]
