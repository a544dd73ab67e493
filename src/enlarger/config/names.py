"""Names of variables: a misspelt one is refused, since it would leave a setting unset unnoticed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from enlarger.config.access import ApiKey
from enlarger.config.settings import FIELD_OF
from enlarger.errors import ConfigError

API_KEY_VARIABLE = "ENLARGER_API_KEY"
SERVER_URL_VARIABLE = "ENLARGER_SERVER_URL"
CLIENT_VARIABLES = (API_KEY_VARIABLE, SERVER_URL_VARIABLE)
"""Variables with our prefix that ``enlarger jobs`` and ``enlarger upscale --server`` read; they are no settings."""

_PREFIX = "ENLARGER_"
_KUBERNETES = re.compile(
    r"ENLARGER_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z0-9_]+)?)"
)


def check_names(environment: Mapping[str, str]) -> None:
    """Refuse variables with our prefix that nothing reads.

    Raises:
        ConfigError: there are such variables. The text has their names and the nearest known ones, but no values.
    """
    wrong: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for name, value in sorted(environment.items()):
        upper = name.upper()  # settings are read in any case, and may be misspelt in any
        if not upper.startswith(_PREFIX) or _is_of_kubernetes(name, value):
            continue
        if upper in FIELD_OF:
            if (other := seen.setdefault(upper, name)) != name:
                raise ConfigError(f"{other}: it is set twice, also as {name}; unset one of the two")
        elif name not in CLIENT_VARIABLES:
            wrong.append((name, _nearest(upper)))
    if wrong:
        (name, near_name), *others = wrong
        also = ", ".join(f"{other} (the nearest is {near})" for other, near in others)
        raise ConfigError(
            f"{name}: there is no such setting; the nearest name is {near_name}. Correct the name, or unset it"
            + (f". Also unknown: {also}" if also else "")
        )
    if any(map(ApiKey.read, environment.get(API_KEY_VARIABLE, "").split(","))):
        raise ConfigError(
            "ENLARGER_API_KEY: it holds an entry of ENLARGER_API_KEYS. The service reads only that one; "
            "this one is the key itself, for clients"
        )


def _nearest(name: str) -> str:
    """Return the known name that is nearest to an unknown one with our prefix, in upper case."""
    if name in CLIENT_VARIABLES:
        return name
    rest = name.removeprefix(_PREFIX)
    if rest in {"HOST", "PORT"}:
        return f"the option --{rest.lower()}"
    # The prefix is left out: ENLARGER_NUM_SERVERS is near to NUM_SERVERS.
    known = {variable.removeprefix(_PREFIX): variable for variable in FIELD_OF}
    return known[difflib.get_close_matches(rest, known, n=1, cutoff=0)[0]]


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Return whether Kubernetes, or a link of Docker, sets a variable for a service named ``enlarger...``."""
    # The value of NAME_PORT is a URL: ENLARGER_BASE_PORT=5002 means BASE_PORT.
    return _KUBERNETES.fullmatch(name) is not None or (
        name.endswith("_PORT") and name.isupper() and not value.isdigit()
    )
