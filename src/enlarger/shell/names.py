"""File names: how they are shown, compared, and split into a stem and the ending of a picture."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePath

READ = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".gif", ".avif", ".avifs", ".mpo"),
)
"""Endings of the formats that enlarger reads."""

NOT_READ = (
    *(".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".hdp", ".wdp"),
    *(".psd", ".psb", ".xcf", ".kra", ".tga", ".exr", ".hdr", ".dds", ".ico", ".qoi", ".pcx"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".sgi"),
    # Raw photos, by maker.
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
"""Endings of pictures that enlarger does not read. A folder's user wants to know that they were not enlarged."""

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_picture_name(name: str) -> bool:
    """Whether a name ends like that of a picture, of whatever format."""
    return _ending(name).lower() in (*READ, *NOT_READ)


def is_url(text: str) -> bool:
    """Whether a text is a URL, of whatever scheme. Schemes of one letter are drives."""
    return _URL.match(text) is not None


def is_hidden(name: str) -> bool:
    """Whether a name is one that file managers hide, or a note of the system's own."""
    return name.startswith(".") or name.lower() in {"thumbs.db", "desktop.ini", "__macosx"}


def stem(name: str) -> str:
    """A name without the ending of a picture. Other endings are a part of the name: ``scan.v2``."""
    return name[: -len(_ending(name))] if is_picture_name(name) else name


def key(path: PurePath) -> str:
    """A text that is equal for paths that some file system takes for one: in letter case, or in composed accents."""
    text = unicodedata.normalize("NFC", os.fspath(path))
    return unicodedata.normalize("NFC", text.casefold())


def shown(name: str | PurePath) -> str:
    """A name as it is printed: as it is, but for what a terminal would act on or cannot print."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in os.fspath(name)
    )


Identity = tuple[int, int]
"""Device and number of a file or folder."""


def identity(path: Path) -> Identity | None:
    """What the system knows a file or folder by, whatever it is called; None if it does not exist."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def is_folder(text: str | os.PathLike[str]) -> bool:
    """Whether there is a folder of that name; no, where that cannot be seen.

    Pathlib's own question raises an error where a folder above may not be entered.
    """
    return os.path.isdir(text)  # noqa: PTH112 - see above


def absolute(path: str | os.PathLike[str]) -> str:
    """The path from the root, without ``..``; links are not followed, since they are names of their own."""
    try:
        return os.path.abspath(path)  # noqa: PTH100 - pathlib's follows links, or keeps ``..``
    except FileNotFoundError:  # the current folder was removed
        return os.fspath(path)


def real(path: str | os.PathLike[str]) -> str:
    """The path from the root, without links and ``..``."""
    try:
        return os.path.realpath(path)
    except FileNotFoundError:  # the current folder was removed
        return os.fspath(path)


def _ending(name: str) -> str:
    return PurePath(name).suffix
