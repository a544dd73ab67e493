"""Fills the settings, and says in words what is wrong with a value."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from enlarger.config.access import AccessSettings
from enlarger.config.environment import variables
from enlarger.config.fetch import FetchSettings
from enlarger.config.group import shown
from enlarger.config.jobs import JobSettings
from enlarger.config.limits import LimitSettings
from enlarger.config.names import check_names
from enlarger.config.observability import ObservabilitySettings
from enlarger.config.pool import PoolSettings
from enlarger.config.server import ServerSettings
from enlarger.config.settings import FIELD_OF, GROUPS, VARIABLE_OF, Settings
from enlarger.errors import ConfigError

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
        ConfigError: a value cannot be used, or a name is misspelt; the text names the variable.
    """
    given: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for name, value in overrides.items():
        variable = VARIABLE_OF[name]
        if value is not None:
            given[FIELD_OF[variable][0]][variable] = value
    check_names(variables())
    try:
        return Settings(
            server=ServerSettings(**given["server"]),
            limits=LimitSettings(**given["limits"]),
            pool=PoolSettings(**given["pool"]),
            jobs=JobSettings(**given["jobs"]),
            fetch=FetchSettings(**given["fetch"]),
            access=AccessSettings(**given["access"]),
            observability=ObservabilitySettings(**given["observability"]),
        )
    except ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def _in_words(error: ValidationError) -> str:
    """Return the first fault in words for an operator: the variable, what is allowed, and what is there instead."""
    fault = error.errors()[0]
    variable = str(fault["loc"][0])
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
