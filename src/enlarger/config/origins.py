"""Shows settings to an operator: the value of each, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from enlarger.config.group import shown
from enlarger.config.loading import SECRETS
from enlarger.config.settings import GROUPS, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
    """One setting as an operator may see it."""

    variable: str
    """Name of the variable."""

    value: str
    """The value; ``(hidden)`` in place of a secret, ``(unset)`` if there is none."""

    origin: Literal["environment", "default"]


def shown_settings(settings: Settings) -> list[ShownSetting]:
    """Return all settings in the order of their groups. No secret and no password is in the result."""
    found = []
    for group_name, group_type in GROUPS.items():
        group = getattr(settings, group_name)
        for name, field in group_type.model_fields.items():
            variable, value = str(field.validation_alias), getattr(group, name)
            if value in (None, ()):
                text = "(unset)"
            elif variable in SECRETS:
                text = "(hidden)"
            else:
                text = shown(value).strip("'\"")
            found.append(
                ShownSetting(
                    variable=variable,
                    value=text,
                    origin="environment" if name in group.model_fields_set else "default",
                )
            )
    return found
