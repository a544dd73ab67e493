"""The database of jobs and the buckets: whether they can be reached and used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enlarger.config import Settings
from enlarger.doctor.finding import Finding
from enlarger.errors import BackendAway, ConfigError

if TYPE_CHECKING:
    from enlarger.storage.faults import Wording

_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """A database or a bucket."""

    title: str
    """What it is, without its password."""

    detail: str = ""
    problem: ConfigError | None = None
    """Why it cannot be used; None if it can."""


async def gather(settings: Settings) -> list[StoreFacts]:
    """Open the database without changing it, and write and delete an object in each bucket."""
    from enlarger.storage.faults import JOBS, RESULTS

    found = [await _database(settings.database_url)]
    places = ((settings.server.upload_folder, RESULTS), (settings.blobs_place, JOBS))
    for place, wording in places:
        if "://" in str(place):
            found.append(await _bucket(str(place), wording))
    return found


def findings(stores: list[StoreFacts]) -> list[Finding]:
    """Return which of them can be used."""
    return [
        Finding.ok(facts.title, facts.detail)
        if facts.problem is None
        else Finding.refused(
            f"{facts.title} {'is not reached' if isinstance(facts.problem, BackendAway) else 'cannot be used'}",
            facts.problem,
            hint="start it, and look at its address and at the network in between"
            if isinstance(facts.problem, BackendAway)
            else "correct the setting, or install what is missing",
        )
        for facts in stores
    ]


async def _database(url: str) -> StoreFacts:
    from enlarger.jobs.rows.database import Database
    from enlarger.jobs.rows.engines import sqlite_file
    from enlarger.jobs.rows.migrations import VERSION

    # The titles have no URL: one of a form that is refused may have a password anywhere.
    try:
        file = sqlite_file(url)
    except ConfigError as error:
        return StoreFacts(title="the database", problem=error)
    title = "the PostgreSQL database" if file is None else "the SQLite database"
    if file is not None and not await asyncio.to_thread(file.exists):
        return StoreFacts(title=title, detail="it is made at the first start")

    async def examined() -> str:
        database = Database(url)
        try:
            version = await database.examine()
        finally:
            await database.close()
        if version is None:
            return "it has no tables yet; the first start makes them"
        if version < VERSION:
            return f"it can be used; the next start migrates its tables from version {version} to {VERSION}"
        return f"it can be used; its tables have version {version}"

    return await _tried(title, examined)


async def _bucket(place: str, wording: Wording) -> StoreFacts:
    from enlarger.storage import storage_at

    async def checked() -> str:
        await storage_at(place, wording).check()
        return "objects can be written and deleted"

    return await _tried(f"the bucket {place}", checked)


async def _tried(title: str, check: Callable[[], Awaitable[str]]) -> StoreFacts:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return StoreFacts(title=title, detail=await check())
    except ConfigError as error:
        return StoreFacts(title=title, problem=error)
    except TimeoutError:
        return StoreFacts(title=title, problem=BackendAway(f"no answer within {_PATIENCE_S:.0f} s"))
