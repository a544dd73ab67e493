"""Settings of where pictures are fetched from, and where webhooks go."""

from __future__ import annotations

from pydantic import Field, field_validator

from enlarger.config.addresses import HOST, is_port, read_network
from enlarger.config.group import SettingsGroup, WrongPart

FETCH_OFF = ("off", "none", "no", "false", "0", "disabled")
"""Words for ``ENLARGER_FETCH`` that switch fetching off. No host can have one of these names."""

_FETCH_UNCLEAR = ("true", "yes", "on", "1", "all")
"""Words for ``ENLARGER_FETCH`` that could mean public addresses or any address, so that they are refused."""

_SOURCES = (
    "it must be public (all public addresses), off (none), or a list of what is allowed besides public addresses: "
    "hosts such as pictures.lan or pictures.lan:9000, ports such as :8080, networks such as 10.0.0.0/8 or fd00::1/128, without http:// and paths"
)


class FetchSettings(SettingsGroup):
    """Settings of where pictures are fetched from, and where webhooks go."""

    rule: str = Field(default="public", validation_alias="ENLARGER_FETCH")
    """``public``, ``off``, or a list with commas of what is allowed besides public addresses: ``host[:port]``,
    networks and ``:port``. The other words that switch fetching off are read as ``off``."""

    @field_validator("rule")
    @classmethod
    def _fetch_rule(cls, value: str) -> str:
        rule = value.strip().lower()
        if rule in FETCH_OFF:
            return "off"
        entries = [entry.strip() for entry in rule.split(",")]
        for entry in entries:
            _check_source(entry)
        return "public" if set(entries) == {"public"} else rule


def allowed_sources(rule: str) -> tuple[str, ...]:
    """Return the hosts, networks and ports that an ``ENLARGER_FETCH`` rule allows besides public addresses."""
    entries = (part.strip() for part in rule.split(","))
    return tuple(entry for entry in entries if entry not in {"public", "off"})


def _check_source(entry: str) -> None:
    """Refuse an entry that cannot be used in a list of ``ENLARGER_FETCH``."""
    if entry in FETCH_OFF:
        raise ValueError(f"'{entry}' switches fetching off, and must stand alone")
    if "/" in entry:
        read_network(entry, allowed=_SOURCES)
        return
    host, colon, port = entry.partition(":")
    is_named = HOST.fullmatch(host) or (colon and not host)
    if entry in _FETCH_UNCLEAR or not is_named or (colon and not is_port(port)):
        raise WrongPart(_SOURCES, entry)
