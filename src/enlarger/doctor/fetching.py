"""What may be fetched, where webhooks may go, and who may call."""

from __future__ import annotations

from dataclasses import dataclass

from enlarger.config import Settings
from enlarger.doctor.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFacts:
    """What follows from the settings of fetching and access."""

    allowed: str
    """What may be fetched, in words."""

    is_enabled: bool
    has_webhook_secrets: bool
    has_keys: bool
    is_loopback: bool
    """Whether only this machine reaches the gateway."""


def gather(settings: Settings, host: str) -> FetchFacts:
    """Read the rule."""
    from enlarger.config import is_loopback
    from enlarger.fetch.rule import FetchRule

    rule = FetchRule.parse(settings.fetch.rule)
    return FetchFacts(
        allowed=rule.in_words(),
        is_enabled=rule.enabled,
        has_webhook_secrets=bool(settings.jobs.webhook_secrets),
        has_keys=bool(settings.access.api_keys),
        is_loopback=is_loopback(host),
    )


def findings(facts: FetchFacts) -> list[Finding]:
    """Return what may be fetched, and what contradicts it."""
    found = [Finding.ok("pictures may be fetched from", facts.allowed)]
    if facts.has_webhook_secrets and not facts.is_enabled:
        found.append(
            Finding.warning(
                "webhooks are not sent",
                "ENLARGER_WEBHOOK_SECRETS is set, but ENLARGER_FETCH is off",
                hint="set ENLARGER_FETCH to public, or to the hosts that receive webhooks",
            )
        )
    if not facts.has_keys and not facts.is_loopback:
        found.append(
            Finding.warning(
                "anybody who reaches this address may use the service",
                hint="set ENLARGER_API_KEYS: `enlarger key NAME` makes a key and its entry",
            )
        )
    return found
