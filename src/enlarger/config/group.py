"""What all groups of settings share: their base class, lists with commas, and how values are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(allow_inf_nan=False)]


class SettingsGroup(BaseSettings):
    """Settings that belong together. They are frozen; ``load`` turns a wrong value into a ``ConfigError``."""

    model_config = SettingsConfigDict(frozen=True, validate_default=True)


class WrongPart(ValueError):
    """One part of a value cannot be used. The text says what is allowed; ``part`` is what was written instead."""

    def __init__(self, allowed: str, part: str) -> None:
        super().__init__(allowed)
        self.part = part


def none_if_auto(value: object) -> object:
    """Return None for ``auto``, so that the default is worked out later."""
    return None if value == "auto" else value


def lower(value: object) -> object:
    """Return a word in lower case and without spaces around it."""
    return value.strip().lower() if isinstance(value, str) else value


def split_list(value: object) -> object:
    """Return the entries of a list with commas, without spaces and empty entries."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def split_secret_list(
    value: object, read: Callable[[str], object], *, allowed: str, hint: str
) -> object:
    """Read each entry of a list with commas whose entries must not be shown.

    Args:
        value: the list as text; anything else is returned as it is.
        read: returns the value of an entry, or None if the entry cannot be used.
        allowed: what an entry must be, in words.
        hint: how to make such an entry.

    Raises:
        ValueError: an entry cannot be used; the text has its number.
    """
    if not isinstance(value, str):
        return value
    entries = [read(entry.strip()) for entry in value.split(",") if entry.strip()]
    if None in entries:
        number = entries.index(None) + 1
        raise ValueError(f"each entry must be {allowed}, unlike entry {number}; {hint}")
    return tuple(entries)


def shown(value: object) -> str:
    """Return a value in quotes, on one line, without the passwords of URLs in it."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    hidden = re.sub(r":(?!//)\S*@", ":***@", text)
    return repr(hidden if len(hidden) <= 100 else f"{hidden[:100]}...")
