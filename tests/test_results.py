"""The folder of results: names that cannot be guessed, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise
from results import FolderResults, put
from structlog.testing import capture_logs

from enlarger.errors import BackendAway, ConfigError, ResultLost, StorageFull, StorageUnavailable
from enlarger.picture.encode import encode
from enlarger.picture.formats import suffix_of
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Picture
from enlarger.storage import (
    ResultStore,
    Storage,
    StoredResult,
    Sweep,
    result_store,
    storage_at,
    sweep_regularly,
)
from enlarger.storage.drafts import Drafts

MAX_AGE_S = 300
TOKEN = "0123456789abcdef" * 2
"""The form of a name, for files that a test plants."""


class WatchedResults(FolderResults):
    """A store that tells when it has been swept; ``failures`` sweeps fail first."""

    def __init__(self, folder: Path, *, failures: int = 0) -> None:
        super().__init__(folder, max_age_s=MAX_AGE_S)
        self.failures = failures
        self.sweeps: asyncio.Queue[Sweep | None] = asyncio.Queue()

    async def sweep(self) -> Sweep:
        """Sweep, and put what was done into ``sweeps``, or None."""
        done = None
        try:
            if self.failures > 0:
                self.failures -= 1
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            done = await super().sweep()
            return done
        finally:
            self.sweeps.put_nowait(done)


@pytest.fixture
def store(tmp_path: Path) -> FolderResults:
    """An empty one, whose files live for five minutes."""
    return FolderResults(tmp_path / "uploads", max_age_s=MAX_AGE_S)


async def stored(
    store: FolderResults, data: bytes = b"picture", *, age_s: float = 0
) -> StoredResult:
    """A result that was written ``age_s`` ago."""
    _, file = await put(store, lambda aside: aside.write_bytes(data), suffix=".png")
    if age_s:
        os.utime(store.path(file), (time.time() - age_s,) * 2)
    return replace(file, created_at=store.path(file).stat().st_mtime)


def planted(store: FolderResults, name: str, *, age_s: float) -> Path:
    """A file that somebody put into the folder."""
    path = store.folder / name
    path.write_bytes(b"planted")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


async def write_half(store: FolderResults, error: BaseException) -> None:
    """Begin to write a result, and fail."""

    def write(aside: Path) -> None:
        aside.write_bytes(b"half")
        raise error

    await put(store, write, suffix=".png")


def names(store: FolderResults) -> list[str]:
    """All in the folder."""
    return sorted(path.name for path in store.folder.iterdir())


# Opening


async def test_missing_folder_is_made(tmp_path: Path) -> None:
    """With those above it, and nothing is left of the trial."""
    store = FolderResults(tmp_path / "a" / "b", max_age_s=1)
    assert names(store) == []


async def test_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    """With what is in it."""
    (tmp_path / "mine.txt").write_text("mine")
    assert names(FolderResults(tmp_path, max_age_s=1)) == ["mine.txt"]


@pytest.mark.parametrize("name", ["file", "file/below"])
async def test_folder_that_cannot_be_had_names_its_variable(tmp_path: Path, name: str) -> None:
    """Here a file stands in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^UPLOAD_FOLDER: cannot write to "):
        FolderResults(tmp_path / name, max_age_s=1)


async def test_folder_that_takes_no_files_names_its_variable() -> None:
    """Even where the system's own folder for processes is there and listable."""
    with pytest.raises(ConfigError, match=r"^UPLOAD_FOLDER: cannot write to '/proc'"):
        await result_store(Path("/proc"), max_age_s=1)


# Writing


async def test_published_file_has_the_bytes_that_were_written(store: FolderResults) -> None:
    """Under its final name, with its size and time."""
    before = time.time()
    file = await stored(store, b"the picture")
    assert store.path(file).read_bytes() == b"the picture"
    assert file.size_bytes == 11
    assert before - 0.1 <= file.created_at <= time.time() + 0.1
    assert names(store) == [store.path(file).name]


async def test_name_is_a_token_of_128_bits(store: FolderResults) -> None:
    """32 hex digits in lower case, in the path and in the URL."""
    file = await stored(store)
    assert re.fullmatch(r"[0-9a-f]{32}", file.token)
    assert store.path(file) == store.folder / f"upscaled_{file.token}.png"
    assert file.url_path == f"/files/{file.token}.png"


async def test_names_differ(store: FolderResults) -> None:
    """The token is the permission to read the file."""
    assert len({(await stored(store)).token for _ in range(200)}) == 200


async def test_file_being_written_cannot_be_read(store: FolderResults) -> None:
    """Until it is published, no name leads to it, and no list has it."""

    def write(aside: Path) -> str:
        aside.write_bytes(b"whole")
        assert not list(store.folder.glob("upscaled_*"))
        assert re.fullmatch(r"\.enlarger_[0-9a-f]{32}", aside.name)
        assert aside.parent == store.folder  # one file system, so that publishing is one step
        return "done"

    written, file = await put(store, write, suffix=".webp")
    assert written == "done"
    assert (store.path(file).suffix, store.path(file).read_bytes()) == (".webp", b"whole")
    assert await store.usage() == [5]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
async def test_file_is_gone_when_writing_fails(
    store: FolderResults, error: type[BaseException]
) -> None:
    """Whatever ends it; the error itself is not hidden."""
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
    """It has no path, and what was written is gone."""
    with pytest.raises(StorageFull, match=text) as refused:
        await write_half(store, OSError(number, os.strerror(number)))
    assert str(store.folder) not in str(refused.value)
    assert names(store) == []


async def test_encoders_own_error_is_told_too(store: FolderResults) -> None:
    """Pillow's may have no number."""
    with pytest.raises(StorageFull, match="could not be written"):
        await write_half(store, OSError("encoder error -2 when writing image file"))


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """A limit of the system for each file, which acts as a full disk does: what still fits is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


KINDS = ("png", "jpeg", "webp", "avif", "tiff")


@pytest.mark.parametrize("kind", KINDS)
async def test_file_that_is_cut_short_by_the_disk_is_not_published(
    store: FolderResults, kind: str
) -> None:
    """By half, or by its last byte, of which Pillow's writer of JPEG says nothing. The process lives on."""
    picture = prepare(Picture(samples=noise(60, 80, 3)), kind=kind)
    size_bytes, file = await put(
        store, partial(write_picture, picture, kind), suffix=suffix_of(kind)
    )
    await store.delete(file.name)
    with capture_logs() as logs:  # not into a file: that would be limited, too
        for limit_bytes in (0, size_bytes // 2, size_bytes - 1):
            with largest_file(limit_bytes), pytest.raises(StorageFull, match="no room"):
                await put(store, partial(write_picture, picture, kind), suffix=suffix_of(kind))
    assert names(store) == []
    # A full disk is said once, and then at growing intervals.
    assert [(entry["event"], entry["left_out"]) for entry in logs] == [("result_not_written", 0)]


def write_picture(picture: Picture, kind: str, path: Path) -> int:
    """As the pipeline does; gives the size of the file."""
    encode(picture, path, kind=kind)
    return path.stat().st_size


async def test_folder_that_went_away_is_made_anew(store: FolderResults) -> None:
    """An operator removed it under a running server, with a result in it and the folder above it."""
    old = await stored(store)
    shutil.rmtree(store.folder.parent)
    assert store.path(await stored(store)).read_bytes() == b"picture"
    assert await store.find(f"{old.token}.png") is None


async def test_result_is_written_once_more_if_the_folder_goes_away_meanwhile(
    store: FolderResults,
) -> None:
    """Whoever waits for it does not notice."""
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
    """Twice is enough."""

    def write(_: Path) -> None:
        shutil.rmtree(store.folder)

    with pytest.raises(StorageFull, match=r"went away while .* try again"):
        await put(store, write, suffix=".png")


@pytest.mark.parametrize("above", [False, True])
async def test_folder_that_became_a_file_fails_clearly_until_that_is_mended(
    store: FolderResults, above: bool
) -> None:
    """It, or the one above it. Nothing else fails for it."""
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
    """A sweep in the midst of an answer cuts nothing short."""
    file = await stored(store)
    opened = await store.open(file)
    await store.delete(file.name)
    assert b"".join([piece async for piece in opened]) == b"picture"


async def test_file_that_went_away_before_its_time_says_so(store: FolderResults) -> None:
    """Without its path."""
    file = await stored(store)
    shutil.rmtree(store.folder)
    with pytest.raises(StorageFull, match=r"went away .* try again$"):
        await store.open(file)


async def test_deleted_file_is_gone(store: FolderResults) -> None:
    """Once and for all; a second time does no harm."""
    file, other = await stored(store), await stored(store)
    await store.delete(file.name)
    await store.delete(file.name)
    assert names(store) == [other.file_name]


# Reading


async def test_file_is_found_by_its_token(store: FolderResults) -> None:
    """As it was published."""
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
    """Only the exact form of a token and its suffix is looked up, though such a file is there."""
    planted(store, f"upscaled_{TOKEN}.png", age_s=0)
    assert await store.find(name) is None


@given(name=st.text(max_size=80))
async def test_no_name_is_an_error(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A stranger's URL can be anything."""
    empty = FolderResults(tmp_path_factory.getbasetemp(), max_age_s=1)
    assert await empty.find(name) is None


async def test_unknown_token_leads_nowhere(store: FolderResults) -> None:
    """Of the right form, but never given out."""
    assert await store.find(f"{TOKEN}.png") is None


@pytest.mark.parametrize(
    ("age_s", "found"), [(0, True), (MAX_AGE_S - 5, True), (MAX_AGE_S, False), (10_000, False)]
)
async def test_file_is_found_until_it_expires(
    store: FolderResults, age_s: float, found: bool
) -> None:
    """From then on it is not served, swept or not."""
    file = await stored(store, age_s=age_s)
    assert (await store.find(f"{file.token}.png") == file) is found
    assert store.path(file).exists()


async def test_time_left_counts_down_from_the_age_limit(store: FolderResults) -> None:
    """Below zero once it has expired."""
    assert store.left_s(await stored(store, age_s=100)) == pytest.approx(200, abs=2)
    assert store.left_s(await stored(store, age_s=400)) == pytest.approx(-100, abs=2)


async def test_list_holds_our_files_alone(store: FolderResults) -> None:
    """Expired ones are still ours; those of other names are not."""
    ours = [await stored(store), await stored(store, age_s=400)]
    for name in ("upscaled_1.png", f"upscaled_{TOKEN}.gif", f".enlarger_{TOKEN}", "notes.txt"):
        planted(store, name, age_s=0)
    assert await store.usage() == [file.size_bytes for file in ours]


async def test_list_of_a_folder_that_went_away_is_empty(store: FolderResults) -> None:
    """A status page is no place to fail."""
    store.folder.rmdir()
    assert await store.usage() == []


# Sweeping


async def test_sweep_deletes_what_has_outlived_its_time(store: FolderResults) -> None:
    """And nothing that still lives."""
    young, old = await stored(store, age_s=MAX_AGE_S - 5), await stored(store, age_s=MAX_AGE_S)
    assert await store.sweep() == Sweep(1, ())
    assert not store.path(old).exists()
    assert store.path(young).exists()
    assert await store.sweep() == Sweep(0, ())


@pytest.mark.parametrize(
    "name",
    [
        *("notes.txt", "upscaled_.png", f"upscaled_{TOKEN}.gif", f"upscaled_{TOKEN}.png.bak"),
        *(f"upscaled_{TOKEN.upper()}.png", f".enlarger_{TOKEN}0", f"a_upscaled_{TOKEN}.png"),
    ],
)
async def test_planted_file_survives_the_sweep(store: FolderResults, name: str) -> None:
    """Only our own names are ours to delete, however old a file is."""
    path = planted(store, name, age_s=10**6)
    assert await store.sweep() == Sweep(0, ())
    assert path.exists()


# Leftovers


@pytest.mark.parametrize("age_s", [0, 10_000])
async def test_half_written_file_that_nobody_writes_is_swept(
    store: FolderResults, age_s: float
) -> None:
    """A sudden stop leaves it. It was no result to count."""
    planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert await store.sweep() == Sweep(0, ())
    assert names(store) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_file_being_written_is_left_to_its_writer(store: FolderResults, kind: str) -> None:
    """Also by the sweep of another gateway that shares the folder. Encoders write it in place: it stays the locked one."""
    other = FolderResults(store.folder, max_age_s=MAX_AGE_S)
    picture = prepare(Picture(samples=noise(6, 8, 3)), kind=kind)

    def write(aside: Path) -> int:
        before = aside.stat().st_ino
        os.utime(aside, (0, 0))
        encode(picture, aside, kind=kind)
        for results in (other, store):
            assert asyncio.run(results.sweep()) == Sweep(0, ())
        encode(picture, aside, kind=kind)
        assert aside.stat().st_ino == before
        return before

    draft = await asyncio.to_thread(store.draft, write)
    number, file = draft.written, await store.publish(draft, suffix=suffix_of(kind))
    assert store.path(file).stat().st_ino == number


WRITER = """
import sys, time
from pathlib import Path
from enlarger.storage.drafts import Drafts

def write(aside):
    aside.write_bytes(b"half")
    print("writes", flush=True)
    time.sleep(60)

Drafts(Path(sys.argv[1])).write(write)
"""


async def test_what_a_killed_gateway_left_is_swept_at_once(store: FolderResults) -> None:
    """While it lived, it was left alone."""
    writer = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs
        [sys.executable, "-c", WRITER, str(store.folder)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        try:
            assert writer.stdout.readline() == b"writes\n"
            assert await store.sweep() == Sweep(0, ())
            assert len(names(store)) == 1
        finally:
            writer.kill()
    assert await store.sweep() == Sweep(0, ())
    assert names(store) == []


class LocklessDrafts(Drafts):
    """On a file system that has no locks."""

    def _lock(self, descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize(("age_s", "left"), [(MAX_AGE_S, True), (3590, True), (3610, False)])
async def test_half_written_file_is_left_an_hour_where_there_are_no_locks(
    tmp_path: Path, age_s: float, left: bool
) -> None:
    """A picture being written is never that old."""
    store = FolderResults(tmp_path, max_age_s=MAX_AGE_S)
    store.storage.drafts = LocklessDrafts(tmp_path)
    assert store.path(await stored(store)).read_bytes() == b"picture"
    path = planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert await store.sweep() == Sweep(0, ())
    assert path.exists() is left


# A clock that jumps


class Clock:
    """The system's, set forward or back."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead_s


DAY_S = 86_400


def ages(store: FolderResults, clock: Clock) -> list[float]:
    """The ages of all results in seconds."""
    return [clock() - path.stat().st_mtime for path in store.folder.glob("upscaled_*")]


async def test_clock_set_back_costs_no_result_and_keeps_none(tmp_path: Path) -> None:
    """Found as if it were new, swept or not; and gone when it has lived once more."""
    clock = Clock()
    store = FolderResults(tmp_path, max_age_s=MAX_AGE_S, clock=clock)
    file = await stored(store, age_s=100)
    clock.ahead_s = -DAY_S
    assert store.left_s(file) == MAX_AGE_S
    assert await store.find(f"{file.token}.png") == file
    assert await store.sweep() == Sweep(0, ())
    clock.ahead_s = -DAY_S + MAX_AGE_S - 5
    found = await store.find(f"{file.token}.png")
    assert found is not None
    assert 0 < store.left_s(found) < 10
    clock.ahead_s = -DAY_S + MAX_AGE_S + 5
    assert await store.find(f"{file.token}.png") is None
    assert await store.sweep() == Sweep(1, ())


async def test_clock_set_forward_expires_files_early_and_service_goes_on(tmp_path: Path) -> None:
    """Those of before are gone; one of the new time lives as long as any, also when the clock is set right again."""
    clock = Clock()
    store = FolderResults(tmp_path, max_age_s=MAX_AGE_S, clock=clock)
    old = await stored(store)
    clock.ahead_s = DAY_S
    assert await store.find(f"{old.token}.png") is None
    assert await store.copy(old) is None
    assert await store.sweep() == Sweep(1, ())
    new = await stored(store, age_s=-DAY_S)
    assert store.left_s(new) == pytest.approx(MAX_AGE_S, abs=2)
    clock.ahead_s = 0
    assert await store.find(f"{new.token}.png") == new
    assert store.left_s(new) == MAX_AGE_S
    await store.sweep()
    clock.ahead_s = MAX_AGE_S + 5
    assert await store.sweep() == Sweep(1, ())


@given(
    ages_s=st.lists(st.floats(-(10**6), 10**6), max_size=3),
    jumps_s=st.lists(st.floats(-(10**6), 10**6), max_size=4),
)
async def test_no_file_outlives_one_life_of_a_steady_clock(
    tmp_path_factory: pytest.TempPathFactory, ages_s: list[float], jumps_s: list[float]
) -> None:
    """However the clock jumped before, with a sweep after each jump."""
    clock = Clock()
    store = FolderResults(tmp_path_factory.mktemp("jumps"), max_age_s=MAX_AGE_S, clock=clock)
    files = [await stored(store, age_s=age_s) for age_s in ages_s]
    deleted = 0
    for jump_s in jumps_s:
        clock.ahead_s += jump_s
        deleted += (await store.sweep()).deleted
        assert max([0, *ages(store, clock)]) <= MAX_AGE_S
    deleted += (await store.sweep()).deleted
    clock.ahead_s += MAX_AGE_S + 1
    deleted += (await store.sweep()).deleted
    assert names(store) == []
    assert deleted == len(files)


# Sweeping, and what goes wrong with it


async def test_file_that_cannot_be_deleted_is_reported_by_name(store: FolderResults) -> None:
    """Without its folder; the others are swept all the same."""
    stuck = store.folder / f"upscaled_{TOKEN}.png"
    stuck.mkdir()
    os.utime(stuck, (0, 0))
    await stored(store, age_s=400)
    sweep = await store.sweep()
    assert sweep.deleted == 1
    assert sweep.errors == (f"{stuck.name}: {os.strerror(errno.EISDIR)}",)


async def test_sweep_of_a_folder_that_went_away_is_an_os_error(store: FolderResults) -> None:
    """The caller says that it cannot run at all."""
    store.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        await store.sweep()


async def test_sweeps_come_at_once_and_again(tmp_path: Path) -> None:
    """What an earlier run left goes at the start; the next sweep comes after the interval."""
    store = WatchedResults(tmp_path)
    left_over = await stored(store, age_s=400)
    task = asyncio.create_task(sweep_regularly(store, interval_s=0.01))
    try:
        assert await asyncio.wait_for(store.sweeps.get(), 10) == Sweep(1, ())
        assert not store.path(left_over).exists()
        later = await stored(store, age_s=400)
        while store.path(later).exists():
            await asyncio.wait_for(store.sweeps.get(), 10)
    finally:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_sweep_that_fails_does_not_end_the_sweeping(tmp_path: Path) -> None:
    """The folder may be back the next time."""
    store = WatchedResults(tmp_path, failures=2)
    file = await stored(store, age_s=400)
    task = asyncio.create_task(sweep_regularly(store, interval_s=0.01))
    try:
        assert await asyncio.wait_for(store.sweeps.get(), 10) is None
        assert await asyncio.wait_for(store.sweeps.get(), 10) is None
        assert await asyncio.wait_for(store.sweeps.get(), 10) == Sweep(1, ())
        assert not store.path(file).exists()
    finally:
        task.cancel()


async def test_cancelled_sweeping_waits_no_longer(tmp_path: Path) -> None:
    """A stopping server does not wait for the interval."""
    store = WatchedResults(tmp_path)
    task = asyncio.create_task(sweep_regularly(store, interval_s=3600))
    await asyncio.wait_for(store.sweeps.get(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


# Copies


async def test_copy_has_a_name_and_a_life_of_its_own(store: FolderResults) -> None:
    """The same bytes, as young as if it had been made now."""
    old = await stored(store, age_s=MAX_AGE_S - 10)
    copy = await store.copy(old)
    assert copy is not None
    assert store.path(copy).read_bytes() == store.path(old).read_bytes()
    assert (copy.token != old.token, copy.suffix) == (True, ".png")
    assert store.left_s(copy) > MAX_AGE_S - 10
    assert store.left_s(old) < 11


async def test_copy_of_what_is_gone_is_none(store: FolderResults) -> None:
    """Expired, or deleted before its time; nothing is left behind."""
    expired = await stored(store, age_s=MAX_AGE_S)
    deleted = await stored(store)
    store.path(deleted).unlink()
    assert await store.copy(expired) is None
    assert await store.copy(deleted) is None
    assert names(store) == [store.path(expired).name]


# In a folder, in a bucket, or in both


@pytest.fixture
def results(storage: Storage) -> ResultStore:
    """Empty ones, of each kind."""
    return ResultStore(storage, max_age_s=MAX_AGE_S)


async def read(results: ResultStore, file: StoredResult, *part: int) -> bytes:
    """All bytes of a result, or those of a part."""
    return b"".join([piece async for piece in await results.open(file, *part)])


async def test_result_is_found_read_copied_and_deleted(results: ResultStore) -> None:
    """The same in each kind of storage."""
    _, file = await put(results, lambda path: path.write_bytes(b"picture"), suffix=".webp")
    digest = hashlib.sha256(b"picture").hexdigest()
    assert (file.size_bytes, file.sha256, file.suffix) == (7, digest, ".webp")
    found = await results.find(file.name)
    assert found is not None
    assert replace(found, created_at=file.created_at) == file
    assert found.created_at == pytest.approx(file.created_at, abs=2)
    assert (await read(results, found), await read(results, found, 2, 5)) == (b"picture", b"ctu")
    copy = await results.copy(found)
    assert copy is not None
    assert (copy.token != file.token, copy.sha256) == (True, digest)
    assert await results.usage() == [7, 7]
    await results.delete(file.name)
    assert await results.find(file.name) is None
    assert await results.copy(file) is None
    assert await read(results, copy) == b"picture"


async def test_no_result_is_swept_before_it_expires(storage: Storage) -> None:
    """A bucket may cut off nearly a second of the date of an object."""
    clock = Clock()
    results = ResultStore(storage, max_age_s=MAX_AGE_S, clock=clock)
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    clock.ahead_s = file.created_at + MAX_AGE_S - 0.01 - time.time()
    assert results.left_s(file) > 0
    assert await results.sweep() == Sweep(0, ())
    found = await results.find(file.name)
    assert found is not None
    assert results.left_s(found) > 0


async def test_result_that_was_deleted_cannot_be_opened(results: ResultStore) -> None:
    """The error comes before any byte could be sent."""
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    await results.delete(file.name)
    for part in ((0, 7), (2, 5), (2, None)):
        with pytest.raises(ResultLost):
            await results.open(file, *part)


async def test_count_of_a_bucket_that_is_away_is_the_last_one(bucket: str) -> None:
    """From a sweep, or from the last count; the log says that it is old."""
    results = ResultStore(storage_at(bucket), max_age_s=MAX_AGE_S)
    for _ in range(2):
        await put(results, lambda path: path.write_bytes(b"picture"))
    assert await results.sweep() == Sweep(0, ())
    results.storage.store = storage_at(bucket.replace("enlarger", "absent")).store
    with capture_logs() as logs:
        assert await results.usage() == [7, 7]
    assert "results_not_counted" in [entry["event"] for entry in logs]


async def test_sweep_deletes_expired_results_alone(storage: Storage) -> None:
    """In a bucket, too: objects of other names, and below other prefixes, are not ours."""
    clock = Clock()
    results = ResultStore(storage, max_age_s=MAX_AGE_S, clock=clock)
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    for key in ("notes.txt", f"jobs/upscaled_{TOKEN}.png", f"upscaled_{TOKEN}.txt"):
        await storage.put(key, b"theirs")
    assert await results.sweep() == Sweep(0, ())
    clock.ahead_s = MAX_AGE_S + 2
    assert await results.find(file.name) is None
    assert await results.copy(file) is None
    assert await results.sweep() == Sweep(1, ())
    assert await results.sweep() == Sweep(0, ())
    assert len(await storage.keys("")) == 3


async def test_gateways_share_a_bucket(bucket: str) -> None:
    """Each finds what another one has made, until any of them sweeps it."""
    one = await result_store(bucket, max_age_s=MAX_AGE_S)
    clock = Clock()
    other = ResultStore(storage_at(bucket), max_age_s=MAX_AGE_S, clock=clock)
    _, file = await put(one, lambda path: path.write_bytes(b"picture"))
    found = await other.find(file.name)
    assert found is not None
    assert (await read(other, found), found.sha256) == (b"picture", file.sha256)
    clock.ahead_s = MAX_AGE_S + 2
    assert await other.sweep() == Sweep(1, ())
    assert await one.find(file.name) is None


async def test_bucket_that_cannot_be_reached_is_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, by the variable; later as what may pass. Nothing half-written stays."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(BackendAway, match=r"^UPLOAD_FOLDER: cannot reach the bucket"):
        await result_store(bucket, max_age_s=MAX_AGE_S)
    results = ResultStore(storage_at(bucket), max_age_s=MAX_AGE_S)
    drafts = set(results.storage.drafts.folder.glob(".enlarger_*"))
    with pytest.raises(StorageUnavailable, match="try again later"):
        await put(results, lambda path: path.write_bytes(b"picture"))
    assert not set(results.storage.drafts.folder.glob(".enlarger_*")) - drafts
    assert await results.usage() == []


# Digests


async def test_digest_is_not_computed_again(store: FolderResults) -> None:
    """It is that of what was written, also for another process: nobody looks at the bytes, which are others here."""
    file = await stored(store)
    store.path(file).write_bytes(b"changed")
    for results in (store, FolderResults(store.folder)):
        found = await results.find(file.name)
        assert found is not None
        assert found.sha256 == file.sha256 == hashlib.sha256(b"picture").hexdigest()


@pytest.mark.parametrize("has_attributes", [True, False])
async def test_file_without_a_digest_is_hashed_once(
    store: FolderResults, monkeypatch: pytest.MonkeyPatch, has_attributes: bool
) -> None:
    """An earlier version wrote it. Where the file system keeps attributes, no other process hashes it either."""
    if not has_attributes:
        monkeypatch.delattr(os, "setxattr")
        monkeypatch.delattr(os, "getxattr")
    path = planted(store, f"upscaled_{TOKEN}.png", age_s=0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first = await store.find(f"{TOKEN}.png")
    path.write_bytes(b"changed")
    again = await store.find(f"{TOKEN}.png")
    assert first is not None
    assert again is not None
    assert first.sha256 == again.sha256 == digest
    elsewhere = await FolderResults(store.folder).find(f"{TOKEN}.png")
    assert elsewhere is not None
    assert (elsewhere.sha256 == digest) == has_attributes


# Results of jobs, where gateways do not share the folder


@pytest.fixture
def shared(storage: Storage, tmp_path: Path) -> FolderResults:
    """A folder of results whose jobs are shared."""
    return FolderResults(tmp_path / "uploads", shared=storage)


async def test_shared_result_is_moved(shared: FolderResults, tmp_path: Path) -> None:
    """It is there once, under its name, and a gateway with another folder serves it."""
    moved = await shared.share(await stored(shared))
    assert names(shared) == []
    assert shared.shared is not None
    assert await shared.shared.keys("") == [f"results/{moved.file_name}"]
    other = FolderResults(tmp_path / "elsewhere", shared=shared.shared)
    for results in (shared, other):
        found = await results.find(moved.name)
        assert found is not None
        assert (found.is_shared, found.sha256) == (True, moved.sha256)
        assert await read(results, found) == b"picture"


async def test_copy_of_a_shared_result_is_in_the_folder(shared: FolderResults) -> None:
    """Also for one who knows it as it was before it was moved: the cache of results does."""
    before = await stored(shared)
    moved = await shared.share(before)
    for known in (before, moved):
        copy = await shared.copy(known)
        assert copy is not None
        assert shared.path(copy).read_bytes() == b"picture"
        assert (copy.is_shared, copy.sha256) == (False, before.sha256)
    await shared.delete(moved.name)
    assert await shared.copy(before) is None


async def test_shared_results_are_swept_and_deleted(storage: Storage, tmp_path: Path) -> None:
    """As those in the folder."""
    clock = Clock()
    shared = FolderResults(tmp_path / "uploads", shared=storage, clock=clock)
    old, gone = [await shared.share(await stored(shared)) for _ in range(2)]
    await shared.delete(gone.name)
    assert await storage.keys("") == [f"results/{old.file_name}"]
    clock.ahead_s = MAX_AGE_S + 2
    assert await shared.sweep() == Sweep(1, ())
    assert await storage.keys("") == []


async def test_result_that_every_gateway_reaches_stays(storage: Storage) -> None:
    """In a bucket, or where nothing is shared."""
    results = ResultStore(storage, max_age_s=MAX_AGE_S)
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    assert await results.share(file) == file
    assert await storage.keys("") == [file.file_name]


async def test_previews_are_swept_with_their_result(tmp_path: Path) -> None:
    """Not before it; and one whose result is gone goes as well, but not while a listing may have missed the result."""
    now = time.time()
    results = FolderResults(tmp_path, max_age_s=MAX_AGE_S, clock=lambda: now)
    _, kept = await put(results, lambda path: path.write_bytes(b"kept"))
    _, old = await put(results, lambda path: path.write_bytes(b"old"))
    lost, fresh = (replace(kept, token=sign * 32) for sign in "ab")
    for stored in (kept, old, lost, fresh):
        await results.keep_preview(stored, "result", b"small")
        await results.keep_preview(stored, "input", b"before")
    os.utime(results.path(old), (now - MAX_AGE_S, now - MAX_AGE_S))
    for kind in ("result", "input"):
        os.utime(tmp_path / f"upscaled_{lost.token}.{kind}.jpg", (now - 61, now - 61))
    swept = await results.sweep()
    assert (swept.deleted, swept.errors) == (5, ())
    assert await results.preview(kept, "result") == await results.preview(fresh, "result")
    assert await results.preview(kept, "input") == b"before"
    assert await results.preview(old, "result") is None
    assert await results.preview(lost, "input") is None
    assert await results.usage() == [4]
    assert await results.find(f"{kept.token}.result.jpg") is None
    await results.delete(kept.name)
    assert await results.preview(kept, "input") is None
