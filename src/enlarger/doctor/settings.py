"""The settings, each with its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from enlarger.config import Settings, ShownSetting, shown_settings
from enlarger.doctor.finding import Finding
from enlarger.errors import ConfigError, WrongSettings
from enlarger.installation import install_command


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFacts:
    """The settings as an operator may see them."""

    shown: Sequence[ShownSetting] = ()
    problem: ConfigError | None = None
    """Why they cannot be used; None if they can."""

    traces_asked_by: str | None = None
    """The variable that asks for traces; None if no variable does."""

    has_tracing: bool = True
    """Whether the packages that send traces are installed."""


def gather(settings: Settings | ConfigError) -> SettingsFacts:
    """Return the settings, or what is wrong with them."""
    if isinstance(settings, ConfigError):
        return SettingsFacts(problem=settings)
    try:
        variable = settings.observability.traces_asked_by
    except ConfigError as error:
        return SettingsFacts(shown=shown_settings(settings), problem=error)
    return SettingsFacts(
        shown=shown_settings(settings),
        traces_asked_by=variable,
        has_tracing=find_spec("opentelemetry") is not None,
    )


def findings(facts: SettingsFacts) -> list[Finding]:
    """Return all settings, a finding for each that the environment sets, and one for all that have their defaults."""
    found = []
    problem = facts.problem
    texts = problem.texts if isinstance(problem, WrongSettings) else [str(problem)]
    if problem is not None:
        found += [
            Finding.error(
                "the settings cannot be used", text, hint="correct the variable, or unset it"
            )
            for text in texts
        ]
    set_here = [one for one in facts.shown if one.origin == "environment"]
    others = [f"{one.variable}={one.value}" for one in facts.shown if one.origin == "default"]
    found += [Finding.ok(f"{one.variable}={one.value}", "from the environment") for one in set_here]
    if others:
        found.append(Finding.ok(f"{len(others)} settings have their defaults", ", ".join(others)))
    if facts.traces_asked_by is not None and not facts.has_tracing:
        found.append(
            Finding.error(
                f"{facts.traces_asked_by} asks for traces, and the packages that send them are missing",
                hint=f"{install_command('otel')}, or unset the variable",
            )
        )
    return found
