"""The cache of compiled networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from enlarger.config import Settings
from enlarger.doctor.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFacts:
    """The files of compiled networks."""

    folder: Path
    count: int
    size_bytes: int
    damaged: Sequence[str]
    """Names of files that cannot be read, or are not as they were written."""


def gather(settings: Settings) -> CacheFacts:
    """Read every file of the cache and compare its checksum."""
    from enlarger.engine.openvino import cache

    folder = settings.server.cache_folder
    sizes = [path.stat().st_size for path in folder.glob("*.blob")]
    return CacheFacts(
        folder=folder,
        count=len(sizes),
        size_bytes=sum(sizes),
        damaged=[path.name for path in cache.damaged(folder)],
    )


def findings(facts: CacheFacts) -> list[Finding]:
    """Return what is wrong with the cache."""
    if not facts.count:
        return [
            Finding.ok("the cache is empty", "the first start compiles the networks and fills it")
        ]
    title = f"{facts.count} files of compiled networks, {facts.size_bytes / 1e6:.0f} MB"
    if not facts.damaged:
        return [Finding.ok(title, "all are as they were written")]
    return [
        Finding.warning(
            title,
            f"these cannot be used, and are compiled again at each start: {', '.join(facts.damaged)}",
            hint=f"delete all files *.blob in the folder {facts.folder}: the next start compiles the networks again; "
            "if they belong to another user, let the user that runs enlarger read them instead",
        )
    ]
