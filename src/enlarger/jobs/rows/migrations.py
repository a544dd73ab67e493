"""From the tables of any earlier version to those of this one, one small step after the other.

A step is final once it has been released. It states the names and forms of its time itself, and uses nothing that later
versions may change: neither ``tables.py`` nor the classes of facts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    column,
    insert,
    inspect,
    select,
    table,
    text,
    update,
)

from enlarger.errors import ConfigError
from enlarger.jobs.rows import tables

log = structlog.get_logger()

_ROWS = 500
"""Rows that a step holds at once."""


def migrate(connection: Connection) -> None:
    """Bring the tables to this version, or make them.

    Nobody else may do that at the same time: the caller holds a lock, in a transaction that ends with all of it or nothing.

    Raises:
        ConfigError: the tables are those of a later version, or a row cannot be read.
    """
    found = version_of(connection)
    if found is None:
        tables.metadata.create_all(connection)
        connection.execute(insert(tables.schema).values(version=VERSION))
        return
    if found == VERSION:
        return
    began = time.monotonic()
    try:
        for step in STEPS[found - 1 :]:
            step(connection)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(
            f"ENLARGER_DATABASE: a row of its jobs cannot be read, so its tables stay those of version {found}; "
            "restore a copy, or name another database"
        ) from error
    connection.execute(update(tables.schema).values(version=VERSION))
    log.info(
        "database_migrated",
        from_version=found,
        to_version=VERSION,
        took_s=round(time.monotonic() - began, 3),
    )


def version_of(connection: Connection) -> int | None:
    """Return the version of the tables; None if the database has no tables yet. Nothing is changed.

    Raises:
        ConfigError: the tables are those of a later version, or do not state their version.
    """
    if not inspect(connection).has_table(tables.schema.name):
        return None
    found = connection.scalar(select(tables.schema.c.version))
    if found is None or found < 1:
        raise ConfigError(
            f"ENLARGER_DATABASE: its table {tables.schema.name} does not say which version of enlarger made the others; "
            "name another database"
        )
    if found > VERSION:
        raise ConfigError(
            f"ENLARGER_DATABASE: a later version of enlarger made its tables (version {found}; this one knows those up to "
            f"{VERSION}); start that version or a later one, or name another database: the jobs stay in this one"
        )
    return int(found)


def _facts_for_answers(connection: Connection) -> None:
    """1 to 2: the rows had parts of the answers of ``/v1``; they get the facts from which answers are made."""
    for old, new in (("problem", "error"), ("anew", "skip_cache")):
        connection.execute(text(f"ALTER TABLE enlarger_jobs RENAME COLUMN {old} TO {new}"))
    forms = {"input": _input_facts, "result": _result_facts, "error": _error_facts}
    columns = [column(name, JSON(none_as_null=True)) for name in forms]
    jobs = table("enlarger_jobs", column("number"), *columns)
    change = update(jobs).where(jobs.c.number == bindparam("at"))
    change = change.values({name: bindparam(f"new_{name}") for name in forms})
    rows = select(jobs).order_by(jobs.c.number).limit(_ROWS)
    last = -1
    while found := connection.execute(rows.where(jobs.c.number > last)).mappings().all():
        changed = [
            {"at": row["number"]}
            | {
                f"new_{name}": None if row[name] is None else form(row[name])
                for name, form in forms.items()
            }
            for row in found
        ]
        connection.execute(change, changed)
        last = found[-1]["number"]


def _input_facts(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "width_px": old["width"],
        "height_px": old["height"],
        "size_bytes": old["bytes"],
        "format": old["format"],
    }


def _result_facts(old: Mapping[str, Any]) -> dict[str, Any]:
    file, tiles = old["result"], old["tiles"]
    times_ms = dict(old["timing_ms"])
    took_ms = times_ms.pop("total")
    return {
        "input": _input_facts(old["input"]),
        "media_type": file["media_type"],
        "size_bytes": file["bytes"],
        "sha256": file["sha256"],
        "width_px": file["width"],
        "height_px": file["height"],
        "scale": file["scale"],
        "run": {
            "model": old["model"],
            "model_sha256": old["model_sha256"],
            "engine": old["engine"],
            "precision": old["precision"],
            "tiles": tiles["total"],
            "servers": tiles["servers"],
            "retried": tiles["retried"],
            "repeated": tiles["repeated"],
            "reused": tiles["reused"],
            "color_delta": old["color_delta"],
            "kept": old["kept"],
            "notes": old["notes"],
            "found": old["cache"],
        },
        "stages_s": {stage: stage_ms / 1000 for stage, stage_ms in times_ms.items()},
        "took_s": took_ms / 1000,
    }


def _error_facts(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": old["code"],
        "detail": old["detail"],
        "faults": old.get("errors", []),
        "limit": old.get("limit"),
        "actual": old.get("actual"),
    }


def _shared_by_gateways(connection: Connection) -> None:
    """2 to 3: gateways share finished results, rates and what they have admitted; lists have an index."""
    metadata = MetaData()
    Table(
        "enlarger_results",
        metadata,
        Column("key", Text, primary_key=True),
        Column("holder", Text),
        Column("leased_until", Double, nullable=False),
        Column("outcome", JSON),
        Column("file_name", Text),
        Column("expires_at", Double),
        Index("enlarger_results_expires", "expires_at"),
    )
    Table(
        "enlarger_rates",
        metadata,
        Column("caller", Text, primary_key=True),
        Column("megapixels", Double, nullable=False),
        Column("at", Double, nullable=False),
    )
    Table(
        "enlarger_gateways",
        metadata,
        Column("holder", Text, primary_key=True),
        Column("leased_until", Double, nullable=False),
        Column("servers", Text, nullable=False),
        Column("requests", Integer, nullable=False),
        Column("mflop", Double, nullable=False),
    )
    metadata.create_all(connection, checkfirst=False)
    connection.execute(text("CREATE INDEX enlarger_jobs_owner ON enlarger_jobs (owner, number)"))


STEPS: tuple[Callable[[Connection], None], ...] = (_facts_for_answers, _shared_by_gateways)
"""Each brings the tables of one version, counted from 1, to the next."""

VERSION = 1 + len(STEPS)
"""The version of the tables in ``tables.py``."""
