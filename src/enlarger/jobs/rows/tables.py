"""The tables as this version has them. A change of them adds a step to ``migrations.py``."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

from enlarger.jobs.facts import ErrorFacts, InputFacts, ResultFacts

metadata = MetaData()


class Real(TypeDecorator[float]):
    """Double precision. SQLite's RETURNING returns 5.0 as 5, which JSON would show."""

    impl = Double
    cache_ok = True

    def process_result_value(self, value: float | None, dialect: object) -> float | None:  # noqa: ARG002
        """Return a float, as it was put in."""
        return None if value is None else float(value)


class Facts(TypeDecorator[Any]):
    """A dataclass of facts, kept as JSON.

    Args:
        kind: the dataclass.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, kind: type[Any]) -> None:
        super().__init__(none_as_null=True)
        self.kind = kind
        self._adapter = TypeAdapter(kind)

    def process_bind_param(self, value: Any, dialect: object) -> Any:  # noqa: ARG002
        """Return what JSON knows."""
        return None if value is None else self._adapter.dump_python(value, mode="json")

    def process_result_value(self, value: Any, dialect: object) -> Any:  # noqa: ARG002
        """Return the facts as they were put in."""
        return None if value is None else self._adapter.validate_python(value)


_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up in no other type
_JSON = JSON(none_as_null=True)

schema = Table("enlarger_schema", metadata, Column("version", Integer, nullable=False))

jobs = Table(
    "enlarger_jobs",
    metadata,
    # The order of the queue: a clock may be set back, and has no two values for two jobs of one moment.
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text),
    Column("request_id", Text, nullable=False),
    Column("created_at", Real, nullable=False),
    Column("started_at", Real),
    Column("finished_at", Real),
    Column("expires_at", Real),
    Column("not_before", Real, nullable=False),
    Column("options", _JSON, nullable=False),
    Column("source_url", Text),
    Column("input", Facts(InputFacts)),
    Column("mflop", Real),
    Column("tiles_done", Integer, nullable=False),
    Column("tiles_total", Integer),
    Column("result", Facts(ResultFacts)),
    Column("file_name", Text),
    Column("error", Facts(ErrorFacts)),
    Column("batch_id", Text),
    Column("batch_index", Integer),
    Column("item_id", Text),
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    Column("webhook", Text),
    Column("holder", Text),
    Column("leased_until", Real, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("skip_cache", Boolean, nullable=False),
    Index("enlarger_jobs_state", "state", "number"),
    Index("enlarger_jobs_key", "owner", "idempotency_key", unique=True),  # NULLs are no duplicates
    Index("enlarger_jobs_file_name", "file_name"),
    Index("enlarger_jobs_batch", "batch_id"),
    Index("enlarger_jobs_owner", "owner", "number"),  # the list of a key's jobs, the newest first
)

batches = Table(
    "enlarger_batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("created_at", Real, nullable=False),
    Column("webhook", Text),
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    Index("enlarger_batches_key", "owner", "idempotency_key", unique=True),
)

deliveries = Table(
    "enlarger_deliveries",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Real, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Real, nullable=False),
    Column("holder", Text),
    Column("leased_until", Real, nullable=False),
    Column("ended_at", Real),
    Column("outcome", Text),
    Index("enlarger_deliveries_due", "ended_at", "due_at"),
)

# The three that follow are what gateways share besides jobs. They may be emptied at any time.

results = Table(
    "enlarger_results",
    metadata,
    Column("key", Text, primary_key=True),
    Column("holder", Text),
    Column("leased_until", Real, nullable=False),
    Column("outcome", _JSON),
    Column("file_name", Text),
    Column("expires_at", Real),
    Index("enlarger_results_expires", "expires_at"),
)

rates = Table(
    "enlarger_rates",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("megapixels", Real, nullable=False),
    Column("at", Real, nullable=False),
)

gateways = Table(
    "enlarger_gateways",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("leased_until", Real, nullable=False),
    Column("servers", Text, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("mflop", Real, nullable=False),
)
