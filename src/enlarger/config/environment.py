"""Reads what is no setting of ours from the environment: variables of other programs, and the processor's cores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def variables() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def inherited(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that this one starts: its own, with some changes."""
    return {**os.environ, **changes}


def may_be_coloured() -> bool:
    """Return False if the user asked all programs for text without colours: https://no-color.org."""
    return not os.environ.get("NO_COLOR")


def user_cache_folder() -> Path:
    """Return the user's cache folder, by the XDG base directory specification. An empty variable counts as unset."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) if base else Path.home() / ".cache"


def bucket_endpoint() -> str:
    """Return the URL of the service that holds the buckets of ``UPLOAD_FOLDER`` and ``ENLARGER_BLOBS``; empty for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def bucket_region() -> str:
    """Return the Amazon region of the buckets."""
    return os.environ.get("AWS_REGION", "us-east-1")


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_defaults(defaults: Mapping[str, str]) -> None:
    """Set variables of other programs for this process and those that it starts, unless they are set."""
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
