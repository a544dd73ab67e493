"""A running service, asked over HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enlarger import __version__
from enlarger.doctor.finding import Finding
from enlarger.errors import ConfigError, EnlargerError, ServerUnreachable, Unauthorized
from enlarger.reasons import without_password

_ANSWER_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What a service says of itself."""

    url: str
    """Its address, without a password."""

    problem: EnlargerError | None = None
    """Why it did not answer; None if it did."""

    took_s: float = 0.0
    """Seconds until its first answer."""

    health: Mapping[str, Any] = field(default_factory=dict)
    """The response of ``GET /health``."""

    status: Mapping[str, Any] = field(default_factory=dict)
    """The response of ``GET /status``."""

    models: Sequence[str] = ()
    """Ids of its models."""


def gather(url: str, api_key: str | None) -> ServiceFacts:
    """Ask the service.

    Args:
        url: its address.
        api_key: the key that it needs, if any.
    """
    from enlarger.client import Client

    shown = without_password(url)
    try:
        client = Client(url, api_key=api_key, timeout_s=_ANSWER_S, attempts=1)
    except ConfigError as error:
        return ServiceFacts(url=shown, problem=error)
    with client:
        started = time.perf_counter()
        try:
            health = client.health()
            took_s = time.perf_counter() - started
            return ServiceFacts(
                url=shown,
                took_s=took_s,
                health=health,
                status=client.status(),
                models=[model.id for model in client.models().models],
            )
        except EnlargerError as error:
            return ServiceFacts(url=shown, problem=error)


def findings(facts: ServiceFacts) -> list[Finding]:
    """Return what is wrong with the service."""
    if facts.problem is not None:
        return [_refusal(facts.url, facts.problem)]
    version = facts.status.get("version")
    found = [
        Finding.ok(
            f"enlarger {version} answers on {facts.url}", f"after {facts.took_s * 1000:.0f} ms"
        )
    ]
    if version != __version__:
        found.append(
            Finding.warning(
                f"the service has version {version}, and this program {__version__}",
                hint="install the same version on both sides",
            )
        )
    if (reason := facts.health.get("reason")) is not None:
        found.append(
            Finding.error(
                f"it takes no pictures now: {reason}",
                hint="wait if it is starting or draining; otherwise look at the log of its model servers",
            )
        )
    found += _servers(facts.status.get("servers", []))
    if not facts.status.get("cleanup_task_running", True):
        found.append(
            Finding.error("old results are not deleted", hint="restart it; its log says why")
        )
    queue = facts.status.get("queue", {})
    found.append(
        Finding.ok(
            f"{queue.get('requests')} requests in progress, {queue.get('megapixels')} megapixels"
        )
    )
    found.append(Finding.ok(f"models: {', '.join(facts.models)}"))
    return found


def _refusal(url: str, problem: EnlargerError) -> Finding:
    """Return the finding for a service that could not be asked."""
    if isinstance(problem, ConfigError):  # the address, or the key
        return Finding.refused(
            "the service cannot be asked", problem, hint="correct it, or leave it out"
        )
    if isinstance(problem, Unauthorized):
        return Finding.error(
            f"{url} needs an API key that it knows",
            str(problem),
            hint="give a key with --api-key KEY, or set ENLARGER_API_KEY",
        )
    if isinstance(problem, ServerUnreachable):
        return Finding.error(
            f"{url} cannot be reached",
            str(problem),
            hint="look whether it runs, at its address, and at proxies in between; its log says why it ended",
        )
    return Finding.error(
        f"{url} does not answer as enlarger does",
        str(problem),
        hint="look whether this is the address of enlarger, and at proxies in between",
    )


def _servers(servers: Sequence[Mapping[str, Any]]) -> list[Finding]:
    found = []
    for server in servers:
        title = f"model server {server.get('name')} is {server.get('state')}"
        memory = server.get("rss_mb")
        detail = f"{server.get('tiles_done')} tiles done" + (
            "" if memory is None else f", {memory:.0f} MB of memory"
        )
        if server.get("state") in _WORKING:
            found.append(Finding.ok(title, detail))
        else:
            found.append(
                Finding.warning(
                    title,
                    detail,
                    hint="wait if it has just been started; otherwise look at its log",
                )
            )
    return found


_WORKING = ("ready", "busy")
"""States of a model server that gets tiles."""
