"""The folders that enlarger reads and writes: rights, space, file system."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from enlarger.config import Settings
from enlarger.doctor import system
from enlarger.doctor.finding import Finding
from enlarger.reasons import reason_of

_LITTLE_BYTES = 1_000_000_000
_TOO_LITTLE_BYTES = 50_000_000
"""Free space below which an operator is warned, and below which few results fit."""

_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse", "ceph", "gluster")
"""Beginnings of the names of file systems that several machines share."""

_SKEW_S = 5.0
"""Difference between the clocks of a file server and this machine from which results expire noticeably wrongly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """A folder and what can be done with it."""

    variable: str
    """The setting that names it."""

    path: Path
    purpose: str
    """What is kept there."""

    is_written: bool
    """Whether enlarger writes into it; if not, it may be absent."""

    exists: bool
    problem: str | None
    """Why it cannot be used, as the system says it; None if it can."""

    free_bytes: int
    file_system: str
    """Such as ``ext4``; empty if it is unknown."""

    skew_s: float = 0.0
    """Seconds that files in it seem to be from the future."""


def gather(settings: Settings) -> list[FolderFacts]:
    """Write a small file into each folder and delete it; no folder is made."""
    server, database = settings.server, settings.database_url
    wanted: list[tuple[str, str | Path, str, bool]] = [
        ("UPLOAD_FOLDER", server.upload_folder, "results", True),
        ("ENLARGER_BLOBS", settings.blobs_place, "files of jobs", True),
        ("ENLARGER_CACHE_DIR", server.cache_folder, "compiled networks", True),
        ("MODEL_DIR", server.model_dir, "models of your own", False),
        ("TMPDIR", tempfile.gettempdir(), "temporary files", True),
    ]
    if "://" not in (file := database.removeprefix("sqlite:///")):
        wanted.insert(2, ("ENLARGER_DATABASE", Path(file).parent, "database of jobs", True))
    return [
        look(variable, Path(place), purpose, is_written=is_written)
        for variable, place, purpose, is_written in wanted
        if "://" not in str(place)
    ]


def look(variable: str, folder: Path, purpose: str, *, is_written: bool) -> FolderFacts:
    """Return the facts of one folder. For one that does not exist they are those of the folder it would be made in."""
    path = folder.absolute()
    exists = path.exists()
    nearest = next(one for one in (path, *path.parents) if one.exists())
    problem, skew_s = None, 0.0
    if not nearest.is_dir():
        problem = f"'{nearest}' is a file"
    elif is_written and exists:
        problem, skew_s = _write(path)
    elif is_written and not os.access(nearest, os.W_OK | os.X_OK):
        problem = f"it does not exist, and cannot be made in '{nearest}'"
    elif exists and not os.access(path, os.R_OK | os.X_OK):
        problem = "it cannot be read"
    return FolderFacts(
        variable=variable,
        path=path,
        purpose=purpose,
        is_written=is_written,
        exists=exists,
        problem=problem,
        free_bytes=shutil.disk_usage(nearest).free,
        file_system=system.file_system(nearest.resolve()),
        skew_s=skew_s,
    )


def findings(folders: list[FolderFacts]) -> list[Finding]:
    """Return what is wrong with the folders."""
    return [finding for facts in folders for finding in _findings(facts)]


def _findings(facts: FolderFacts) -> list[Finding]:
    title = f"{facts.variable}: {facts.path} ({facts.purpose})"
    if facts.problem is not None:
        hint = f"let the user that runs enlarger use it, or set {facts.variable} to another folder"
        if facts.variable == "ENLARGER_CACHE_DIR":  # without it every start compiles the networks
            return [Finding.warning(title, facts.problem, hint=hint)]
        return [Finding.error(title, facts.problem, hint=hint)]
    if not facts.exists and not facts.is_written:
        return [Finding.ok(title, "it does not exist, and need not")]
    state = "" if facts.exists else "it is made when it is needed; "
    detail = f"{state}{facts.free_bytes / 1e9:.1f} GB free on {facts.file_system or 'unknown'}"
    found = []
    if facts.is_written and facts.free_bytes < _TOO_LITTLE_BYTES:
        found.append(Finding.error(title, detail, hint="free disk space"))
    elif facts.is_written and facts.free_bytes < _LITTLE_BYTES:
        found.append(Finding.warning(title, detail, hint="free disk space soon"))
    else:
        found.append(Finding.ok(title, detail))
    if facts.variable == "ENLARGER_DATABASE" and facts.file_system.startswith(_NETWORK):
        found.append(
            Finding.warning(
                "the SQLite database is on a network file system",
                f"locks on {facts.file_system} are not reliable",
                hint="put it on a local disk, or use PostgreSQL",
            )
        )
    if abs(facts.skew_s) > _SKEW_S:
        found.append(
            Finding.warning(
                f"the clock of {facts.path} differs by {facts.skew_s:.0f} s from this machine's",
                hint="synchronise the clocks of this machine and of the file server",
            )
        )
    return found


def _write(folder: Path) -> tuple[str | None, float]:
    """Return why a folder cannot be written, and by how many seconds its clock is fast."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".enlarger-doctor-") as file:
            file.write(b"enlarger was here")
            file.flush()
            return None, os.fstat(file.fileno()).st_mtime - time.time()
    except OSError as error:
        return error.strerror or reason_of(error), 0.0
