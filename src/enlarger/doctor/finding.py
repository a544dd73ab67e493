"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """The service works, but not as well as it could, or only for a while."""

    ERROR = "error"
    """The service does not start, or a part of it does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check has found."""

    level: Level
    title: str
    """What was found, in a few words."""

    detail: str = ""
    """Figures and names that belong to it."""

    hint: str = ""
    """What to do about it; empty if nothing has to be done."""

    @classmethod
    def ok(cls, title: str, detail: str = "") -> Self:
        """Return a finding that needs no action."""
        return cls(Level.OK, title, detail)

    @classmethod
    def warning(cls, title: str, detail: str = "", *, hint: str) -> Self:
        """Return a finding that the operator should look at."""
        return cls(Level.WARNING, title, detail, hint)

    @classmethod
    def error(cls, title: str, detail: str = "", *, hint: str) -> Self:
        """Return a finding that the operator has to act on."""
        return cls(Level.ERROR, title, detail, hint)

    @classmethod
    def refused(cls, title: str, error: Exception, *, hint: str = "") -> Self:
        """Return the finding of an error whose text says what is wrong and, after a semicolon, what to do."""
        detail, _, way_out = str(error).partition("; ")
        return cls(Level.ERROR, title, detail, way_out or hint)
