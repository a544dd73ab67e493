"""Fetchers for tests."""

from __future__ import annotations

from typing import Any

from enlarger.fetch.fetcher import Fetcher

PICTURE = bytes(range(256)) * 8
LIMIT_BYTES = 4096
UNREACHABLE = r"^could not reach the source$"


def fetcher(rule: str, **options: Any) -> Fetcher:
    """A fetcher with a limit that tests can reach."""
    return Fetcher(rule, **{"limit_bytes": LIMIT_BYTES, **options})
