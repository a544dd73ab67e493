"""The folders that clients may use: pictures are read there, and results are written there, without replacing a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath

from enlarger.errors import ConfigError, InvalidOption
from enlarger.picture.formats import format_for
from enlarger.shell import names
from enlarger.shell.sources import Source, find
from enlarger.shell.targets import check_target

_SHOWN_CHARACTERS = 200
"""Characters of a client's text that an error shows."""


class Folders:
    """The folders that clients may use, without their links.

    Args:
        allowed: the folders, of which the first one is the base of relative paths.

    Raises:
        ConfigError: there is no folder, or one of them is not a folder.
    """

    def __init__(self, allowed: Sequence[Path]) -> None:
        if not allowed:
            raise ConfigError(
                "--allow: at least one folder is needed, such as --allow ~/Pictures; clients can use nothing else"
            )
        for folder in allowed:
            if not names.is_folder(folder):
                raise ConfigError(
                    f"--allow: '{names.shown(folder)}' is not a folder; name one that exists"
                )
        self._allowed = [Path(names.real(folder)) for folder in allowed]

    def __str__(self) -> str:
        return ", ".join(f"'{names.shown(folder)}'" for folder in self._allowed)

    def picture(self, text: str) -> Source:
        """Return the picture that a client names.

        Args:
            text: a path in one of the folders, or an http or https URL.

        Raises:
            InvalidOption: the path leads elsewhere, or to something that is no file.
            EnlargerError: the URL is not valid.
        """
        if names.is_url(text):
            found = find([text])
            for failure in found.failures:
                raise failure.error
            return found.sources[0]
        path = self._inside("picture", text)
        if problem := _problem(path):
            raise InvalidOption(
                f"Invalid picture: '{_shown(text)}' {problem}; name one picture in {self}"
            )
        return Source(str(path), PurePath(path.name), path)

    def result(self, text: str) -> tuple[Path, str]:
        """Return the file for a result that a client names, and the format that its ending stands for.

        Args:
            text: a path in one of the folders, where nothing is yet.

        Raises:
            InvalidOption: the path leads elsewhere, something is there already, or the ending is no format.
            UnwritableFile: the folder does not exist, or cannot be written.
        """
        path = self._inside("result", text)
        # A link at the name itself is resolved in `path`, so the name is looked at as well.
        if os.path.lexists(path) or os.path.lexists(self._absolute(text)):
            raise InvalidOption(
                f"Invalid result: '{_shown(text)}' is there already, and no file is replaced; give another name"
            )
        kind = format_for(path)
        check_target(path, may_be_made=False)
        return path, kind

    def _absolute(self, text: str) -> Path:
        return self._allowed[0] / text

    def _inside(self, what: str, text: str) -> Path:
        """Return a path without links and ``..``, which lies in one of the folders.

        Raises:
            InvalidOption: it does not. The text does not tell whether anything is there.
        """
        try:
            path = Path(names.real(self._absolute(text)))
        except ValueError as error:
            raise InvalidOption(
                f"Invalid {what}: '{_shown(text)}' has a character that names of files cannot have; give another name"
            ) from error
        # After a loop of links the rest of a path stays as it is, and ``..`` in it is removed as a text. What is left
        # may have a link that leads out, so that it is resolved once more.
        is_resolved = names.real(path) == str(path)
        if not is_resolved or not any(path.is_relative_to(folder) for folder in self._allowed):
            raise InvalidOption(
                f"Invalid {what}: '{_shown(text)}' is outside of the folders that may be used: {self}"
            )
        return path


def _problem(path: Path) -> str | None:
    """Return why a path is not a file that can be read, as the predicate of a sentence; None if it is one."""
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else "is not a file"
    except (FileNotFoundError, NotADirectoryError):
        return "is not a file" if os.path.lexists(path) else "is not there"
    except OSError as error:  # the system refuses the name itself, or a folder on the way to it
        return f"cannot be used: {error.strerror}"


def _shown(text: str) -> str:
    """Return what a client gave, for display in an error, which may be many times as long as a name can be."""
    shown = names.shown(text[:_SHOWN_CHARACTERS])
    return shown if len(text) <= _SHOWN_CHARACTERS else f"{shown}..."
