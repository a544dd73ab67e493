"""All checks in their order. A check that fails is a finding like any other: the ones after it are done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enlarger import config
from enlarger.config import Settings
from enlarger.doctor import (
    cache,
    clock,
    fetching,
    folders,
    memory,
    models,
    packages,
    ports,
    processor,
    server,
    speed,
    stores,
)
from enlarger.doctor import settings as settings_check
from enlarger.doctor.finding import Finding
from enlarger.errors import ConfigError, EnlargerError
from enlarger.reasons import reason_of

if TYPE_CHECKING:
    from enlarger.engine.local import LocalEngine
    from enlarger.models import Model


@dataclass(frozen=True, slots=True)
class Checked:
    """A group of checks that was done."""

    name: str
    findings: Sequence[Finding]


async def examine_server(url: str, api_key: str | None) -> AsyncIterator[Checked]:
    """Ask a running service. An address or a key that cannot be used is a finding."""
    facts = await asyncio.to_thread(server.gather, url, api_key)
    yield Checked("service", server.findings(facts))


async def examine(
    settings: Settings | ConfigError, *, host: str, port: int, speed_s: float
) -> AsyncIterator[Checked]:
    """Examine this installation.

    Args:
        settings: all of them, or what is wrong with them; then only that is checked which needs none.
        host: address that ``enlarger serve`` would listen on.
        port: its port.
        speed_s: seconds that the speed test may take; 0 leaves it out.
    """
    loaded = settings if isinstance(settings, Settings) else None
    yield _checked("python", lambda: packages.findings(packages.gather()))
    yield _checked("cpu", lambda: processor.findings(processor.gather(loaded)))
    yield _checked("settings", lambda: settings_check.findings(settings_check.gather(settings)))
    if loaded is None:
        yield _checked("clock", lambda: clock.findings(clock.gather()))
        return
    yield _checked("memory", lambda: memory.findings(memory.gather(loaded)))
    yield _checked("ports", lambda: ports.findings(ports.gather(loaded, host, port)))
    yield _checked("folders", lambda: folders.findings(folders.gather(loaded)))
    yield _checked("cache", lambda: cache.findings(cache.gather(loaded)))
    async for checked in _examine_models(loaded, speed_s=speed_s):
        yield checked
    yield await _waited("stores", _examine_stores(loaded))
    yield _checked("fetching", lambda: fetching.findings(fetching.gather(loaded, host)))
    yield _checked("clock", lambda: clock.findings(clock.gather()))


async def _examine_stores(settings: Settings) -> list[Finding]:
    return stores.findings(await stores.gather(settings))


async def _examine_models(settings: Settings, *, speed_s: float) -> AsyncIterator[Checked]:
    from enlarger.engine.factory import make_engine
    from enlarger.models import Catalogue

    try:
        catalogue, faults = Catalogue.examined(settings.server.model_dir)
        # Without a cache: the files themselves are examined, and nothing is written for another user to trip over.
        engine = make_engine(
            catalogue,
            threads=config.cores(),
            precision=settings.server.precision,
            cache_folder=None,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
        yield Checked("models", [_failed("models", error)])
        return
    async with engine:
        facts = await models.gather(
            catalogue, faults, engine, note=settings.server.missing_model_dir
        )
        yield _checked("models", lambda: models.findings(facts))
        usual = catalogue.choose("auto", scale=4)
        if speed_s and any(one.id == usual.id and one.problem is None for one in facts.checks):
            yield await _waited("speed", _measure(usual, engine, seconds=speed_s))


async def _measure(model: Model, engine: LocalEngine, *, seconds: float) -> list[Finding]:
    return speed.findings(await speed.gather(model, engine, seconds=seconds))


async def _waited(name: str, findings: Awaitable[list[Finding]]) -> Checked:
    try:
        return Checked(name, await findings)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
        return Checked(name, [_failed(name, error)])


def _checked(name: str, check: Callable[[], list[Finding]]) -> Checked:
    try:
        return Checked(name, check())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
        return Checked(name, [_failed(name, error)])


def _failed(name: str, error: Exception) -> Finding:
    if isinstance(error, EnlargerError):
        return Finding.refused(f"{name} cannot be used", error)
    return Finding.error(
        f"{name} could not be checked",
        f"{type(error).__name__}: {reason_of(error)}",
        hint="reinstall enlarger; if that does not help, report it with this output",
    )
