"""Assigns a unique name to each result, and checks for existing files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from enlarger.errors import InvalidOption, UnwritableFile
from enlarger.shell import names
from enlarger.shell.arguments import Beside, File, Folder, Out, StandardOutput
from enlarger.shell.sources import Source

_NAMED = 5
"""Number of names that an error message lists."""


@dataclass(frozen=True, slots=True)
class Work:
    """One picture to upscale, and where its result goes."""

    source: Source
    target: Path | None
    """None stands for standard output."""

    kind: str
    """The format of the result."""

    @property
    def shown_target(self) -> str:
        """Return the target for display."""
        return "standard output" if self.target is None else names.shown(self.target)


def assign(
    pictures: Sequence[tuple[Source, str, str]], out: Out, *, suffix: str | None = None
) -> list[Work]:
    """Return where each result goes. No two results get names that any file system treats as one.

    Results in a folder keep the names of their pictures, and their places relative to the folder that was given. If
    two would be equal, pictures of different folders keep their folder's name; others keep their own extension as a
    part
    of the name.

    Args:
        pictures: each picture with the format and the extension of its result.
        out: where results go.
        suffix: text that is put before the extension.

    Raises:
        InvalidOption: two results would still have one name.
    """
    if isinstance(out, File):
        return [Work(source, out.path, kind) for source, kind, _ in pictures]
    if isinstance(out, StandardOutput):
        return [Work(source, None, kind) for source, kind, _ in pictures]
    names_ = [_Name(source, ending, suffix or "", out) for source, _, ending in pictures]
    # All conflicts are resolved at once: each look compares all names, and a phone's folder has thousands of pairs.
    while groups := _meeting(names_):
        for meeting in groups:
            if not _told_apart(meeting):
                one, other = meeting[0].source.name, meeting[-1].source.name
                raise InvalidOption(
                    f"the results of '{names.shown(one)}' and '{names.shown(other)}' would have one name on some disks; "
                    "nothing was done: rename one of them, or upscale one after the other into different folders"
                )
    return [
        Work(name.source, name.target, kind)
        for name, (_, kind, _) in zip(names_, pictures, strict=True)
    ]


@dataclass(slots=True)
class _Name:
    """The name of a result while it is being determined."""

    source: Source
    ending: str
    suffix: str
    out: Folder | Beside
    keeps_ending: bool = False
    """Whether the picture's own extension stays a part of the name."""

    folders: int = 0
    """Number of folder names above ``source.place`` that stay a part of the name."""

    @property
    def target(self) -> Path:
        place = self.source.place
        name = place.name if self.keeps_ending else names.stem(place.name)
        name += self.suffix + self.ending
        if isinstance(self.out, Beside):
            assert self.source.path is not None  # noqa: S101 - checked where sources were found
            return self.source.path.with_name(name)
        parents = reversed(self.source.root[: self.folders])
        return self.out.path.joinpath(*parents, place.parent, name)

    @property
    def can_keep_folder(self) -> bool:
        return isinstance(self.out, Folder) and self.folders < len(self.source.root)


def _meeting(found: Sequence[_Name]) -> list[list[_Name]]:
    """Return groups of equal names; else names of files that others use as a folder; none if all are distinct."""
    by_key: dict[str, list[_Name]] = defaultdict(list)
    folders: set[Path] = set()
    for name in found:
        target = name.target
        by_key[names.key(target)].append(name)
        folders.update(target.parents)
    if groups := [same for same in by_key.values() if len(same) > 1]:
        return groups
    keys_of_folders = {names.key(folder) for folder in folders}
    return [same for key, same in by_key.items() if key in keys_of_folders]


def _told_apart(meeting: Sequence[_Name]) -> bool:
    """Extend conflicting names by more of their pictures' paths; False if there is nothing left to add."""
    roots = {name.source.root for name in meeting}
    if len(roots) > 1 and any(name.can_keep_folder for name in meeting):
        for name in meeting:
            name.folders += name.can_keep_folder
        return True
    changed = [name for name in meeting if not name.keeps_ending and name.source.place.suffix]
    for name in changed:
        name.keeps_ending = True
    return bool(changed)


@dataclass(frozen=True, slots=True)
class Checked:
    """The work that is left, and the results that already exist."""

    work: tuple[Work, ...]
    skipped: tuple[Work, ...] = ()


def check(
    work: Sequence[Work],
    sources: Iterable[Source],
    *,
    overwrite: bool,
    skip_existing: bool,
) -> Checked:
    """Compare the targets with existing files, before any work.

    A file that this run did not make is replaced only if the user allows it. A picture that is still to be read is
    never replaced.

    Raises:
        InvalidOption: a file would be replaced; the message lists the first ones, and says what to do.
    """
    originals = _identities(sources)
    existing: list[str] = []
    own: list[str] = []
    to_do: list[Work] = []
    skipped: list[Work] = []
    for item in work:
        identity = None if item.target is None else names.identity(item.target)
        if item.target is None or not _is_there(item.target):
            to_do.append(item)
            continue
        if not _may_be_replaced(item.target):
            raise InvalidOption(
                f"the result of '{names.shown(item.source.name)}' would have the name '{item.shown_target}', which is a "
                "folder, or no file; nothing was done"
            )
        owner = None if identity is None else originals.get(identity)
        if owner is not None and owner != item.source:
            raise InvalidOption(
                f"the result of '{names.shown(item.source.name)}' would replace '{names.shown(owner.name)}', which is "
                "also a picture to upscale; nothing was done. Give another folder, or --suffix TEXT"
            )
        if overwrite:
            to_do.append(item)
        elif owner is not None:
            own.append(item.shown_target)
        elif skip_existing:
            skipped.append(item)
        else:
            existing.append(item.shown_target)
    if own:
        raise InvalidOption(
            f"{_count(len(own), 'picture')} would be replaced by the result: {_listed(own)}; nothing was done. "
            "--suffix TEXT gives results names of their own, --overwrite replaces the pictures; --skip-existing is "
            "for results"
        )
    if existing:
        raise InvalidOption(
            f"{_count(len(existing), 'file')} would be replaced: {_listed(existing)}; nothing was done. --overwrite "
            "replaces them, --skip-existing leaves them alone and does the rest, --suffix TEXT gives results other "
            "names"
        )
    return Checked(tuple(to_do), tuple(skipped))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in found[:_NAMED]) + more


def _is_there(target: Path) -> bool:
    """Whether something has that name, including a broken link."""
    return os.path.lexists(target)


def _may_be_replaced(target: Path) -> bool:
    """Whether the target is a file, a link to a file, or a broken link; not a folder, pipe or device."""
    try:
        return target.is_file() or not target.exists()
    except OSError:
        return False


def results_among(work: Sequence[Work], sources: Iterable[Source]) -> set[Source]:
    """Return pictures whose names equal results of other pictures: an earlier run with the same suffix made them."""
    originals = _identities(sources)
    found = set()
    for item in work:
        identity = None if item.target is None else names.identity(item.target)
        owner = None if identity is None else originals.get(identity)
        if owner is not None and owner != item.source:
            found.add(owner)
    return found


def _identities(sources: Iterable[Source]) -> dict[names.Identity, Source]:
    """Return the pictures' files by their identity, which does not depend on the name."""
    found: dict[names.Identity, Source] = {}
    for source in sources:
        identity = None if source.path is None else names.identity(source.path)
        if identity is not None:
            found.setdefault(identity, source)
    return found


def check_file(target: Path, *, overwrite: bool) -> None:
    """Compare the only target with the file that exists there, before the work.

    Raises:
        InvalidOption: the file would be replaced.
        UnwritableFile: the file cannot be written.
    """
    if names.is_folder(target):
        raise InvalidOption(f"'{names.shown(target)}' is a folder; give the name of a file")
    if _is_there(target) and not overwrite:
        raise InvalidOption(
            f"'{names.shown(target)}' is there already; nothing was done. --overwrite replaces it"
        )
    check_target(target, may_be_made=False)


def check_folder(folder: Path) -> None:
    """Check that results can be written into a folder, which may not exist yet, before the work begins.

    Raises:
        UnwritableFile: the path is a file, lies below a file, or may not be written to.
    """
    nearest = folder
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    shown = names.shown(folder)
    if not names.is_folder(nearest):
        raise UnwritableFile(
            f"cannot write into '{shown}': '{names.shown(nearest)}' is not a folder"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        reason = "no permission to do so"
        with suppress(OSError):
            if os.statvfs(nearest).f_flag & os.ST_RDONLY:
                reason = "it is on a disk that is mounted read-only"
        raise UnwritableFile(f"cannot write into '{names.shown(nearest)}': {reason}")


def check_target(target: Path, *, may_be_made: bool) -> None:
    """Check that one result can be written, and that a file can have its name.

    Args:
        target: the file of the result.
        may_be_made: whether its folder is created if it does not exist.

    Raises:
        UnwritableFile: the file cannot be written.
    """
    if not (may_be_made or os.path.lexists(target.parent)):
        raise UnwritableFile(f"cannot write '{names.shown(target)}': its folder does not exist")
    check_folder(target.parent)
    try:
        target.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnwritableFile(f"cannot write '{names.shown(target)}': {reason}") from error
