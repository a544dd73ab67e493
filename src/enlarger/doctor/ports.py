"""The ports of the gateway and of its model servers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from enlarger.config import Settings
from enlarger.doctor.finding import Finding
from enlarger.errors import ConfigError
from enlarger.reasons import reason_of

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port, and whether it can be listened on."""

    address: str
    """``host:port``."""

    problem: str | None
    """Why nothing can listen there; None if it is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """The ports that ``enlarger serve`` would use."""

    ports: Sequence[Port]
    running: str | None = None
    """URL of an enlarger that answers on the gateway's port; None if there is none."""

    servers: Sequence[tuple[str, str | None]] = ()
    """Addresses in ``ENLARGER_SERVERS``, each with the reason why it cannot be reached, or None."""


def gather(settings: Settings, host: str, port: int) -> PortFacts:
    """Listen on each port for a moment, and on the gateway's meanwhile, as ``enlarger serve`` does."""
    from enlarger.asgi.server import bind
    from enlarger.asgi.server_ports import HOST, check_server_port

    pool = settings.pool
    with ExitStack() as stack:

        def listen() -> None:
            stack.enter_context(bind(host, port, variable="--port"))

        own = Port(address=f"{host}:{port}", problem=_problem(listen))
        others = [
            Port(
                address=f"{HOST}:{number}",
                problem=_problem(partial(check_server_port, number, pool, gateway_port=port)),
            )
            for number in pool.server_ports
        ]
    return PortFacts(
        ports=[own, *others],
        running=_running(host, port) if own.problem else None,
        servers=[(address, _unreachable(address)) for address in pool.servers],
    )


def findings(facts: PortFacts) -> list[Finding]:
    """Return which ports are free, and which model servers can be reached."""
    found = []
    for address, problem in facts.servers:
        if problem is None:
            found.append(Finding.ok(f"the model server {address} can be reached"))
        else:
            found.append(
                Finding.error(
                    f"the model server {address} cannot be reached",
                    problem,
                    hint="start `enlarger model-server` there, and look at ENLARGER_SERVERS and at firewalls",
                )
            )
    if facts.running is not None:
        found.append(
            Finding.ok(
                f"enlarger runs already on {facts.running}",
                f"`enlarger doctor --server {facts.running}` asks it",
            )
        )
        return found
    problems = {port.address for port in facts.ports if port.problem is not None}
    free = [port.address for port in facts.ports if port.address not in problems]
    for port in facts.ports:
        if port.problem is not None:
            problem, _, way_out = port.problem.partition("; ")
            found.append(
                Finding.error(f"port {port.address} cannot be used", problem, hint=way_out)
            )
    if free:
        found.append(Finding.ok(f"ports are free: {', '.join(free)}"))
    return found


def _problem(listen: Callable[[], None]) -> str | None:
    try:
        listen()
    except ConfigError as error:
        return str(error)
    return None


def _unreachable(address: str) -> str | None:
    """Return why nothing answers at ``host:port``; None if something does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        return reason_of(error)
    return None


def _running(host: str, port: int) -> str | None:
    """Return the URL of an enlarger that answers on a port."""
    from enlarger.client import Client
    from enlarger.errors import EnlargerError

    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://{shown}:{port}"
    try:
        with Client(url, timeout_s=_ANSWER_S, attempts=1) as client:
            return url if "model_servers" in client.health() else None
    except EnlargerError:
        return None
