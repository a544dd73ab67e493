"""The folders that enlarger reads and writes: rights, space, file system."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from enlarger.config import Settings
from enlarger.config.environment import variables
from enlarger.doctor import system
from enlarger.doctor.finding import Finding
from enlarger.errors import ConfigError
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

    free_bytes: int | None
    """None if the file system does not tell."""

    file_system: str
    """For example ``ext4``; empty if it is unknown."""

    skew_s: float = 0.0
    """Seconds that files in it seem to be from the future."""

    instead: Path | None = None
    """The folder that is used in its place, because it cannot be used."""


def gather(settings: Settings) -> list[FolderFacts]:
    """Write a small file into each folder, or into the one that it would be made in, and delete it. No folder is made."""
    from enlarger.jobs.rows.engines import sqlite_file

    server, database = settings.server, settings.database_url
    wanted: list[tuple[str, str | Path, str, bool]] = [
        ("UPLOAD_FOLDER", server.upload_folder, "results", True),
        ("ENLARGER_BLOBS", settings.blobs_place, "files of jobs", True),
        ("ENLARGER_CACHE_DIR", server.cache_folder, "compiled networks", True),
        ("MODEL_DIR", server.model_dir, "models of your own", False),
    ]
    # What is neither a file nor a URL may hold a password. The check of the stores refuses it without showing it.
    with contextlib.suppress(ConfigError):
        if (file := sqlite_file(database)) is not None:
            wanted.insert(2, ("ENLARGER_DATABASE", file.parent, "database of jobs", True))
    return [
        look(variable, Path(place), purpose, is_written=is_written)
        for variable, place, purpose, is_written in wanted
        if "://" not in str(place)
    ] + [look_at_temporary()]


def look_at_temporary() -> FolderFacts:
    """Return the facts of the folder of temporary files. Python takes another folder if ``TMPDIR`` cannot be used."""
    try:
        used = Path(tempfile.gettempdir())
    except FileNotFoundError:  # neither can /tmp, /var/tmp, /usr/tmp and the current folder
        used = None
    wanted = Path(variables().get("TMPDIR") or used or "/tmp").absolute()  # noqa: S108 - looked at
    facts = look("TMPDIR", wanted, "temporary files", is_written=True)
    if used == wanted:
        return facts
    if facts.problem is None:
        facts = replace(facts, problem="it cannot be used" if facts.exists else "it does not exist")
    return replace(facts, instead=used)


def look(variable: str, folder: Path, purpose: str, *, is_written: bool) -> FolderFacts:
    """Return the facts of one folder. For one that does not exist they are those of the folder it would be made in."""
    path = folder.absolute()
    exists = path.exists()
    nearest = next(one for one in (path, *path.parents) if one.exists())
    file_system, free_bytes = system.file_system(nearest.resolve()), _free_bytes(nearest)
    problem, skew_s = None, 0.0
    if not nearest.is_dir():
        problem = f"'{nearest}' is a file"
    elif is_written and exists:
        problem, skew_s = _write(path)
    elif is_written and (reason := _write(nearest)[0]) is not None:
        problem = f"it does not exist, and cannot be made in '{nearest}': {reason}"
    elif exists and not os.access(path, os.R_OK | os.X_OK):
        problem = "it cannot be read"
    if problem is not None and is_written and nearest.is_dir() and free_bytes is None:
        # The reason of the system would be that there is no such file.
        problem = f"the file system of '{nearest}', {file_system or 'unknown'}, takes no files"
    return FolderFacts(
        variable=variable,
        path=path,
        purpose=purpose,
        is_written=is_written,
        exists=exists,
        problem=problem,
        free_bytes=free_bytes,
        file_system=file_system,
        skew_s=skew_s,
    )


def findings(folders: list[FolderFacts]) -> list[Finding]:
    """Return what is wrong with the folders."""
    return [finding for facts in folders for finding in _findings(facts)]


def _findings(facts: FolderFacts) -> list[Finding]:
    title = f"{facts.variable}: {facts.path} ({facts.purpose})"
    if facts.problem is not None:
        hint = f"let the user that runs enlarger use it, or set {facts.variable} to another folder"
        if facts.instead is not None:
            detail = f"{facts.problem}; '{facts.instead}' is used in its place"
            return [Finding.warning(title, detail, hint=hint)]
        if facts.variable == "ENLARGER_CACHE_DIR":  # without it every start compiles the networks
            return [Finding.warning(title, facts.problem, hint=hint)]
        return [Finding.error(title, facts.problem, hint=hint)]
    if not facts.exists and not facts.is_written:
        return [Finding.ok(title, "it does not exist, and need not")]
    state = "" if facts.exists else "it is made when it is needed; "
    free_bytes = facts.free_bytes
    free = "free space unknown" if free_bytes is None else f"{free_bytes / 1e9:.1f} GB free"
    detail = f"{state}{free} on {facts.file_system or 'unknown'}"
    found = []
    if free_bytes is None or not facts.is_written:
        found.append(Finding.ok(title, detail))
    elif free_bytes < _TOO_LITTLE_BYTES:
        found.append(Finding.error(title, detail, hint="free disk space"))
    elif free_bytes < _LITTLE_BYTES:
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


def _free_bytes(folder: Path) -> int | None:
    """Return the free space; None for a file system without a size, such as proc, or a tmpfs without a limit."""
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


def _write(folder: Path) -> tuple[str | None, float]:
    """Return why a folder cannot be written, and by how many seconds its clock is fast."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".enlarger-doctor-") as file:
            file.write(b"enlarger was here")
            file.flush()
            return None, os.fstat(file.fileno()).st_mtime - time.time()
    except OSError as error:
        return error.strerror or reason_of(error), 0.0
