"""The folder of results: names that cannot be guessed, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.file_limits import no_more_open_files
from support.pictures import noise
from support.results import FolderResults, put
from support.stored_results import KINDS, MAX_AGE_S, TOKEN, names, planted, stored

from enlarger.errors import ConfigError, OpenFilesExhausted, StorageFull
from enlarger.picture.encode import encode
from enlarger.picture.formats import suffix_of
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Picture
from enlarger.storage import (
    result_store,
)


@pytest.fixture
def store(tmp_path: Path) -> FolderResults:
    """An empty folder of results, which live for five minutes."""
    return FolderResults(tmp_path / "uploads", max_age_s=MAX_AGE_S)


async def write_half(store: FolderResults, error: BaseException) -> None:
    """Begin to write a result, and fail."""

    def write(aside: Path) -> None:
        aside.write_bytes(b"half")
        raise error

    await put(store, write, suffix=".png")


# The folder at the start


async def test_missing_folder_is_made(tmp_path: Path) -> None:
    """The folders above it are made as well, and the trial file is deleted."""
    store = FolderResults(tmp_path / "a" / "b", max_age_s=1)
    assert names(store) == []


async def test_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    """Its files stay."""
    (tmp_path / "mine.txt").write_text("mine")
    assert names(FolderResults(tmp_path, max_age_s=1)) == ["mine.txt"]


@pytest.mark.parametrize("name", ["file", "file/below"])
async def test_folder_that_cannot_be_had_names_its_variable(tmp_path: Path, name: str) -> None:
    """The error names the variable. Here a file has the name of the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^UPLOAD_FOLDER: cannot write to "):
        FolderResults(tmp_path / name, max_age_s=1)


async def test_folder_that_takes_no_files_names_its_variable() -> None:
    """The folder exists and can be listed: it is the system's folder of processes."""
    with pytest.raises(ConfigError, match=r"^UPLOAD_FOLDER: cannot write to '/proc'"):
        await result_store(Path("/proc"), max_age_s=1)


# Writing


async def test_published_file_has_the_bytes_that_were_written(store: FolderResults) -> None:
    """It has its final name, its size and its time."""
    before = time.time()
    file = await stored(store, b"the picture")
    assert store.path(file).read_bytes() == b"the picture"
    assert file.size_bytes == 11
    assert before - 0.1 <= file.created_at <= time.time() + 0.1
    assert names(store) == [store.path(file).name]


async def test_name_is_a_token_of_128_bits(store: FolderResults) -> None:
    """It has 32 hexadecimal digits in lower case, in the path and in the URL."""
    file = await stored(store)
    assert re.fullmatch(r"[0-9a-f]{32}", file.token)
    assert store.path(file) == store.folder / f"upscaled_{file.token}.png"
    assert file.url_path == f"/files/{file.token}.png"


async def test_names_differ(store: FolderResults) -> None:
    """The token is the permission to read the file."""
    assert len({(await stored(store)).token for _ in range(200)}) == 200


async def test_file_being_written_cannot_be_read(store: FolderResults) -> None:
    """Before it is published, no name leads to it and no list contains it."""

    def write(aside: Path) -> str:
        aside.write_bytes(b"whole")
        assert not list(store.folder.glob("upscaled_*"))
        assert re.fullmatch(r"\.enlarger_[0-9a-f]{32}", aside.name)
        assert (
            aside.parent == store.folder
        )  # on the same file system, so that publishing is one step
        return "done"

    written, file = await put(store, write, suffix=".webp")
    assert written == "done"
    assert (store.path(file).suffix, store.path(file).read_bytes()) == (".webp", b"whole")
    assert await store.usage() == [5]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
async def test_file_is_gone_when_writing_fails(
    store: FolderResults, error: type[BaseException]
) -> None:
    """It is deleted whatever the error is, and the error is raised unchanged."""
    with pytest.raises(error):
        await write_half(store, error())
    assert names(store) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "no room .* ask the operator to make room"),
        (errno.EDQUOT, "no room"),
        (errno.EFBIG, "no room"),
        (errno.EACCES, "may not write into its folder of results; ask the operator"),
        (errno.EPERM, "may not write"),
        (errno.EROFS, "may not write"),
        (errno.EIO, "could not be written to the server's disk; its log says why"),
    ],
)
async def test_error_of_the_disk_says_what_to_do(
    store: FolderResults, number: int, text: str
) -> None:
    """The text contains no path, and the unfinished file is deleted."""
    with pytest.raises(StorageFull, match=text) as refused:
        await write_half(store, OSError(number, os.strerror(number)))
    assert str(store.folder) not in str(refused.value)
    assert names(store) == []


async def test_result_without_open_files_can_be_asked_for_later(store: FolderResults) -> None:
    """It is not a matter of the disk, and nothing that an operator must mend."""
    with no_more_open_files(), pytest.raises(OpenFilesExhausted):
        await write_half(store, OSError("not reached"))
    assert names(store) == []


async def test_encoders_own_error_is_told_too(store: FolderResults) -> None:
    """An error of Pillow may have no error number."""
    with pytest.raises(StorageFull, match="could not be written"):
        await write_half(store, OSError("encoder error -2 when writing image file"))


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Limit the size of each file, which has the effect of a full disk: the part that fits is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", KINDS)
async def test_file_that_is_cut_short_by_the_disk_is_not_published(
    store: FolderResults, kind: str
) -> None:
    """Half of it is missing, or only the last byte, which Pillow's JPEG encoder does not report. The process continues."""
    picture = prepare(Picture(samples=noise(60, 80, 3)), kind=kind)
    size_bytes, file = await put(
        store, partial(write_picture, picture, kind), suffix=suffix_of(kind)
    )
    await store.delete(file.name)
    with capture_logs() as logs:  # not into a file, whose size would be limited as well
        for limit_bytes in (0, size_bytes // 2, size_bytes - 1):
            with largest_file(limit_bytes), pytest.raises(StorageFull, match="no room"):
                await put(store, partial(write_picture, picture, kind), suffix=suffix_of(kind))
    assert names(store) == []
    # A full disk is logged once, and then at growing intervals.
    assert [(entry["event"], entry["left_out"]) for entry in logs] == [("result_not_written", 0)]


def write_picture(picture: Picture, kind: str, path: Path) -> int:
    """Write a picture as the pipeline does, and return the size of the file."""
    encode(picture, path, kind=kind)
    return path.stat().st_size


async def test_folder_that_went_away_is_made_anew(store: FolderResults) -> None:
    """An operator removed it while the server was running, together with a result in it and the folder above it."""
    old = await stored(store)
    shutil.rmtree(store.folder.parent)
    assert store.path(await stored(store)).read_bytes() == b"picture"
    assert await store.find(f"{old.token}.png") is None


async def test_result_is_written_once_more_if_the_folder_goes_away_meanwhile(
    store: FolderResults,
) -> None:
    """The client that waits for it receives it as usual."""
    calls = []

    def write(aside: Path) -> None:
        calls.append(aside)
        if len(calls) == 1:
            shutil.rmtree(store.folder)
        else:
            aside.write_bytes(b"picture")

    _, file = await put(store, write, suffix=".png")
    assert store.path(file).read_bytes() == b"picture"
    assert names(store) == [store.path(file).name]
    assert len(calls) == 2


async def test_folder_that_always_goes_away_is_storage_full(store: FolderResults) -> None:
    """The result is written twice, and not a third time."""

    def write(_: Path) -> None:
        shutil.rmtree(store.folder)

    with pytest.raises(StorageFull, match=r"went away while .* try again"):
        await put(store, write, suffix=".png")


@pytest.mark.parametrize("above", [False, True])
async def test_folder_that_became_a_file_fails_clearly_until_that_is_mended(
    store: FolderResults, above: bool
) -> None:
    """A file replaces the folder or the one above it. Each write fails with a clear error until the folder is back."""
    old = await stored(store)
    folder = store.folder.parent if above else store.folder
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(StorageFull, match="is something else; ask the operator") as refused:
        await stored(store)
    assert str(folder) not in str(refused.value)
    assert await store.copy(old) is None
    assert await store.find(f"{old.token}.png") is None
    assert await store.usage() == []
    await store.delete(old.name)
    with pytest.raises(NotADirectoryError):
        await store.sweep()
    folder.unlink()
    assert store.path(await stored(store)).read_bytes() == b"picture"


async def test_open_file_outlives_its_name(store: FolderResults) -> None:
    """A sweep during a response does not cut the response short."""
    file = await stored(store)
    opened = await store.open(file)
    await store.delete(file.name)
    assert b"".join([piece async for piece in opened]) == b"picture"


async def test_file_that_went_away_before_its_time_says_so(store: FolderResults) -> None:
    """The error does not contain the path."""
    file = await stored(store)
    shutil.rmtree(store.folder)
    with pytest.raises(StorageFull, match=r"went away .* try again$"):
        await store.open(file)


async def test_deleted_file_is_gone(store: FolderResults) -> None:
    """Nothing leads to it any more, and a second deletion has no effect."""
    file, other = await stored(store), await stored(store)
    await store.delete(file.name)
    await store.delete(file.name)
    assert names(store) == [other.file_name]


# Reading


async def test_file_is_found_by_its_token(store: FolderResults) -> None:
    """It has the name and size with which it was published."""
    file = await stored(store)
    await stored(store)
    assert await store.find(f"{file.token}.png") == file


@pytest.mark.parametrize(
    "name",
    [
        *("", ".png", TOKEN, f"{TOKEN}.gif", f"{TOKEN}.PNG", f"{TOKEN}.png\n", f"{TOKEN}.png/"),
        *(f"{TOKEN.upper()}.png", f"{TOKEN[:-1]}.png", f"{TOKEN}0.png", f"x{TOKEN}.png"),
        *(f"../uploads/upscaled_{TOKEN}.png", f"upscaled_{TOKEN}.png", f"{TOKEN}.png\0"),
    ],
)
async def test_other_names_lead_nowhere(store: FolderResults, name: str) -> None:
    """Only names of the exact form are looked up, even if a file of another name exists."""
    planted(store, f"upscaled_{TOKEN}.png", age_s=0)
    assert await store.find(name) is None


@given(name=st.text(max_size=80))
async def test_no_name_is_an_error(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Any text in a URL is a name that is not found."""
    empty = FolderResults(tmp_path_factory.getbasetemp(), max_age_s=1)
    assert await empty.find(name) is None


async def test_unknown_token_leads_nowhere(store: FolderResults) -> None:
    """A token of the right form that was never issued is not found."""
    assert await store.find(f"{TOKEN}.png") is None


@pytest.mark.parametrize(
    ("age_s", "found"), [(0, True), (MAX_AGE_S - 5, True), (MAX_AGE_S, False), (10_000, False)]
)
async def test_file_is_found_until_it_expires(
    store: FolderResults, age_s: float, found: bool
) -> None:
    """After that it is not served, whether it was swept or not."""
    file = await stored(store, age_s=age_s)
    assert (await store.find(f"{file.token}.png") == file) is found
    assert store.path(file).exists()


async def test_time_left_counts_down_from_the_age_limit(store: FolderResults) -> None:
    """It is negative after the file has expired."""
    assert store.left_s(await stored(store, age_s=100)) == pytest.approx(200, abs=2)
    assert store.left_s(await stored(store, age_s=400)) == pytest.approx(-100, abs=2)


async def test_list_holds_our_files_alone(store: FolderResults) -> None:
    """The list contains expired results, and no files of other names."""
    ours = [await stored(store), await stored(store, age_s=400)]
    for name in ("upscaled_1.png", f"upscaled_{TOKEN}.gif", f".enlarger_{TOKEN}", "notes.txt"):
        planted(store, name, age_s=0)
    assert await store.usage() == [file.size_bytes for file in ours]


async def test_list_of_a_folder_that_went_away_is_empty(store: FolderResults) -> None:
    """The page of the status must not fail."""
    store.folder.rmdir()
    assert await store.usage() == []
