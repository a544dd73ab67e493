"""Fills the settings, and says in words what is wrong with a value."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from enlarger.config.environment import variables
from enlarger.config.group import shown
from enlarger.config.names import check_names
from enlarger.config.settings import FIELD_OF, GROUPS, VARIABLE_OF, Settings
from enlarger.errors import ConfigError, WrongSettings

SECRETS = (
    "ENLARGER_API_KEYS",
    "ENLARGER_DATABASE",
    "ENLARGER_SIGNING_KEYS",
    "ENLARGER_TILE_TOKEN",
    "ENLARGER_WEBHOOK_SECRETS",
)
"""Settings whose values are never shown."""

_AUTO_FIELDS = ("num_servers", "deadline_s", "server_tiles")
"""Fields that may also be ``auto``."""

_UNITS = {"_bytes": "bytes", "_px": "pixels", "_mib": "MiB", "_s": "seconds"}
"""The unit of a field's number, by the end of the field's name."""


def load(**overrides: Any) -> Settings:
    """Load the settings from the environment.

    Args:
        overrides: values of the command line, by attribute name; None leaves the environment's.

    Raises:
        WrongSettings: values cannot be used, or names are misspelt; the text names all these variables.
    """
    given: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in overrides.items():
        variable = VARIABLE_OF[name]
        if value is not None:
            given[FIELD_OF[variable][0]][variable] = value
    wrong: list[str] = []
    try:
        check_names(variables())
    except ConfigError as error:
        wrong.append(str(error))
    groups: dict[str, Any] = {}
    for name, group in GROUPS.items():
        try:
            groups[name] = group(**given[name])
        except ValidationError as error:
            wrong += _in_words(error)
    if wrong:
        raise WrongSettings(wrong)
    return Settings(**groups)


def _in_words(error: ValidationError) -> list[str]:
    """Return the faults in words for an operator: the variable, what is allowed, and what is there instead."""
    first = {str(fault["loc"][0]): fault for fault in reversed(error.errors())}
    return [_fault_in_words(variable, first[variable]) for variable in reversed(first)]


def _fault_in_words(variable: str, fault: ErrorDetails) -> str:
    own = fault.get("ctx", {}).get("error")
    allowed = str(own) if own is not None else _allowed(variable) or fault["msg"]
    value = getattr(own, "part", fault["input"])
    return f"{variable}: {allowed}" + ("" if variable in SECRETS else f", not {shown(value)}")


def _allowed(variable: str) -> str | None:
    """Return what a variable takes, in words, if that is a number or one of several words; else None."""
    group, name = FIELD_OF[variable]
    schema = GROUPS[group].model_json_schema()["properties"][variable]
    kind = schema.get("anyOf", [schema])[0]
    if "enum" in kind:
        *words, last = kind["enum"]
        return f"it must be {', '.join(words)} or {last}"
    if kind["type"] not in {"integer", "number"}:
        return None
    unit = next((f" of {unit}" for end, unit in _UNITS.items() if name.endswith(end)), "")
    least, most = kind.get("minimum"), kind.get("maximum")
    if most is not None:
        bounds = f"from {least} to {most}"
    else:
        bounds = "more than 0" if least is None else f"at least {least}"
    sort = "whole" if kind["type"] == "integer" else "finite"
    auto = ", or auto" if name in _AUTO_FIELDS else ""
    return f"it must be a {sort} number{unit}, {bounds}{auto}"
