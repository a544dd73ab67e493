"""Which files the shell command enlarges, and where each result goes."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

READ = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
"""Names that a folder is searched for; a file that is named itself may be called anything."""


@dataclass(frozen=True, slots=True)
class Work:
    """One picture to enlarge."""

    source: Path
    stem: Path
    """Where its result goes; in a folder of results a suffix is added to it."""

    into_folder: bool

    def target(self, suffix: str) -> Path:
        """The file of the result, whose format is called ``suffix``."""
        return self.stem.with_name(self.stem.name + suffix) if self.into_folder else self.stem


def work_of(sources: Sequence[Path], target: Path, *, is_folder: bool) -> list[Work]:
    """What there is to do.

    Args:
        sources: files, folders, and patterns such as ``*.jpg`` that the shell did not resolve.
        target: the file of the only result, or the folder of all.
        is_folder: ``target`` is one, or is to become one.

    Returns:
        One entry per picture, sorted within each source. Results in a folder keep the names of their pictures,
        and their place below the folder that was named; where two pictures differ in nothing but their suffix,
        it stays a part of the name.
    """
    found = [pair for source in sources for pair in _pictures(source)]
    several = len(found) > 1 or len(sources) > 1 or any(source.is_dir() for source in sources)
    if not (several or is_folder):
        return [Work(source, target, into_folder=False) for source, _ in found]
    places = Counter(place.with_suffix("") for _, place in found)
    return [
        Work(
            source,
            target / (place if places[place.with_suffix("")] > 1 else place.with_suffix("")),
            into_folder=True,
        )
        for source, place in found
    ]


def _pictures(source: Path) -> Iterable[tuple[Path, Path]]:
    """Files and their places below the folder that was named."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in READ and path.is_file():
                yield path, path.relative_to(source)
    elif not source.exists() and glob.has_magic(str(source)):
        for name in sorted(glob.glob(str(source), recursive=True)):  # noqa: PTH207 - an absolute one too
            if Path(name).is_file():
                yield Path(name), Path(Path(name).name)
    else:
        yield source, Path(source.name)
