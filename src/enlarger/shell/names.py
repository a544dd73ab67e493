"""File names: how they are displayed, compared, and split into a stem and a picture's extension."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePath

READ = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".avif", ".avifs", ".mpo"),
)
"""Extensions of the formats that enlarger reads."""

NOT_READ = (
    *(".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".hdp", ".wdp"),
    *(".psd", ".psb", ".xcf", ".kra", ".tga", ".exr", ".hdr", ".dds", ".ico", ".qoi", ".pcx"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".sgi"),
    # Raw photos, sorted by manufacturer.
    *(
        ".dng",
        ".nef",
        ".nrw",
        ".cr2",
        ".cr3",
        ".crw",
        ".arw",
        ".srf",
        ".sr2",
        ".raf",
        ".rw2",
        ".orf",
    ),
    *(
        ".pef",
        ".srw",
        ".x3f",
        ".3fr",
        ".fff",
        ".iiq",
        ".erf",
        ".mef",
        ".mos",
        ".mrw",
        ".dcr",
        ".kdc",
    ),
    *(".rwl", ".raw"),
)
"""Extensions of pictures that enlarger does not read. The user of a folder wants to know that they were skipped."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_picture_name(name: str) -> bool:
    """Whether a name ends like that of a picture, in any format."""
    return _ending(name).lower() in (*READ, *NOT_READ)


def is_url(text: str) -> bool:
    """Whether a text is a URL of any scheme. Schemes of one letter are drives."""
    return _URL.match(text) is not None


def is_hidden(name: str) -> bool:
    """Whether a name is hidden by file managers, or belongs to a file of the operating system."""
    return name.startswith(".") or name.lower() in {"thumbs.db", "desktop.ini", "__macosx"}


def stem(name: str) -> str:
    """Return a name without a picture's extension. Other extensions belong to the stem, as in ``scan.v2``."""
    return name[: -len(_ending(name))] if is_picture_name(name) else name


def key(path: PurePath) -> str:
    """Return a text that is equal for paths that some file system treats as one: in letter case or composed accents."""
    text = unicodedata.normalize("NFC", os.fspath(path))
    return unicodedata.normalize("NFC", text.casefold())


def shown(name: str | PurePath) -> str:
    """Return a name for display, without characters that a terminal would act on or cannot print."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in os.fspath(name)
    )


Identity = tuple[int, int]
"""Device and inode number of a file or folder."""


def identity(path: Path) -> Identity | None:
    """Return what identifies a file or folder under any of its names; None if it does not exist."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def is_folder(text: str | os.PathLike[str]) -> bool:
    """Whether a folder of this name exists; False if that cannot be determined.

    ``Path.is_dir`` raises an error if a parent folder may not be entered.
    """
    return os.path.isdir(text)  # noqa: PTH112 - see above


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path without ``..``. Links are not followed, because they are names of their own."""
    try:
        return os.path.abspath(path)  # noqa: PTH100 - pathlib's follows links, or keeps ``..``
    except FileNotFoundError:  # the current folder was deleted
        return os.fspath(path)


def real(path: str | os.PathLike[str]) -> str:
    """Return the absolute path without links and ``..``."""
    try:
        return os.path.realpath(path)
    except FileNotFoundError:  # the current folder was deleted
        return os.fspath(path)


def _ending(name: str) -> str:
    return PurePath(name).suffix
